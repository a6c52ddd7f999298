# SPDX-License-Identifier: MIT
"""One changing run at a PostgreSQL server: an advisory lock of the session that acts, gone when that session is."""

from __future__ import annotations

import random
import re
import time
from contextlib import contextmanager

import psycopg

from .errors import Locked
from .postgres_options import APPLICATION

# "mend" in ASCII, and the first thing that is locked by it: the sessions of the server
_KEY = (0x6D656E64, 1)
_LOOK_SECONDS = 1.0
_NAME = re.compile(rf"{APPLICATION} (?P<run>\S+) (?P<holder>.*)@(?P<host>[^@]*):(?P<pid>\d+)")
# pg_locks shows the locks of every database, though an advisory lock excludes only in its own
_HOLDERS = """
select l.pid as backend, a.application_name as name, to_char(a.backend_start at time zone 'UTC',
       'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since
from pg_locks l left join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.classid = %s and l.objid = %s and l.objsubid = 2 and l.granted
      and l.pid <> pg_backend_pid() order by a.backend_start, l.pid
"""


@contextmanager
def lock(server):
    """Keep other runs away from the sessions of this server while the block runs; raises `Locked`.

    The lock is taken first and then looked for in the other databases: of two runs that hold it in two databases at
    least one sees the other. Both may; then both let go and try again for a second.
    """
    deadline = time.monotonic() + _LOOK_SECONDS
    while True:
        taken = server.all("select pg_try_advisory_lock(%s, %s) as taken", _KEY)[0]["taken"]
        other = holder(server)
        if taken and other is None:
            break
        if taken:
            server.all("select pg_advisory_unlock(%s, %s)", _KEY)
        if time.monotonic() > deadline or (other is not None and not taken):
            raise _locked(server, other or {})
        time.sleep(random.uniform(0.02, 0.1))  # noqa: S311
    try:
        yield
    finally:
        try:
            server.all("select pg_advisory_unlock(%s, %s)", _KEY)
        except psycopg.Error:
            pass  # it ends with the session, and that ends next


def holder(server):
    """Return who holds the lock, as JSON (run, holder, host, pid, since), or ``None``; takes nothing."""
    rows = server.all(_HOLDERS, _KEY)
    if not rows:
        return None
    named = _NAME.fullmatch(rows[0]["name"] or "")
    facts = named.groupdict() if named else dict.fromkeys(("run", "holder", "host", "pid"))
    return {**facts, "since": rows[0]["since"], "backend": rows[0]["backend"]}


def _locked(server, facts):
    return Locked(
        f"the sessions of {server.address} are locked by run {facts.get('run')} of {facts.get('holder')} on "
        f"{facts.get('host')} (pid {facts.get('pid')}) since {facts.get('since')}: wait for it, or look there whether "
        "it still runs; the lock goes with its session",
        rule="lock",
        details=facts,
    )
