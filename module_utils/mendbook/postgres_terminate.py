# SPDX-License-Identifier: MIT
"""Ending idle sessions as one change: chosen by how long they rest, looked at again, ended, and read back as gone."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager

import psycopg

from . import postgres_options
from .change import done, skipped
from .errors import Refused, Unknown, VerifyFailed
from .held_signals import held_signals
from .plan import refusal_text
from .postgres import connect
from .postgres_activity import look, refuse_blind, slots, used_now
from .postgres_errors import translate
from .postgres_lock import holder, lock
from .postgres_terminate_plan import check_options, object_of, pooler_refusal, select, terminate_plan

# what is ended in one statement; a signal is heard between two
CHUNK = 1000
MOST_LOOKS = 64
# sessions are gone 3 to 15 ms after they were told to go
POLL_SECONDS = 0.01
GONE_SECONDS = 5.0

# The status of all sessions is cached for the whole transaction unless the cache is cleared, and a session that was
# idle when the statement began may be at work when its turn comes. So for each, one after the other (OFFSET 0 keeps the
# planner from pulling the steps apart): clear, look whether it is in just the state that was planned for, end it.
# With one statement over pg_stat_activity 40 to 80 of 1,000 were hit in the middle of a query, so about 1 is. A look
# copies the status of every session: where there are hundreds, one look serves for a few (``step``).
_END = """
select planned.pid, seen.state,
       case when seen.changed = planned.changed and seen.state = planned.state
            then pg_terminate_backend(planned.pid) end as ended
from unnest(%(pids)s::int[], %(started)s::bigint[], %(changed)s::bigint[], %(states)s::text[])
       with ordinality as planned (pid, started, changed, state, number)
     join lateral (
       select case when planned.number %% %(step)s > 0 then planned.pid
                   when pg_stat_clear_snapshot() is null then null else planned.pid end as pid offset 0)
       as looked on true
     left join lateral (
       select s.state, (extract(epoch from s.state_change) * 1000000)::bigint as changed
       from pg_stat_get_activity(looked.pid) as s
       where (extract(epoch from s.backend_start) * 1000000)::bigint = planned.started offset 0) as seen on true
"""
_LEFT = """
select s.pid from pg_stat_get_activity(null) as s
     join unnest(%(pids)s::int[], %(started)s::bigint[]) as ended (pid, started)
       on s.pid = ended.pid and (extract(epoch from s.backend_start) * 1000000)::bigint = ended.started
"""


class Terminate:
    """The procedure of mend_postgres_terminate (change.py says what each method promises)."""

    def __init__(self, params):
        self.params = params
        self.figures = {}
        self._locked = False
        self._seen = None
        self._chosen = []
        self._ended = []

    def secrets(self, params):
        return postgres_options.secrets_in(params)

    @contextmanager
    def open(self, params):
        check_options(params)
        with connect(params, (params.get("receipt") or {}).get("run")) as server:
            yield server

    @contextmanager
    def lock(self, server, run):
        if server.pooled:
            # the lock would be left in a session of the pooler, and keep everybody out for as long as that lives
            found = pooler_refusal(server.address)
            raise Refused("refused: " + refusal_text([found]), rule=found["rule"], details={"refusals": [found]})
        with lock(server):
            self._locked = True
            yield

    def observe(self, server):
        self._seen = activity = look(server)
        refuse_blind(activity)
        selection = select(activity, self.params)
        self._chosen = selection.chosen
        return activity, selection, None if self._locked else holder(server)

    def plan(self, observed, params):
        return terminate_plan(*observed, params)

    def act(self, server, plan, receipt):
        began = time.monotonic()
        for start in range(0, len(self._chosen), CHUNK):
            # until it is told who was ended
            with held_signals():
                yield from self._end(server, self._chosen[start : start + CHUNK])
        self.figures.update(seconds=round(time.monotonic() - began, 3), spared=len(self._chosen) - len(self._ended))

    def read_back(self, server, plan):
        left = _left(server, self._ended)
        if left:
            raise VerifyFailed(
                f"{len(left)} of {len(self._ended)} sessions were told to end and are still there after "
                f"{GONE_SECONDS:g} s: {', '.join(object_of(session) for session in left[:5])}",
                rule="read_back",
                details={"left": [session["pid"] for session in left]},
            )
        return {"ended": len(self._ended), "connections": slots(self._seen, used_now(server))}

    def _end(self, server, sessions):
        """End sessions that are still as they were seen, wait until they are gone, and say it of each."""
        by_pid = {session["pid"]: session for session in sessions}
        try:
            step = math.ceil(len(sessions) / MOST_LOOKS)
            rows = server.all(_END, {**_keys(sessions), **_states(sessions), "step": step})
            told = [by_pid[row["pid"]] for row in rows if row["ended"]]
            self._ended += told
            left = _wait(server, told)
        except psycopg.Error as error:
            said = translate(error, self.params, "ending sessions")
            raise Unknown(
                f"UNKNOWN which of {len(sessions)} sessions were ended: {said.msg}; diagnose_postgres shows the rest",
                rule=said.rule,
                details=said.details,
            ) from error
        items = []
        for row in rows:
            session = by_pid[row["pid"]]
            if session in left:
                items.append(skipped(object_of(session), "told to end, and still there"))
            elif row["ended"]:
                items.append(done("-", object_of(session), idle_seconds=round(session["state_seconds"])))
            else:
                items.append(skipped(object_of(session), _why(row)))
        return items


def _why(row):
    if row["state"] is None:
        return "it had gone by itself"
    if row["ended"] is False:
        return "the server could not tell it to end"
    return f"it was used meanwhile and is {row['state']} now"


def _wait(server, sessions):
    """Return those of the sessions that are still there when the time is over."""
    deadline = time.monotonic() + GONE_SECONDS
    left = _left(server, sessions)
    while left and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        left = _left(server, left)
    return left


def _left(server, sessions):
    there = {row["pid"] for row in server.all(_LEFT, _keys(sessions))} if sessions else ()
    return [session for session in sessions if session["pid"] in there]


def _keys(sessions):
    return {"pids": [session["pid"] for session in sessions], "started": [session["started"] for session in sessions]}


def _states(sessions):
    return {"changed": [session["changed"] for session in sessions], "states": [one["state"] for one in sessions]}
