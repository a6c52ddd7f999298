# SPDX-License-Identifier: MIT
"""Who writes into a database right now: measured by any user, named when the user may look."""

from __future__ import annotations

import time

from pymongo.errors import OperationFailure

from .mongo import APP_NAME
from .mongo_catalog import BUCKETS, catalog

_GONE, _NOT_ALLOWED, _NO_STATS_OF_VIEWS = 26, 13, 166
_WRITING = ("insert", "update", "remove", "command")


def writers(deployment, database, seconds=1.0):
    """Return ``(writers, unknown)``: the collections written within ``seconds``, and what could not be found out.

    Each writer is ``{"namespace", "writes", "writes_per_second", "who": [text]}``. The server counts writes per
    collection (``latencyStats``), which every user who can restore may read. ``who`` needs clusterMonitor: without it
    the lists are empty and ``unknown`` says so in words, otherwise it is ``None``.
    """
    names = [
        BUCKETS + name if entry.type == "timeseries" else name
        for name, entry in catalog(database).live().items()
        if entry.type != "view"
    ]
    before, unreadable = _written(deployment, database, names)
    began = time.monotonic()
    time.sleep(seconds)
    after, _ = _written(deployment, database, names)
    took = time.monotonic() - began
    found = []
    for name in names:
        writes = after.get(name, 0) - before.get(name, 0)
        if writes > 0:
            found.append(
                {
                    "namespace": f"{database.name}.{name[len(BUCKETS) :] if name.startswith(BUCKETS) else name}",
                    "writes": writes,
                    "writes_per_second": round(writes / took, 1),
                    "who": [],
                }
            )
    who, not_allowed = clients(deployment, database.name) if found else ([], None)
    for writer in found:
        writer["who"] = who
    if unreadable:
        not_allowed = f"whether {', '.join(unreadable[:3])} is written is unknown: the user may not run collStats there"
    return found, not_allowed


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
        if app.split(" ")[0] == APP_NAME or not operation.get("effectiveUsers") and not operation.get("ns"):
            continue
        users = ", ".join(user["user"] for user in operation.get("effectiveUsers") or []) or "no user"
        text = f"{app} (user {users}, from {operation['client'].rpartition(':')[0]})"
        here = (operation.get("ns") or "").startswith(database_name + ".")
        writing = here and operation.get("op") in _WRITING
        ranked[text] = max(ranked.get(text, 0), 2 * writing + here)
    return sorted(ranked, key=lambda text: (-ranked[text], text))


def _written(deployment, database, names):
    """Return the counters of writes by name, and the names whose counters may not be read."""
    counters, unreadable = {}, []
    for name in names:
        try:
            with deployment.deadline():
                stats = next(database[name].aggregate([{"$collStats": {"latencyStats": {}}}]), None)
        except OperationFailure as error:
            if error.code not in (_GONE, _NOT_ALLOWED, _NO_STATS_OF_VIEWS):
                raise
            if error.code == _NOT_ALLOWED:
                unreadable.append(name)
            continue
        if stats:
            counters[name] = stats["latencyStats"]["writes"]["ops"]
    return counters, unreadable
