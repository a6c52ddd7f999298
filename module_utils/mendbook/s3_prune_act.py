# SPDX-License-Identifier: MIT
"""One removal in a bucket: looked at again at the moment of the deletion, then deleted piece by piece."""

from __future__ import annotations

import functools

from ansible.module_utils.mendbook import s3, s3_mark
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_backup import Entry, iso
from ansible.module_utils.mendbook.s3_catalogue import listing
from ansible.module_utils.mendbook.s3_errors import FAILURES, code_of, is_transient, place, status_of
from ansible.module_utils.mendbook.s3_options import sse_arguments


class Left(Exception):
    """Not done, or not whole: ``deleted`` pieces are gone, and ``error`` (MendError) says why the rest is not."""

    def __init__(self, deleted, error):
        super().__init__(error.msg)
        self.deleted, self.error = deleted, error


class Remover:
    """Deletes what Removals say; ``by_version`` for good, otherwise as a client that knows no versions does.

    ``with_versions`` says whether the pieces were listed with their versions.
    """

    def __init__(self, client, bucket, params, clock, *, by_version, with_versions):
        self._client, self._bucket, self._params, self._clock = client, bucket, params, clock
        self._by_version, self._with_versions = by_version, with_versions
        self._endpoint = client.meta.endpoint_url

    def remove(self, removal):
        """Delete the pieces of a Removal; return None, or why nothing of it was touched. Left when S3 says no.

        MendError when S3 does not answer: the rest would fare no better.
        """
        there, reason = self._look(removal)
        if reason:
            return reason
        deleted = 0
        for piece in there:
            try:
                replaced = self._delete(piece)
            except MendError as error:
                cause = error.__cause__
                if cause is None or status_of(cause) is None or is_transient(cause):
                    raise
                raise Left(deleted, error) from cause
            if replaced and not deleted:
                return replaced
            deleted += not replaced
        return None

    def _look(self, removal):
        """Return (the pieces that are still there, None), or ((), why the removal must not be done)."""
        about = removal.key or removal.pieces[0].key
        entries, markers = self._listing(about)
        user = s3_mark.users(entries, self._clock.now()).get(removal.key)
        if user:
            return (), f"run {user} reads it now"
        now_there = {_face(piece) for piece in (*entries, *markers)}
        there = [piece for piece in removal.pieces if _face(piece) in now_there]
        if not there:
            return (), "it is gone already"
        if there[0] is not removal.pieces[0]:
            return (), "it was replaced or removed meanwhile"
        locked = self.locked(there[0]) if isinstance(there[0], Entry) else None
        return there, locked

    def locked(self, entry):
        """Return in words what S3 keeps an object by (retention, legal hold), or None; asks as far as it may."""
        pinned = {"VersionId": entry.version_id} if entry.version_id else {}

        def head():
            return self._client.head_object(Bucket=self._bucket, Key=entry.key, **pinned, **sse_arguments(self._params))

        try:
            facts = s3.call(
                head,
                f"look at {place(self._bucket, entry.key, entry.version_id)}",
                "s3:GetObjectVersion" if pinned else "s3:GetObject",
                self._endpoint,
                self._bucket,
                entry.key,
            )
        except MendError as error:
            # without the permission, or the customer's key, S3 itself is left to say no to the deletion
            if error.__cause__ is not None and status_of(error.__cause__) in (400, 403, 404, 405):
                return None
            raise
        until = facts.get("ObjectLockRetainUntilDate")
        if facts.get("ObjectLockLegalHoldStatus") == "ON":
            return "it is under legal hold"
        if until and until > self._clock.now():
            return "its retention ({}) ends {}".format(facts.get("ObjectLockMode"), iso(until))
        return None

    def _delete(self, piece):
        """Delete one piece; return None, or why it was not: something else has taken its place."""
        if self._by_version:
            # what was there before the bucket began to keep versions has this one
            how, action = {"VersionId": piece.version_id or "null"}, "s3:DeleteObjectVersion"
        else:
            # S3 itself compares, at the moment of the deletion
            how, action = {"IfMatch": f'"{piece.etag}"'}, "s3:DeleteObject"
        ask = functools.partial(self._client.delete_object, Bucket=self._bucket, Key=piece.key)

        def delete():
            try:
                ask(**how)
            except FAILURES as error:
                if status_of(error) == 501 and "IfMatch" in how:
                    # a store without conditional deletes: the look right before has to do
                    ask()
                elif status_of(error) in (404, 412) and code_of(error) != "NoSuchBucket":
                    # gone: by a try before this one, whose answer got lost
                    return "it was replaced meanwhile" if self._is_live(piece.key) else None
                else:
                    raise
            return None

        doing = f"delete {place(self._bucket, piece.key, how.get('VersionId'))}"
        return s3.call(delete, doing, action, self._endpoint, self._bucket, piece.key)

    def _listing(self, key):
        return listing(self._client, self._bucket, key, with_versions=self._with_versions)[:2]

    def _is_live(self, key):
        return any(entry.key == key and entry.current and not entry.deleted for entry in self._listing(key)[0])


def _face(piece):
    """What of a listed piece must still be the same when it is deleted."""
    if isinstance(piece, Entry):
        return piece.key, piece.version_id, piece.etag, piece.size, piece.current, bool(piece.deleted)
    return piece.key, piece.version_id, "marker"
