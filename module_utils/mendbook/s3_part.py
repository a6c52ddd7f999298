# SPDX-License-Identifier: MIT
"""One range of one pinned version of an object, read to its end through stalls, cuts and a busy store."""

from __future__ import annotations

import contextlib
import threading
import time

from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3 import Patience
from ansible.module_utils.mendbook.s3_errors import FAILURES, explain, place, status_of
from ansible.module_utils.mendbook.s3_options import sse_arguments

STALL_SECONDS = 30
# fewer bytes than this within STALL_SECONDS are a stall, too: a trickle must not hold a restore for days
_STEP_BYTES = 64 << 10


class Stopped(Exception):
    """The stream was closed while a part was being read."""


class PartReader:
    """Reads one range of the pinned version, continuing from the byte where a fault stopped it."""

    def __init__(self, client, backup, params, patience_seconds):
        self.resumed = 0
        self.last_step = time.monotonic()
        self._client, self._backup = client, backup
        self._patience_seconds = patience_seconds
        pinned = {"VersionId": backup.version_id} if backup.version_id else {"IfMatch": f'"{backup.etag}"'}
        self._arguments = dict(sse_arguments(params), Bucket=backup.bucket, Key=backup.key, **pinned)
        self._stop = threading.Event()
        self._bodies = {}

    def read(self, start, end):
        """Return the bytes start to end (exclusive) as a list of pieces; MendError when they cannot be had."""
        pieces, at, step = [], start, start
        patience = Patience(self._patience_seconds, unreachable_tries=None, sleep=self._stop.wait)
        while at < end:
            try:
                with self._open(at, end) as body:
                    for piece in self._pieces(body, end - at):
                        pieces.append(piece)
                        at += len(piece)
                        if at - step >= _STEP_BYTES:
                            step = at
                            patience.progressed()
            except FAILURES as error:
                self._again(patience, error)
        return pieces

    def cut_stalled(self):
        """Break the connections that brought almost nothing for STALL_SECONDS; their readers then try again."""
        now = time.monotonic()
        for body, since in dict(self._bodies).items():
            if now - since > STALL_SECONDS:
                _break(body)

    def stop(self):
        """End every read promptly; a read that still waits for the first byte of an answer ends with its deadline."""
        self._stop.set()
        for body in dict(self._bodies):
            _break(body)

    def _again(self, patience, error):
        if self._stop.is_set():
            raise Stopped from error
        self.resumed += 1
        try:
            patience.wait(error)
        except FAILURES as final:
            raise self._explain(final, patience.tries) from final
        if self._stop.is_set():
            raise Stopped from error

    @contextlib.contextmanager
    def _open(self, at, end):
        answer = self._client.get_object(Range=f"bytes={at}-{end - 1}", **self._arguments)
        with answer["Body"] as body:
            self._bodies[body] = time.monotonic()
            try:
                self._check(answer, at, end)
                yield body
            finally:
                del self._bodies[body]

    def _pieces(self, body, length):
        """Yield what the connection brings as it comes, so that nothing that arrived is asked for again."""
        in_step = 0
        while length:
            if self._stop.is_set():
                raise Stopped
            piece = body.read1(min(length, 256 << 10))
            if not piece:
                raise ConnectionError("the answer ended early")
            length -= len(piece)
            in_step += len(piece)
            if in_step >= _STEP_BYTES:
                in_step = 0
                self._bodies[body] = self.last_step = time.monotonic()
            yield piece

    def _check(self, answer, at, end):
        """Raise MendError unless the answer is this range of this object: not every store heeds If-Match and Range."""
        size = self._backup.size
        whole = (at, end) == (0, size)
        told = answer.get("ContentRange") or ("bytes 0-{0}/{0}" if whole else "nothing").format(size)
        same = self._backup.version_id or answer["ETag"].strip('"') == self._backup.etag
        if not same or not told.endswith(f"/{size}"):
            if told == "nothing":
                raise self._bad("the store does not answer ranges (it ignores the header Range)")
            raise self._bad("it was replaced while it was being read. Run again to use the new one")
        if not told.startswith(f"bytes {at}-") or answer["ContentLength"] != end - at:
            raise self._bad("the store sent another range than asked for")

    def _explain(self, error, tries):
        if status_of(error) == 412:
            return self._bad("it was replaced while it was being read. Run again to use the new one")
        if status_of(error) == 404:
            return self._bad("it was deleted while it was being read. Choose another backup")
        action = "s3:GetObjectVersion" if self._backup.version_id else "s3:GetObject"
        doing = f"read {place(self._backup.bucket, self._backup.key, self._backup.version_id)}"
        endpoint = self._client.meta.endpoint_url
        return explain(error, doing, action, endpoint, self._backup.bucket, self._backup.key, tries)

    def _bad(self, what):
        where = place(self._backup.bucket, self._backup.key, self._backup.version_id)
        return MendError(f"Cannot read {where}: {what}.", rule="s3")


def _break(body):
    # AttributeError: urllib3 before 2.3; the others: the answer has come to its end by itself
    with contextlib.suppress(AttributeError, ValueError, RuntimeError, OSError):
        body.shutdown()
