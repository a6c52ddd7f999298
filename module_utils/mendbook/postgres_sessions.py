# SPDX-License-Identifier: MIT
"""What mend_postgres_sessions_info tells: who is connected and does what, who waits for whom, and is that good?"""

from __future__ import annotations

from contextlib import contextmanager

from . import postgres_options
from .postgres import connect
from .postgres_activity import IN_TRANSACTION, look, slots, target
from .postgres_lock import holder
from .postgres_verdicts import application_of, is_idle, summary, verdicts
from .verdicts import culprit, overall, require

# as many lines as a person reads, and as many groups as ansible copes with
MAX_GROUPS = 100
_SHOWN = ("pid", "application", "user", "database", "client", "state", "wait")


class SessionsInfo:
    """The reading procedure of mend_postgres_sessions_info (change.py says what each method promises)."""

    def __init__(self, params):
        self.params = params

    def secrets(self, params):
        return postgres_options.secrets_in(params)

    @contextmanager
    def open(self, params):
        with connect(params) as server:
            yield server

    def observe(self, server):
        activity = look(server, statements=True)
        found = verdicts(activity, self.params)
        facts = {"summary": summary(activity, found), **facts_of(activity, found, self.params)}
        facts["lock"] = holder(server) or {}
        if self.params["fail"]:
            require(found, {name: facts[name] for name in ("summary", "verdicts", "culprit", "connections")})
        return facts


def facts_of(activity, found, params):
    """Return the facts of the module's RETURN; pure."""
    clients, limit = activity.clients, params["limit"]
    others = [session for session in clients if not session["own"]]
    in_transaction = [session for session in others if session["state"] in IN_TRANSACTION]
    long = [session for session in others if session["state"] == "active"]
    return {
        "verdict": overall(found),
        "culprit": culprit(found),
        "verdicts": found,
        "target": target(activity, "*"),
        "reached": {name: activity.server[name] for name in ("address", "ip", "tls", "pooled")},
        "connections": slots(activity),
        "by_state": _counted(clients, lambda session: session["state"] or "unknown"),
        "by_application": _applications(clients, params["idle_seconds"]),
        "by_user": _counted(clients, lambda session: session["user"] or "unknown"),
        "by_database": _counted(clients, lambda session: session["database"] or "none"),
        "by_client": _counted(clients, lambda session: session["client"] or "unknown"),
        "idle": _shown([one for one in others if is_idle(one, params["idle_seconds"])], "state_seconds", limit),
        "in_transaction": _shown(in_transaction, "state_seconds", limit, "transaction_seconds", "statement"),
        "long_queries": _shown(long, "query_seconds", limit, "transaction_seconds", "statement"),
        "blocking": blocking_tree(activity.sessions, limit),
        "replication": _replication(activity),
        "missing_privileges": [activity.missing] if activity.missing else [],
    }


def blocking_tree(sessions, limit):
    """Return the sessions that hold up others and wait for nobody, each with ``blocks``: who waits for it, nested.

    In a circle of waiting, which the server breaks by itself after deadlock_timeout, the first by pid is the root.
    """
    by_pid = {session["pid"]: session for session in sessions}
    waiting = {}
    for session in sessions:
        for blocker in session["blocked_by"] or ():
            # 0 stands for a prepared transaction, which has no session
            waiting.setdefault(blocker, []).append(session["pid"])

    def node(pid, seen):
        session = by_pid.get(pid)
        shown = _row(session, "blocked_seconds", "transaction_seconds", "statement") if session else {"pid": pid}
        blocks = [node(other, seen | {other}) for other in waiting.get(pid, ()) if other not in seen]
        return {**shown, "blocks": blocks}

    roots = [pid for pid in waiting if not (by_pid.get(pid) or {}).get("blocked_by")]
    tree = [node(pid, {pid}) for pid in sorted(roots)]
    reached = {pid for root in tree for pid in _pids(root)}
    for pid in sorted(waiting):
        if pid not in reached:
            tree.append(node(pid, {pid}))
            reached |= _pids(tree[-1])
    return sorted(tree, key=lambda root: -len(_pids(root)))[:limit]


def _pids(node):
    return {node["pid"]}.union(*(_pids(below) for below in node["blocks"]))


def _counted(sessions, key):
    counted = {}
    for session in sessions:
        counted[key(session)] = counted.get(key(session), 0) + 1
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:MAX_GROUPS])


def _applications(sessions, idle_seconds):
    found = {}
    for session in sessions:
        one = found.setdefault(application_of(session), {"sessions": 0, "active": 0, "idle": 0, "in_transaction": 0})
        one["sessions"] += 1
        one["active"] += session["state"] == "active"
        one["idle"] += is_idle(session, idle_seconds)
        one["in_transaction"] += session["state"] in IN_TRANSACTION
    return dict(sorted(found.items(), key=lambda item: (-item[1]["sessions"], item[0]))[:MAX_GROUPS])


def _shown(sessions, age, limit, *more):
    """The sessions for a report, the oldest first."""
    ranked = sorted(sessions, key=lambda session: -(session[age] or 0))
    return [_row(session, age, *more) for session in ranked[:limit]]


def _row(session, *more):
    row = {name: session[name] for name in (*_SHOWN, *more)}
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}


def _replication(activity):
    facts = activity.server
    role = "standby" if facts["standby"] else "primary"
    own = {name: facts[name] for name in ("upstream", "receiver", "lag_seconds")} if facts["standby"] else {}
    return {"role": role, **own, "standbys": activity.standbys}
