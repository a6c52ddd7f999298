# SPDX-License-Identifier: MIT
"""What killed backups have left in a bucket: unfinished uploads, and objects that never got their manifest.

None of it is a backup. It is looked for and removed by whoever holds the lock of the prefix, so nobody works on it.
"""

from __future__ import annotations

import dataclasses

from . import s3
from .errors import MendError
from .mongo_backup_key import is_made_key
from .s3_backup import iso
from .s3_errors import FAILURES, place, status_of
from .s3_new import was_made_here
from .s3_options import sse_arguments
from .s3_upload import abort, unfinished

# what S3 says to credentials that may write and not look, and to a question that the store does not know
_NOT_TOLD = (400, 403, 405, 501)


@dataclasses.dataclass(frozen=True)
class Debris:
    """An unfinished upload (``upload_id``) or an object without a manifest (``version_id`` where it has one)."""

    key: str
    object: str
    upload_id: str | None = None
    version_id: str | None = None
    bytes: int | None = None


def find(client, params, found, key):
    """Return ([Debris], notes) below the prefix, of any database; ``key`` is what the next backup will be called.

    ``found`` is the Catalogue of the prefix. An object counts only when it says of itself that a backup made it for
    this very place: a dump that somebody else has put there under such a name stays. And only when it is the only
    one: where manifests were deleted by mistake, the backups must not follow them.
    """
    bucket, prefix = params["bucket"], params["prefix"]

    def may_be_ours(one):
        return one == key or is_made_key(one, prefix)

    uploads, notes = unfinished(client, bucket, prefix, may_be_ours)
    alone = [
        backup
        for backup in found
        if backup.etag and backup.manifest_entry is None and not backup.deleted and may_be_ours(backup.key)
    ]
    alone = [_object(bucket, backup) for backup in alone if _is_ours(client, bucket, backup, params)]
    if len(alone) > 1:
        notes.append(
            f"{len(alone)} objects were made by backups and have no manifest, the newest is {alone[0].object}: they "
            "are no backups, and stay until prune_backups removes them"
        )
    return [_upload(bucket, upload) for upload in uploads] + (alone if len(alone) == 1 else []), notes


def remove(client, bucket, one):
    """Abort the upload or delete the object; MendError when that is not allowed."""
    if one.upload_id:
        abort(client, bucket, one.key, one.upload_id)
    else:
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


def head(client, bucket, key, params, version_id=None):
    """Return S3's HEAD of an object, or None when there is none."""
    pinned = {"VersionId": version_id} if version_id else {}

    def ask():
        try:
            return client.head_object(Bucket=bucket, Key=key, **pinned, **sse_arguments(params))
        except FAILURES as error:
            if status_of(error) == 404:
                return None
            raise

    endpoint = client.meta.endpoint_url
    return s3.call(ask, f"look at {place(bucket, key, version_id)}", "s3:GetObject", endpoint, bucket, key)


def _is_ours(client, bucket, backup, params):
    try:
        told = head(client, bucket, backup.key, params, backup.version_id)
    except MendError as error:
        if status_of(error.__cause__) not in _NOT_TOLD:
            raise
        return False
    return told is not None and was_made_here(told, bucket, backup.key)


def _object(bucket, backup):
    name = f"{place(bucket, backup.key, backup.version_id)}, of {iso(backup.last_modified)}, without a manifest"
    return Debris(backup.key, name, version_id=backup.version_id, bytes=backup.size)


def _upload(bucket, upload):
    name = "unfinished upload of {}, of {}".format(place(bucket, upload["Key"]), iso(upload["Initiated"]))
    return Debris(upload["Key"], name, upload_id=upload["UploadId"])
