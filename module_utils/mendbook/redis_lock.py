# SPDX-License-Identifier: MIT
"""One changing run at a Redis: presence, by the name of a connection of its own to every master.

A key would not do: a full server refuses SET, and a flush deletes what it finds. The name of a connection costs no
memory, everybody sees it in CLIENT LIST, and it is gone at once when its process is.
"""

from __future__ import annotations

import random
import re
import secrets
import time
from datetime import datetime, timedelta, timezone

import redis

from .errors import Locked, Refused
from .plan_text import clean
from .redis_client import client_name
from .redis_options import APPLICATION
from .redis_rights import allowing, who

# who waits for its turn, and who has it
_WANTS, _HOLDS = f"{APPLICATION}-wants", f"{APPLICATION}-holds"
_NAME = re.compile(
    rf"(?P<state>{_WANTS}|{_HOLDS}):(?P<run>[^:]*):(?P<holder>.*)@(?P<host>[^@]*):(?P<pid>\d+):[0-9a-f]+"
)
# of the two seconds in which whoever comes second is told who came first
_TURN_SECONDS = 1.5
_LOOK_SECONDS = (0.01, 0.04)
_DOUBT_SECONDS = 0.3
_BEAT_SECONDS = 1.0
# a holder says something every second, so one that was silent for so long may be dead behind a cut network
_SILENT_SECONDS = 15


class Presence:
    """The lock on a Redis, held by connections that have its name, until the ``with`` block ends.

    ``hold(masters)`` takes it on every one of these nodes, or raises `Locked`; a second call takes it on the masters
    that came since and where a connection was lost. ``beat()`` tells whether it is held wherever it was taken.
    """

    def __init__(self, access, run):
        self._access = access
        self._who = client_name(run).partition(":")[2] + ":" + secrets.token_hex(6)
        self._held = {}
        self._beaten = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        for connection in self._held.values():
            connection.disconnect()
        self._held.clear()

    def hold(self, masters):
        """Be present on all of these masters (nodes); raises `Locked`, or `Refused` where the user may not."""
        self._beat()
        deadline = time.monotonic() + _TURN_SECONDS
        # everybody in the same order: whoever has the first master meets nobody at the next
        for node in sorted(masters, key=lambda node: node.id):
            if node.id not in self._held:
                connection = node.client.connection_pool.make_connection()
                try:
                    self._take(connection, node, deadline)
                except BaseException as error:
                    connection.disconnect()
                    if isinstance(error, redis.RedisError):
                        raise self._access.error(error, node.host, node.port, "taking the lock") from None
                    raise
                self._held[node.id] = connection

    def beat(self):
        """Whether each connection is still there; asks once a second, which also keeps a server from closing it."""
        if time.monotonic() - self._beaten > _BEAT_SECONDS:
            return self._beat()
        return True

    def _beat(self):
        before = len(self._held)
        for name, connection in list(self._held.items()):
            try:
                connection.send_command("PING")
                connection.read_response()
            except redis.ResponseError:
                # a user without the right to PING is answered all the same
                continue
            except redis.RedisError:
                connection.disconnect()
                del self._held[name]
        self._beaten = time.monotonic()
        return len(self._held) == before

    def _take(self, connection, node, deadline):
        """Wait for our turn at one master, and take it.

        First the name says who wants the lock: of those the one whose connection is the oldest has its turn. It says
        then that it holds the lock, and looks again. Whoever looks after it has said so sees it: so of two that say so
        at the same moment at least one sees the other, steps back, and the turns decide.
        """
        doubtful_until = 0.0
        while True:
            self._say(connection, node, _WANTS)
            me, others = self._look(connection, node)
            holders = [other for other in others if other["state"] == _HOLDS]
            if not holders and all(me["id"] < other["id"] for other in others):
                self._say(connection, node, _HOLDS)
                if not any(other["state"] == _HOLDS for other in self._look(connection, node)[1]):
                    return
                self._say(connection, node, _WANTS)
                # the other one may step back, too
                doubtful_until = time.monotonic() + _DOUBT_SECONDS
            elif (holders and time.monotonic() > doubtful_until) or time.monotonic() > deadline:
                raise _locked(node, (holders or sorted(others, key=lambda other: other["id"]))[0])
            time.sleep(random.uniform(*_LOOK_SECONDS))  # noqa: S311

    def _say(self, connection, node, state):
        self._ask(connection, node, "CLIENT", "SETNAME", f"{state}:{self._who}")

    def _look(self, connection, node):
        """Return ourselves and the others that want or hold the lock of this master."""
        present = _present(self._ask(connection, node, "CLIENT", "LIST"))
        mine = [one for one in present if one["name"].endswith(f":{self._who}")]
        return mine[0], [one for one in present if one not in mine]

    def _ask(self, connection, node, *command):
        try:
            connection.send_command(*command)
            return connection.read_response()
        except redis.exceptions.NoPermissionError:
            raise _not_allowed(self._access, node) from None


def holder(access, masters):
    """Return who holds the lock, as JSON (run, holder, host, pid, since ...), or None; takes nothing.

    Raises `Refused` where the user may not look.
    """
    for node in masters:
        try:
            listed = node.client.execute_command("CLIENT", "LIST")
        except redis.exceptions.NoPermissionError:
            raise _not_allowed(access, node) from None
        for one in _present(listed):
            if one["state"] == _HOLDS:
                return _facts(one, node)
    return None


def _present(listed):
    """Everybody in the answer of CLIENT LIST who wants or holds the lock."""
    found = []
    for line in listed.decode("utf-8", "replace").splitlines():
        fields = dict(field.partition("=")[::2] for field in line.split(" "))
        named = _NAME.fullmatch(fields.get("name", ""))
        if named:
            numbers = {name: int(fields[name]) for name in ("id", "age", "idle")}
            found.append({**named.groupdict(), **numbers, "name": fields["name"], "client": fields["addr"]})
    return found


def _facts(one, node):
    since = datetime.now(timezone.utc) - timedelta(seconds=one["age"])
    facts = {name: clean(one[name], 100) for name in ("run", "holder", "host", "pid", "client")}
    return {
        **facts,
        "since": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "silent_seconds": one["idle"],
        "client_id": one["id"],
        "master": node.address,
    }


def _locked(node, one):
    facts = _facts(one, node)
    advice = "the lock goes with its process"
    if one["idle"] > _SILENT_SECONDS:
        advice = (
            f"it was silent for {one['idle']} s, so it may be dead behind a cut network; when it surely is, "
            f"CLIENT KILL ID {one['id']} at {node.address} frees the lock"
        )
    return Locked(
        f"{node.address} is locked by run {facts['run']} of {facts['holder']} on {facts['host']} (pid {facts['pid']}, "
        f"from {facts['client']}) since {facts['since']}: wait for it, or look there whether it still runs; {advice}",
        rule="lock",
        details=facts,
    )


def _not_allowed(access, node):
    user = clean(who(access.params), 100)
    allowed = allowing(access.params, ["+client|setname", "+client|list"])
    return Refused(
        f"refused: the user {user} may not use CLIENT SETNAME and CLIENT LIST at {node.address}, by which runs see "
        f"each other, so two could meet; {allowed}",
        rule="lock_permission",
        details={"address": node.address, "user": user},
    )
