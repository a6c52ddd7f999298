# SPDX-License-Identifier: MIT
"""One part of an upload, sent with its sum until S3 has it: through a busy store, cuts, stalls and flipped bits."""

from __future__ import annotations

import io
import threading
import time

from . import s3
from .errors import MendError
from .s3_errors import FAILURES, status_of
from .s3_new import content_md5

STALL_SECONDS = 30
# fewer bytes than this within STALL_SECONDS are a stall, too: a trickle must not hold a backup for days
_STEP_BYTES = 64 << 10
# on a slow line one try alone may take longer than all the patience
_LEAST_TRIES = 4


class Stopped(Exception):
    """The upload was left while a part was being sent."""


class PartSender:
    """Sends parts of one upload; ``send`` may be called by several threads, and ``stop`` ends them promptly."""

    def __init__(self, client, arguments, new):
        self.resent = 0
        self.last_step = time.monotonic()
        self._client, self._arguments, self._object = client, arguments, new
        self._stop = threading.Event()

    def send(self, upload_id, number, data):
        """Return what the completion must say of the part; MendError when S3 does not take it."""
        arguments = dict(self._arguments, UploadId=upload_id, PartNumber=number, ContentMD5=content_md5(data))
        tries = []

        def upload():
            self.resent += bool(tries)
            tries.append(number)
            return self._client.upload_part(Body=_Body(data, self), **arguments)

        answer = self.patiently(upload, number)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def patiently(self, operation, number=None):
        """Return operation(), tried again while S3 is busy or the wire breaks; MendError, or Stopped."""
        # S3 was there a moment ago, so one that nobody listens for is only away
        patience = s3.Patience(s3.PATIENCE_SECONDS, None, self._stop.wait, least_tries=_LEAST_TRIES)
        while True:
            if self._stop.is_set():
                raise Stopped
            try:
                return operation()
            except FAILURES as error:
                if self._stop.is_set():
                    raise Stopped from error
                try:
                    patience.wait(error)
                except FAILURES as final:
                    raise self._explain(final, patience.tries, number) from final

    def stop(self):
        """End every send promptly; one that waits for the answer of S3 ends with its deadline."""
        self._stop.set()

    def step(self):
        """Note that bytes are moving; raise Stopped when they must not any more."""
        if self._stop.is_set():
            raise Stopped
        self.last_step = time.monotonic()
        return self.last_step

    def _explain(self, error, tries, number):
        if number is not None and status_of(error) == 404:
            return MendError(
                f"Cannot write {self._object.name}: S3 does not know the upload any more. Another run or a rule of the "
                "bucket (AbortIncompleteMultipartUpload) has removed it.",
                rule="s3",
            )
        return self._object.explain(error, tries, "write" if number is None else f"write part {number} of")


class _Body(io.BytesIO):
    """The bytes of a part as the file that boto sends; reading it ends when the upload is left, or the wire is stuck.

    Being a file makes boto ask first (Expect: 100-continue), so that a store that refuses is heard before 8 MiB went.
    """

    def __init__(self, data, sender):
        super().__init__(data)
        self._sender = sender
        self._step_at, self._step_began = 0, time.monotonic()

    def read(self, size=-1):
        now, at = self._sender.step(), self.tell()
        if not self._step_at <= at < self._step_at + _STEP_BYTES:
            self._step_at, self._step_began = at, now
        elif now - self._step_began > STALL_SECONDS:
            raise ConnectionError("the part goes out slower than a stall")
        return super().read(size)

    def seek(self, offset, whence=0):
        self._step_at, self._step_began = -_STEP_BYTES, time.monotonic()
        return super().seek(offset, whence)
