# SPDX-License-Identifier: MIT
"""Which sessions are ended, which are spared and why, and the plan of that. Pure: no server and no clock."""

from __future__ import annotations

import difflib
import ipaddress
import re
from fnmatch import fnmatchcase

from .errors import MendError, Nothing, Refused
from .plan import cap, make_plan, refusal
from .plan_text import age_text
from .postgres_activity import IDLE, IN_TRANSACTION, slots, target
from .postgres_verdicts import application_of

# less would race with what applications do between two queries
MIN_SECONDS = 5
ALL = "*"
# what poolers, monitors and backups call themselves, in small letters
POOLERS = re.compile("pgbouncer|pgpool|pgcat|odyssey|supavisor|rds_?proxy")
MONITORS = re.compile(
    "(postgres|pg|sql).?exporter|monitor|datadog|zabbix|telegraf|check_(postgres|pg)|pganalyze|pgwatch|pmm|new.?relic"
    "|patroni|repmgr|pgbackrest|barman|pg_(dump|restore|basebackup)"
)
# what must be as it was planned; the sessions themselves come and go
_SELECTOR = (
    "database", "applications", "users", "clients", "idle_seconds", "in_transaction_seconds", "spare",
    "exclude_applications", "exclude_users", "exclude_clients", "max_sessions", "max_share",
)  # fmt: skip
# with fewer sessions a share says nothing: one of one is all of them
SHARE_FROM = 10
# sessions come and go between plan and act: so many, or half of them
_LEEWAY_OBJECTS = 5
_LEEWAY = 0.5


def check_options(params):
    """Raise `MendError` for options that cannot be meant, before anybody is asked."""
    for name in ("idle_seconds", "in_transaction_seconds"):
        seconds = params[name]
        if seconds is not None and seconds < MIN_SECONDS:
            raise Refused(
                f"refused: {name} is {seconds}: a session that rests between two queries would be hit; "
                f"{MIN_SECONDS} is the least",
                rule=name,
                details={"value": seconds, "limit": MIN_SECONDS},
            )
    if not params["database"].strip():
        raise Nothing("database is empty: name one, or * for all databases of the server", rule="database")
    if not 0 < params["max_share"] <= 1:
        raise MendError(f"max_share is {params['max_share']}, not a share between 0 and 1", rule="max_share")
    for client in params["clients"] + params["exclude_clients"]:
        _network(client)


class Selection:
    """``scope``: the sessions that are meant at all; ``chosen``: those to end; ``spared``: {reason: sessions}."""

    def __init__(self, scope, chosen, spared):
        self.scope = scope
        self.chosen = chosen
        self.spared = spared


def select(activity, params):
    """Return the `Selection`. Raises `Nothing` when there is no such database."""
    if params["database"] != ALL and params["database"] not in activity.databases:
        close = difflib.get_close_matches(params["database"], activity.databases, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise Nothing(f"{activity.server['address']} has no database {params['database']}{meant}", rule="database")
    scope = [session for session in activity.clients if not session["mendbook"] and _is_meant(session, params)]
    chosen, spared = [], {}
    for session in scope:
        if not _has_rested(session, params):
            continue
        reason = _spared(session, params)
        if reason is None:
            chosen.append(session)
        else:
            spared.setdefault(reason, []).append(session)
    return Selection(scope, sorted(chosen, key=lambda session: -session["state_seconds"]), spared)


def object_of(session):
    """Return the name of a session in plans and results."""
    return f"{application_of(session)} pid {session['pid']}"


def terminate_plan(activity, selection, locked_by, params):
    """Return the plan (schema 1) of ending the sessions that were chosen; ``locked_by`` is who holds the lock now."""
    chosen = selection.chosen
    lost = [session for session in chosen if session["state"] in IN_TRANSACTION]
    share = round(len(chosen) / len(selection.scope), 3) if selection.scope else 0
    taken = slots(activity)
    return make_plan(
        module="mend_postgres_terminate",
        target=target(activity, params["database"]),
        # an idle session is opened again by its client; a transaction that is rolled back is work lost
        risk="destroys" if lost else "changes",
        changes=[_change(session) for session in chosen],
        totals={"share": share},
        remains={"sessions": len(selection.scope) - len(chosen), "free_connections": taken["free"] + len(chosen)},
        caps=_caps(len(chosen), share, params),
        identity={
            "server": activity.server["system_identifier"],
            "standby": activity.server["standby"],
            "selector": {name: params[name] for name in _SELECTOR},
        },
        tolerance={"objects": max(_LEEWAY, _LEEWAY_OBJECTS / len(chosen)) if chosen else None, "share": None},
        expected_seconds=1 if chosen else 0,
        undo={"none": "an ended session does not come back; its client opens a new one when it needs it"},
        notes=_notes(activity, selection, lost, params, locked_by),
        refusals=_refusals(activity, chosen) if chosen else [],
    )


def _is_meant(session, params):
    return (
        params["database"] in (ALL, session["database"])
        and (not params["applications"] or _matches(session["application"], params["applications"]))
        and (not params["users"] or _matches(session["user"], params["users"]))
        and (not params["clients"] or _comes_from(session, params["clients"]))
    )


def _has_rested(session, params):
    if session["state_seconds"] is None:
        return False
    if session["state"] == IDLE:
        return session["state_seconds"] >= params["idle_seconds"]
    limit = params["in_transaction_seconds"]
    return session["state"] in IN_TRANSACTION and limit is not None and session["state_seconds"] >= limit


def _spared(session, params):
    spare = params["spare"]
    names = [(session["application"] or "").lower(), (session["user"] or "").lower()]
    if _matches(session["application"], params["exclude_applications"]):
        return "exclude_applications"
    if _matches(session["user"], params["exclude_users"]):
        return "exclude_users"
    if params["exclude_clients"] and _comes_from(session, params["exclude_clients"]):
        return "exclude_clients"
    if "superusers" in spare and session["superuser"]:
        return "superusers"
    if "poolers" in spare and any(map(POOLERS.match, names)):
        return "poolers"
    if "monitoring" in spare and (session["monitors"] or any(map(MONITORS.match, names))):
        return "monitoring"
    if "lock_holders" in spare and session["holds_lock"]:
        return "lock_holders"
    if "listeners" in spare and session["listens"]:
        return "listeners"
    return None


def _matches(name, patterns):
    # a name may hold the very characters that are wildcards
    return any(name == pattern or fnmatchcase(name or "", pattern) for pattern in patterns)


def _comes_from(session, clients):
    if session["client"] in clients:
        return True
    try:
        address = ipaddress.ip_address(session["client"] or "")
    except ValueError:
        return False
    return any(address in network for network in map(_network, clients) if network is not None)


def _network(client):
    """A client of the options as a network; None for local sockets."""
    if client == "socket":
        return None
    try:
        return ipaddress.ip_network(client, strict=False)
    except ValueError:
        raise MendError(
            f"{client!r} is no client: give an address, a network such as 10.0.0.0/8, or socket", rule="clients"
        ) from None


def _change(session):
    shown = ("user", "database", "client", "state")
    return {
        "op": "-",
        "object": object_of(session),
        "before": {**{name: session[name] for name in shown}, "idle_seconds": round(session["state_seconds"])},
        "after": None,
        "group": application_of(session),
    }


def _caps(number, share, params):
    caps = [cap("sessions", params["max_sessions"], number, "raise postgres_terminate_max_sessions")]
    if number > SHARE_FROM:
        words = "raise postgres_terminate_max_share"
        caps.append(cap("share of the sessions", params["max_share"], share, words))
    return caps


def _refusals(activity, chosen):
    facts, found = activity.server, []
    if facts["pooled"]:
        found.append(pooler_refusal(facts["address"]))
    if facts["superuser"]:
        return found
    if any(session["superuser"] for session in chosen):
        found.append(_privilege(facts, "SUPERUSER", "a superuser's session ends by a superuser's hand only"))
    if not facts["signals"] and any(not session["mine"] and not session["superuser"] for session in chosen):
        words = f'a superuser can grant it: GRANT pg_signal_backend TO "{facts["user"]}"'
        found.append(_privilege(facts, "pg_signal_backend", words))
    return found


def pooler_refusal(address):
    """Return the refusal of whoever would act through a pooler."""
    words = (
        f"a pooler stands between here and {address}: what one statement sees and locks, the next may not, because it "
        "may run in another session"
    )
    return refusal("postgres_pooler", words, address, None, "name the server itself in postgres_uri")


def _privilege(facts, missing, words):
    return refusal("privileges", f"{facts['user']} lacks {missing} to end these sessions", missing, None, words)


def _notes(activity, selection, lost, params, locked_by):
    notes = []
    if not selection.chosen:
        limit = age_text(params["idle_seconds"])
        notes.append(f"nothing to end: of {len(selection.scope)} sessions none is idle for {limit} and may be ended")
    else:
        notes.append(
            "each session is looked at again immediately before it is ended, and is spared when it did anything since; "
            "a client finds out at its next query (57P01) and connects again"
        )
    if lost:
        oldest = age_text(max(session["transaction_seconds"] or 0 for session in lost))
        notes.append(f"{len(lost)} open transactions are rolled back, the oldest of {oldest}: their work is lost")
    for reason, sessions in sorted(selection.spared.items()):
        names = ", ".join(sorted({application_of(session) for session in sessions})[:5])
        notes.append(f"spared ({reason}): {len(sessions)} idle sessions of {names}")
    if activity.server["pooled"]:
        notes.append("a pooler answers at this address: only its own sessions are seen; name the server itself")
    if activity.server["standby"]:
        notes.append(
            f"this is a standby of {activity.server['upstream'] or 'a primary'}, and its own sessions are meant"
        )
    if not activity.server["track_activities"]:
        notes.append("track_activities is off at the server: who is idle is not known")
    if locked_by:
        notes.append(
            f"locked now by run {locked_by['run']} of {locked_by['holder']} on {locked_by['host']} since "
            f"{locked_by['since']}"
        )
    return notes
