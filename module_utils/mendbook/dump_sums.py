# SPDX-License-Identifier: MIT
"""The order-free sum of documents: xxh3-128 of each document's bytes, added modulo 2**128, and their number.

Two sets of documents with equal sums are equal for every accident (loss, doubles, truncation, changed bytes); against
forgery there is the SHA-256 of the whole object in the backup's manifest.
"""

from __future__ import annotations

from struct import Struct

from xxhash import xxh3_128_intdigest as digest

MODULUS = 1 << 128
_MASK = MODULUS - 1
_length_at = Struct("<i").unpack_from


def fold(buffer):
    """(sum, count) of the whole BSON documents that stand back to back in ``buffer`` (bytes or memoryview).

    Raises ValueError when the lengths do not add up to the buffer.
    """
    view = memoryview(buffer)
    total = count = position = 0
    end = len(view)
    while position + 4 < end:
        length = _length_at(view, position)[0]
        if length < 5 or position + length > end:
            break
        total += digest(view[position : position + length])
        position += length
        count += 1
    if position != end:
        raise ValueError(f"no whole document at byte {position} of {end}")
    return total & _MASK, count


class DocumentSum:
    """Adds up the documents of one collection; equal when sum and count are equal."""

    __slots__ = ("bytes", "count", "sum")

    def __init__(self, sum=0, count=0, bytes=0):
        self.sum = sum
        self.count = count
        self.bytes = bytes

    def add(self, buffer):
        """Add every document in ``buffer``; returns how many they were."""
        total, count = fold(buffer)
        self.add_folded(total, count, len(buffer))
        return count

    def add_folded(self, total, count, size):
        """Add what ``fold`` returned elsewhere for ``size`` bytes of documents."""
        self.sum = (self.sum + total) & _MASK
        self.count += count
        self.bytes += size

    def __eq__(self, other):
        if not isinstance(other, DocumentSum):
            return NotImplemented
        return (self.sum, self.count) == (other.sum, other.count)

    __hash__ = None

    def hex(self):
        """The sum as 32 hexadecimal digits, the form of the backup manifest."""
        return f"{self.sum:032x}"

    def __repr__(self):
        return f"DocumentSum({self.hex()}, count={self.count})"
