# SPDX-License-Identifier: MIT
"""How much room there is on the server for a second copy."""

from __future__ import annotations

from pymongo.errors import OperationFailure


def free_space(deployment, database_name):
    """Return ``{"free_bytes", "total_bytes", "msg"}`` of the file system that holds the primary's data.

    The bytes are ``None`` when they cannot be known, and ``msg`` says why; other members are never known from here.
    """
    try:
        stats = deployment.command("dbStats", database=database_name)
    except OperationFailure as error:
        if error.code != 13:
            raise
        return _unknown(
            "free space is unknown: the user may not run dbStats (readWrite or dbAdmin at the database allows it)"
        )
    if not stats.get("fsTotalSize"):
        return _unknown("free space is unknown: this server does not tell")
    total, used = int(stats["fsTotalSize"]), int(stats["fsUsedSize"])
    return {
        "free_bytes": total - used,
        "total_bytes": total,
        "msg": f"{total - used} of {total} bytes are free on {deployment.address}",
    }


def _unknown(msg):
    return {"free_bytes": None, "total_bytes": None, "msg": msg}
