# SPDX-License-Identifier: MIT
"""What killed backups have left in a bucket: unfinished uploads, and objects that never got their manifest.

None of it is a backup. Whoever holds the lock of the prefix looks for it and removes it, and leaves alone what may be
of a run that holds the lock of another prefix with which the key begins, too: so nobody works on it.
"""

from __future__ import annotations

import dataclasses

from . import s3, s3_lock
from .errors import MendError
from .mongo_backup_key import is_made_key
from .s3_backup import iso
from .s3_catalogue import catalogue
from .s3_errors import place
from .s3_new import is_made_here
from .s3_upload import abort, unfinished


@dataclasses.dataclass(frozen=True)
class Debris:
    """An unfinished upload (``upload_id``) or an object without a manifest (``version_id`` where it has one)."""

    key: str
    object: str
    upload_id: str | None = None
    version_id: str | None = None
    bytes: int | None = None


def find(client, params, found, making):
    """Return ([Debris], notes, making) below the prefix, of any database.

    ``found`` is the Catalogue of the prefix; ``making`` are the Makings of the lock, and those that are returned still
    have something unfinished. What somebody else has put there stays: an object counts only when it says of itself that
    a backup made it for this very place, and an upload, when its key is not one that backups make, only when a run can
    have begun it. And an object only when it is the only one: where manifests were deleted by mistake, the backups must
    not follow them.
    """
    bucket, prefix = params["bucket"], params["prefix"]
    named = {one.key for one in making}

    def may_be_ours(key):
        return key in named or is_made_key(key, prefix)

    listed, notes = unfinished(client, bucket, prefix, may_be_ours)
    uploads = [
        _upload(bucket, upload)
        for upload in listed
        if is_made_key(upload["Key"], prefix) or any(one.covers(upload["Key"], upload["Initiated"]) for one in making)
    ]
    alone = [_object(bucket, backup) for backup in _alone(found) if may_be_ours(backup.key)]
    if not notes:
        making = [one for one in making if one.key in {left.key for left in uploads + alone}]
    if uploads or alone:
        # asked when all of it was listed: a run takes its lock before it begins
        for other, held in s3_lock.held_elsewhere(client, bucket, prefix, params).items():
            theirs = [one for one in uploads + alone if one.key.startswith(other)]
            uploads, alone = ([one for one in some if one not in theirs] for some in (uploads, alone))
            if theirs:
                notes.append(
                    f"{theirs[0].object} is left alone, and all that begins with {place(bucket, other)}: run "
                    f"{held['run']} of {held['holder']} on {held['host']} works there"
                )
    alone = [one for one in alone if is_made_here(client, bucket, one.key, params, one.version_id)]
    if len(alone) > 1:
        notes.append(
            f"{len(alone)} objects were made by backups and have no manifest, the newest is {alone[0].object}: they "
            "are no backups, and stay until prune_backups removes them"
        )
    return uploads + (alone if len(alone) == 1 else []), notes, making


def remove(client, params, one):
    """Abort the upload or delete the object; MendError when that is not allowed, or when it is no debris any more."""
    bucket = params["bucket"]
    if one.upload_id:
        abort(client, bucket, one.key, one.upload_id)
        return
    # long after it was found: its manifest may have come, or another object to its place
    again = [_object(bucket, backup) for backup in _alone(catalogue(client, bucket, one.key, params=params))]
    if one not in again or not is_made_here(client, bucket, one.key, params, one.version_id):
        raise MendError(f"{one.object}: it is another one by now, or has its manifest, and stays")
    delete(client, bucket, one.key, one.version_id)


def delete(client, bucket, key, version_id):
    """Delete an object that is no backup; MendError when that is not allowed."""
    pinned = {"VersionId": version_id} if version_id else {}
    s3.call(
        lambda: client.delete_object(Bucket=bucket, Key=key, **pinned),
        f"delete {place(bucket, key, version_id)}",
        "s3:DeleteObjectVersion" if version_id else "s3:DeleteObject",
        client.meta.endpoint_url,
        bucket,
        key,
    )


def _alone(found):
    """Return the backups of a Catalogue that are objects without a manifest."""
    return [backup for backup in found if backup.etag and backup.manifest_entry is None and not backup.deleted]


def _object(bucket, backup):
    name = f"{place(bucket, backup.key, backup.version_id)}, of {iso(backup.last_modified)}, without a manifest"
    return Debris(backup.key, name, version_id=backup.version_id, bytes=backup.size)


def _upload(bucket, upload):
    name = "unfinished upload of {}, of {}".format(place(bucket, upload["Key"]), iso(upload["Initiated"]))
    return Debris(upload["Key"], name, upload_id=upload["UploadId"])
