"""A small database with every kind of thing that a swap meets, and a picture of it by an independent client."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import signal
from collections.abc import Callable
from typing import Any, NoReturn

import pymongo
from ansible.module_utils.mendbook.mongo_swap import Swap
from ansible.module_utils.mendbook.mongo_ttl import PARKED_SECONDS
from bson import json_util

SERIES = {"timeseries": {"timeField": "t", "metaField": "m", "granularity": "minutes"}}
CLUSTERED = {"clusteredIndex": {"key": {"_id": 1}, "unique": True}}
# name: (options, documents in the old data, documents in the new data); None: not there on that side
COLLECTIONS: dict[str, tuple[dict[str, Any], int | None, int | None]] = {
    "plain": ({}, 40, 30),
    "capped": ({"capped": True, "size": 1 << 20, "max": 500}, 10, 20),
    "clustered": (CLUSTERED, 10, 20),
    "collated": ({"collation": {"locale": "de", "strength": 2}, "validator": {"a": {"$exists": True}}}, 10, 20),
    "emptied": ({}, 10, 0),
    "arriving": ({}, None, 10),
    "n" * 200: ({}, 10, 20),
    "obsolete": ({}, 10, None),
    "becomes_view": ({}, 10, None),
    "becomes_series": ({}, 10, None),
    "was_view": ({}, None, 10),
    "was_series": ({}, None, 10),
}
OLD_VIEWS = {
    "changed_view": {"viewOn": "plain", "pipeline": [{"$match": {"a": "old"}}]},
    "collated_view": {"viewOn": "plain", "pipeline": [], "collation": {"locale": "fr"}},
    "was_view": {"viewOn": "plain", "pipeline": []},
}
NEW_VIEWS = {
    "changed_view": {"viewOn": "plain", "pipeline": [{"$match": {"a": "new"}}]},
    "collated_view": {"viewOn": "plain", "pipeline": [], "collation": {"locale": "de"}},
    "becomes_view": {"viewOn": "plain", "pipeline": []},
}
TTL_SECONDS = 2_000_000_000
_NOON = dt.datetime(2026, 1, 1, 12)


class Held:
    """A lease that is surely ours: these tests kill the holder, and would have to wait for a real one to run out."""

    def __init__(self, run: str = "test") -> None:
        self.run = run
        self.fence = 1
        self.owner = f"{run}/{secrets.token_hex(4)}"

    def check(self) -> None:
        pass

    def confirm(self) -> None:
        pass


def fill_old(database: Any) -> None:
    """Drop the database and fill it with the old data."""
    database.client.drop_database(database.name)
    for name, (options, count, _) in COLLECTIONS.items():
        if count is not None:
            _collection(database, name, options, "old", count)
    for name in ("series", "was_series"):
        _series(database, name, "old")
    for name, definition in OLD_VIEWS.items():
        database.create_collection(name, **definition)


def prepared(database: Any, lease: Any, hook: Callable[[str], None] | None = None, token: str | None = None) -> Swap:
    """Build the new data beside the old one and prepare its swap."""
    swap = Swap.begin(database, lease, token=token, hook=hook)
    names = [name for name, (_, _, count) in COLLECTIONS.items() if count is not None]
    for name in names:
        options, _, count = COLLECTIONS[name]
        _collection(database, swap.names.side(name), options, "new", count or 0)
    for name in ("series", "becomes_series"):
        _series(database, swap.names.side(name), "new")
        names.append(name)
    swap.prepare(
        names,
        views=NEW_VIEWS,
        aside=["obsolete"],
        ttl={"plain": {"indexes": {"at_1": TTL_SECONDS}, "collection": None}},
        keep_seconds=3600,
    )
    return swap


def picture(database: Any) -> dict[str, Any]:
    """What clients see: hash, options, type and indexes of everything live; dbHash, because this server is ours."""
    hashes = database.command("dbHash")["collections"]
    seen = {}
    for entry in database.list_collections():
        name = entry["name"]
        if name.startswith(("__mend", "system.")):
            continue
        indexes = [] if entry["type"] == "view" else list(database[name].list_indexes())
        content = hashes.get(name)
        if entry["type"] == "timeseries":
            # the server gives a bucket another _id each time that the same data is inserted
            content = list(database[name].find(sort=[("_id", 1)]))
        seen[name] = (content, entry["type"], json_util.dumps([entry["options"], indexes], sort_keys=True))
    return seen


def both_pictures(database: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """All-old and all-new, as a swap that nothing disturbs makes them."""
    fill_old(database)
    old = picture(database)
    prepared(database, Held()).forward()
    return old, picture(database)


def in_child(work: Callable[[Any, Callable[[str], None]], None], uri: str, name: str, die_at: int) -> int:
    """Run ``work(database, hook)`` in a process that kills itself at step ``die_at``; the exit status of waitpid."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    _child(work, uri, name, die_at)


def _child(work: Callable[[Any, Callable[[str], None]], None], uri: str, name: str, die_at: int) -> NoReturn:
    steps = 0

    def hook(step: str) -> None:
        nonlocal steps
        steps += 1
        if steps == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        with pymongo.MongoClient(uri) as client:
            work(client[name], hook)
        os._exit(0)
    except BaseException:
        os._exit(1)


def _collection(database: Any, name: str, options: dict[str, Any], value: str, count: int) -> None:
    database.create_collection(name, **options)
    # on an empty collection an index costs nothing
    database[name].create_index("a")
    if name.endswith("plain"):
        ttl = TTL_SECONDS if name == "plain" else PARKED_SECONDS
        database[name].create_index("at", expireAfterSeconds=ttl)
    if count:
        database[name].insert_many([{"_id": number, "a": value, "at": _NOON} for number in range(count)])


def _series(database: Any, name: str, value: str) -> None:
    database.create_collection(name, **SERIES)
    database[name].create_index([("m", 1), ("t", 1)])
    measured = [
        {"_id": number, "t": _NOON + dt.timedelta(hours=number), "m": number % 9, "v": value} for number in range(60)
    ]
    database[name].insert_many(measured)
