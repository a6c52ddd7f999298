# SPDX-License-Identifier: MIT
"""Inserts raw batches of documents, without decoding them, and says exactly what went wrong.

pymongo sends the ``documents`` of a command as a document sequence and copies each element's ``raw`` unread, so one
element may carry thousands of documents. That is not documented: the server's ``n`` is checked for every batch, and
insert_many of single documents takes over when it is wrong.
"""

from __future__ import annotations

import time
from struct import Struct

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern
from pymongo import errors as driver

from .dump_metadata import shown
from .errors import MendError

DUPLICATE_KEY = 11000
UUID_MISMATCH = 361
# the largest documents fill a small server's cache until it has written those before them
NO_ROOM_IN_CACHE = 388
# Elections take up to 12 seconds; the driver itself waits for a primary inside each attempt.
_RETRY_PAUSES_SECONDS = (0.1, 0.5, 2, 5)
_CODEC = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_length_at = Struct("<i").unpack_from
_EMPTY = b"\x05\0\0\0\0"


class RawBatch(RawBSONDocument):
    """Whole BSON documents back to back, sent as one element of a command's document list."""

    def __init__(self, documents):
        super().__init__(_EMPTY)  # the parent checks that it is one document
        self._documents = documents

    @property
    def raw(self):
        return self._documents


class BatchWriter:
    """Inserts batches into collections of one database; shared by all workers."""

    def __init__(self, database, carrier=RawBatch):
        self._database = database
        self._carrier = carrier
        self._plain = database.with_options(write_concern=WriteConcern(w=1))
        self.fallback = False  # True once the raw carrier did not work with this pymongo

    def insert(self, collection, data, count, namespace, ordered=False, uuid=None):
        """Insert ``count`` documents; returns normally only when the server has every one of them.

        With ``uuid`` the server itself refuses a batch that comes when the collection is no longer that one: one that
        was still on its way when a load ended must not make the dropped collection again.

        A batch whose answer was lost, or for which there was no room in the server's cache yet, is sent again; a
        duplicate ``_id`` then means that the document had arrived. The order-free sum of the read-back decides in the
        end. Raises MendError with the namespace, the server's code and the first document's _id; what is wrong with the
        connection itself leaves as pymongo's error.
        """
        resent = False
        pauses = iter(_RETRY_PAUSES_SECONDS)
        while True:
            fallback = self.fallback  # as this sending sees it: another worker may change it meanwhile
            try:
                reply = self._send(collection, data, count, ordered and not resent, fallback, uuid)
            except driver.ConnectionFailure:
                if not _paused(pauses):
                    raise
                resent = True
                continue
            except driver.OperationFailure as error:
                raise _refused(error, data, namespace) from error
            if reply is None:
                # the carrier was not understood: some of it may have arrived
                self.fallback = resent = True
                continue
            # what has to keep its order is not filled up afterwards
            if not ordered and _has_no_room(reply) and _paused(pauses):
                resent = True
                continue
            if _complete(reply, data, count, namespace, resent):
                return
            if fallback:
                raise MendError(
                    f"{shown(namespace)}: the server took {reply.get('n')} of {count} documents and named no error",
                    rule="mongo_insert",
                )
            self.fallback = resent = True

    def _send(self, collection, data, count, ordered, fallback, uuid):
        """The server's reply, or None when this pymongo cannot send the raw carrier."""
        if fallback:
            return self._insert_many(collection, data, count, ordered)
        command = {
            "insert": collection,
            "documents": [self._carrier(data)],
            "ordered": ordered,
            "bypassDocumentValidation": True,
            "writeConcern": {"w": 1},
            **({"collectionUUID": uuid} if uuid else {}),
        }
        try:
            return self._database.command(command)
        except (BSONError, TypeError, AttributeError, BufferError, driver.DocumentTooLarge):
            return None

    def _insert_many(self, collection, data, count, ordered):
        documents = [RawBSONDocument(bytes(one)) for one in each(data)]
        try:
            self._plain[collection].insert_many(documents, ordered=ordered, bypass_document_validation=True)
        except driver.BulkWriteError as error:
            details = error.details
            return {
                "n": details["nInserted"],
                "writeErrors": details.get("writeErrors"),
                "writeConcernError": (details.get("writeConcernErrors") or [None])[0],
            }
        return {"n": count}


def each(data):
    """Yield every document of a batch as a memoryview."""
    view = memoryview(data)
    position = 0
    while position < len(view):
        length = _length_at(view, position)[0]
        yield view[position : position + length]
        position += length


def _paused(pauses):
    """Wait for the next of the pauses; False when there is none left."""
    pause = next(pauses, None)
    if pause is not None:
        time.sleep(pause)
    return pause is not None


def _has_no_room(reply):
    return any(error.get("code") == NO_ROOM_IN_CACHE for error in reply.get("writeErrors") or [])


def _complete(reply, data, count, namespace, resent):
    """True when all documents are there; False when some are missing without an error; raises for an error."""
    errors = reply.get("writeErrors") or []
    there = reply.get("n", 0)
    for error in errors:
        if resent and error.get("code") == DUPLICATE_KEY and list(error.get("keyPattern") or {"_id": 1}) == ["_id"]:
            there += 1
        else:
            raise _bad_document(error, len(errors), data, namespace)
    concern = reply.get("writeConcernError")
    if concern:
        raise MendError(
            f"{shown(namespace)}: the server wrote but could not confirm: {concern.get('errmsg')}",
            rule="mongo_insert",
            details={"code": concern.get("code")},
        )
    return there == count


def _bad_document(error, how_many, data, namespace):
    index, code = error.get("index", 0), error.get("code")
    if code == UUID_MISMATCH:
        return MendError(
            f"{shown(namespace)}: its side collection was dropped or replaced by someone else (code {code})",
            rule="side",
        )
    which = next((document for number, document in enumerate(each(data)) if number == index), None)
    identity = _identity(which)
    what = f"{shown(namespace)}: the document {identity} was refused with code {code}: {error.get('errmsg')}"
    if code == DUPLICATE_KEY:
        what = f"{shown(namespace)}: the dump has the document {identity} twice (code {code}, index _id_)"
    more = f"; {how_many - 1} more in the same batch" if how_many > 1 else ""
    return MendError(
        what + more,
        rule="mongo_duplicate" if code == DUPLICATE_KEY else "mongo_insert",
        details={"collection": shown(namespace), "code": code, "_id": identity, "refused": how_many},
    )


def _identity(document):
    """The _id of a raw document in words; what cannot be decoded is named by its length."""
    try:
        return f"_id {bson.decode(bytes(document), _CODEC)['_id']!r}"[:200]
    except (BSONError, KeyError, TypeError):
        return f"of {len(document or b'')} bytes without a readable _id"


def _refused(error, data, namespace):
    code = error.code
    if code == 22:  # InvalidBSON: the whole batch, the server does not say which document
        return MendError(
            f"{shown(namespace)}: the dump holds a damaged document; the server refused a batch of {len(data)} bytes "
            f"with code 22: {_message(error)}",
            rule="archive",
            details={"collection": shown(namespace), "code": 22},
        )
    if code == 13:
        return MendError(
            f"{shown(namespace)}: not allowed to insert with bypassDocumentValidation; the user needs the role restore "
            f"at admin, or dbAdmin and readWrite at the database ({_message(error)})",
            rule="mongo_privilege",
            details={"code": 13},
        )
    if code == 14031:
        return MendError(
            f"{shown(namespace)}: the server has no disk space left ({_message(error)})",
            rule="mongo_space",
            details={"code": code},
        )
    return MendError(
        f"{shown(namespace)}: the server refused a batch with code {code}: {_message(error)}",
        rule="mongo_insert",
        details={"collection": shown(namespace), "code": code},
    )


def _message(error):
    return (error.details or {}).get("errmsg") or str(error)
