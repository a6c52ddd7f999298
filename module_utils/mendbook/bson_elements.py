# SPDX-License-Identifier: MIT
"""Walks over the elements of a BSON document without decoding their values."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

_length_at = Struct("<i").unpack_from
# bytes of a value by type; of the types below, what stands beside the bytes that the length in front counts
_FIXED = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
_AFTER_LENGTH = {0x02: 4, 0x05: 5, 0x0C: 16, 0x0D: 4, 0x0E: 4, 0x03: 0, 0x04: 0, 0x0F: 0}
_REGULAR_EXPRESSION = 0x0B


class Element(NamedTuple):
    """One field: where it begins (its type byte), where its value begins, and where the next field begins."""

    kind: int
    name: bytes
    start: int
    value: int
    after: int


def elements(document):
    """Yield every Element of ``document`` (bytes or memoryview); raises ValueError with the place of what is none."""
    position, end = 4, len(document) - 1
    while position < end:
        name_end = _zero(document, position + 1, end)
        value = name_end + 1
        after = value + _value_bytes(document, position, value)
        if name_end < 0 or after > end:
            raise _broken(position)
        yield Element(document[position], bytes(document[position + 1 : name_end]), position, value, after)
        position = after


def _value_bytes(document, position, start):
    kind = document[position]
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _AFTER_LENGTH and start + 4 <= len(document):
        length = _length_at(document, start)[0]
        if length >= 0:
            return length + _AFTER_LENGTH[kind]
    if kind == _REGULAR_EXPRESSION:
        second = _zero(document, start, len(document)) + 1
        after = _zero(document, second, len(document)) + 1
        if second and after:
            return after - start
    raise _broken(position)


def _zero(document, start, end):
    """The place of the next zero byte, or -1; a memoryview has no find of its own."""
    while start < end:
        found = bytes(document[start : min(start + 128, end)]).find(b"\0")
        if found >= 0:
            return start + found
        start += 128
    return -1


def _broken(position):
    return ValueError(f"no BSON element at byte {position}")
