# SPDX-License-Identifier: MIT
"""Documents as the server will keep them: it moves ``_id`` to the front and adds a missing one, which changes bytes.

Doing the same before the documents are sent makes their sum the one that is read back.
"""

from __future__ import annotations

from struct import Struct, pack

from bson import ObjectId
from xxhash import xxh3_128_intdigest as digest

from .dump_sums import MODULUS
from .errors import MendError

_MASK = MODULUS - 1
_begin_at = Struct("<iBI").unpack_from  # length, type of the first element, the first 4 bytes of its name
_length_at = Struct("<i").unpack_from
_ID = int.from_bytes(b"_id\0", "little")
_BEGIN_BYTES = 9
# bytes of a value by type; types with a length in front are below
_FIXED = {
    0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0,
}  # fmt: skip
_AFTER_LENGTH = {0x02: 4, 0x05: 5, 0x0C: 16, 0x0D: 4, 0x0E: 4, 0x03: 0, 0x04: 0, 0x0F: 0}


def fold_for_server(data):
    """(data, sum, count): the batch as the server will keep it; the same object when every _id stands first already.

    Raises MendError for a document that is not BSON.
    """
    view = memoryview(data)
    total = count = position = 0
    end = len(view)
    while position + _BEGIN_BYTES <= end:
        length, _kind, name = _begin_at(view, position)
        if name != _ID:
            return _fold_slowly(view)
        total += digest(view[position : position + length])
        position += length
        count += 1
    if position != end:  # an empty document at the end
        return _fold_slowly(view)
    return data, total & _MASK, count


def _fold_slowly(view):
    documents, total, position = [], 0, 0
    while position < len(view):
        length = _length_at(view, position)[0]
        document = with_id_first(bytes(view[position : position + length]))
        documents.append(document)
        total += digest(document)
        position += length
    return memoryview(b"".join(documents)), total & _MASK, len(documents)


def with_id_first(document):
    """The document's bytes with ``_id`` as first element; a new ObjectId where it has none."""
    position, end = 4, len(document) - 1
    while position < end:
        name_end = document.find(b"\0", position + 1, end)
        after = name_end + 1 + _value_bytes(document, position, name_end + 1)
        if name_end < 0 or after > end:
            raise _broken(position)
        if document[position + 1 : name_end] == b"_id":
            if position == 4:
                return document
            return b"".join((document[:4], document[position:after], document[4:position], document[after:]))
        position = after
    element = b"\x07_id\0" + ObjectId().binary
    return pack("<i", len(document) + len(element)) + element + document[4:]


def _value_bytes(document, position, start):
    kind = document[position]
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _AFTER_LENGTH and start + 4 <= len(document):
        length = _length_at(document, start)[0]
        if length >= 0:
            return length + _AFTER_LENGTH[kind]
    if kind == 0x0B:  # a regular expression: two C strings
        second = document.find(b"\0", start) + 1
        after = document.find(b"\0", second) + 1
        if second and after:
            return after - start
    raise _broken(position)


def _broken(position):
    return MendError(f"a document of the dump is damaged at its byte {position}: no BSON element there", rule="archive")
