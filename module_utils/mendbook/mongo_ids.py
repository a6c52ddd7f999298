# SPDX-License-Identifier: MIT
"""Documents as the server will keep them: it moves ``_id`` to the front and adds a missing one, which changes bytes.

Doing the same before the documents are sent makes their sum the one that is read back.
"""

from __future__ import annotations

from struct import Struct, pack

from bson import ObjectId
from xxhash import xxh3_128_intdigest as digest

from .bson_elements import elements
from .dump_sums import MODULUS
from .errors import MendError

_MASK = MODULUS - 1
_begin_at = Struct("<iBI").unpack_from  # length, type of the first element, the first 4 bytes of its name
_length_at = Struct("<i").unpack_from
_ID = int.from_bytes(b"_id\0", "little")
_BEGIN_BYTES = 9


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
    try:
        for element in elements(document):
            if element.name == b"_id":
                if element.start == 4:
                    return document
                moved = document[element.start : element.after]
                return b"".join((document[:4], moved, document[4 : element.start], document[element.after :]))
    except ValueError as error:
        raise MendError(f"a document of the dump is damaged: {error}", rule="archive") from error
    added = b"\x07_id\0" + ObjectId().binary
    return pack("<i", len(document) + len(added)) + added + document[4:]
