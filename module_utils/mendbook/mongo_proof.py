# SPDX-License-Identifier: MIT
"""Reads a side collection back and compares it with what was sent."""

from __future__ import annotations

import threading
import time

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import errors as driver
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from xxhash import xxh3_128_intdigest as digest

from .errors import VerifyFailed
from .mongo_batch import each
from .mongo_ids import with_id_first
from .mongo_raw import sum_collection

PROOFS = ("full", "sample", "count")
# The server's words for a collection that is not the one that was made: gone, dropped while reading, another UUID.
_GONE = (26, 175, 361)
_RETRY_PAUSES_SECONDS = (0.5, 2, 5)
_SAMPLE_DOCUMENTS = 1000
# of a picked document only the _id is used: text that is not UTF-8 elsewhere in it must not stop the restore
_CODEC = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace")


class Sample:
    """Every n-th document of a collection, at most 1,000: its _id and its digest; n doubles as the collection grows."""

    def __init__(self):
        self._lock = threading.Lock()
        self._every = 1
        self._seen = 0
        self._picked = []  # (number, _id, digest)

    def pick(self, data):
        """Look at a batch of documents; several threads may."""
        with self._lock:
            for document in each(data):
                if self._seen % self._every == 0:
                    raw = with_id_first(bytes(document))
                    self._picked.append((self._seen, bson.decode(raw, _CODEC)["_id"], digest(raw)))
                    if len(self._picked) > _SAMPLE_DOCUMENTS:
                        self._every *= 2
                        self._picked = [pick for pick in self._picked if pick[0] % self._every == 0]
                self._seen += 1

    def __len__(self):
        return len(self._picked)

    def differing(self, collection):
        """The _ids of the picked documents that are missing or different in ``collection``."""
        wanted = {pick[2]: pick[1] for pick in self._picked}
        ids = list(wanted.values())
        for start in range(0, len(ids), 100):
            for reply in collection.find_raw_batches({"_id": {"$in": ids[start : start + 100]}}):
                for document in each(reply):
                    wanted.pop(digest(document), None)
        return list(wanted.values())


def prove(database, side, expected, proof, sample, on_documents):
    """Compare the side collection with ``expected`` (DocumentSum); raises VerifyFailed with both figures.

    ``on_documents(number)`` is called after each reply. A capped collection whose oldest documents were pushed out
    shows as fewer documents.
    """
    collection = database.get_collection(
        side.data, codec_options=_CODEC, read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern("local")
    )
    if proof == "full":
        found = _read(database, side, expected, on_documents)
        if found == expected:
            return
        if found.count == expected.count:
            raise VerifyFailed(
                f"{side.label}: {found.count} documents were read back, but with another content: sum {found.hex()}, "
                f"sent {expected.hex()}",
                rule="proof",
            )
        count = found.count
    else:
        count = collection.count_documents({})
        on_documents(count)
        differing = sample.differing(collection) if sample is not None and count == expected.count else []
        if differing:
            raise VerifyFailed(
                f"{side.label}: of the {len(sample)} documents that were looked at, {len(differing)} are not what was "
                f"sent, the first has _id {differing[0]!r}"[:400],
                rule="proof",
            )
    if count != expected.count:
        capped = " (a capped collection drops the oldest when it is full)" if side.collection.capped else ""
        raise VerifyFailed(
            f"{side.label}: {expected.count} documents were sent and {count} are there{capped}", rule="proof"
        )


def _read(database, side, expected, on_documents):
    """The sum of what is there; a lost connection starts the reading again."""
    average = expected.bytes // max(1, expected.count)
    for pause in (*_RETRY_PAUSES_SECONDS, None):
        try:
            return sum_collection(
                database, side.data, side.uuid, average, lambda documents, _size: on_documents(documents)
            )
        except driver.ConnectionFailure:
            if pause is None:
                raise
            time.sleep(pause)
        except driver.OperationFailure as error:
            if error.code not in _GONE:
                raise
            raise VerifyFailed(
                f"{side.label}: its side collection was dropped or replaced by someone else (code {error.code})",
                rule="side",
            ) from error
    raise AssertionError("unreachable")
