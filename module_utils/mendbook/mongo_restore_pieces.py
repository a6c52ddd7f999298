# SPDX-License-Identifier: MIT
"""Restore one collection at a time, for a server that has no room for a second copy of the whole database.

Each piece is a swap of its own, with its own marker (mongo_swap.py), so that a crash leaves every collection whole. The
old data of a piece is dropped when the new one is live and proven; that is why the whole backup is proven before the
first piece, and why the marker of each stays: it tells the next run what needs not be done again.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from .dump_metadata import Batch
from .dump_sums import DocumentSum
from .errors import Partial, Refused
from .mongo_content import Reader, data_place
from .mongo_ids import fold_for_server
from .mongo_marker import markers
from .mongo_restore_shape import as_in_backup
from .mongo_space import free_space
from .plan_text import bytes_text

# the server gives the space of a dropped collection back when its history is over, 5 minutes and a checkpoint later
_SPACE_SECONDS = 900
_LOOK_SECONDS = 2


class Proven(NamedTuple):
    """What the backup holds of one collection, in the words of `SwapGuards.refuse_differences`."""

    type: str
    count: int
    hex: str


def pieces(items, aside):
    """[(items, names to move aside)] as they are swapped: each collection alone, and at the end what needs no data."""
    views = [item for item in items if item.type == "view"]
    each = [([item], []) for item in items if item.type != "view"]
    return each + ([(views, aside)] if views or aside else [])


def restored_before(database, seen, source, items):
    """The targets that earlier runs restored from this very backup, and that still are what they were.

    By UUID, shape and count first; only where those agree every document is read and summed.
    """
    found = {}
    for marker in markers(database, seen):
        stored = marker.entry.get("backup") or {}
        if marker.phase == "swapped" and marker.entry["settled"] and stored.get("identity") == source.identity:
            sources = {target: [db, name] for db, name, target in stored["items"]}
            sums = stored["sums"]
            found.update(
                {
                    item["n"]: (sources[item["n"]], item["new"], *sums[item["side"]])
                    for item in marker.items
                    if item.get("side") in sums
                }
            )
    same, places = set(), {}
    shaped = as_in_backup(database, seen, items)
    for item in (item for item in items if item.target in shaped):
        live, known = seen.by_name.get(item.target), found.get(item.target)
        if item.type == "view":
            same.add(item.target)
        elif known and (list(item.source.key), live.uuid) == known[:2]:
            place = data_place(seen, item.target)
            if database.command({"count": place[0]})["n"] == known[2]:
                places[item.target] = place
    summed = Reader().fold_all(database, places)
    return same | {target for target, total in summed.items() if total.hex() == found[target][3]}


def prove_backup(source, items, expected, guards, progress):
    """Read the whole backup before anything is touched; MendError when it is damaged or not what its manifest says."""
    source.prove_bytes()
    dump = source.dump
    collections = {item.source.namespace: item.source for item in items if item.type != "view"}
    sums = {namespace: DocumentSum() for namespace in collections}
    for part in dump.iterate(include=frozenset(collections)):
        if isinstance(part, Batch):
            _data, total, count = fold_for_server(part.data)
            sums[part.namespace].add_folded(total, count, len(part.data))
        progress.update("prove the backup", dump.bytes_read, dump.size, "bytes")
        guards.must_stop()
    held = {
        collections[namespace].key: Proven(collections[namespace].type, total.count, total.hex())
        for namespace, total in sums.items()
    }
    guards.refuse_differences(held, expected)


def wait_for_space(deployment, database_name, needed, guards):
    """Return when the server has ``needed`` bytes, or cannot say; Refused when the wait is too long."""
    until = time.monotonic() + _SPACE_SECONDS
    while True:
        free = free_space(deployment, database_name)["free_bytes"]
        if free is None or free >= needed:
            return
        if time.monotonic() > until:
            raise Refused(
                f"the next collection needs about {bytes_text(needed)}, and the server has {bytes_text(free)} free, "
                f"{_SPACE_SECONDS // 60} minutes after the last one was dropped: free some, then run the restore again",
                rule="space",
            )
        guards.must_stop()
        time.sleep(_LOOK_SECONDS)


def stopped(error, restored, left):
    """What an error between two pieces means for the whole; ``restored`` and ``left`` are names of collections."""
    if not restored or error.reason in ("unknown", "partial"):
        return error
    everything = len(restored) + len(left)
    return Partial(
        f"stopped with {len(restored)} of {everything} collections restored ({', '.join(restored[:8])}), the "
        f"others are as they were ({', '.join(left[:8])}); run the same restore again to go on. {error.msg}",
        rule=error.rule,
        details={"restored": restored, "left": left, **error.details},
    )
