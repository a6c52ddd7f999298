# SPDX-License-Identifier: MIT
"""How much room there is on the server for a second copy."""

from __future__ import annotations

from pymongo.errors import OperationFailure


def free_space(deployment, database_name):
    """Return ``{"free_bytes", "total_bytes", "msg"}`` of the file system that holds the primary's data.

    The bytes are ``None`` when they cannot be known, and ``msg`` says why; other members are never known from here.
    """
    allowed = False
    # a database that does not exist yet has no figures; admin always exists
    for name in (database_name, "admin"):
        try:
            stats = deployment.command("dbStats", database=name)
        except OperationFailure as error:
            if error.code != 13:
                raise
            continue
        allowed = True
        if stats.get("fsTotalSize"):
            total, used = int(stats["fsTotalSize"]), int(stats["fsUsedSize"])
            msg = f"{total - used} of {total} bytes are free on {deployment.address}"
            return {"free_bytes": total - used, "total_bytes": total, "msg": msg}
    if allowed:
        return _unknown(
            "free space is unknown: the server does not tell (a database that does not exist yet, or Atlas)"
        )
    return _unknown(
        "free space is unknown: the user may not run dbStats (readWrite or dbAdmin at the database allows it)"
    )


def _unknown(msg):
    return {"free_bytes": None, "total_bytes": None, "msg": msg}
