"""A real PgBouncer that pools transactions: nobody works through it unawares, and its sessions are called by name."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from postgres_lab import ESCAPED
from waiting import until

pytestmark = pytest.mark.e2e
pytest_plugins = ["postgres_lab", "pgbouncer_lab"]
LOCKS = "select count(*) from pg_locks where locktype = 'advisory'"
SETTINGS = "select current_setting('statement_timeout'), current_setting('search_path')"


def test_a_diagnosis_says_that_a_pooler_answers_and_leaves_nothing_in_its_sessions(pg, pgbouncer):
    assert len(pgbouncer.fill(pg.uri)) == 2
    result = pg.info(uri=pgbouncer.uri(pg.uri))
    assert result["rc"] == 0, result
    assert result["reached"]["pooled"] is True and result["reached"]["address"] == f"127.0.0.1:{pgbouncer.port}"
    assert any("a pooler answers at this address" in line for line in result["summary"])
    client, fresh = pgbouncer.client(pg.uri), pg.admin.execute(SETTINGS).fetchone()
    assert [client.execute(SETTINGS).fetchone() for _ in range(4)] == [fresh] * 4
    direct = pg.info()
    assert direct["reached"]["pooled"] is False and not any("pooler" in line for line in direct["summary"])


def test_ending_sessions_through_a_pooler_is_refused_and_leaves_no_lock_in_its_sessions(pg, pgbouncer):
    session = pg.open()
    pgbouncer.fill(pg.uri)
    uri = pgbouncer.uri(pg.uri)
    planned = pg.plan(uri=uri)
    assert planned["rc"] == 0 and [one["rule"] for one in planned["plan"]["refusals"]] == ["postgres_pooler"]
    for plan in (planned, pg.plan()):
        result = pg.act(plan, uri=uri)
        assert (result["rc"], result["done"]) == (1, []) and not session.is_ended()
        assert (result["mend"]["reason"], result["mend"]["rule"]) == ("refused", "postgres_pooler")
        assert pg.admin.execute(LOCKS).fetchone() == (0,)


def test_a_login_that_the_pooler_refuses_by_itself_is_told(pg, pgbouncer):
    for user in (f"nobody_of_that_name:{ESCAPED}", f"{pg.name}:wrong"):
        result = pg.info(uri=f"postgresql://{user}@127.0.0.1:{pgbouncer.port}/{pg.name}")
        assert result["rc"] == 1 and result["mend"]["rule"] == "postgres_authentication", result


def test_its_sessions_are_named_by_the_application_behind_and_end_unless_its_address_is_excluded(pg, pgbouncer):
    def served():
        with contextlib.suppress(psycopg.OperationalError):
            client = pgbouncer.client(pg.uri_of(pg.name, pg.name), application_name="checkout")
            return client.execute("select pg_backend_pid()").fetchone()[0]

    pid = until(served)
    # the session that asks for passwords is the pooler's own; both fall idle a moment after they have answered
    owners = "select usename from pg_stat_activity where datname = %s and state = 'idle' order by 1"
    until(lambda: pg.admin.execute(owners, [pg.name]).fetchall() == [(pgbouncer.user,), (pg.name,)])
    facts = pg.info()
    assert facts["by_application"]["checkout"]["sessions"] == 1 and facts["by_user"][pgbouncer.user] == 1
    # its own user is a superuser here, which spares it, too
    spared = pg.plan(spare=["poolers"], exclude_clients=["127.0.0.1"])
    assert spared["plan"]["changes"] == [] and any("spared (exclude_clients): 2" in note for note in notes(spared))
    planned = pg.plan(spare=["poolers"])
    assert any("spared (poolers): 1 idle sessions" in note for note in notes(planned))
    assert [change["object"] for change in planned["plan"]["changes"]] == [f"checkout pid {pid}"]
    assert pg.pids(pg.act(planned, spare=["poolers"])["done"]) == {pid}
    # the pool opens another one, and its own session was left alone
    assert until(served) != pid
    assert (pgbouncer.user,) in pg.admin.execute(owners, [pg.name]).fetchall()


def notes(planned):
    return planned["plan"]["notes"]
