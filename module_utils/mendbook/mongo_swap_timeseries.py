# SPDX-License-Identifier: MIT
"""A time-series in a swap: no rename, so it is copied bucket by bucket and compared before anything is dropped.

Not atomic: between the drop and the end of the copy clients see it missing, then filling. The data itself is safe at
every moment: what is dropped stands complete, and compared, on its shelf (``aside`` for old data, ``side`` for new).
"""

from __future__ import annotations

from .dump_sums import DocumentSum
from .mongo_catalog import BUCKETS, catalog, pack, unpack
from .mongo_swap_state import Tampered
from .mongo_swap_steps import DURABLE, copy_into, raw_batches, split

_COPIES = 3


def shelve(steps, name, shelf, options):
    """Copy the time-series ``name`` to ``shelf`` and compare; return the sum of what now stands there."""
    for _ in range(_COPIES):
        if shelf in catalog(steps.database).by_name:
            steps.drop(shelf)
        _create(steps, shelf, options)
        _copy(steps, name, shelf)
        copied = total(steps.database, shelf)
        # writers go on: only when nothing was written meanwhile are both the same
        if copied == total(steps.database, name):
            return copied
    raise Tampered(
        f"the time-series {name} is written faster than it can be copied: stop its writers and try again; live data is "
        "as it was",
        details={"name": name},
    )


def replace(steps, marker, item, wanted, known, older=()):
    """Bring ``item`` into the state ``wanted`` ("old" or "new"); may be run again after a crash at any point.

    ``older`` are the markers of swaps below this one: when this one puts its old data back, that is their new data,
    and it has another UUID than they know.
    """
    other = {"old": "new", "new": "old"}[wanted]
    shelves = {"old": item["aside"], "new": item["side"]}
    name = item["n"]
    uuid = catalog(steps.database).bucket_uuid(name)
    if uuid is not None and uuid == item[wanted]:
        return
    if uuid is not None and uuid == item[other]:
        _refresh_shelf(steps, marker, item, other, shelves[other])
    elif uuid is not None and uuid != item["making"] and not _empty(steps.database, name):
        # what a crash can leave without a note has no documents in it yet
        raise Tampered(
            f"the time-series {name} (bucket UUID {uuid}) is neither the old one ({item['old']}) nor the new one "
            f"({item['new']}): nothing was touched",
            details={"name": name, "live": str(uuid), "old": str(item["old"]), "new": str(item["new"])},
        )
    options = item[f"options_{wanted}"]
    if options is not None:
        _check_shelf(steps, name, shelves[wanted], item[f"sum_{wanted}"])
    if uuid is not None:
        steps.drop(name)
    if options is None:
        return
    steps.clear(name, known)
    _create(steps, name, unpack(options))
    made = catalog(steps.database).bucket_uuid(name)
    before = {item[wanted], item["making"]}
    steps.mark(marker, item, making=made)
    _copy(steps, shelves[wanted], name)
    if not _holds(steps.database, name, shelves[wanted]):
        raise Tampered(
            f"the copy of the time-series {name} is not what it was copied from: run undo_restore_mongo with "
            "mongo_undo_action finish or undo",
            details={"name": name},
        )
    for marker_below in older if wanted == "old" else ():
        for one in marker_below.items:
            if one["k"] == "ts" and one["n"] == name and one["new"] in before:
                steps.mark(marker_below, dict(one), new=made)
    steps.mark(marker, item, **{wanted: made, "making": None})


def total(database, name):
    """Return the order-free sum of the raw buckets of a time-series as text, with their number."""
    return _sum_of(raw_batches(database[BUCKETS + name]))


def _holds(database, name, shelf):
    """Tell whether every bucket of ``shelf`` is in ``name``, byte for byte; clients may have added others meanwhile."""
    for batch in raw_batches(database[BUCKETS + shelf]):
        ids = [document["_id"] for document in split(batch)]
        found = database[BUCKETS + name].find_raw_batches({"_id": {"$in": ids}})
        if _sum_of([batch]) != _sum_of(found):
            return False
    return True


def _sum_of(raw):
    summed = DocumentSum()
    for batch in raw:
        summed.add(batch)
    return f"{summed.hex()}/{summed.count}"


def _refresh_shelf(steps, marker, item, side, shelf):
    """What was written since the shelf was filled belongs on it, too."""
    if total(steps.database, item["n"]) != item[f"sum_{side}"]:
        copied = shelve(steps, item["n"], shelf, unpack(item[f"options_{side}"]))
        steps.mark(marker, item, **{f"sum_{side}": copied})


def _check_shelf(steps, name, shelf, expected):
    entry = catalog(steps.database).by_name.get(shelf)
    if entry is None or entry.type != "timeseries" or total(steps.database, shelf) != expected:
        raise Tampered(
            f"the copy of the time-series {name} in {shelf} is missing or changed: nothing was touched",
            details={"name": name, "shelf": shelf},
        )


def _create(steps, name, options):
    # its own TTL would delete what is kept or has just been restored; the swap sets it at the end
    awake = {key: value for key, value in options.items() if key != "expireAfterSeconds"}
    steps.command({"create": name, **awake}, f"create {name}")


def _copy(steps, source, target):
    """Copy indexes and raw buckets: what is inserted again as measurements gets other buckets."""
    indexes = [dict(index) for index in steps.database[source].list_indexes()]
    present = {pack(index["key"]) for index in steps.database[target].list_indexes()}
    missing = [index for index in indexes if pack(index["key"]) not in present]
    if missing:
        # on an empty collection a build costs nothing
        steps.lease.check()
        steps.database.command({"createIndexes": target, "indexes": missing})
    buckets = steps.database.get_collection(BUCKETS + target, write_concern=DURABLE)
    for batch in raw_batches(steps.database[BUCKETS + source]):
        steps.lease.check()
        copy_into(buckets, split(batch))
    steps.hook(f"copy {target}")


def _empty(database, name):
    return database[BUCKETS + name].find_one({}, {"_id": 1}) is None
