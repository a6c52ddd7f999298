# SPDX-License-Identifier: MIT
"""One changing run at a target: the lock lives in the thing that is changed."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import threading
import time
from datetime import timezone

from .errors import Locked, Unknown

_ID = "lock"
# a lease counts as lost this long before the server would give it to somebody else
_MARGIN_SECONDS = 1.0


class MongoLease:
    """A lease on one MongoDB database, held while the ``with`` block runs.

    One document, ``{_id: "lock"}`` in ``__mend_state``: ``{owner, run, holder, host, pid, since, until, fence}``. Only
    the server's clock decides (``$$NOW``), so skewed clocks of two control nodes do not matter. ``fence`` grows with
    every owner; who writes it into the marker shuts out an owner that was paused. Entering raises `Locked` at once,
    with who holds it, when it is taken.
    """

    def __init__(self, database, run, who=None, seconds=30):
        self.database = database
        self.run = run
        self.seconds = seconds
        self.fence = None
        self.owner = f"{run}/{secrets.token_hex(8)}"
        self._who = {"run": run, "holder": who or _user(), "host": socket.gethostname(), "pid": os.getpid()}
        self._good_until = 0.0
        self._lost = None
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="mendbook-lease", daemon=True)

    def __enter__(self):
        self._acquire()
        self._heart.start()
        return self

    def __exit__(self, *exc_info):
        self._stop.set()
        self._heart.join(timeout=self.seconds)
        self._release()

    def check(self):
        """Raise `Unknown` when the lease is no longer surely ours; costs nothing."""
        if self._lost is None and _now() >= self._good_until:
            self._lost = f"it could not be renewed for {self.seconds} seconds"
        if self._lost:
            raise Unknown(
                f"lost the lock on {self.database.name}: {self._lost}; another run may be at work there, so this one "
                "stopped: see who holds the lock, then run undo_restore_mongo with mongo_undo_action finish or undo",
                rule="lock_lost",
                details={"run": self.run, "database": self.database.name},
            )

    def confirm(self):
        """Renew the lease now, or raise `Unknown`; for the moment before a step that changes live data."""
        self.check()
        self._renew()
        self.check()

    def _acquire(self):
        from pymongo.errors import DuplicateKeyError

        taken_from = {
            "$or": [
                {"$eq": [{"$type": "$until"}, "missing"]},
                {"$lt": ["$until", "$$NOW"]},
                {"$eq": ["$owner", self.owner]},
            ]
        }

        def mine_or(field, mine):
            return {"$cond": [taken_from, mine, f"${field}"]}

        # literals, because a run or host that begins with "$" would be read as a field
        new = {field: {"$literal": value} for field, value in self._who.items()}
        new["owner"] = {"$literal": self.owner}
        new["since"] = "$$NOW"
        new["until"] = {"$add": ["$$NOW", int(self.seconds * 1000)]}
        new["fence"] = {"$add": [{"$ifNull": ["$fence", 0]}, 1]}
        asked_at = _now()
        try:
            with _timeout(10):
                found = _state(self.database).find_one_and_update(
                    {"_id": _ID},
                    [{"$set": {field: mine_or(field, value) for field, value in new.items()}}],
                    upsert=True,
                    return_document=True,
                )
        except DuplicateKeyError:
            found = {}  # somebody made the document at the same moment
        if found.get("owner") != self.owner:
            raise _locked(self.database, holder(self.database) or _facts(found))
        self.fence = found["fence"]
        self._good_until = asked_at + self.seconds - _MARGIN_SECONDS

    def _renew(self):
        asked_at = _now()
        with _timeout(self.seconds / 3):
            renewed = _state(self.database).update_one(
                {"_id": _ID, "owner": self.owner, "fence": self.fence},
                [{"$set": {"until": {"$add": ["$$NOW", int(self.seconds * 1000)]}}}],
            )
        if not renewed.matched_count:
            now_held = holder(self.database)
            self._lost = f"run {now_held['run']} on {now_held['host']} has it now" if now_held else "it was taken away"
            return
        self._good_until = asked_at + self.seconds - _MARGIN_SECONDS

    def _beat(self):
        from pymongo.errors import PyMongoError

        while not self._stop.wait(self.seconds / 3) and not self._lost:
            try:
                self._renew()
            except PyMongoError:
                # a failover or a cut: the lease lives on until its time, and so does trying
                self._stop.wait(min(1.0, self.seconds / 10))

    def _release(self):
        from pymongo.errors import PyMongoError

        try:
            with _timeout(5):
                _state(self.database).update_one(
                    {"_id": _ID, "owner": self.owner, "fence": self.fence}, {"$unset": {"until": "", "owner": ""}}
                )
        except PyMongoError:
            pass  # nobody waits longer than the rest of the lease


def holder(database):
    """Return who holds the lease of a database, as JSON, or ``None``; takes nothing and changes nothing.

    Keys: run, holder, host, pid, since (ISO, server time), remaining_seconds.
    """
    from .mongo_catalog import STATE

    with _timeout(10):
        found = list(
            database[STATE].aggregate(
                [
                    {"$match": {"_id": _ID, "$expr": {"$gt": ["$until", "$$NOW"]}}},
                    {"$set": {"left": {"$subtract": ["$until", "$$NOW"]}}},
                ]
            )
        )
    return _facts(found[0]) if found else None


def _facts(found):
    since = found.get("since")
    facts = {field: found.get(field) for field in ("run", "holder", "host", "pid")}
    facts["since"] = since.replace(tzinfo=timezone.utc).isoformat(timespec="seconds") if since else None
    facts["remaining_seconds"] = round(found.get("left", 0) / 1000, 1)
    return facts


def _locked(database, facts):
    return Locked(
        f"{database.name} is locked by run {facts['run']} of {facts['holder']} on {facts['host']} "
        f"(pid {facts['pid']}) since {facts['since']}: wait for it, or look there whether it still runs; "
        "a lock whose owner died is free after 30 seconds",
        rule="lock",
        details=facts,
    )


def _state(database):
    from pymongo.write_concern import WriteConcern

    from .mongo_catalog import STATE

    return database.get_collection(STATE, write_concern=WriteConcern(w="majority", j=True))


def _timeout(seconds):
    import pymongo

    return pymongo.timeout(seconds)


def _user():
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a uid without an entry, as in a container
        return str(os.getuid())


def _now():
    """Seconds of a clock that no one sets, and that goes on while the machine sleeps where there is such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
