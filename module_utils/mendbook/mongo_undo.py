# SPDX-License-Identifier: MIT
"""Undo as one change: back to the data before a restore, end an interrupted swap, or drop what is kept for undo."""

from __future__ import annotations

import time
from collections import namedtuple
from contextlib import contextmanager

from .change import done
from .errors import Nothing, Refused, VerifyFailed
from .lock import holder
from .mongo import refusals
from .mongo_catalog import catalog
from .mongo_change import MongoChange
from .mongo_leftovers import drop_each, droppable, kept, size_of
from .mongo_marker import markers, read
from .mongo_options import check_database
from .mongo_privileges import missing_privileges, refuse_blind
from .mongo_swap import Swap
from .mongo_swap_state import all_in, classify
from .mongo_undo_plan import Observed, undo_plan
from .mongo_writers import counters, writers
from .progress import Progress

Client = namedtuple("Client", "deployment database")


class Undo(MongoChange):
    """The procedure of mend_mongo_undo (change.py says what each method promises)."""

    def __init__(self, params):
        super().__init__(params)
        self._seen = None
        self._markers = []
        self._names = []

    @contextmanager
    def open(self, params):
        check_database(params["database"], "mongo_undo_database")
        with self.connected(params) as deployment:
            yield Client(deployment, deployment.client[params["database"]])

    def observe(self, client):
        """See what would be changed; raises `Tampered` (unknown) when somebody else moved what the swap knows."""
        deployment, database = client
        refuse_blind(missing_privileges(deployment, database.name))
        # a plan looks for writers for a second; a run that acts has been told, and waits for nothing
        since, waiting = counters(deployment, database), {"seconds": 0} if self._lease else {}
        seen = catalog(database)
        found = markers(database, seen)
        action = self.params["action"]
        at_work = None if self._lease else holder(database)
        self._markers = self._chosen(found, kept(database, seen), at_work)
        swaps = action in ("undo", "finish")
        entries = [] if swaps else [(one, entry) for one in self._markers for entry in droppable(one, seen)]
        self._names = [entry.name for _, entry in entries]
        states = classify(self._markers[0].items, seen) if swaps and self._markers else []
        series = any(item["k"] == "ts" for item, _ in states) or any(entry.type == "timeseries" for _, entry in entries)
        writing, _ = writers(deployment, database, since=since, **waiting) if states else ([], None)
        self._seen = Observed(
            action=action,
            target={
                "kind": "mongodb",
                "id": deployment.target_id(database.name),
                "address": deployment.address,
                "facts": deployment.facts(),
            },
            deployment=deployment.identity(),
            database=database.name,
            markers=[marker.facts() for marker in self._markers],
            steps=[marker.entry["_id"] for marker in self._markers],
            states=states,
            counts=_counts(database, seen, states),
            dropped=[_dropped(database, marker, entry) for marker, entry in entries],
            below=_below(found, self._markers),
            writers=writing,
            unfit=refusals(deployment),
            missing=missing_privileges(deployment, database.name, timeseries=series) if states or entries else [],
            holder=at_work,
        )
        return self._seen

    def plan(self, observed, params):
        return undo_plan(observed)

    def act(self, client, plan, receipt):
        began = time.monotonic()
        with Progress(receipt) as progress:
            if self.params["action"] in ("undo", "finish"):
                swap = Swap(self._markers[0], self._lease)
                if self.params["action"] == "undo" and swap.phase != "undone":
                    swap.undo(progress)
                else:
                    swap.recover(finish=True, progress=progress)
                self._note(swap)
                for change in plan["changes"]:
                    yield done(change["op"], change["object"], count=change.get("count"))
            else:
                yield from self._drop(client.database, progress)
        self.figures["seconds"] = round(time.monotonic() - began, 3)

    def read_back(self, client, plan):
        database = client.database
        seen = catalog(database)
        if self.params["action"] not in ("undo", "finish"):
            left = sorted(set(self._names) & set(seen.by_name))
            if left:
                raise VerifyFailed(f"{left[0]} is still there", rule="read_back", details={"left": left})
            return {"dropped": len(self._names), "kept": kept(database, seen)}
        marker = read(database, self._markers[0].token)
        wanted = {"undone": "old", "swapped": "new"}.get(marker.phase)
        states = classify(marker.items, seen)
        if wanted is None or marker.interrupted or not all_in(states, wanted):
            raise VerifyFailed(
                f"the swap is {marker.phase} and not every object is {wanted}: run undo_restore_mongo again",
                rule="read_back",
                details={"states": {item["n"]: state for item, state in states}},
            )
        live = _counts(database, seen, states)
        return {"phase": marker.phase, "data": wanted, "objects": len(states), "documents": sum(live.values())}

    # -- what an action means

    def _chosen(self, found, listed, at_work):
        """Return the markers that the action is about; an empty list means that there is nothing to do."""
        action, token = self.params["action"], self.params.get("token")
        found = [marker for marker in found if not token or marker.token == token]
        if token and not found:
            raise Nothing(f"{self.params['database']} knows no restore with the token {token}", rule="token")
        interrupted = [marker for marker in found if marker.interrupted]
        if action in ("undo", "finish") and interrupted:
            if action == "finish" and interrupted[-1].phase == "undoing":
                raise Refused(
                    "an undo was interrupted, and it can only be finished as an undo: use mongo_undo_action=undo",
                    rule="action",
                )
            return interrupted[-1:]
        if action == "finish":
            return []
        if action == "undo":
            ended = [marker for marker in found if marker.phase in ("swapped", "undone")]
            return _undoable(ended[-1], token, self.params["database"]) if ended else []
        # what a living run builds is no ruin; whoever acts holds the lock, so then none is alive
        wanted = [one for one in listed if one["collections"] and (one["phase"] != "staging" or not at_work)]
        if action == "drop_expired":
            wanted = [one for one in wanted if one["expired"] or one["phase"] == "staging"]
        names = {one["token"] for one in wanted}
        return [marker for marker in found if marker.token in names]

    def _drop(self, database, progress):
        known = {one["name"]: one for one in self._seen.dropped}
        for number, marker in enumerate(self._markers):
            for one in drop_each(database, self._lease, marker):
                facts = known[one["name"]]
                yield done("-", f"{database.name}.{one['name']}", count=facts["count"], bytes=facts["bytes"])
            progress.update("drop", number + 1, len(self._markers), "restores")

    def _note(self, swap):
        for stray in swap.strays:
            self.warnings.append(
                f"documents that clients wrote into {stray['name']} during the swap are kept in {stray['kept_in']}"
            )
        self.warnings.extend(swap.notes)


def _undoable(marker, token, database_name):
    if marker.phase == "undone":
        return []
    if marker.entry["kept"] != "yes":
        raise Refused(
            f"the data from before the restore of run {marker.begun_by} was dropped ({marker.entry['at']:%F %T}): "
            "there is no way back to it; restore a backup instead",
            rule="kept",
        )
    newer = [
        one
        for one in markers(marker.database)
        if one.entry["number"] > marker.entry["number"] and one.phase not in ("undone", "staging")
    ]
    if newer:
        raise Refused(
            f"restore {token} is not the last one that is live in {database_name}: undo {newer[-1].token} first",
            rule="token",
        )
    return [marker]


def _below(found, chosen):
    """Return the facts of the restore that a further undo could take back, or ``None``."""
    number = chosen[0].entry["number"] if chosen else float("inf")
    older = [
        marker
        for marker in found
        if marker.phase == "swapped" and marker.entry["kept"] == "yes" and marker.entry["number"] < number
    ]
    return older[-1].facts() if older else None


def _counts(database, seen, states):
    """Return ``{name: documents}`` (buckets of a time-series) that are live now under the names of a swap."""
    counts = {}
    for item, _ in states:
        entry = seen.by_name.get(item["n"])
        if entry and entry.type != "view":
            name = item["n"] if entry.type == "collection" else "system.buckets." + item["n"]
            counts[item["n"]] = database[name].estimated_document_count()
    return counts


def _dropped(database, marker, entry):
    count = None
    if entry.type == "collection":
        count = database[entry.name].estimated_document_count()
    return {
        "name": entry.name,
        "type": entry.type,
        "uuid": str(entry.uuid) if entry.uuid else None,
        "count": count,
        "bytes": size_of(database, [entry]),
        "token": marker.token,
    }
