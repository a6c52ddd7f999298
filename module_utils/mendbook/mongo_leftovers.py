# SPDX-License-Identifier: MIT
"""What swaps leave in a database: old data kept for undo, restored data that was taken back, ruins of dead runs.

Only what a marker claims is ours to drop. A collection with our prefix and no marker was made by somebody else and is
left alone; live data is protected by UUID whatever name it stands under.
"""

from __future__ import annotations

from pymongo.errors import OperationFailure, PyMongoError

from .errors import MendError
from .lock import server_now
from .mongo_catalog import BUCKETS, LOCK, Names, catalog, is_ours, refuse_our_prefix, token_of
from .mongo_marker import markers, read
from .mongo_swap import Swap
from .mongo_swap_steps import NOT_FOUND, UUID_MISMATCH, Steps


def kept(database, seen=None):
    """Return the swaps of a database with what they keep, the newest first, as JSON; reads only.

    Each has the marker's facts and ``collections`` (number), ``bytes`` (storage, ``None`` when it cannot be read),
    ``keeps`` ("old data", "new data", "ruins" or "nothing") and ``strays`` [{name, count}].
    """
    seen = seen or catalog(database)
    now = server_now(database)
    found = []
    for marker in reversed(markers(database, seen)):
        entries = droppable(marker, seen)
        strays = [entry for entry in entries if entry.name.startswith(f"__mend_s_{marker.token}_")]
        found.append(
            {
                **marker.facts(now),
                "collections": len(entries),
                "bytes": size_of(database, entries),
                "keeps": _keeps(marker, entries),
                "strays": [
                    {"name": one.name, "count": database[one.name].estimated_document_count()} for one in strays
                ],
            }
        )
    return found


def expired(database, seen=None):
    """Return those of `kept` whose time is over."""
    return [one for one in kept(database, seen) if one["expired"] and one["collections"] and not one["interrupted"]]


def foreign(database, seen=None):
    """Return the names with our prefix that no marker claims: they are somebody else's, and never touched."""
    seen = seen or catalog(database)
    claimed = {marker.token for marker in markers(database, seen)}
    return sorted(
        name
        for name in seen.by_name
        if is_ours(name) and not name.startswith(BUCKETS) and name != LOCK and token_of(name) not in claimed
    )


def clear(database, lease, progress=None):
    """Make room for a new swap: take back an interrupted one, drop ruins of dead runs and what is past its time.

    The lease says that their runs are dead. Returns the facts of what was dropped or taken back. Refuses when there
    are collections with our prefix that are not ours.
    """
    refuse_our_prefix(foreign(database))
    ended = []
    for marker in markers(database):
        if marker.interrupted:
            Swap(marker, lease).recover(finish=False, progress=progress)
            ended.append(marker.facts())
    now = server_now(database)
    for marker in markers(database):
        over = marker.entry["keep_until"] is not None and marker.entry["keep_until"] < now
        # what was taken back by a crash's recovery was never asked for by anybody
        if marker.phase == "staging" or over and marker.entry["kept"] != "no" or marker.entry["kept"] == "dropping":
            for _ in drop_each(database, lease, marker):
                pass
            ended.append(marker.facts())
        elif marker.entry["kept"] == "no" and not _is_live(marker, catalog(database)):
            steps = Steps(database, marker.token, lease)
            steps.drop(steps.names.marker)
    return ended


def _is_live(marker, seen):
    """Whether data that a swap has brought still stands under its name: then its marker says where it is from."""
    new = {item["n"]: item["new"] for item in marker.items if item["k"] != "v" and item["new"]}
    return any(name in seen.by_name and seen.by_name[name].uuid == uuid for name, uuid in new.items())


def discard(database, lease, swap):
    """Drop what is not live of a swap: all of it when it was never made live, the old data when it is live now.

    For the end of a restore that failed, and of one that keeps nothing. A failure to do so is left to the next run, and
    so is everything once the lock is lost: then the server is gone, or that next run is at work already.
    """
    try:
        lease.check()
        marker = read(database, swap.marker.token)
        if marker is not None and marker.phase == "prepared":
            fresh = Swap(marker, lease)
            fresh.undo()
            marker = fresh.marker
        if marker is not None and not marker.interrupted:
            for _ in drop_each(database, lease, marker):
                pass
    except (PyMongoError, MendError):
        pass


def drop_each(database, lease, marker, hook=None):
    """Drop what a swap keeps, each collection guarded by its UUID; yield ``{"name", "uuid"}`` after each.

    The marker says so first, so that nobody tries to undo with half of the old data. It goes with the last collection,
    unless its data is live: then it stays and says where the live data is from.
    """
    steps = Steps(database, marker.token, lease, hook)
    if marker.phase != "staging":
        steps.advance(marker, marker.phase, kept="dropping", keep_until=marker.entry["keep_until"])
    for entry in droppable(marker, catalog(database)):
        try:
            # the server refuses a UUID for a time-series and has none for a view; their names are only ours
            steps.drop(entry.name, entry.uuid if entry.type == "collection" else None)
        except OperationFailure as error:
            if error.code not in (NOT_FOUND, UUID_MISMATCH):
                raise
            continue
        yield {"name": entry.name, "uuid": str(entry.uuid) if entry.uuid else None}
    if marker.phase == "swapped" and not _superseded(database, marker):
        steps.advance(marker, marker.phase, kept="no", keep_until=marker.entry["keep_until"])
    else:
        steps.drop(steps.names.marker)


def droppable(marker, seen):
    """Return the entries of a swap that are not live data and not its marker."""
    live = {"swapped": "new", "undone": "old"}.get(marker.phase)
    safe = {item[live] for item in marker.items if item["k"] == "c"} if live else set()
    if marker.interrupted:
        return []
    names = Names(marker.database.name, marker.token)
    entries = seen.ours().get(marker.token, {})
    return [entry for entry in entries.values() if entry.name != names.marker and entry.uuid not in safe - {None}]


def _superseded(database, marker):
    return any(
        other.phase == "swapped" and other.entry["number"] > marker.entry["number"] for other in markers(database)
    )


def _keeps(marker, entries):
    if not entries:
        return "nothing"
    return {"swapped": "old data", "undone": "new data", "staging": "ruins"}.get(marker.phase, "both")


def size_of(database, entries):
    """Storage and indexes of what is kept; a time-series is counted by its buckets."""
    size = 0
    try:
        for entry in entries:
            if entry.type == "view":
                continue
            stats = next(database[entry.name].aggregate([{"$collStats": {"storageStats": {}}}]))["storageStats"]
            size += stats.get("totalSize", 0)
    except PyMongoError:
        return None
    return size
