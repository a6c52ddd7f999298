# SPDX-License-Identifier: MIT
"""Restore as one change: load the backup beside the live data, prove it, swap, read back."""

from __future__ import annotations

import time
from collections import namedtuple
from contextlib import contextmanager

from . import mongo_options, mongo_scratch
from .change import done
from .dump_metadata import ACCESS_NAMES
from .errors import Refused
from .lock import MongoLease, holder
from .memory import share_one_heap
from .mongo import connect, refusals, refuse_unfit
from .mongo_access import Access, access_in, check_access
from .mongo_catalog import catalog, refuse_our_prefix
from .mongo_leftovers import clear, discard, expired, foreign
from .mongo_load import load
from .mongo_marker import interrupted
from .mongo_privileges import missing_privileges, refuse_blind
from .mongo_restore_guards import SwapGuards
from .mongo_restore_plan import ACCESS, Observed, extra, restore_plan
from .mongo_restore_selection import select, source_database
from .mongo_restore_source import data_bytes, open_backup
from .mongo_restore_state import already_restored, live_facts, loaded_before, marker_backup, read_back
from .mongo_space import free_space
from .mongo_swap import Swap
from .mongo_writers import counters, writers
from .progress import Progress

Client = namedtuple("Client", "deployment database source")


class Restore:
    """The procedure of mend_mongo_restore (change.py says what each method promises)."""

    def __init__(self, params):
        self.params = params
        self.figures = {}
        self.warnings = []
        self._seen = None
        self._lease = None
        self._counters = None
        self._loaded = {}
        self._access = None

    def secrets(self, params):
        return mongo_options.secrets_in(params)

    @contextmanager
    def open(self, params):
        """Connect to the target first: it answers in milliseconds, the bucket may not."""
        share_one_heap()
        if params["keep_seconds"] < 0:
            raise Refused("keep_seconds is negative; 0 drops the old data after the swap", rule="keep_seconds")
        if params["database"] == mongo_scratch.DATABASE:
            raise Refused(
                f"{mongo_scratch.DATABASE} says whether its server is scratch, and is never restored", rule="scratch"
            )
        run = (params.get("receipt") or {}).get("run")
        with connect(params, run) as deployment:
            refuse_unfit(deployment)
            with open_backup(params) as source:
                yield Client(deployment, deployment.client[params["database"]], source)

    @contextmanager
    def lock(self, client, run):
        with MongoLease(client.database, run) as lease:
            self._lease = lease
            yield

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
        marker = interrupted(database)
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
            expected=source.expected(name),
            unfit=self._unfit(deployment, series),
            missing=missing,
            space=free_space(deployment, database.name),
            holder=None if self._lease else holder(database),
            marker=_marker_facts(marker, source, items, params),
            expired=expired(database),
            restored=False,
        )
        # a plan looks for a second; a run that acts goes on looking until its swap, and waits for nothing
        waiting = {"seconds": 0} if self._lease else {}
        observed.writers, observed.writers_unknown = writers(deployment, database, since=self._counters, **waiting)
        observed.restored = not marker and already_restored(deployment, database, seen, source, items, params)
        self._seen = observed
        return observed

    def plan(self, observed, params):
        return restore_plan(observed, params)

    def act(self, client, plan, receipt):
        seen, database = self._seen, client.database
        began = time.monotonic()
        access = [change for change in plan["changes"] if change.get("group") == ACCESS]
        with Progress(receipt) as progress:
            if seen.marker and seen.marker["finish"]:
                # an earlier run has loaded and proven this very backup: only its swap is left
                swap = Swap.latest(database, self._lease)
                swap.recover(finish=True, progress=progress)
                self._loaded = loaded_before(swap.marker)
            else:
                clear(database, self._lease, progress)
                if seen.marker:
                    # an interrupted swap was taken back, which is no writer
                    self._counters = counters(client.deployment, database)
                client.source.prove_bytes()
                swap = self._load_and_swap(client, progress)
            self._note_strays(swap)
            for change in plan["changes"]:
                if change not in access:
                    loaded = self._loaded.get(change["object"])
                    facts = {"count": loaded.count, "bytes": loaded.bytes} if loaded else {}
                    yield done(change["op"], change["object"], **facts)
            if access:
                self._access.merge()
                for change in access:
                    yield done(change["op"], change["object"], count=1)
                self._access.drop()
            if self.params["keep_seconds"] == 0:
                discard(database, self._lease, swap)
        self.figures["total_seconds"] = round(time.monotonic() - began, 3)

    def read_back(self, client, plan):
        return read_back(client.database, self._seen.items, self._loaded, strict=not self.params["allow_writers"])

    def _unfit(self, deployment, series):
        scratch = mongo_scratch.refusals(deployment) if self.params["scratch"] else []
        return scratch + refusals(deployment, timeseries=series)

    # -- the steps of act

    def _load_and_swap(self, client, progress):
        params, database, dump = self.params, client.database, client.source.dump
        items = {item.source.key: item for item in self._seen.items}
        guards = SwapGuards(client, self._lease, params, self._counters)
        swap = Swap.begin(database, self._lease)
        try:
            began = time.monotonic()
            self._access = Access(dump, database, swap.names, params)
            sides = {key: swap.names.side(item.target) for key, item in items.items() if item.type != "view"}
            with client.source.in_use(self._lease.run, self.warnings.append):
                loaded = load(
                    database,
                    dump,
                    {**sides, **self._access.sides},
                    workers=params["workers"],
                    proof=params["proof"],
                    progress=progress.update,
                    cancelled=guards.must_stop,
                )
            self._access.pick()
            loaded = {key: loaded[key] for key in sides}
            self._measure(loaded, dump, time.monotonic() - began)
            self._loaded = {f"{database.name}.{items[key].target}": found for key, found in loaded.items()}
            guards.refuse_differences(loaded, self._seen.expected)
            self.warnings += guards.refuse_swap(swap)
            swap.prepare(
                [items[key].target for key in loaded],
                views={item.target: item.source.options for item in items.values() if item.type == "view"},
                aside=self._aside(),
                ttl={items[key].target: _ttl(found) for key, found in loaded.items()},
                backup=marker_backup(client.source, self._seen.items, params, loaded),
                keep_seconds=params["keep_seconds"],
            )
        except BaseException:
            # nothing live was touched: what was built beside it goes, and the error says the rest
            discard(database, self._lease, swap)
            raise
        began = time.monotonic()
        swap.forward(progress)
        self.figures["swap_seconds"] = round(time.monotonic() - began, 3)
        return swap

    def _aside(self):
        return extra(self._seen) if self.params["extra"] == "aside" else []

    def _measure(self, loaded, dump, seconds):
        self.figures.update(
            load_seconds=round(seconds, 3),
            documents=sum(found.count for found in loaded.values()),
            document_bytes=sum(found.bytes for found in loaded.values()),
            read_bytes=dump.bytes_read,
        )

    def _note_strays(self, swap):
        for stray in swap.strays:
            self.warnings.append(
                f"documents that clients wrote into {stray['name']} during the swap are kept in {stray['kept_in']}"
            )
        self.warnings.extend(swap.notes)


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


def _ttl(loaded):
    return {"indexes": loaded.ttl, "collection": loaded.expire_after_seconds}
