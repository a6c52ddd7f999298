# SPDX-License-Identifier: MIT
"""Replaces live collections by those of a backup: loaded beside them, proven, swapped."""

from __future__ import annotations

import time

from .mongo_access import Access
from .mongo_leftovers import discard
from .mongo_load import load
from .mongo_restore_guards import SwapGuards
from .mongo_restore_state import marker_backup
from .mongo_swap import Swap
from .mongo_writers import counters


class Replacement:
    """One run's replacing, of all collections at once or of one after the other.

    ``since`` are the counters of writes when the plan was made, ``expected`` what the manifest promises, or None;
    ``loaded`` maps "database.name" to what was loaded and proven; ``figures`` and ``warnings`` are for the result.
    """

    def __init__(self, client, lease, params, since, expected):
        self.loaded = {}
        self.figures = {}
        self.warnings = []
        self.access = None
        self._client, self._lease, self._params = client, lease, params
        self.since, self._expected = since, expected

    def guards(self):
        """The guards of one load, which begins now."""
        return SwapGuards(self._client, self._lease, self._params, self.since)

    def replace(self, items, aside, progress, marked):
        """Make ``items`` of the backup live, and move ``aside`` (names) away; return the `Swap`.

        ``marked`` is entered while the backup is read. Whatever fails before the swap leaves the live data as it was.
        """
        client, params, database, dump = self._client, self._params, self._client.database, self._client.source.dump
        by_key = {item.source.key: item for item in items}
        guards = self.guards()
        swap = Swap.begin(database, self._lease)
        try:
            began = time.monotonic()
            self.access = Access(dump, database, swap.names, params)
            sides = {key: swap.names.side(item.target) for key, item in by_key.items() if item.type != "view"}
            with marked:
                loaded = self._load({**sides, **self.access.sides}, progress, guards)
            self.access.pick()
            loaded = {key: loaded[key] for key in sides}
            self._measure(loaded, time.monotonic() - began)
            self.loaded.update({f"{database.name}.{by_key[key].target}": found for key, found in loaded.items()})
            guards.refuse_differences(loaded, self._expected)
            self.warnings += guards.refuse_swap(swap)
            swap.prepare(
                [by_key[key].target for key in loaded],
                views={item.target: item.source.options for item in items if item.type == "view"},
                aside=aside,
                ttl={by_key[key].target: _ttl(found) for key, found in loaded.items()},
                backup=marker_backup(client.source, items, params, loaded),
                keep_seconds=params["keep_seconds"],
            )
        except BaseException:
            # nothing live was touched: what was built beside it goes, and the error says the rest
            discard(database, self._lease, swap)
            raise
        began = time.monotonic()
        swap.forward(progress)
        self._add(swap_seconds=round(time.monotonic() - began, 3))
        self.note(swap)
        return swap

    def note(self, swap):
        """Keep for the result what a swap has to say."""
        for stray in swap.strays:
            self.warnings.append(
                f"documents that clients wrote into {stray['name']} during the swap are kept in {stray['kept_in']}"
            )
        self.warnings.extend(swap.notes)

    def forget_writes(self, names):
        """What a swap did to these names is no writer's work; what is written from now on is."""
        now = counters(self._client.deployment, self._client.database).writes
        others = {name: known for name, known in self.since.writes.items() if name not in names}
        self.since = self.since._replace(writes={**others, **{name: now[name] for name in names if name in now}})

    def _load(self, sides, progress, guards):
        if not sides:
            return {}  # views alone: nothing of the backup's data is needed
        return load(
            self._client.database,
            self._client.source.dump,
            sides,
            workers=self._params["workers"],
            proof=self._params["proof"],
            progress=progress.update,
            cancelled=guards.must_stop,
        )

    def _measure(self, loaded, seconds):
        self._add(
            load_seconds=round(seconds, 3),
            documents=sum(found.count for found in loaded.values()),
            document_bytes=sum(found.bytes for found in loaded.values()),
            read_bytes=self._client.source.dump.bytes_read,
        )

    def _add(self, **figures):
        for name, value in figures.items():
            self.figures[name] = self.figures.get(name, 0) + value


def _ttl(loaded):
    return {"indexes": loaded.ttl, "collection": loaded.expire_after_seconds}
