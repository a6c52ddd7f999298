# SPDX-License-Identifier: MIT
"""An object as one ordered stream: parallel ranged reads of one pinned version, resumed where they stopped, summed."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.mendbook.errors import MendError, VerifyFailed
from ansible.module_utils.mendbook.s3 import PATIENCE_SECONDS, Patience
from ansible.module_utils.mendbook.s3_errors import FAILURES, explain, place, status_of
from ansible.module_utils.mendbook.s3_options import sse_arguments
from ansible.module_utils.mendbook.s3_reference import reference

PART_BYTES = 4 << 20
WINDOW = 4
STALL_SECONDS = 30
# fewer bytes than this within STALL_SECONDS are a stall, too: a trickle must not hold a restore for days
_STEP_BYTES = 64 << 10


def object_source(client, backup, params, *, part_bytes=PART_BYTES, window=WINDOW, patience_seconds=PATIENCE_SECONDS):
    """Return the ObjectSource of a Backup; asks S3 what to compare with when the backup has no manifest.

    ``patience_seconds`` is how long a part may bring nothing new before the read fails.
    """
    if backup.etag is None:
        raise MendError(f"{place(backup.bucket, backup.key)} is not there: only its manifest is.", rule="key")
    known = reference(client, backup, params)
    return ObjectSource(client, backup, params, known, part_bytes, window, patience_seconds)


class ObjectSource:
    """The bytes of one version of an object, in order, as an iterable of ``bytes`` of up to ``part_bytes``.

    Whoever iterates must come to the end before anything destructive is done: only there VerifyFailed is raised when
    the size or the sum over every byte is not what ``compared_with`` promises. At most ``window`` parts are in memory,
    plus the one that is handed out. Each iteration reads anew, one at a time; leaving it early stops its threads.
    Attributes: ``name``, ``size`` (bytes), ``bytes_read`` (handed out so far, readable from any thread), ``sha256``
    (None before the end), ``compared_with`` (text, or None when there is nothing to compare with) and ``resumed``
    (how many reads were continued after a fault).
    """

    def __init__(
        self,
        client,
        backup,
        params,
        known,
        part_bytes=PART_BYTES,
        window=WINDOW,
        patience_seconds=PATIENCE_SECONDS,
    ):
        self.name = place(backup.bucket, backup.key, backup.version_id)
        self.size = backup.size
        self.bytes_read = 0
        self.sha256 = None
        self.compared_with = known.name
        self.resumed = 0
        self._client, self._backup, self._params, self._known = client, backup, params, known
        self._part_bytes, self._window, self._patience_seconds = part_bytes, window, patience_seconds

    def __iter__(self):
        self.bytes_read, self.sha256, self.resumed = 0, None, 0
        digest = hashlib.sha256()
        second = self._known.digest() if self._known.name else None
        fetch = _PartReader(self._client, self._backup, self._params, self._patience_seconds)
        parts = _Parts(fetch, self.size, self._part_bytes, self._window, self._patience_seconds)
        # hashlib releases the interpreter's lock, so the sum costs no time while the consumer works
        with contextlib.closing(parts), ThreadPoolExecutor(1, "mend-s3-sum") as adder:
            for part in parts:
                summed = adder.submit(_add, part, digest, second)
                self.bytes_read += len(part)
                self.resumed = fetch.resumed
                yield part
                summed.result()
        self.sha256 = digest.hexdigest()
        self._compare(second)

    def _compare(self, second):
        promised = (self._backup.manifest or {}).get("object", {}).get("size", self.size)
        if self.bytes_read != promised:
            msg = "{0} has {1} bytes, its manifest promises {2}. Use another backup."
            raise VerifyFailed(msg.format(self.name, self.bytes_read, promised), rule="checksum")
        if second is not None and second.result() != self._known.expected:
            msg = "{0} is damaged or was changed: its {1} bytes give {2}, {3} says {4}. Use another backup."
            facts = (self.name, self.bytes_read, second.result(), self._known.name, self._known.expected)
            raise VerifyFailed(msg.format(*facts), rule="checksum", details={"sha256": self.sha256})


def _add(part, digest, second):
    digest.update(part)
    if second is not None:
        second.update(part)


class _Stopped(Exception):
    """The stream was closed while a part was being read."""


class _PartReader:
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
            raise _Stopped from error
        self.resumed += 1
        try:
            patience.wait(error)
        except FAILURES as final:
            raise self._explain(final, patience.tries) from final
        if self._stop.is_set():
            raise _Stopped from error

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
                raise _Stopped
            piece = body.read1(min(length, 1 << 20))
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


class _Parts:
    """The parts of an object in order, read ahead by ``window`` threads; close() ends the threads."""

    def __init__(self, reader, size, part_bytes, window, patience_seconds):
        self._reader = reader
        self._ranges = [(start, min(size, start + part_bytes)) for start in range(0, size, part_bytes)]
        self._next = 0
        self._ready = {}
        self._failure = None
        self._closed = False
        self._room = window
        self._changed = threading.Condition()
        # the last resort, for an answer whose headers trickle: no deadline of the connection ends that
        self._longest_wait_seconds = patience_seconds + 2 * STALL_SECONDS
        self._threads = [
            threading.Thread(target=self._work, name="mend-s3-part", daemon=True)
            for _ in range(min(window, len(self._ranges)))
        ]
        for thread in self._threads:
            thread.start()

    def __iter__(self):
        for number in range(len(self._ranges)):
            yield b"".join(self._take(number))
            with self._changed:
                self._room += 1
                self._changed.notify_all()

    def close(self):
        """Stop reading; threads that are in the middle of an answer end at once."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        self._reader.stop()
        deadline = time.monotonic() + 1
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))

    def _take(self, number):
        began = time.monotonic()
        with self._changed:
            while number not in self._ready:
                if self._failure is not None:
                    raise self._failure
                waited = time.monotonic() - max(began, self._reader.last_step)
                if waited > self._longest_wait_seconds:
                    raise MendError(f"S3 brought nothing for {waited:.0f} seconds. Look at the store.", rule="s3")
                self._changed.wait(1)
                self._reader.cut_stalled()
            return self._ready.pop(number)

    def _work(self):
        while True:
            with self._changed:
                while not self._closed and self._failure is None and not self._room:
                    self._changed.wait()
                if self._closed or self._failure is not None or self._next == len(self._ranges):
                    return
                number, self._next = self._next, self._next + 1
                self._room -= 1
            try:
                pieces = self._reader.read(*self._ranges[number])
            except _Stopped:
                return
            except BaseException as error:
                with self._changed:
                    self._failure = self._failure or error
                    self._changed.notify_all()
                return
            with self._changed:
                if not self._closed:
                    self._ready[number] = pieces
                self._changed.notify_all()
