# SPDX-License-Identifier: MIT
"""One look at who is connected: the server, its slots, every session, and who waits for whom."""

from __future__ import annotations

import re

from .errors import Refused
from .postgres_options import APPLICATION
from .postgres_redact import redacted

IDLE = "idle"
IN_TRANSACTION = ("idle in transaction", "idle in transaction (aborted)")
# an application that waits for notifications is idle for as long as nothing happens
_LISTENS = re.compile(r"\s*listen\b", re.IGNORECASE)

_SERVER = """
select (select system_identifier::text from pg_control_system()) as system_identifier,
       current_setting('server_version') as version, pg_is_in_recovery() as standby,
       current_user::text as "user",
       (select rolsuper from pg_roles where rolname = current_user) as superuser,
       pg_has_role(current_user, 'pg_read_all_stats', 'usage') as reads_all,
       pg_has_role(current_user, 'pg_signal_backend', 'usage') as signals,
       extract(epoch from clock_timestamp() - pg_postmaster_start_time())::float as up_seconds,
       current_setting('track_activities')::bool as track_activities,
       current_setting('max_connections')::int as max_connections,
       current_setting('superuser_reserved_connections')::int as superuser_reserved,
       coalesce(current_setting('reserved_connections', true), '0')::int as reserved,
       case when pg_is_in_recovery() then case when pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn() then 0.0
            else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float end end as lag_seconds,
       (select status from pg_stat_wal_receiver) as receiver,
       (select sender_host || ':' || sender_port from pg_stat_wal_receiver) as upstream
"""

_STANDBYS = """
select application_name as name, coalesce(host(client_addr), 'socket') as client, state, sync_state,
       extract(epoch from replay_lag)::float as lag_seconds
from pg_stat_replication order by 1, 2
"""

_DATABASES = "select datname::text as name from pg_database where datallowconn order by 1"

# `started` and `changed` in microseconds are exact, and nobody's time zone matters
_SESSIONS = """
with activity as materialized (select * from pg_stat_activity),
     held as materialized (select distinct pid from pg_locks where locktype = 'advisory' and granted),
     waiting as materialized (select pid, min(waitstart) as since from pg_locks where not granted group by pid),
     roles as materialized (
       select oid, rolsuper, pg_has_role(current_user, oid, 'usage') as mine,
              not rolsuper and (pg_has_role(oid, 'pg_monitor', 'member')
                                or pg_has_role(oid, 'pg_read_all_stats', 'member')) as monitors
       from pg_roles where oid in (select usesysid from activity))
select a.pid, a.backend_type as kind, a.datname as database, a.usename as "user", a.application_name as application,
       case when a.client_addr is not null then host(a.client_addr) when a.client_port = -1 then 'socket' end as client,
       a.state, nullif(concat_ws(': ', a.wait_event_type, a.wait_event), '') as wait, a.query,
       (extract(epoch from a.backend_start) * 1000000)::bigint as started,
       (extract(epoch from a.state_change) * 1000000)::bigint as changed,
       greatest(0, extract(epoch from clock_timestamp() - a.backend_start))::float as session_seconds,
       greatest(0, extract(epoch from clock_timestamp() - a.state_change))::float as state_seconds,
       greatest(0, extract(epoch from clock_timestamp() - a.xact_start))::float as transaction_seconds,
       greatest(0, extract(epoch from clock_timestamp() - a.query_start))::float as query_seconds,
       greatest(0, extract(epoch from clock_timestamp() - waiting.since))::float as blocked_seconds,
       case when a.wait_event_type = 'Lock' then pg_blocking_pids(a.pid) end as blocked_by,
       coalesce(roles.rolsuper, false) as superuser, coalesce(roles.monitors, false) as monitors,
       coalesce(roles.mine, false) as mine, held.pid is not null as holds_lock
from activity a left join held using (pid) left join waiting using (pid) left join roles on roles.oid = a.usesysid
where a.usesysid is not null or a.backend_type in ('client backend', 'walsender')
order by a.pid
"""


class Activity:
    """What one look has seen: ``server`` (facts), ``standbys``, ``databases`` (names), ``sessions`` (dicts).

    A session has pid, kind, database, user, application, client, state, wait, statement (when asked for), ages in
    seconds (session, state, transaction, query, blocked), blocked_by, and whether it is a superuser's, a monitor's,
    ours, of mendbook, holds an advisory lock or listens. ``started`` and ``changed`` (microseconds since 1970) say
    exactly which session in which state was seen.
    """

    def __init__(self, server, standbys, databases, sessions):
        self.server = server
        self.standbys = standbys
        self.databases = databases
        self.sessions = sessions

    @property
    def clients(self):
        """The sessions that take a slot of max_connections."""
        return [session for session in self.sessions if session["kind"] == "client backend"]

    @property
    def missing(self):
        """The role that this user lacks to see everybody's sessions, or None."""
        return None if self.server["superuser"] or self.server["reads_all"] else "pg_read_all_stats"


def look(server, statements=False):
    """Return the `Activity` of a `Server` now; with ``statements`` each session has its last one, redacted."""
    with server.look():
        # in one round trip
        with server.connection.pipeline():
            asked = [server.connection.execute(query) for query in (_SERVER, _STANDBYS, _DATABASES, _SESSIONS)]
        (facts,), standbys, databases, sessions = (answer.fetchall() for answer in asked)
    facts.update(server.reached())
    names = [row["name"] for row in databases]
    return Activity(facts, standbys, names, [_session(row, server.pid, statements) for row in sessions])


def _session(row, own_pid, statements):
    query = row.pop("query") or ""
    if statements:
        row["statement"] = redacted(query)
    row["listens"] = bool(_LISTENS.match(query))
    row["own"] = row["pid"] == own_pid
    row["mendbook"] = row["own"] or (row["application"] or "").startswith(f"{APPLICATION} ")
    # who may not see a session is told that it is there, and nothing of its kind
    row["kind"] = row["kind"] or "client backend"
    return row


def target(activity, database):
    """Return the plan's target: this server, and one database of it or all (``*``)."""
    facts = activity.server
    return {
        "kind": "postgresql",
        "id": f"pg:{facts['system_identifier']}/{database}",
        "address": facts["address"],
        "facts": {
            "role": "standby" if facts["standby"] else "primary",
            "version": facts["version"],
            "user": facts["user"],
            "max_connections": facts["max_connections"],
            "upstream": facts["upstream"],
        },
    }


def used_now(server):
    """Return how many slots are taken now."""
    return server.all("select count(*) as used from pg_stat_activity where backend_type = 'client backend'")[0]["used"]


def slots(activity, used=None):
    """Return how the slots of max_connections are taken: max, used, reserved, free (for anybody) as numbers."""
    facts = activity.server
    reserved = facts["superuser_reserved"] + facts["reserved"]
    used = len(activity.clients) if used is None else used
    left = facts["max_connections"] - used
    return {
        "max": facts["max_connections"],
        "used": used,
        "reserved_for_superusers": facts["superuser_reserved"],
        "reserved_for_members": facts["reserved"],
        "free": max(0, left - reserved),
        "free_reserved": min(left, reserved),
    }


def refuse_blind(activity):
    """Raise `Refused` when the user may not see whether other users' sessions are idle."""
    if activity.missing:
        name = activity.server["user"]
        raise Refused(
            f"refused: {name} does not see what other users' sessions do; a superuser can "
            f'grant it: GRANT pg_read_all_stats TO "{name}" (or pg_monitor, which has it)',
            rule="privileges",
            details={"missing": ["pg_read_all_stats"]},
        )
