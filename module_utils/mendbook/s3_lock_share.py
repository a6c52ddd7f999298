# SPDX-License-Identifier: MIT
"""The lock on a store that does not know conditional writes: an object for each run, and a look at all others."""

from __future__ import annotations

import time

from . import lock
from .errors import MendError
from .s3_mark import lock_key

_PAUSE_SECONDS = 0.2


class Share:
    """One run's object PREFIX.mendbook-lock.OWNER.json, written by that run alone.

    Whoever sees no share but its own after it has written its own holds the lock: of two, the one that wrote later
    sees the other, as listings show every write that was answered. Those that ask at the same moment see each other;
    then all but the one with the smallest key withdraw, and that one waits until they have.
    """

    def __init__(self, there, owner):
        self._there = there
        self._key = lock_key(there.prefix, owner.replace("/", "-"))

    def take(self, entry, name, seconds):
        """Return when nobody else holds or asks; `Locked` when somebody does."""
        deadline = time.monotonic() + seconds / 3
        self._there.write(self._key, {**entry, "state": "asks"})
        while True:
            others = [seen for seen in self._there.shares() if seen.key != self._key and seen.is_held(seconds)]
            if not others:
                return
            before = [seen for seen in others if seen.entry.get("state") == "holds" or seen.key < self._key]
            if before or time.monotonic() > deadline:
                self.leave()
                raise lock.locked(name, (before or others)[0].facts(seconds), seconds)
            time.sleep(_PAUSE_SECONDS)

    def hold(self, entry, patience_seconds):
        """Say that the lock is held, now and each time it is renewed."""
        self._there.write(self._key, {**entry, "state": "holds"}, patience_seconds)

    def leave(self):
        """Give it up: an empty share counts for nothing, and is only litter where it may not be deleted."""
        self._there.write(self._key, None)
        try:
            self._there.delete(self._key)
        except MendError:
            pass
