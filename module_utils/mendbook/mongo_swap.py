# SPDX-License-Identifier: MIT
"""The swap: new data that stands complete beside the live data takes its place, and can be taken back.

At every instant the live data is all old, or all new, or the marker stands in a phase that `Swap.recover` finishes or
takes back. Each step is guarded by the server with the collection's UUID; the state is the marker and ONE
listCollections, never the memory of a process. Under the lease::

    with MongoLease(database, run) as lease:
        swap = Swap.begin(database, lease)               # before the first side collection
        ... load every collection into swap.names.side(name) ...
        swap.prepare(["orders", "users"], views={"v": {"viewOn": "users", "pipeline": []}}, aside=["obsolete"],
                     ttl={"users": {"indexes": {"at_1": 3600}, "collection": None}}, backup={...}, keep_seconds=86400)
        swap.forward()                                   # all new, TTL awake
        swap.strays                                      # [{"name", "kept_in"}]: written by clients in the gap

    with MongoLease(database, run) as lease:
        Swap.latest(database, lease).undo()              # or .recover(finish=True), see mongo_leftovers for the rest
"""

from __future__ import annotations

import time

from pymongo.errors import AutoReconnect, PyMongoError

from .errors import Cancelled, MendError, Partial, Refused, Undone, Unknown
from .mongo_catalog import catalog, new_token, refuse_our_prefix
from .mongo_errors import NOT_PRIMARY_CODES
from .mongo_marker import begin, interrupted, markers, read
from .mongo_swap_items import build_items
from .mongo_swap_state import Tampered, all_in, classify
from .mongo_swap_steps import UUID_MISMATCH, Steps
from .mongo_swap_timeseries import replace
from .mongo_ttl import settle

# deadline, lock timeout, write conflict, interrupted, index build in the way, majority not in time: tried again
_PASSING = {24, 50, 64, 112, 117, 246, 262, 11601, 12586, 12587} | NOT_PRIMARY_CODES
_ATTEMPTS = 4


class Swap:
    """One swap in one database, under one lease. ``hook(name)`` is called after each step (tests kill there)."""

    def __init__(self, marker, lease, hook=None):
        self.marker = marker
        self.lease = lease
        self.notes = []
        self._steps = Steps(marker.database, marker.token, lease, hook)

    @classmethod
    def begin(cls, database, lease, token=None, hook=None):
        """Start a swap: refuse while another one is interrupted, and note its token before anything is built."""
        other = interrupted(database)
        if other:
            raise refuse_interrupted(other)
        return cls(begin(database, token or new_token(), lease), lease, hook)

    @classmethod
    def latest(cls, database, lease, hook=None):
        """Return the swap that is interrupted, else the newest one that is further than staging, or ``None``."""
        found = [marker for marker in markers(database) if marker.phase != "staging"]
        found = [marker for marker in found if marker.interrupted] or found
        return cls(found[-1], lease, hook) if found else None

    @property
    def database(self):
        return self.marker.database

    @property
    def names(self):
        """`mongo_catalog.Names`: ``side(name)`` is where the new data of ``name`` has to be built."""
        return self._steps.names

    @property
    def phase(self):
        return self.marker.phase

    @property
    def strays(self):
        """Return what clients wrote while a collection was missing: ``[{"name", "kept_in"}]``."""
        return list(self._steps.strays)

    def state(self):
        """Return ``{name: "old"|"new"|"gap"|"unmarked"}`` as the catalogue says now; raise `Tampered`."""
        states = {}
        items = self.marker.items
        if self.marker.entry["kept"] != "yes":
            gone = {"swapped": "old", "undone": "new"}.get(self.phase)
            items = [{**item, gone: None} if item["k"] == "c" and gone else item for item in items]
        for item, state in classify(items, catalog(self.database)):
            states[item["n"]] = state if states.get(item["n"], state) == state else "gap"
        return states

    def prepare(self, names, *, views=None, aside=(), ttl=None, backup=None, keep_seconds=86400):
        """Write down what will be swapped; live data is not touched yet, and a crash from here on can be recovered.

        ``names`` have their new data, complete and proven, at ``self.names.side(name)``; ``views`` maps names to
        definitions (``viewOn``, ``pipeline``, ``collation``); ``aside`` are live objects that are moved away and not
        replaced; ``ttl`` maps names to the real TTL values of their new data, ``{"indexes": {name: seconds},
        "collection": seconds or None}``; ``backup`` is any JSON about where the data is from; the data that is not
        live is kept for ``keep_seconds`` after the swap. A time-series is copied aside here, which takes its time.
        """
        refuse_our_prefix([*names, *(views or {}), *aside])
        items = build_items(self._steps, names, views or {}, aside, ttl or {})
        self._steps.advance(self.marker, "prepared", items=items, backup=backup, keep_seconds=keep_seconds)

    def forward(self, progress=None):
        """Make the new data live; from phase prepared or swapping, after any crash.

        When a step fails for good everything is taken back: `Undone` says that the live data is as it was. `Partial`
        says that it is in between, and `Tampered` that somebody else is at work: then the marker stands. A signal that
        comes when all is new comes too late.
        """
        self._expect("prepared", "swapping")
        try:
            self._run(self._forward, progress)
        except Unknown:
            raise
        except BaseException as error:
            self._back_out(error)
        self._settle_to_the_end()

    def undo(self, progress=None):
        """Make the old data live again; from phase prepared, swapping, swapped (while it is kept) or undoing."""
        self._expect("prepared", "swapping", "swapped", "undoing")
        if self.marker.entry["kept"] != "yes":
            raise Refused(f"the old data of swap {self.marker.token} was dropped: there is no way back", rule="kept")
        try:
            self._run(self._undo, progress)
        except (PyMongoError, Cancelled) as error:
            self.marker = self._marker_now()
            if self.phase == "undoing":
                raise self._in_between(error) from error
            if self.phase != "undone":
                raise
        self._settle_to_the_end()

    def recover(self, finish=True, progress=None):
        """End what a dead run began, and return the phase: swapped or undone.

        ``finish`` decides for prepared and swapping; what was being undone is undone. A swap that has ended gets the
        TTL values that it still lacks.
        """
        if self.phase in ("prepared", "swapping"):
            self.forward(progress) if finish else self.undo(progress)
        elif self.phase == "undoing":
            self.undo(progress)
        elif self.phase in ("swapped", "undone") and not self.marker.entry["settled"]:
            self._settle()
        return self.phase

    def _forward(self, progress):
        states = classify(self.marker.items, catalog(self.database))
        self._steps.advance(self.marker, "swapping")
        self._each(states, "new", progress)
        self._steps.advance(self.marker, "swapped", settled=False)

    def _undo(self, progress):
        states = classify(self.marker.items, catalog(self.database))
        self._steps.advance(self.marker, "undoing")
        self._each(states[::-1], "old", progress)
        self._steps.advance(self.marker, "undone", settled=False)

    def _each(self, states, wanted, progress):
        known = self._known()
        older = [one for one in markers(self.database) if one.entry["number"] < self.marker.entry["number"]]
        for number, (item, state) in enumerate(states):
            if state != wanted:
                if item["k"] == "c":
                    self._collection(item, state, wanted, known)
                elif item["k"] == "ts":
                    replace(self._steps, self.marker, item, wanted, known, older)
                else:
                    self._steps.view(item, item[wanted], known)
            if progress:
                progress.update("swap" if wanted == "new" else "undo", number + 1, len(states), "objects")
        after = classify(self.marker.items, catalog(self.database))
        if not all_in(after, wanted):
            left = sorted(item["n"] for item, state in after if state != wanted)
            raise Tampered(f"after the swap {left[0]} is not {wanted}: somebody changed it meanwhile", {"names": left})

    def _collection(self, item, state, wanted, known):
        away, shelf, back = ("old", "aside", "side") if wanted == "new" else ("new", "side", "aside")
        if state != "gap" and item[away] is not None:
            self._steps.rename(item["n"], item[shelf], item[away])
        if item[wanted] is not None:
            self._steps.put(item[back], item["n"], item[wanted], known)

    def _settle(self):
        self.notes += self._retry(lambda: settle(self._steps, self.marker))
        self._steps.advance(self.marker, self.phase, settled=True, keep_until=self.marker.entry["keep_until"])

    def _settle_to_the_end(self):
        try:
            self._settle()
        except Cancelled:
            # everything is in its place already: the signal, which comes only once, came too late
            self._settle()
        except PyMongoError as error:
            raise Partial(
                f"every object of {self.database.name} is {self.phase}, but its TTL indexes still sleep ({error}): run "
                f"undo_restore_mongo with mongo_undo_action {'finish' if self.phase == 'swapped' else 'undo'}",
                rule="swap_unsettled",
                details={"token": self.marker.token, "phase": self.phase},
            ) from error

    def _marker_now(self):
        try:
            return read(self.database, self.marker.token) or self.marker
        except PyMongoError:
            return self.marker

    def _run(self, drive, progress):
        self._retry(lambda: drive(progress))

    def _retry(self, action):
        for attempt in range(_ATTEMPTS):
            try:
                return action()
            except PyMongoError as error:
                if getattr(error, "code", None) == UUID_MISMATCH:
                    # the server refused a step: the catalogue says whether it was somebody else, or our own lost answer
                    classify(self.marker.items, catalog(self.database))
                elif not _passes(error):
                    raise
                if attempt == _ATTEMPTS - 1:
                    raise
                # an election takes seconds; the next command waits for the new primary
                time.sleep(0.2 * 2**attempt)
                self.lease.check()

    def _back_out(self, error):
        try:
            self.marker = read(self.database, self.marker.token)
            if self.phase == "swapped":
                return
            self._run(self._undo, None)
            self._settle()
        except (MendError, PyMongoError):
            raise self._in_between(error) from error
        if isinstance(error, PyMongoError):
            raise Undone(f"the swap failed and was taken back, live data is as it was: {error}", rule="swap") from error
        raise error

    def _in_between(self, error):
        return Partial(
            f"the swap of {self.database.name} stopped in phase {self.phase} and could not go on by itself ({error}): "
            "run undo_restore_mongo with mongo_undo_action finish or undo",
            rule="swap_interrupted",
            details={"token": self.marker.token, "phase": self.phase},
        )

    def _expect(self, *phases):
        if self.phase not in phases:
            raise Refused(
                f"the swap {self.marker.token} of {self.database.name} is {self.phase}: "
                f"this can be done only when it is {' or '.join(phases)}",
                rule="swap_phase",
            )

    def _known(self):
        return set().union(*(marker.uuids() for marker in markers(self.database)), self.marker.uuids())


def refuse_interrupted(marker):
    """Return the `Refused` that says what an interrupted swap needs first."""
    return Refused(
        f"run {marker.entry['run']} stopped in the middle of a swap of {marker.database.name} (phase {marker.phase}): "
        "run undo_restore_mongo with mongo_undo_action finish (to the new data) or undo (to the old data) first",
        rule="swap_interrupted",
        details=marker.facts(),
    )


def _passes(error):
    return isinstance(error, AutoReconnect) or getattr(error, "code", None) in _PASSING
