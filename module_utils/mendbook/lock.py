# SPDX-License-Identifier: MIT
"""One changing run at a target: the lock lives in the thing that is changed."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from datetime import timedelta, timezone

from .errors import Locked, Unknown
from .host import user

# a lease counts as lost this long before the server would give it to somebody else
_MARGIN_SECONDS = 1.0
# of several steps in a row only the first pays for asking the server
_FRESH_SECONDS = 0.25


class Lease:
    """What every lease does: held while the ``with`` block runs, renewed by a thread, lost when it cannot be.

    Entering raises `Locked` at once when the lease is taken. A subclass knows the place: ``_acquire``, ``_renew`` and
    ``_release`` (which call ``_good_for``), ``_failures()`` (what a renewal may raise that the next may not) and
    ``_advice`` (what whoever lost the lease should do).
    """

    _advice = "see who holds the lock, then run again"

    def __init__(self, name, run, who, seconds):
        self.name = name
        self.run = run
        self.seconds = seconds
        self.owner = f"{run}/{secrets.token_hex(8)}"
        self._who = {
            "owner": self.owner,
            "run": run,
            "holder": who or user(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self._entry = None
        self._good_until = self._renewed_at = 0.0
        self._lost = None
        self._renewing = threading.Lock()
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="mendbook-lease", daemon=True)

    def __enter__(self):
        self._acquire()
        self._heart.start()
        return self

    def __exit__(self, *exc_info):
        self._stop.set()
        try:
            self._heart.join(timeout=self.seconds)
        finally:
            self._release()

    def check(self):
        """Raise `Unknown` when the lease is no longer surely ours; costs nothing."""
        if self._lost is None and steady_now() >= self._good_until:
            self._lost = f"it could not be renewed for {self.seconds} seconds"
        if self._lost:
            raise Unknown(
                f"lost the lock on {self.name}: {self._lost}; another run may be at work there, so this one "
                f"stopped: {self._advice}",
                rule="lock_lost",
                details={"run": self.run, "locked": self.name},
            )

    def confirm(self):
        """Renew the lease now, or raise `Unknown`; for the moment before a step that changes live data."""
        self.check()
        if steady_now() - self._renewed_at > _FRESH_SECONDS:
            self._renew()
            self.check()

    def _good_for(self, asked_at):
        self._renewed_at = asked_at
        self._good_until = asked_at + self.seconds - _MARGIN_SECONDS

    def _beat(self):
        while not self._stop.wait(self.seconds / 3) and not self._lost:
            try:
                self._renew()
            except self._failures():
                # a failover or a cut: the lease lives on until its time, and so does trying
                self._stop.wait(min(1.0, self.seconds / 10))


class MongoLease(Lease):
    """A lease on one MongoDB database, held while the ``with`` block runs.

    A small capped collection, ``__mend_lock``, is a log: its newest entry says who holds the lease until when, and
    the next entry's ``_id`` is one more. Whoever inserts that ``_id`` first has won; nothing is ever updated, because
    the least roles that can restore (backup and restore) may insert and not update. Only the server's clock decides,
    so skewed clocks of two control nodes do not matter. ``fence`` grows with every owner.
    """

    _advice = "see who holds the lock, then run undo_restore_mongo with mongo_undo_action finish or undo"

    def __init__(self, database, run, who=None, seconds=30):
        super().__init__(database.name, run, who, seconds)
        self.database = database
        self.fence = None

    def _acquire(self):
        from pymongo.errors import CollectionInvalid, OperationFailure

        asked_at = steady_now()
        with _timeout(10):
            log = _log(self.database)
            newest = _newest(log)
            if not newest:
                try:
                    self.database.create_collection(log.name, capped=True, size=1 << 19, max=1000)
                except (CollectionInvalid, OperationFailure) as error:
                    if getattr(error, "code", 48) != 48:  # somebody else made it at the same moment
                        raise
            now = server_now(self.database)
            if newest and newest["until"] > now:
                raise locked(self.name, _facts(newest, now), self.seconds)
            number = newest["_id"] + 1 if newest else 1
            self._entry = {**self._who, "fence": number, "since": now}
            if not self._append(number, now):
                raise locked(self.name, _facts(_newest(log), now), self.seconds)
        self.fence = number
        self._good_for(asked_at)

    def _renew(self):
        with self._renewing, _timeout(self.seconds / 3):
            asked_at = steady_now()
            if self._append(self._entry["_id"] + 1, server_now(self.database)):
                self._good_for(asked_at)
                return
            found = _newest(_log(self.database)) or {}
            if found.get("owner") == self.owner:
                # an insert whose answer got lost; the entry is ours all the same
                self._entry = found
                return
            self._lost = (
                f"run {found['run']} on {found['host']} has it now" if found else f"{_log(self.database).name} is gone"
            )

    def _append(self, number, now):
        """Insert the entry ``number``; tell whether it is the newest and ours."""
        from pymongo.errors import DuplicateKeyError

        log = _log(self.database)
        entry = {**self._entry, "_id": number, "until": now + timedelta(seconds=self.seconds)}
        try:
            log.insert_one(entry)
        except DuplicateKeyError:
            return False
        # after a long pause the number may have left the capped log already and be free again
        if (_newest(log) or {}).get("owner") != self.owner:
            return False
        self._entry = entry
        return True

    def _failures(self):
        from pymongo.errors import PyMongoError

        return PyMongoError

    def _release(self):
        from pymongo.errors import PyMongoError

        if self._lost:
            return
        try:
            with self._renewing, _timeout(5):
                now = server_now(self.database)
                entry = {**self._entry, "_id": self._entry["_id"] + 1, "until": now, "released": True}
                _log(self.database).insert_one(entry)
        except PyMongoError:
            pass  # nobody waits longer than the rest of the lease


def holder(database):
    """Return who holds the lease of a database, as JSON, or ``None``; takes nothing and changes nothing.

    Keys: run, holder, host, pid, since (ISO, server time), remaining_seconds.
    """
    with _timeout(10):
        newest = _newest(_log(database))
        now = server_now(database)
    return _facts(newest, now) if newest and newest["until"] > now else None


def server_now(database):
    """Return the server's wall clock as an aware datetime; needs no privilege."""
    now = database.client.admin.command("hello")["localTime"]
    return now.replace(tzinfo=timezone.utc) if now.tzinfo is None else now


def _newest(log):
    return log.find_one(sort=[("_id", -1)])


def _facts(entry, now):
    facts = {field: entry.get(field) for field in ("run", "holder", "host", "pid")}
    facts["since"] = entry["since"].isoformat(timespec="seconds")
    facts["remaining_seconds"] = round(max(0.0, (entry["until"] - now).total_seconds()), 1)
    return facts


def locked(name, facts, seconds):
    """Return the `Locked` of ``name`` that tells who holds it (``facts``), on a lease of ``seconds``."""
    return Locked(
        f"{name} is locked by run {facts['run']} of {facts['holder']} on {facts['host']} "
        f"(pid {facts['pid']}) since {facts['since']}: wait for it, or look there whether it still runs; "
        f"a lock whose owner died is free after {seconds} seconds",
        rule="lock",
        details=facts,
    )


def _log(database):
    from pymongo.write_concern import WriteConcern

    from .mongo_catalog import CODEC, LOCK

    return database.get_collection(LOCK, codec_options=CODEC, write_concern=WriteConcern(w="majority", j=True))


def _timeout(seconds):
    import pymongo

    return pymongo.timeout(seconds)


def steady_now():
    """Seconds of a clock that no one sets, and that goes on while the machine sleeps where there is such a clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
