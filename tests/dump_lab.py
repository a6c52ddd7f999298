"""Dumps in this process against a real server, and what is in them by a reader that is not mendbook's."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import bson
from ansible.module_utils.mendbook import mongo_dump
from ansible.module_utils.mendbook.mongo import Deployment, connect
from ansible.module_utils.mendbook.mongo_batch import NO_ROOM_IN_CACHE
from bson.codec_options import CodecOptions
from pymongo.database import Database
from pymongo.errors import WriteError

from restore_lab import RealDump
from waiting import until

RAW: CodecOptions[Any] = CodecOptions(document_class=bson.raw_bson.RawBSONDocument)


class Taken:
    """A dump that was taken: what the engine says of it, and its file."""

    def __init__(self, dumped: mongo_dump.Dumped, path: Path) -> None:
        self.dumped = dumped
        self.path = path
        self.contents = RealDump(path)

    def documents(self, database: str, name: str) -> Counter[bytes]:
        """The raw documents under this name; without an order, because an archive has none."""
        return Counter(self.contents.documents.get((database, name), []))

    def decoded(self, database: str, name: str) -> list[dict[str, Any]]:
        return [bson.decode(one) for one in self.contents.documents.get((database, name), [])]


@contextlib.contextmanager
def connected(uri: str, **params: Any) -> Iterator[Deployment]:
    """A deployment as a module opens it."""
    given = {"uri": uri, "connect_timeout_seconds": 30, "operation_timeout_seconds": 60, **params}
    with connect(given) as deployment:
        yield deployment


def take(
    uri: str,
    database: str,
    path: Path,
    *,
    params: dict[str, Any] | None = None,
    on_block: Callable[[int], None] | None = None,
    surveyed: Callable[[Any], None] | None = None,
    **options: Any,
) -> Taken:
    """Survey and dump into a file; ``on_block(number)`` is called after each block that was written."""
    blocks = 0

    def progress(documents: int, size: int) -> None:
        nonlocal blocks
        blocks += 1
        if on_block:
            on_block(blocks)

    with connected(uri, **(params or {})) as deployment, path.open("wb") as file:
        survey = mongo_dump.survey(deployment, database, params or {})
        if surveyed:
            surveyed(survey)
        dumped = mongo_dump.dump(deployment, database, survey, file.write, progress=progress, **options)
    return Taken(dumped, path)


def raw_documents(database: Database[Any], name: str) -> Counter[bytes]:
    """What an independent client reads of a collection: each document's own bytes."""
    return Counter(one.raw for one in database.get_collection(name, codec_options=RAW).find())


def insert_large(collection: Any, documents: Iterable[dict[str, Any]]) -> None:
    """Insert documents of many MiB, each when a server with little cache has room for it."""

    def inserted(document: dict[str, Any]) -> bool:
        try:
            collection.insert_one(document)
        except WriteError as error:
            if error.code != NO_ROOM_IN_CACHE:
                raise
            return False
        return True

    for document in documents:
        until(lambda document=document: inserted(document))


def fill(database: Database[Any], name: str, mebibytes: int) -> None:
    """So many documents of one MiB, with numbers as _id: more than the queues of a dump hold."""
    filler = bytes(1 << 20)
    for start in range(0, mebibytes, 8):
        some = range(start, min(mebibytes, start + 8))
        database[name].insert_many([{"_id": number, "filler": filler} for number in some])
