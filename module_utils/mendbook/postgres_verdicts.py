# SPDX-License-Identifier: MIT
"""What a look at the sessions means: a verdict for each threshold, and whose sessions they are. Pure."""

from __future__ import annotations

from .plan_text import age_text, clean
from .postgres_activity import IDLE, IN_TRANSACTION, slots
from .verdicts import line, verdict

UNNAMED = "(no name)"


def application_of(session):
    """Return what a session's application calls itself; where it says nothing, that."""
    return session["application"] or UNNAMED


def is_idle(session, seconds):
    """Whether a session has been idle, outside of a transaction, for so long."""
    return session["state"] == IDLE and (session["state_seconds"] or 0) >= seconds


def verdicts(activity, params):
    """Return the verdicts (verdicts.py) on one look at the sessions.

    ``params`` has the thresholds of postgres_options.LIMITS and ``idle_seconds``; a culprit is {application, sessions,
    share}, and pid where one session is meant.
    """
    found = [_used(activity, params), _idle(activity, params)]
    clients = [session for session in activity.clients if not session["own"]]
    in_transaction = [session for session in clients if session["state"] in IN_TRANSACTION]
    active = [session for session in clients if session["state"] == "active"]
    blocked = [session for session in clients if session["blocked_by"]]
    for check, sessions, age, words in (
        ("max_in_transaction_seconds", in_transaction, "state_seconds", "idle in a transaction for {}"),
        ("max_transaction_seconds", clients, "transaction_seconds", "a transaction is open for {}"),
        ("max_query_seconds", active, "query_seconds", "a query runs for {}"),
        ("max_blocked_seconds", blocked, "blocked_seconds", "a session waits for a lock for {}"),
    ):
        found.append(_oldest(activity, check, sessions, age, words, params[check]))
    if activity.server["standby"]:
        lag = activity.server["lag_seconds"]
        says = "nothing was replayed yet" if lag is None else f"the standby is {age_text(lag)} behind"
        found.append(verdict("max_lag_seconds", lag, params["max_lag_seconds"], says))
    return found


def summary(activity, found):
    """Return the whole in a few sentences for a person, each a printable line."""
    taken = slots(activity)
    facts = activity.server
    role = "standby" if facts["standby"] else "primary"
    lines = [
        f"{role} {facts['address']}, PostgreSQL {facts['version']}: {taken['used']} of {taken['max']} connections "
        f"used, {taken['free']} free for anybody, {taken['free_reserved']} reserved ones free"
    ]
    most = [f"{one['application']} {one['sessions']}" for one in holders(activity.clients, taken["used"])[:5]]
    lines.append(f"most connections: {', '.join(most)}")
    for one in found:
        lines.append(line(one, one["culprit"].get("application")))
    if activity.missing:
        lines.append(f"{facts['user']} lacks {activity.missing}: what other users' sessions do is not seen")
    if facts["pooled"]:
        lines.append("a pooler answers at this address: its own sessions are seen; name the server itself")
    if not facts["track_activities"]:
        lines.append("track_activities is off: states and queries are not known")
    return [clean(text, 400) for text in lines]


def holders(sessions, total):
    """Return ``[{application, sessions, share}]`` of these sessions, those with most first."""
    counted = {}
    for session in sessions:
        name = application_of(session)
        counted[name] = counted.get(name, 0) + 1
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [{"application": name, "sessions": number, "share": round(number / total, 3)} for name, number in ranked]


def _used(activity, params):
    taken = slots(activity)
    room = max(1, taken["max"] - taken["reserved_for_superusers"] - taken["reserved_for_members"])
    share = taken["used"] / room
    says = f"{taken['used']} of the {room} connections for anybody are used ({share:.0%})"
    others = [session for session in activity.clients if not session["own"]]
    return verdict("max_used_share", share, params["max_used_share"], says, _first(others, taken["used"]))


def _idle(activity, params):
    idle = [session for session in activity.clients if is_idle(session, params["idle_seconds"])]
    share = None if _unseen(activity) else len(idle) / activity.server["max_connections"]
    says = f"{len(idle)} connections are idle for {age_text(params['idle_seconds'])} or longer"
    return verdict("max_idle_share", share, params["max_idle_share"], says, _first(idle, len(idle)))


def _oldest(activity, check, sessions, age, words, limit):
    known = [session for session in sessions if session[age] is not None]
    if not known:
        return verdict(check, None if _unseen(activity) else 0, limit, "there is none")
    oldest = max(known, key=lambda session: session[age])
    guilty, says = oldest, words.format(age_text(oldest[age]))
    if check == "max_blocked_seconds":
        guilty = _root(oldest, activity)
        says += f" that pid {guilty['pid']} holds"
    culprit = {**_first([guilty], 1), "pid": guilty["pid"]}
    return verdict(check, oldest[age], limit, f"{says} ({application_of(oldest)}, pid {oldest['pid']})", culprit)


def _root(session, activity):
    """The session at the end of a chain of waiting."""
    by_pid = {other["pid"]: other for other in activity.sessions}
    passed = set()
    while session["pid"] not in passed:
        passed.add(session["pid"])
        blockers = [by_pid[pid] for pid in session["blocked_by"] or () if pid in by_pid]
        if not blockers:
            break
        session = blockers[0]
    return session


def _unseen(activity):
    """Whether states are hidden from us, so that none of a kind may only mean that none is seen."""
    return bool(activity.missing) or not activity.server["track_activities"]


def _first(sessions, total):
    return next(iter(holders(sessions, total)), None)
