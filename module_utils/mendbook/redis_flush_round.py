# SPDX-License-Identifier: MIT
"""One round over all masters side by side, and rounds until one has seen every key, wherever keys wander meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import redis

from .errors import Locked, Partial
from .held_signals import held_signals
from .redis_masters import masters_again
from .redis_sweep import Budget, Sweep

_AT_ONCE = 16
_POLL_SECONDS = 0.1
_PAUSE_SECONDS = 0.5
# what is written while keys are removed is removed once more, and then only told
_MOST_SETTLED = 2
# where hardly a key is found and removed, a portion of so many takes the server no longer than the usual one and UNLINK
LOOK_COUNT = 400
# what a failover or a move of slots explains, and a later look may not meet again
_PASSING = (
    redis.ConnectionError, redis.TimeoutError, redis.exceptions.ReadOnlyError, redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError, redis.exceptions.TryAgainError,
)  # fmt: skip


class Place:
    """One database of one master; ``object`` is what the plan calls it, or calls the one that it took over from."""

    def __init__(self, node, database, default, cluster, object):
        self.node = node
        self.database = database
        self.default = default
        self.cluster = cluster
        self.object = object


class Round:
    """All places swept at once: ``tallies`` of each, and ``error`` what ended one of them, as (place, error)."""

    def __init__(self, places, selector, budget=None, portion=None):
        """Without a budget nothing is removed."""
        self._stop = threading.Event()
        self._sweeps = [Sweep(place, selector, budget, self._stop, portion) for place in places]
        self.error = None

    def go(self, watch):
        """Sweep; ``watch(self)`` is called meanwhile, and false stops it.

        A signal stops it, too, and counts when no thread is at work any more: it must not part us from one that is.
        """
        with held_signals() as came, ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                tasks = {pool.submit(sweep.run): sweep.place for sweep in self._sweeps}
                waiting = set(tasks)
                while waiting:
                    ended, waiting = wait(waiting, _POLL_SECONDS)
                    for task in ended:
                        self._note(tasks[task], task.exception())
                    if came or self.failed or not watch(self):
                        self._stop.set()
            finally:
                self._stop.set()

    def _note(self, place, error):
        # one that will not pass is told rather than one that may
        if error is not None and not self.failed:
            self.error = (place, error)

    @property
    def failed(self):
        """Whether it ended by something that another look will meet again."""
        return self.error is not None and not isinstance(self.error[1], _PASSING)

    @property
    def tallies(self):
        return {sweep.place: sweep.tally for sweep in self._sweeps}

    @property
    def removed(self):
        return sum(sweep.tally.removed for sweep in self._sweeps)

    @property
    def found(self):
        return sum(sweep.tally.found for sweep in self._sweeps)

    @property
    def complete(self):
        """Whether every key that was there all the time was seen, as far as none wandered."""
        return self.error is None and all(sweep.tally.finished and not sweep.tally.moved for sweep in self._sweeps)

    def kept(self):
        """The hashes of the keys that were kept, as far as they are remembered."""
        return set().union(*(sweep.tally.kept_hashes for sweep in self._sweeps))


class Rounds:
    """Goes round until every key that matched when it began is gone.

    A round that met the same masters with the same slots at its beginning and at its end, and no slot on its way, has
    seen every key that was there all the time: SCAN promises that. A key on its way from A to B may be missed at both;
    but the next round looks at B after this one was through with A. So with open slots two such rounds in a row count.

    ``masters`` are those of the last look, ``number`` counts rounds, ``done`` is {object: keys removed}, ``unanswered``
    how many keys were told to go when a connection broke, ``last`` the last round that counts, and ``kept`` the kept
    keys that the first of those has seen.
    """

    def __init__(self, access, masters, presence, selector, params, places_of):
        """``places_of(masters)`` gives the places to sweep."""
        self._access = access
        self._presence = presence
        self._selector = selector
        self._budget = Budget(params["max_keys"])
        self._patience = params["failover_timeout_seconds"]
        self._places_of = places_of
        self.masters = masters
        self.done = {}
        self.unanswered = self.number = 0
        self.last = self.kept = None

    @property
    def removed(self):
        return sum(self.done.values())

    def remove(self, report):
        """``report(number of keys)`` is called now and then. Raises when it has to stop before all are gone."""
        settled, until, quiet_before = 0, None, None
        while True:
            masters = self.masters
            this = Round(self._places_of(masters), self._selector, self._budget, LOOK_COUNT if settled else None)
            self.number += 1
            self._go(this, report)
            if this.failed:
                raise self._translated(this)
            self.look_again()
            quiet = masters.state if this.complete and self.masters.state == masters.state else None
            if quiet and (not masters.moving or quiet == quiet_before):
                settled += 1
                self.last = this
                self.kept = this.kept() if self.kept is None else self.kept
                if self._selector.at_once or not this.removed or settled == _MOST_SETTLED:
                    return
            else:
                until = until or time.monotonic() + self._patience
                if time.monotonic() > until:
                    raise self._unsettled(this)
                time.sleep(_PAUSE_SECONDS)
            quiet_before = quiet

    def count(self):
        """Return a `Round` that has only looked."""
        this = Round(self._places_of(self.masters), self._selector, portion=LOOK_COUNT)
        # it removes nothing, so a lost lock must not end it half-way
        this.go(lambda _round: self._presence.beat() or True)
        if this.error is not None:
            raise self._translated(this)
        return this

    def look_again(self):
        """See who the masters are now, and be present at those that are new."""
        self.masters = masters_again(self._access, self.masters, self._patience)
        try:
            self._presence.hold(self.masters.nodes)
        except Locked as error:
            raise Partial(
                f"lost the lock on {error.details['master']} when its connection broke: {error.msg}; this run stopped: "
                "see who holds the lock, then run again",
                rule="lock_lost",
                details=error.details,
            ) from None

    def _go(self, this, report):
        gone = self.removed

        def watch(current):
            report(gone + current.removed)
            return self._presence.beat()

        try:
            this.go(watch)
        finally:
            for place, tally in this.tallies.items():
                self.done[place.object] = self.done.get(place.object, 0) + tally.removed
                self.unanswered += tally.unanswered

    def _translated(self, this):
        place, error = this.error
        if isinstance(error, redis.RedisError):
            return self._access.error(error, place.node.host, place.node.port, "removing keys", self._selector.patterns)
        return error

    def _unsettled(self, this):
        if this.error is not None:
            return self._translated(this)
        return Partial(
            f"slots of the cluster were on their way for {self._patience:g} s, so a key may have been missed between "
            "two masters: wait until the move is over, and run again",
            rule="slots_move",
        )
