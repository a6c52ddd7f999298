# SPDX-License-Identifier: MIT
"""Restore as one change: load the backup beside the live data, prove it, swap, read back."""

from __future__ import annotations

import time
from collections import namedtuple
from contextlib import contextmanager, nullcontext

from . import mongo_scratch
from .change import done
from .dump_metadata import ACCESS_NAMES
from .errors import MendError, Refused
from .lock import holder
from .memory import share_one_heap
from .mongo import refusals
from .mongo_access import access_in, check_access
from .mongo_catalog import catalog, refuse_our_prefix
from .mongo_change import MongoChange
from .mongo_leftovers import clear, discard, drop_each, expired, foreign
from .mongo_marker import interrupted
from .mongo_privileges import missing_privileges, refuse_blind
from .mongo_restore_options import check_options
from .mongo_restore_pieces import pieces, prove_backup, restored_before, stopped, wait_for_space
from .mongo_restore_plan import ACCESS, Observed, extra, piece_bytes, restore_plan
from .mongo_restore_replace import Replacement
from .mongo_restore_selection import select, source_database
from .mongo_restore_source import data_bytes, data_shares, open_backup
from .mongo_restore_state import already_restored, live_facts, loaded_before, marker_backup, read_back
from .mongo_space import free_space
from .mongo_swap import Swap
from .mongo_writers import counters, writers
from .progress import Progress

Client = namedtuple("Client", "deployment database source")


class Restore(MongoChange):
    """The procedure of mend_mongo_restore (change.py says what each method promises)."""

    def __init__(self, params):
        super().__init__(params)
        self._seen = None
        self._counters = None
        self._replacement = None

    @contextmanager
    def open(self, params):
        """Connect to the target first: it answers in milliseconds, the bucket may not."""
        check_options(params)
        share_one_heap()
        if params["database"] == mongo_scratch.DATABASE:
            raise Refused(
                f"{mongo_scratch.DATABASE} says whether its server is scratch, and is never restored", rule="scratch"
            )
        with self.connected(params) as deployment, open_backup(params) as source:
            yield Client(deployment, deployment.client[params["database"]], source)

    def observe(self, client):
        deployment, database, source = client
        dump, params = source.dump, self.params
        name = source_database(_application_databases(dump), params["source_database"], database.name)
        items = select(
            dump.collections, name, params["collections"], params["exclude"], params["rename"], database.name
        )
        check_access(dump, name, database.name, params)
        series = any(item.type == "timeseries" for item in items)
        missing = missing_privileges(deployment, database.name, timeseries=series)
        refuse_blind(missing)
        seen = catalog(database)
        # what has our prefix and no marker is the application's own, and could not be told from ours
        refuse_our_prefix([item.target for item in items] + foreign(database, seen))
        self._counters = counters(deployment, database)
        marker, expected = interrupted(database), source.expected(name)
        observed = Observed(
            target={
                "kind": "mongodb",
                "id": deployment.target_id(database.name),
                "address": deployment.address,
                "facts": deployment.facts(),
            },
            backup={**source.facts, "identity": source.identity},
            dump=_dump_facts(source),
            items=items,
            live=live_facts(deployment, database, seen),
            expected=expected,
            shares=data_shares(source, items, expected),
            unfit=self._unfit(deployment, series),
            missing=missing,
            space=free_space(deployment, database.name),
            holder=None if self._lease else holder(database),
            marker=_marker_facts(marker, source, items, params),
            expired=expired(database),
            restored=False,
            already=restored_before(database, seen, source, items) if params["piecewise"] else set(),
        )
        # a plan looks for a second; a run that acts goes on looking until its swap, and waits for nothing
        waiting = {"seconds": 0} if self._lease else {}
        observed.writers, observed.writers_unknown = writers(deployment, database, since=self._counters, **waiting)
        if marker or (params["extra"] == "aside" and extra(observed)):
            observed.restored = False
        elif params["piecewise"]:
            observed.restored = len(observed.already) == len(items)
        else:
            observed.restored = already_restored(database, seen, source, items, params)
        self._seen = observed
        return observed

    def plan(self, observed, params):
        return restore_plan(observed, params)

    def act(self, client, plan, receipt):
        seen, database = self._seen, client.database
        began = time.monotonic()
        replacement = self._replacement = Replacement(client, self._lease, self.params, self._counters, seen.expected)
        self.figures, self.warnings = replacement.figures, replacement.warnings
        access = [change for change in plan["changes"] if change.get("group") == ACCESS]
        with Progress(receipt) as progress:
            if seen.marker and seen.marker["finish"]:
                # an earlier run has loaded and proven this very backup: only its swap is left
                swap = Swap.latest(database, self._lease)
                swap.recover(finish=True, progress=progress)
                replacement.loaded = loaded_before(swap.marker)
                replacement.note(swap)
            else:
                clear(database, self._lease, progress)
                if seen.marker:
                    # an interrupted swap was taken back, which is no writer
                    replacement.since = counters(client.deployment, database)
                if self.params["piecewise"]:
                    swap = None
                    yield from self._piece_by_piece(client, plan, progress)
                else:
                    client.source.prove_bytes()
                    marked = client.source.in_use(self._lease.run, replacement.warnings.append)
                    swap = replacement.replace(seen.items, self._aside(), progress, marked)
            if swap:
                for change in plan["changes"]:
                    if change not in access:
                        yield self._done(change)
            if access:
                replacement.access.merge()
                for change in access:
                    yield done(change["op"], change["object"], count=1)
                replacement.access.drop()
            if swap and self.params["keep_seconds"] == 0:
                discard(database, self._lease, swap)
        self.figures["total_seconds"] = round(time.monotonic() - began, 3)

    def read_back(self, client, plan):
        return read_back(
            client.database, self._seen.items, self._replacement.loaded, strict=not self.params["allow_writers"]
        )

    def _unfit(self, deployment, series):
        scratch = mongo_scratch.refusals(deployment) if self.params["scratch"] else []
        return scratch + refusals(deployment, timeseries=series)

    # -- the steps of act

    def _piece_by_piece(self, client, plan, progress):
        """One collection after the other, the old data of each dropped before the next is loaded."""
        seen, database, replacement = self._seen, client.database, self._replacement
        changes = {change["object"]: change for change in plan["changes"]}
        items = [item for item in seen.items if item.target not in seen.already]
        restored, left = [], [name[len(database.name) + 1 :] for name in changes]
        guards = replacement.guards()
        with client.source.in_use(self._lease.run, replacement.warnings.append):
            prove_backup(client.source, items, seen.expected, guards, progress)
            for some, aside in pieces(items, self._aside()):
                names = [item.target for item in some] + aside
                try:
                    if not self.params["ignore_space"]:
                        needed = sum(piece_bytes(seen, item) for item in some)
                        wait_for_space(client.deployment, database.name, needed, guards)
                    swap = replacement.replace(some, aside, progress, nullcontext())
                    replacement.forget_writes(names)
                    restored, left = restored + names, [name for name in left if name not in names]
                    for name in names:
                        yield self._done(changes[f"{database.name}.{name}"])
                    read_back(database, some, replacement.loaded, strict=not self.params["allow_writers"])
                    guards = replacement.guards()
                    for _ in drop_each(database, self._lease, swap.marker):
                        pass
                except MendError as error:
                    raise stopped(error, restored, left) from error

    def _done(self, change):
        loaded = self._replacement.loaded.get(change["object"])
        facts = {"count": loaded.count, "bytes": loaded.bytes} if loaded else {}
        return done(change["op"], change["object"], **facts)

    def _aside(self):
        return extra(self._seen) if self.params["extra"] == "aside" else []


def _application_databases(dump):
    return {db for db, name in dump.collections if name not in ACCESS_NAMES}


def _dump_facts(source):
    dump = source.dump
    return {
        "format": dump.format,
        "integrity": dump.integrity,
        "tool_version": dump.tool_version,
        "server_version": dump.server_version,
        "has_oplog": dump.has_oplog,
        "oplog_entries": dump.oplog_entries,
        "has_access": any(access_in(dump, database) for database in dump.databases),
        "warnings": list(dump.warnings),
        "data_bytes": data_bytes(source),
    }


def _marker_facts(marker, source, items, params):
    if marker is None:
        return None
    facts = marker.facts()
    planned = marker_backup(source, items, params, {})
    stored = marker.entry.get("backup") or {}
    same = all(stored.get(name) == planned[name] for name in ("identity", "items", "extra"))
    # users and roles are merged after the swap, so a swap that died before it has to be done again for them
    same = same and not params["users"] and not params["roles"]
    facts["finish"] = same and marker.phase in ("prepared", "swapping", "swapped")
    return facts
