# SPDX-License-Identifier: MIT
"""The manifest of a backup as its writer makes it; manifest.py is what a reader believes of it. Pure."""

from __future__ import annotations

import json
from importlib import metadata

from . import manifest
from .errors import MendError
from .s3_backup import iso

FORMAT = "archive+gzip"
# the archive has them, too: without them a manifest still proves size, counts and sums
_CAN_BE_LEFT_OUT = ("options", "indexes")


def manifest_of(source, dumped, uploaded, *, started, finished):
    """Return the manifest (schema 1) of an uploaded object.

    ``source`` {id, address, version}; ``dumped`` of mongo_dump; ``uploaded`` has key, version_id, size and sha256;
    ``started`` and ``finished`` are aware datetimes by the store's clock.
    """
    return {
        "schema": manifest.SCHEMA,
        "tool": tool(),
        "source": {name: source[name] for name in ("id", "address", "version")},
        "object": {
            "key": uploaded.key,
            # what S3 says of an object in a bucket that keeps versions no longer
            "version_id": None if uploaded.version_id == "null" else uploaded.version_id,
            "size": uploaded.size,
            "sha256": uploaded.sha256,
            "format": FORMAT,
        },
        "cluster_time": dumped.cluster_time,
        "started": iso(started),
        "finished": iso(finished),
        "consistency": dumped.consistency,
        "member": dumped.member,
        "access": dumped.access,
        "notes": list(dumped.notes),
        "collections": dumped.collections,
    }


def packed(described):
    """Return the manifest as bytes that manifest.parse takes, if need be without options and indexes."""
    data = _json(described)
    if len(data) > manifest.MAX_BYTES:
        short = {
            name: {field: value for field, value in entry.items() if field not in _CAN_BE_LEFT_OUT}
            for name, entry in described["collections"].items()
        }
        data = _json({**described, "collections": short})
    if len(data) > manifest.MAX_BYTES:
        raise MendError(
            f"the manifest would have {len(data)} bytes, more than the {manifest.MAX_BYTES} that are read of one: the "
            f"database has {len(described['collections'])} collections; back it up with mongodump",
            rule="manifest",
        )
    return data


def tool():
    """Return the name and version of what writes this."""
    try:
        return f"mendbook {metadata.version('mendbook')}"
    except metadata.PackageNotFoundError:
        # a checkout that ansible runs without an installation
        return "mendbook"


def _json(value):
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
