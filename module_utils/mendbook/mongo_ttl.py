# SPDX-License-Identifier: MIT
"""TTL indexes of data that must not expire: they sleep on a side collection and on old data kept for undo.

The server's TTL monitor deletes within a minute what is expired, also in a collection that nobody reads yet. So new
data is built with TTL indexes of 68 years and gets the real values as the last step of a swap; the old data that a
swap keeps is put to sleep in the same way, and wakes when it comes back.
"""

from __future__ import annotations

from pymongo.errors import OperationFailure

from .mongo_catalog import CODEC

PARKED_SECONDS = 2147483647
_GONE = {26: "the collection is gone", 27: "the index is gone", 361: "another collection stands there now"}


def ttl_of(database, entry):
    """Return the TTL values of a live entry: ``{"indexes": [[name, seconds]], "collection": seconds or None}``."""
    indexes = []
    if entry.type == "collection":
        for index in database.with_options(codec_options=CODEC)[entry.name].list_indexes():
            seconds = index.get("expireAfterSeconds")
            if seconds is not None and seconds != PARKED_SECONDS:
                indexes.append([index["name"], seconds])
    return {"indexes": indexes, "collection": entry.options.get("expireAfterSeconds")}


def settle(steps, marker):
    """Put the data that is kept to sleep, then wake what is live now; return what could not be, in words.

    May be run again: the values stand in the marker. Collections are found by UUID, so nothing that somebody has put
    in their place since is changed.
    """
    live, kept = ("new", "old") if marker.phase == "swapped" else ("old", "new")
    shelf = {"old": "aside", "new": "side"}[kept]
    notes = []
    for item in marker.items:
        if item["k"] == "c" and item[kept] is not None:
            for name, _ in item[f"ttl_{kept}"]["indexes"]:
                notes += _set_index(steps, item[shelf], item[kept], name, PARKED_SECONDS)
            if item[f"ttl_{kept}"]["collection"] is not None:
                notes += _set_collection(steps, item[shelf], item[kept], "off")
    for item in marker.items:
        if item["k"] != "v" and item[live] is not None:
            for name, seconds in item[f"ttl_{live}"]["indexes"]:
                notes += _set_index(steps, item["n"], item[live], name, seconds)
            if item[f"ttl_{live}"]["collection"] is not None:
                notes += _set_collection(steps, item["n"], item[live], item[f"ttl_{live}"]["collection"])
    return notes


def _set_index(steps, collection, uuid, index, seconds):
    change = {"index": {"name": index, "expireAfterSeconds": seconds}}
    return _set(steps, collection, uuid, change, f"TTL index {index} of {collection}")


def _set_collection(steps, collection, uuid, seconds):
    return _set(steps, collection, uuid, {"expireAfterSeconds": seconds}, f"TTL of {collection}")


def _set(steps, collection, uuid, change, what):
    try:
        steps.command({"collMod": collection, **change, "collectionUUID": uuid}, f"ttl {collection}")
    except OperationFailure as error:
        if error.code not in _GONE:
            raise
        return [f"{what}: {_GONE[error.code]}"]
    return []
