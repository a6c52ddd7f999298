# SPDX-License-Identifier: MIT
"""Cuts a stream of bytes at the borders of BSON documents, without decoding them."""

from __future__ import annotations

from struct import Struct

import bson

from .dump_metadata import shown
from .errors import MendError

RULE = "archive"
# 16 MiB for a user's document and 16 KiB more for what the server adds to its own (oplog entries).
MAX_DOCUMENT_BYTES = (16 << 20) + (16 << 10)
TERMINATOR = -1
_length_at = Struct("<i").unpack_from


def cut(buffer, start, end, max_docs, max_bytes):
    """(position, count) after the longest run of whole documents in ``buffer[start:end]``.

    Stops before anything that is not a whole document ending in a zero byte, and before ``max_docs`` or ``max_bytes``
    are exceeded (a single larger document is let through).
    """
    count = 0
    position = start
    last = end - 5
    limit = start + max_bytes
    while position <= last and count < max_docs:
        length = _length_at(buffer, position)[0]
        after = position + length
        if length < 5 or after > end or buffer[after - 1]:
            break
        if after > limit and count:
            break
        position = after
        count += 1
    return position, count


class DocumentStream:
    """Reads documents from blocks of bytes; knows where it is, for messages.

    ``name`` is what the stream is called in messages; ``offset`` counts the bytes of the (inflated) stream.
    """

    def __init__(self, blocks, name):
        self.name = name
        self._blocks = iter(blocks)
        self._block = b""
        self._view = memoryview(b"")
        self._position = 0
        self._base = 0  # offset of the block's first byte

    @property
    def offset(self):
        return self._base + self._position

    def _next(self):
        """Replace the used-up block by the next one; False at the end of the stream."""
        for block in self._blocks:
            if len(block):
                self._base += len(self._block)
                self._block, self._view, self._position = block, memoryview(block), 0
                return True
        return False

    def at_end(self):
        """True when nothing is left."""
        return self._position >= len(self._block) and not self._next()

    def take(self, length, what, after=b""):
        """Exactly ``length`` bytes behind those in ``after``; ``what`` names them when the stream ends too early."""
        available = len(self._block) - self._position
        if available >= length and not after:
            part = self._view[self._position : self._position + length]
            self._position += length
            return part
        # copied as it comes: the blocks that hold a large document would take as much again
        whole, at, start = bytearray(len(after) + length), len(after), self.offset
        whole[:at] = after
        while at < len(whole):
            part = self._view[self._position : self._position + len(whole) - at]
            whole[at : at + len(part)] = part
            at += len(part)
            self._position += len(part)
            if at < len(whole) and not self._next():
                raise MendError(
                    f"{self.name} is truncated: it ends after {self.offset} bytes, in the middle of {what} that "
                    f"begins at byte {start}",
                    rule=RULE,
                )
        return memoryview(whole).toreadonly()

    def _length(self, what):
        """The length that stands in front of a document, checked, and the 4 bytes themselves; -1 at a terminator."""
        first = self.take(4, what)
        length = _length_at(first, 0)[0]
        if length != TERMINATOR and not 5 <= length <= MAX_DOCUMENT_BYTES:
            kind = f"impossible ({length})"
            if length > MAX_DOCUMENT_BYTES:
                kind = f"larger than a MongoDB document can be ({length} bytes)"
            raise MendError(
                f"{self.name} is damaged at byte {self.offset - 4}: the length of {what} is {kind}", rule=RULE
            )
        return length, first

    def document(self, what):
        """The next document decoded, or None at a terminator."""
        start = self.offset
        length, first = self._length(what)
        if length == TERMINATOR:
            return None
        raw = bytes(first) + bytes(self.take(length - 4, what))
        try:
            return bson.decode(raw)
        except (bson.errors.BSONError, ValueError, OverflowError) as error:
            raise MendError(
                f"{self.name} is damaged at byte {start}: {what} is not BSON ({error})", rule=RULE
            ) from error

    def batches(self, namespace, max_docs, max_bytes, terminated):
        """Yield (memoryview, count) until a terminator (``terminated``) or the end of the stream.

        A document that crosses the border of two blocks comes alone: copying one document is cheaper than joining
        blocks.
        """
        what = f"a document of {shown(namespace)}"
        while True:
            after, count = cut(self._block, self._position, len(self._block), max_docs, max_bytes)
            if count:
                view = self._view[self._position : after]
                self._position = after
                yield view, count
                continue
            if not terminated and self.at_end():
                return
            start = self.offset
            length, first = self._length(what)
            if length == TERMINATOR:
                if terminated:
                    return
                raise MendError(f"{self.name} is damaged at byte {start}: the length of {what} is -1", rule=RULE)
            document = self.take(length - 4, what, first)
            if document[-1]:
                raise MendError(
                    f"{self.name} is damaged: {what} at byte {start} does not end with a zero byte", rule=RULE
                )
            yield document, 1
            document = None  # it may be large, and the next one is made now
