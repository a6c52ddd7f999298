# SPDX-License-Identifier: MIT
"""Reads whole collections raw: find and getMore whose replies are summed where they stand, never decoded.

pymongo's find_raw_batches makes one object per document on the way, which costs more than hashing them; and it has no
``collectionUUID``, without which a find on a collection that was renamed answers ok with nothing.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from struct import Struct

from bson import Int64
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import errors as driver
from pymongo import timeout
from xxhash import xxh3_128_intdigest as digest

from .bson_elements import elements
from .dump_sums import MODULUS, DocumentSum

# Larger replies cost more memory on both sides and are not faster.
_REPLY_BYTES = 2 << 20
_CLOSE_SECONDS = 3
_CODEC = CodecOptions(document_class=RawBSONDocument)
_MASK = MODULUS - 1
_length_at = Struct("<i").unpack_from


def sum_collection(database, name, uuid=None, document_bytes=1024, on_reply=None, session=None):
    """The DocumentSum of everything in collection ``name``, which must have the UUID ``uuid`` if one is given.

    ``document_bytes`` is the expected size of a document and decides how many the first reply may hold; later ones go
    by what came. ``on_reply(documents, bytes)`` is called after each reply. Raises pymongo's OperationFailure (361
    when the UUID is another one) and connection errors.
    """
    total = DocumentSum()
    find = {"find": name, "readConcern": {"level": "local"}}
    if uuid is not None:
        find["collectionUUID"] = uuid
    with closing(replies(database, find, total, document_bytes, session)) as arrays:
        for documents in arrays:
            added, count = fold_array(documents)
            total.add_folded(added, count, len(documents))
            if on_reply:
                on_reply(count, len(documents))
    return total


def replies(database, find, total, document_bytes=1024, session=None):
    """Yield the documents of each reply to the command ``find`` as they came: a BSON array, for `fold_array`.

    ``total`` is a DocumentSum that the caller adds each of them to: later replies go by the size of what came.
    The cursor is closed when the caller stops early.
    """
    command = {**find, "batchSize": _batch_size(document_bytes)}
    preference = database.read_preference
    cursor = 0
    with nullcontext(session) if session else database.client.start_session() as used:
        try:
            while True:
                reply = database.command(command, codec_options=_CODEC, session=used, read_preference=preference)
                cursor, documents = _cursor(_part(reply.raw, b"cursor"))
                del reply  # it may be large, and the next one is made while the caller still has the documents
                yield documents
                del documents
                if not cursor:
                    return
                size = _batch_size(total.bytes // total.count if total.count else document_bytes)
                command = {"getMore": Int64(cursor), "collection": find["find"], "batchSize": size}
        except BaseException:
            _close(database, find["find"], cursor, used)
            raise


def _batch_size(document_bytes):
    return max(1, min(100_000, _REPLY_BYTES // max(1, document_bytes)))


def _part(document, name):
    """The value of one field of a document, as a view: what pymongo gives is a copy."""
    view = memoryview(document)
    return next(view[one.value : one.after] for one in elements(view) if one.name == name)


def _cursor(reply):
    """(cursor id, the array of documents) of the ``cursor`` part of a reply."""
    cursor, documents = 0, memoryview(b"\x05\0\0\0\0")
    for element in elements(reply):
        if element.name == b"id":
            cursor = int.from_bytes(reply[element.value : element.after], "little", signed=True)
        elif element.name in (b"firstBatch", b"nextBatch"):
            documents = reply[element.value : element.after]
    return cursor, documents


def fold_array(array, keep=None):
    """(sum, count) of the documents in a BSON array of documents, as ``dump_sums.fold`` has it for a batch.

    ``keep(document)`` is called with a view of each.
    """
    view = memoryview(array)
    total = count = 0
    position, last = 4, len(view) - 1
    before, longer_at = 3, 10  # the type byte, the index in decimal, a zero byte
    while position < last:
        if count == longer_at:
            before += 1
            longer_at *= 10
        position += before
        length = _length_at(view, position)[0]
        document = view[position : position + length]
        total += digest(document)
        if keep:
            keep(document)
        position += length
        count += 1
    if position != last:
        raise ValueError("not an array of documents")
    return total & _MASK, count


def _close(database, name, cursor, session):
    if not cursor:
        return
    command = {"killCursors": name, "cursors": [Int64(cursor)]}
    try:
        # a member that is gone is not waited for
        with timeout(_CLOSE_SECONDS):
            database.command(command, session=session, read_preference=database.read_preference)
    except driver.PyMongoError:
        return  # the server drops it by itself in ten minutes
