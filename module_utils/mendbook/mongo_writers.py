# SPDX-License-Identifier: MIT
"""Who writes into a database right now: measured by any user, named when the user may look."""

from __future__ import annotations

import time
from typing import NamedTuple

from pymongo.errors import OperationFailure

from .mongo import APP_NAME
from .mongo_catalog import catalog

_GONE, _NOT_ALLOWED, _NO_STATS_OF_VIEWS = 26, 13, 166
_WRITING = ("insert", "update", "remove", "command")


class Counters(NamedTuple):
    """How often each collection was written, as the server counted it up to the moment ``at`` (monotonic seconds).

    Writes in transactions count, too; what the TTL monitor deletes does not. The server forgets when it is restarted.
    """

    at: float
    tenure: list  # of the primary that counted
    writes: dict  # name -> (UUID of the collection, number)
    unreadable: list  # names whose counters the user may not read


def counters(deployment, database):
    """Read the Counters of every collection of the user's own."""
    at, tenure, writes, unreadable = time.monotonic(), deployment.tenure(), {}, []
    for name, entry in catalog(database).live().items():
        if entry.type == "view":
            continue
        try:
            with deployment.deadline():
                # those of a time-series stand under its own name: its buckets are written behind the counters
                stats = next(database[name].aggregate([{"$collStats": {"latencyStats": {}}}]), None)
        except OperationFailure as error:
            if error.code not in (_GONE, _NOT_ALLOWED, _NO_STATS_OF_VIEWS):
                raise
            if error.code == _NOT_ALLOWED:
                unreadable.append(name)
            continue
        if stats:
            writes[name] = entry.uuid, stats["latencyStats"]["writes"]["ops"]
    return Counters(at, tenure, writes, unreadable)


def writers(deployment, database, seconds=1.0, since=None):
    """Return ``(writers, unknown)``: the collections written since ``since``, and what could not be found out.

    ``since`` are Counters read before, without them it is now; the second look comes when ``seconds`` have passed.
    Each writer is ``{"namespace", "writes", "writes_per_second", "who": [text]}``. Every user who can restore may read
    the counters. ``who`` needs clusterMonitor: without it the lists are empty and ``unknown`` says so in words,
    otherwise it is ``None``.
    """
    before = since or counters(deployment, database)
    time.sleep(max(0.0, before.at + seconds - time.monotonic()))
    after = counters(deployment, database)
    if after.tenure != before.tenure:
        # another server counts now, or the same one from zero
        return writers(deployment, database)
    found = []
    for name, (uuid, total) in after.writes.items():
        known, number = before.writes.get(name, (None, 0))
        # a collection that was dropped and made again is counted from zero
        writes = total - number if uuid == known else total
        if writes > 0:
            rate = round(writes / max(after.at - before.at, 0.001), 1)
            found.append(
                {"namespace": f"{database.name}.{name}", "writes": writes, "writes_per_second": rate, "who": []}
            )
    who, unknown = clients(deployment, database.name) if found else ([], None)
    for writer in found:
        writer["who"] = who
    if after.unreadable:
        names = ", ".join(after.unreadable[:3])
        unknown = f"whether {names} is written is unknown: the user may not run collStats there"
    return found, unknown


def clients(deployment, database_name):
    """Return ``([text], unknown)``: the applications that are connected, ``app, user, address``; those at work first.

    Monitors of drivers and mendbook's own connections are left out.
    """
    pipeline = [
        {"$currentOp": {"allUsers": True, "idleConnections": True}},
        {"$match": {"client": {"$exists": True}, "command.hello": {"$exists": False}}},
        {"$match": {"command.isMaster": {"$exists": False}, "command.ismaster": {"$exists": False}}},
    ]
    try:
        with deployment.deadline():
            operations = list(deployment.client.admin.aggregate(pipeline))
    except OperationFailure as error:
        if error.code != _NOT_ALLOWED:
            raise
        return [], "who writes is unknown: naming other clients needs the role clusterMonitor on admin"
    return named(operations, database_name), None


def named(operations, database_name):
    """Return the clients in the entries of $currentOp, those that write into the database first; pure."""
    ranked = {}
    for operation in operations:
        app = operation.get("appName") or "no application name"
        users = [user["user"] for user in operation.get("effectiveUsers") or []]
        # the members of a set speak to each other as __system
        if app.split(" ")[0] == APP_NAME or "__system" in users or not users and not operation.get("ns"):
            continue
        text = f"{app} (user {', '.join(users) or 'no user'}, from {operation['client'].rpartition(':')[0]})"
        here = (operation.get("ns") or "").startswith(database_name + ".")
        writing = here and operation.get("op") in _WRITING
        ranked[text] = max(ranked.get(text, 0), 2 * writing + here)
    return sorted(ranked, key=lambda text: (-ranked[text], text))
