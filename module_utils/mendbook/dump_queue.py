# SPDX-License-Identifier: MIT
"""A queue between threads that is bounded in bytes and wakes everybody when one side fails."""

from __future__ import annotations

import threading
from collections import deque


class Stopped(Exception):
    """The other side of a queue has left; nothing is wrong with this side."""


class ByteQueue:
    """First in, first out, holding about ``max_bytes``; a single larger item is let through when nothing is held.

    An item counts until somebody gets it; with ``until_released`` until ``release`` says that it is done with.
    ``end()`` says that nothing more will come; ``fail(error)`` makes every waiting and later ``put`` and ``get`` raise
    that error, so no thread is left waiting for one that has died.
    """

    def __init__(self, max_bytes, until_released=False):
        self._max_bytes = max_bytes
        self._until_released = until_released
        self._items = deque()
        self._bytes = 0
        self._ended = False
        self._error = None
        self._changed = threading.Condition()

    def put(self, item, size=0, timeout=None):
        """Wait for room, then add ``item`` that counts as ``size`` bytes; TimeoutError after ``timeout`` seconds."""
        with self._changed:
            while self._error is None and self._bytes and self._bytes + size > self._max_bytes:
                if not self._changed.wait(timeout):
                    raise TimeoutError
            if self._error is not None:
                raise self._error
            self._items.append((item, size))
            self._bytes += size
            self._changed.notify_all()

    def end(self):
        """Nothing more will be put; ``get`` raises Stopped when the queue is empty."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def fail(self, error):
        """Drop what is queued; every ``put`` and ``get`` raises ``error`` from now on (the first error stays)."""
        with self._changed:
            if self._error is None:
                self._error = error
            self._items.clear()
            self._bytes = 0
            self._changed.notify_all()

    def get(self, timeout=None):
        """The next item; raises Stopped after ``end()``, TimeoutError after ``timeout`` seconds without one."""
        with self._changed:
            while self._error is None and not self._items and not self._ended:
                if not self._changed.wait(timeout):
                    raise TimeoutError
            if self._error is not None:
                raise self._error
            if not self._items:
                raise Stopped
            item, size = self._items.popleft()
            if not self._until_released:
                self._bytes -= size
            self._changed.notify_all()
            return item

    def release(self, size):
        """What was got and put with this ``size`` takes no memory any more."""
        with self._changed:
            self._bytes = max(0, self._bytes - size)
            self._changed.notify_all()

    def __iter__(self):
        while True:
            try:
                yield self.get()
            except Stopped:
                return


def prefetch(blocks, max_bytes):
    """Yield what ``blocks`` yields, produced in a thread of its own; an error there is raised here.

    Inflating, checksums and network reads release the interpreter's lock, so this is real overlap. The thread ends
    with this generator, also when it is closed early.
    """
    queue = ByteQueue(max_bytes)

    def pump():
        try:
            for block in blocks:
                queue.put(block, len(block))
            queue.end()
        except BaseException as error:
            queue.fail(error)
        finally:
            close = getattr(blocks, "close", None)
            if close:
                close()

    thread = threading.Thread(target=pump, name="mendbook-prefetch", daemon=True)
    thread.start()
    try:
        yield from queue
    finally:
        queue.fail(Stopped())
        thread.join(5)
