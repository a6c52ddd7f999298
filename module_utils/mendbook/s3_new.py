# SPDX-License-Identifier: MIT
"""A new object, made once and never over another, although answers of S3 get lost."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import secrets

from . import s3
from .errors import MendError, Refused, Unknown, VerifyFailed
from .s3_errors import FAILURES, code_of, explain, is_transient, place, shown, status_of
from .s3_options import sse_arguments

# in the object's metadata: which attempt made it, and for which place, because a copy keeps the metadata
_MARK = "mendbook-upload"
_PLACE = "mendbook-place"
# a last try after the longest deadline of a connection, even if that took all the patience
_LEAST_TRIES = 4
# what S3 says to credentials that may write and not look, and to a question that the store does not know
_NOT_TOLD = (400, 403, 405, 501)
_OPTION_CODES = ("InvalidRequest", "InvalidArgument", "InvalidStorageClass", "InvalidEncryptionAlgorithmError")


@dataclasses.dataclass(frozen=True)
class Uploaded:
    """An object as S3 tells of it after it was written; ``version_id`` is None in a bucket without versions."""

    key: str
    version_id: str | None
    etag: str
    size: int
    sha256: str


class NewObject:
    """One object to be made; its metadata name this attempt, so that it can be known again."""

    def __init__(self, client, bucket, key, params, action="s3:PutObject"):
        self.name = place(bucket, key)
        self.metadata = {_MARK: secrets.token_hex(16), _PLACE: _place_of(bucket, key)}
        self._client, self._bucket, self._key = client, bucket, key
        self._params = params
        self._action = action

    def refuse_existing(self):
        """Raise `Refused` when there is an object of this key."""
        if self._head() is not None:
            raise self._exists()

    def make(self, operation):
        """Call operation(**condition) until the object is there because of it; MendError when it cannot be made.

        `Unknown` when it may or may not be there, because S3 does not answer any more.
        """
        # for a store that ignores the condition
        self.refuse_existing()
        condition, lost = {"IfNoneMatch": "*"}, None
        patience = s3.Patience(s3.PATIENCE_SECONDS, None, least_tries=_LEAST_TRIES)
        while True:
            try:
                operation(**condition)
                return
            except FAILURES as error:
                if condition and status_of(error) == 501:
                    # a store that does not know the condition: a look right before has to do
                    self.refuse_existing()
                    condition = {}
                elif is_transient(error):
                    lost = error
                    if self._made_while_waiting(patience, error):
                        return
                elif status_of(error) in (404, 409, 412) and code_of(error) != "NoSuchBucket":
                    if self._is_made():
                        return
                    if lost is None:
                        raise self._not_made(error) from error
                    # S3 may still be at work on the try whose answer got lost
                    if self._made_while_waiting(patience, lost):
                        return
                else:
                    raise self.explain(error) from error

    def read_back(self, size, sha256):
        """Return Uploaded as S3 tells of the object; VerifyFailed when that is not what was sent."""
        head = self._head()
        if head is None or not self._is_ours(head) or head["ContentLength"] != size:
            found = "it is not there" if head is None else "it has {} bytes".format(head["ContentLength"])
            if head is not None and not self._is_ours(head):
                found = "something else was written over it"
            raise VerifyFailed(
                f"{self.name} was written with {size} bytes, and now {found}. See who else writes there.", rule="s3"
            )
        return Uploaded(self._key, head.get("VersionId"), head["ETag"].strip('"'), size, sha256)

    def explain(self, error, tries=1, doing="write"):
        """Return the MendError for what went wrong while the object or a part of it was written."""
        if code_of(error) in _OPTION_CODES:
            told = shown(error.response["Error"].get("Message", ""))
            return MendError(
                f"Cannot {doing} {self.name}: S3 refuses the request ({code_of(error)}: {told}). Check the storage "
                "class, the encryption and the object lock that were asked for: this bucket may not have them.",
                rule="s3",
                details={"code": code_of(error)},
            )
        endpoint = self._client.meta.endpoint_url
        return explain(error, f"{doing} {self.name}", self._action, endpoint, self._bucket, self._key, tries)

    def _made_while_waiting(self, patience, error):
        """Wait before the next try; when there is none, tell whether one of those before it was enough, or raise."""
        try:
            patience.wait(error)
            return False
        except FAILURES as final:
            failure = self.explain(final, patience.tries)
            try:
                made = self._is_made()
            except MendError:
                raise Unknown(f"{failure.msg} Whether the object is there now, S3 does not say.", rule="s3") from final
            if made:
                return True
            raise failure from final

    def _not_made(self, error):
        if self._head() is None:
            return self.explain(error)
        return self._exists()

    def _is_made(self):
        head = self._head(s3.Patience(s3.READ_SECONDS))
        return head is not None and self._is_ours(head)

    def _is_ours(self, head):
        return head.get("Metadata", {}).get(_MARK) == self.metadata[_MARK]

    def _exists(self):
        return Refused(
            f"{self.name} exists already, and a backup is never written over another: choose another key.",
            rule="exists",
        )

    def _head(self, patience=None):
        return head(self._client, self._bucket, self._key, self._params, patience=patience)


def head(client, bucket, key, params, version_id=None, patience=None):
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
    doing = f"look for {place(bucket, key, version_id)}"
    return s3.call(ask, doing, "s3:GetObject", endpoint, bucket, key, patience)


def is_made_here(client, bucket, key, params, version_id=None):
    """Whether there is such an object and it says that it was made here; False, too, where S3 may not tell us."""
    try:
        told = head(client, bucket, key, params, version_id)
    except MendError as error:
        if status_of(error.__cause__) not in _NOT_TOLD:
            raise
        return False
    return told is not None and was_made_here(told, bucket, key)


def was_made_here(head, bucket, key):
    """Whether the object of this HEAD was made by a NewObject of this very bucket and key, and is no copy of one."""
    return head.get("Metadata", {}).get(_PLACE) == _place_of(bucket, key)


def _place_of(bucket, key):
    # a key may have characters that metadata cannot have
    return hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()[:32]


def content_md5(data):
    """Return the Content-MD5 of bytes: the one sum that every store compares, and that object lock demands."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
