# SPDX-License-Identifier: MIT
"""A stream of bytes becomes one object: sent in parts while it comes, no copy of it anywhere, all or nothing."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from . import s3
from .errors import MendError
from .s3_errors import FAILURES, place, status_of
from .s3_new import NewObject, Uploaded, content_md5
from .s3_options import check_store, sse_arguments, store_arguments
from .s3_upload_part import STALL_SECONDS, PartSender, Stopped

PART_BYTES = 8 << 20
MAX_PARTS = 10_000
IN_FLIGHT = 2
# the last resort, for an answer whose headers trickle: no deadline of the connection ends that
LONGEST_WAIT_SECONDS = s3.PATIENCE_SECONDS + 2 * STALL_SECONDS
_ABORT_SECONDS = 20
_LEAVE_SECONDS = 2


def part_bytes(expected_bytes):
    """Return the bytes of a part: whole MiB, at least 8, so many that nine in ten of the parts allowed are enough."""
    enough = -(-(expected_bytes or 0) // (MAX_PARTS * 9 // 10))
    return max(PART_BYTES, -(-enough // (1 << 20)) * (1 << 20))


class Upload:
    """One new object s3://bucket/key, made of what is written while the ``with`` block runs, by ``finish()``.

    ``params`` are the STORE_SPEC options and s3_sse_customer_key. ``expected_bytes`` should not be less than what
    comes: it decides the size of the parts, of which there are at most 10,000 (of 8 MiB each without it). In memory
    are the part that is being filled and at most two on their way. ``progress(bytes)`` is called by ``write`` and
    ``finish``, in their thread, with what S3 has taken so far.

    Entering raises `Refused` when the key exists; should it come to exist meanwhile, ``finish`` does. Leaving without
    ``finish`` aborts the upload; when that fails, too, the error says so, and so does ``left_behind`` (text or None).
    Attributes: ``name``, ``size`` (bytes written), ``bytes_sent`` (taken by S3), ``resent`` (parts sent again).
    """

    def __init__(self, client, bucket, key, params, *, expected_bytes=None, progress=None):
        check_store(params)
        self.name = place(bucket, key)
        self.size = self.bytes_sent = 0
        self.left_behind = None
        self._client, self._bucket, self._key, self._params = client, bucket, key, params
        self._object = NewObject(client, bucket, key, params, _action(params))
        self._part_bytes = part_bytes(expected_bytes)
        self._progress = progress or (lambda _bytes: None)
        self._sender = PartSender(client, {"Bucket": bucket, "Key": key, **sse_arguments(params)}, self._object)
        self._digest = hashlib.sha256()
        # hashlib releases the interpreter's lock, so the sum costs no time while parts are made and sent
        self._adder = ThreadPoolExecutor(1, "mend-s3-sum")
        self._pieces, self._gathered = [], 0
        self._begun = 0
        self._parts = {}
        self._failure = None
        self._changed = threading.Condition()
        self._threads = []
        self._creating = threading.Lock()
        self._upload_id = None
        self._finished = False

    @property
    def resent(self):
        return self._sender.resent

    def __enter__(self):
        self._object.refuse_existing()
        return self

    def __exit__(self, kind, error, trace):
        self._sender.stop()
        self._adder.shutdown(wait=False)
        deadline = time.monotonic() + _LEAVE_SECONDS
        try:
            for thread in self._threads:
                thread.join(max(0, deadline - time.monotonic()))
        finally:
            if self._upload_id and not self._finished:
                self._abort(error)

    def write(self, data):
        """Take the next bytes; waits while two parts are on their way. MendError when S3 takes no more."""
        self._raise_failure()
        at = 0
        while at < len(data):
            piece = bytes(data[at : at + self._part_bytes - self._gathered])
            self._pieces.append(piece)
            self._gathered += len(piece)
            at += len(piece)
            if self._gathered == self._part_bytes:
                self._send()
        self.size += len(data)

    def finish(self):
        """Send what is left, let S3 make the object, and return it as Uploaded, read back from S3."""
        if self._begun:
            if self._pieces:
                self._send()
            self._wait_for(0)
            arguments = {"MultipartUpload": {"Parts": [self._parts[number] for number in sorted(self._parts)]}}
            self._object.make(
                lambda **condition: self._client.complete_multipart_upload(
                    Bucket=self._bucket, Key=self._key, UploadId=self._upload_id, **arguments, **condition
                )
            )
        else:
            data = b"".join(self._pieces)
            self._digest.update(data)
            _put_new(self._client, self._bucket, self._key, data, self._object, store_arguments(self._params))
            self.bytes_sent = self.size
        self._finished = True
        self._progress(self.size)
        return self._object.read_back(self.size, self._digest.hexdigest())

    def _send(self):
        """Give what is gathered to a thread of its own, as soon as fewer than two are at work."""
        self._wait_for(IN_FLIGHT - 1)
        if self._begun == MAX_PARTS:
            raise MendError(
                f"{self.name} has grown beyond {MAX_PARTS} parts of {self._part_bytes} bytes, far more than was "
                "expected when it was begun. Run again.",
                rule="size",
            )
        data = b"".join(self._pieces)
        self._pieces, self._gathered = [], 0
        self._begun += 1
        summed = self._adder.submit(self._digest.update, data)
        thread = threading.Thread(
            target=self._work, args=(self._begun, data, summed), name="mend-s3-upload", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _wait_for(self, most):
        """Return when at most ``most`` parts are on their way; raises what stopped one."""
        began = time.monotonic()
        with self._changed:
            while self._begun - len(self._parts) > most and self._failure is None:
                self._changed.wait(1)
                waited = time.monotonic() - max(began, self._sender.last_step)
                if waited > LONGEST_WAIT_SECONDS:
                    raise MendError(f"S3 took nothing for {waited:.0f} seconds. Look at the store.", rule="s3")
        self._raise_failure()
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._progress(self.bytes_sent)

    def _raise_failure(self):
        if self._failure is not None:
            raise self._failure

    def _work(self, number, data, summed):
        try:
            with self._creating:
                # here and not in the caller's thread, where a signal could come between S3's answer and its keeping
                if self._upload_id is None:
                    self._upload_id = self._create()
            part = self._sender.send(self._upload_id, number, data)
            summed.result()
            with self._changed:
                self._parts[number] = part
                self.bytes_sent += len(data)
                self._changed.notify_all()
        except Stopped:
            return
        except BaseException as error:
            with self._changed:
                self._failure = self._failure or error
                self._changed.notify_all()
            self._sender.stop()

    def _create(self):
        arguments = dict(store_arguments(self._params), Metadata=self._object.metadata)
        return self._sender.patiently(
            lambda: self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key, **arguments)
        )["UploadId"]

    def _abort(self, error):
        try:
            abort(self._client, self._bucket, self._key, self._upload_id)
        except MendError as failure:
            self.left_behind = (
                f"What was already sent of {self.name} could not be removed: {failure.msg} "
                "It is no object and is not listed, but costs space until the next backup to this prefix removes it."
            )
            if error is None:
                raise
            if isinstance(error, MendError):
                error.msg = f"{error.msg} {self.left_behind}"
                error.args = (error.msg,)


def abort(client, bucket, key, upload_id):
    """End an unfinished upload and remove its parts; MendError when that cannot be done within about 20 seconds."""

    def ask():
        try:
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        except FAILURES as error:
            if status_of(error) != 404:
                raise

    doing, action = f"abort the upload of {place(bucket, key)}", "s3:AbortMultipartUpload"
    s3.call(ask, doing, action, client.meta.endpoint_url, bucket, key, s3.Patience(_ABORT_SECONDS))


def unfinished(client, bucket, prefix, is_ours):
    """Return the unfinished uploads under ``prefix`` whose key ``is_ours(key)`` accepts, and notes on what is unseen.

    Each is a dict {Key, UploadId, Initiated}. Credentials that may back up need not be allowed to look.
    """
    found, following = [], {}
    while following is not None:
        try:
            page = s3.call(
                lambda place_in_list=following: client.list_multipart_uploads(
                    Bucket=bucket, Prefix=prefix, **place_in_list
                ),
                f"list the unfinished uploads under {place(bucket, prefix)}",
                "s3:ListBucketMultipartUploads",
                client.meta.endpoint_url,
                bucket,
            )
        except MendError as error:
            if status_of(error.__cause__) not in (403, 405, 501):
                raise
            return found, [error.msg]
        found += [upload for upload in page.get("Uploads", []) if is_ours(upload["Key"])]
        markers = {"KeyMarker": page.get("NextKeyMarker"), "UploadIdMarker": page.get("NextUploadIdMarker")}
        following = {name: value for name, value in markers.items() if value} if page.get("IsTruncated") else None
    return found, []


def put_small(client, bucket, key, data, params, content_type="application/json", *, only_new=False, retain=False):
    """Write a small object (manifest, pointer, mark) and return it as Uploaded.

    It is encrypted as STORE_SPEC and s3_sse_customer_key say; ``retain`` gives it their object lock, too, and
    ``only_new`` refuses to write over another (`Refused`).
    """
    check_store(params)
    arguments = dict(store_arguments(params, small=True, retain=retain), ContentType=content_type)
    sha256 = hashlib.sha256(data).hexdigest()
    new = NewObject(client, bucket, key, params, _action(params))
    if only_new:
        _put_new(client, bucket, key, data, new, arguments)
        return new.read_back(len(data), sha256)

    def put():
        return client.put_object(Bucket=bucket, Key=key, Body=data, ContentMD5=content_md5(data), **arguments)

    answer = PartSender(client, {}, new).patiently(put)
    return Uploaded(key, answer.get("VersionId"), answer["ETag"].strip('"'), len(data), sha256)


def _put_new(client, bucket, key, data, new, arguments):
    arguments = dict(arguments, ContentMD5=content_md5(data), Metadata=new.metadata)
    new.make(lambda **condition: client.put_object(Bucket=bucket, Key=key, Body=data, **arguments, **condition))


def _action(params):
    """Return the permissions that writing an object needs with these options, for a message."""
    needed = ["s3:PutObject"]
    if params.get("object_lock_mode"):
        needed.append("s3:PutObjectRetention")
    if (params.get("server_side_encryption") or "").startswith("aws:kms"):
        needed.append("kms:GenerateDataKey")
    return ", ".join(needed)
