# SPDX-License-Identifier: MIT
"""What the target holds before and after a restore: counts for the plan, and the proof that the new data is live."""

from __future__ import annotations

from typing import NamedTuple

from pymongo import errors as driver

from .errors import VerifyFailed
from .mongo_catalog import catalog
from .mongo_content import Reader, data_place
from .mongo_marker import markers
from .mongo_restore_selection import RESTORABLE_SYSTEM
from .mongo_restore_shape import as_in_backup
from .mongo_swap_state import Tampered, all_in, classify

_UNAUTHORIZED = 13


def live_facts(deployment, database, seen):
    """{name: {type, uuid, count, bytes}} of the user's own collections; None is what this user may not know."""
    facts = {}
    restorable = {name: seen.by_name[name] for name in RESTORABLE_SYSTEM if name in seen.by_name}
    for name, entry in {**seen.live(), **restorable}.items():
        count, size = None, None
        if entry.type != "view":
            data_name, _uuid = data_place(seen, name)
            with deployment.deadline():
                count, size = _known_count(database, data_name), _size(database, data_name)
        facts[name] = {
            "type": entry.type,
            "uuid": str(entry.uuid) if entry.uuid else None,
            "count": count,
            "bytes": size,
        }
    return facts


def marker_backup(source, items, params, loaded):
    """What the swap's marker keeps of the backup: enough to know the same one again, and to compare content."""
    return {
        "name": source.facts["name"],
        "finished": source.facts.get("finished"),
        "identity": source.identity,
        "items": sorted([item.source.db, item.source.name, item.target] for item in items),
        "extra": params["extra"],
        "sums": {found.side: [found.count, found.hex] for found in loaded.values()},
    }


class LoadedBefore(NamedTuple):
    """What an earlier run loaded and proved, as its marker says."""

    uuid: bytes
    count: int
    bytes: None = None
    compared: int = 0
    proof: str = "by the run that was interrupted"


def loaded_before(marker):
    """{"database.name": LoadedBefore} of the swap that an interrupted run had prepared."""
    sums = marker.entry["backup"]["sums"]
    return {
        f"{marker.database.name}.{item['n']}": LoadedBefore(item["new"].bytes, sums[item["side"]][0])
        for item in marker.items
        if item.get("side") in sums and item["new"]
    }


def already_restored(database, seen, source, items, params):
    """True when the newest swap brought this very backup and what is live still is, to each document, what it was.

    Everything is read only when all the cheap signs agree.
    """
    found = [marker for marker in markers(database, seen) if marker.phase != "staging"]
    if not found or found[-1].phase != "swapped" or params["users"] or params["roles"]:
        return False
    marker = found[-1]
    stored, wanted = marker.entry.get("backup") or {}, marker_backup(source, items, params, {})
    if any(stored.get(name) != wanted[name] for name in ("identity", "items", "extra")):
        return False
    try:
        if not all_in(classify(marker.items, seen), "new"):
            return False
    except Tampered:
        return False
    if len(as_in_backup(database, seen, items)) < len(items):
        return False
    sums = stored.get("sums") or {}
    places = {item["side"]: data_place(seen, item["n"]) for item in marker.items if item.get("side") in sums}
    if len(places) != len(sums):
        return False
    if any(_count(database, place[0]) != sums[side][0] for side, place in places.items()):
        return False
    live = Reader().fold_all(database, places)
    return all([live[side].count, live[side].hex()] == sums[side] for side in places)


def read_back(database, items, loaded, strict):
    """Look at what is live after the swap; VerifyFailed when it is not what was loaded and proven.

    ``loaded`` maps "database.name" to Loaded. The swap only renames, so the same UUID means the same, proven documents;
    a time-series was filled anew and compared by the swap. ``strict``: nobody is writing, so counts must agree, too;
    only what has a TTL may be less already.
    """
    seen = catalog(database)
    documents, problems = 0, []
    for item in items:
        entry = seen.by_name.get(item.target)
        if entry is None or entry.type != item.type:
            problems.append(f"{item.target} is {'missing' if entry is None else 'a ' + entry.type}")
            continue
        found = loaded.get(f"{database.name}.{item.target}")
        if found is None:
            continue
        if item.type == "collection" and entry.uuid.bytes != bytes(found.uuid):
            problems.append(f"{item.target} has UUID {entry.uuid}, which is not that of the restored data")
        count = _count(database, data_place(seen, item.target)[0])
        if strict and not (count == found.count or count < found.count and _expires(found)):
            problems.append(f"{item.target} has {count} documents, {found.count} were restored")
        documents += count
    if problems:
        raise VerifyFailed(f"after the swap {problems[0]}", rule="read_back", details={"problems": problems[:100]})
    return {
        "collections": len(items),
        "documents": documents,
        "proof": sorted({found.proof for found in loaded.values()}),
        "compared": sum(found.compared for found in loaded.values()),
        "uuids": "as restored",
    }


def _expires(loaded):
    return bool(loaded.ttl) or loaded.expire_after_seconds is not None


def _count(database, name):
    """Documents by the collection's own count: exact after a clean start, and instant."""
    return database.command({"count": name})["n"]


def _known_count(database, name):
    try:
        return _count(database, name)
    except driver.OperationFailure as error:
        # the least roles may not look into the buckets of a time-series that is not restored
        if error.code != _UNAUTHORIZED:
            raise
        return None


def _size(database, name):
    try:
        found = list(database[name].aggregate([{"$collStats": {"storageStats": {}}}]))
    except driver.OperationFailure:
        return None
    return sum(one["storageStats"].get("size", 0) for one in found)
