# SPDX-License-Identifier: MIT
"""What a backup has to know of its bucket before anything is written there, and what it finds there afterwards."""

from __future__ import annotations

import glob
import posixpath

from . import manifest, s3, s3_pointer
from .errors import MendError, Nothing, VerifyFailed
from .s3_catalogue import catalogue, read_manifest
from .s3_errors import place
from .s3_stream import object_source

LATEST = "latest"


def is_taken(found, key):
    """Whether a backup, whole or not, or a manifest stands under the key."""
    return any(backup.key == key and backup.current and not backup.deleted for backup in found)


def previous_backup(found, source_id):
    """Return {key, finished, size_bytes, seconds} of the newest complete backup of this very database, or None."""
    for backup in found:
        described = backup.manifest or {}
        if not backup.complete or backup.deleted or (described.get("source") or {}).get("id") != source_id:
            continue
        started = described.get("started") and manifest.moment(described["started"])
        return {
            "key": backup.key,
            "finished": described["finished"],
            "size_bytes": backup.size,
            "seconds": (backup.finished - started).total_seconds() if started else None,
        }
    return None


def pointer_now(client, params):
    """Return what ``latest`` under the prefix names: {"key"}, or None when there is none, or {"foreign": why}."""
    bucket, key = params["bucket"], params["prefix"] + LATEST
    try:
        data = s3.get_small(client, bucket, key, s3_pointer.MAX_BYTES, params)
        target = s3_pointer.parse(data, key, bucket)
    except Nothing:
        return None
    except MendError as error:
        if error.rule not in ("size", "pointer"):
            raise
        return {"foreign": error.msg}
    return {"key": target[0]} if target else {"foreign": f"{place(bucket, key)} is no text: it may be a dump itself"}


def read_back(client, params, made):
    """Return what the bucket says of the backup whose manifest is ``made``; VerifyFailed when it says something else.

    Asked in the way in which a restore looks for it, so what is read back is what a restore would take.
    """
    described = made["object"]
    bucket, key = params["bucket"], described["key"]
    pattern = glob.escape(posixpath.basename(key))
    there = catalogue(client, bucket, params["prefix"], pattern=pattern, params=params)
    found = next((one for one in there if one.key == key and one.current and not one.deleted), None)
    if found is None or not found.complete:
        why = "it is not there" if found is None else found.reason
        raise _not_so(bucket, key, f"was written with its manifest, and is no complete backup: {why}")
    if found.version_id and found.version_id != (described["version_id"] or "null"):
        raise _not_so(bucket, key, f"was replaced by another version, {found.version_id}")
    if read_manifest(client, found, params).manifest != made:
        raise _not_so(bucket, manifest.manifest_key(key), "is not the manifest that was written")
    if params["latest"] and pointer_now(client, params) != {"key": key}:
        raise _not_so(bucket, params["prefix"] + LATEST, "does not name the new backup")
    if params["verify"]:
        for _part in object_source(client, found, params):
            pass
    return {
        "key": key,
        "version_id": found.version_id,
        "size_bytes": found.size,
        "sha256": described["sha256"],
        "every_byte_read": params["verify"],
    }


def _not_so(bucket, key, what):
    return VerifyFailed(f"{place(bucket, key)} {what}. See who else writes there.", rule="read_back")
