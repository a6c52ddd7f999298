# SPDX-License-Identifier: MIT
"""An object as one ordered stream: parallel ranged reads of one pinned version, resumed where they stopped, summed."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.mendbook.errors import MendError, VerifyFailed
from ansible.module_utils.mendbook.s3 import PATIENCE_SECONDS
from ansible.module_utils.mendbook.s3_errors import place
from ansible.module_utils.mendbook.s3_part import STALL_SECONDS, PartReader, Stopped
from ansible.module_utils.mendbook.s3_reference import reference

PART_BYTES = 4 << 20
WINDOW = 4


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
        fetch, parts = self._read_ahead(0, self.size)
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

    def read_range(self, start, length):
        """Return ``length`` bytes from ``start`` of the same version, fewer at the end of the object.

        They are compared with nothing: what is taken from here must be seen again when the object is iterated.
        """
        _fetch, parts = self._read_ahead(start, min(self.size, start + length))
        with contextlib.closing(parts):
            return b"".join(parts)

    def _read_ahead(self, start, end):
        fetch = PartReader(self._client, self._backup, self._params, self._patience_seconds)
        return fetch, _Parts(fetch, start, end, self._part_bytes, self._window, self._patience_seconds)

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


class _Parts:
    """The bytes start to end (exclusive) in order, read ahead by ``window`` threads; close() ends the threads."""

    def __init__(self, reader, start, end, part_bytes, window, patience_seconds):
        self._reader = reader
        self._ranges = [(at, min(end, at + part_bytes)) for at in range(start, end, part_bytes)]
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
            except Stopped:
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
