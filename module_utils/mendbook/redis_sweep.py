# SPDX-License-Identifier: MIT
"""One pass over one database of one master: find, spare, remove, in portions that nobody else waits for."""

from __future__ import annotations

import threading
from collections import Counter

import redis

from .errors import Partial
from .redis_scan import ask, ask_all, connected, scan, unlink_each

# an UNLINK of so many keys takes the server as long as a SCAN of 200
UNLINK_KEYS = 64
# so many kept keys are remembered by their hash, to say which of them went meanwhile
_REMEMBERED = 200_000


class Tally:
    """What one pass over one place has come to; ``removed`` is what the server has confirmed.

    ``found`` are keys that match and are to go; ``unanswered`` were told to go when the connection broke; ``moved`` is
    true when a key had gone to another node. ``kept`` counts, ``kept_hashes`` are those keys up to a limit.
    """

    def __init__(self):
        self.found = self.removed = self.unanswered = self.kept = self.keys = 0
        self.kept_hashes = set()
        self.spared = Counter()
        self.moved = False
        self.finished = False


class Budget:
    """The most keys that may go, counted over all masters, before they go."""

    def __init__(self, limit):
        self.limit = limit
        self._spent = 0
        self._lock = threading.Lock()

    def spend(self, number):
        with self._lock:
            if self._spent + number > self.limit:
                raise Partial(
                    f"stopped at the cap of {self.limit} keys: there are more than the plan's sample let expect; raise "
                    "redis_flush_max_keys and run again",
                    rule="cap keys",
                )
            self._spent += number


class Sweep:
    """``tally`` is filled while ``run`` goes on, also when it raises; ``stop`` (an Event) ends it between portions.

    ``portion`` is the size of one where it is not to be the usual one.
    """

    def __init__(self, place, selector, budget, stop, portion=None):
        self.place = place
        self.tally = Tally()
        self._selector = selector
        self._budget = budget
        self._stop = stop
        self._portion = {} if portion is None else {"count": portion}

    def run(self):
        """Remove what matches; without a budget only count it."""
        with connected(self.place.node, self.place.database, self.place.default) as connection:
            if self._selector.at_once:
                self._flush(connection)
            else:
                for pattern in self._selector.patterns:
                    self._go_through(connection, pattern)
            self.tally.keys = ask(connection, "DBSIZE")
        self.tally.finished = not self._stop.is_set()

    def _flush(self, connection):
        number = self.tally.found = ask(connection, "DBSIZE")
        if number and self._budget is not None:
            self._budget.spend(number)
            self.tally.unanswered += number
            ask(connection, "FLUSHDB", "ASYNC")
            self.tally.unanswered -= number
            self.tally.removed += number

    def _go_through(self, connection, pattern):
        going = []
        for cursor, keys in scan(connection, pattern, **self._portion):
            if keys:
                wanted, kept, spared = self._selector.split(keys)
                self._note(wanted, kept, spared)
                if self._budget is not None:
                    going += wanted
            if len(going) >= UNLINK_KEYS or (going and cursor == 0):
                self._remove(connection, going)
                going = []
            if self._stop.is_set():
                return

    def _note(self, wanted, kept, spared):
        tally = self.tally
        tally.found += len(wanted)
        if kept:
            tally.kept += len(kept)
            if len(tally.kept_hashes) < _REMEMBERED:
                tally.kept_hashes.update(map(hash, kept))
        if spared:
            tally.spared += spared

    def _remove(self, connection, keys):
        self._budget.spend(len(keys))
        self.tally.unanswered += len(keys)
        if self.place.cluster:
            # the keys of one command must be in one slot, and neighbours in SCAN are not
            portions = [[key] for key in keys]
            answers = unlink_each(connection, keys)
        else:
            portions = [keys[start : start + UNLINK_KEYS] for start in range(0, len(keys), UNLINK_KEYS)]
            answers = ask_all(connection, [("UNLINK", *portion) for portion in portions])
        self.tally.unanswered -= len(keys)
        self.tally.removed += sum(answer for answer in answers if isinstance(answer, int))
        failed = [(answer, portion) for answer, portion in zip(answers, portions) if isinstance(answer, Exception)]
        if failed:
            self._follow(connection, failed)

    def _follow(self, connection, failed):
        """Keys on their way: here and not yet this node's own (MOVED, a kind of ASK), or gone to the next (ASK)."""
        for error, portion in failed:
            if not isinstance(error, redis.exceptions.AskError):
                raise error
            if isinstance(error, redis.exceptions.MovedError):
                error = ask_all(connection, [("ASKING",), ("UNLINK", *portion)])[1]
            if isinstance(error, int):
                self.tally.removed += error
            elif isinstance(error, redis.exceptions.AskError):
                # it is found where it went
                self.tally.moved = True
            else:
                raise error
