"""diagnose_postgres on a real server: what it says against what the sessions do, and that it changes nothing."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path

import psycopg
import pytest

from local_inventory import local_inventory
from mendbook.sandbox.services.postgres import Service

pytestmark = pytest.mark.e2e
pytest_plugins = ["postgres_lab"]
CARD = "4111111111111111"


@pytest.fixture
def inventory(tmp_path) -> Path:
    """One host in the group postgres, in the place of those with MongoDB and S3."""
    return local_inventory(tmp_path / "inventory.yml", "shop", "postgres", postgres_uri="env:SANDBOX_POSTGRES_URI")


@pytest.fixture
def sandbox_secrets(postgres) -> dict[str, str]:
    return {"SANDBOX_POSTGRES_URI": postgres.uri}


@pytest.fixture
def later(pg):
    """Let a session run a statement that takes its time; every one is cancelled when the test ends."""
    threads = []

    def run(session, statement, state="active", waiting=False):
        def work():
            with contextlib.suppress(psycopg.Error):
                session.execute(statement)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        seen = "select state, wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
        deadline = time.monotonic() + 60
        while pg.admin.execute(seen, [session.pid]).fetchone() != (state, waiting):
            assert time.monotonic() < deadline and threads[-1].is_alive()
            time.sleep(0.02)
        return session

    yield run
    for thread in threads:
        while thread.is_alive():
            pg.admin.execute("select pg_cancel_backend(pid) from pg_stat_activity where datname = %s", [pg.name])
            thread.join(0.1)


def test_the_playbook_tells_what_is_there_and_changes_nothing(pg, playbook, later):
    pg.open(), pg.open(), pg.in_transaction()
    later(pg.open("report"), f"select pg_sleep(3600) where 'card {CARD}' <> '' -- for anna@example.com")
    # the server may send its own to clean up in between
    query = """select pid, state, state_change, xact_start from pg_stat_activity
        where datname = %s and backend_type = 'client backend' order by pid"""
    before = pg.admin.execute(query, [pg.name]).fetchall()
    for arguments in ((), ("--check",)):
        played = playbook("diagnose_postgres", *arguments)
        assert played.rc == 0, played.stdout
        (facts,) = played.of("mend_postgres_sessions_info")
        assert facts["changed"] is False and facts["by_database"][pg.name] == 4
        assert "PostgreSQL 18." in played.stdout and "connections used" in played.stdout
        assert CARD not in played.stdout + json.dumps(facts) and "anna@" not in json.dumps(facts)
    assert pg.admin.execute(query, [pg.name]).fetchall() == before


def test_sessions_are_counted_by_what_they_do_and_whose_they_are(pg, later):
    pg.open(), pg.open(), pg.in_transaction(), later(pg.open("report"), "select pg_sleep(3600)")
    failed = pg.in_transaction("broken")
    with pytest.raises(psycopg.errors.UndefinedTable):
        failed.execute("select * from nowhere")
    facts = pg.info(idle_seconds=0)
    assert facts["rc"] == 0
    states = pg.admin.execute(
        "select state, count(*) from pg_stat_activity where backend_type = 'client backend' group by 1 order by 1"
    ).fetchall()
    # the module's own session was one more that was active
    assert facts["by_state"]["active"] == dict(states)["active"] and facts["by_state"]["idle in transaction"] == 1
    assert facts["by_state"]["idle in transaction (aborted)"] == 1
    assert facts["by_application"]["shop-api"] == {"sessions": 2, "active": 0, "idle": 2, "in_transaction": 0}
    assert facts["by_user"][pg.name] == facts["by_database"][pg.name] == 5
    assert {one["pid"] for one in facts["in_transaction"]} >= {failed.pid}
    assert facts["connections"]["used"] == sum(facts["by_state"].values())
    assert facts["target"]["id"].startswith("pg:") and facts["target"]["facts"]["role"] == "primary"


def test_a_chain_of_waiting_ends_at_its_culprit(pg, later):
    holder, first, second = pg.in_transaction("migration"), pg.open("checkout"), pg.open("checkout")
    holder.execute("create table orders (id int)")
    holder.execute("commit")
    holder.execute("begin")
    holder.execute("lock table orders in access exclusive mode")
    later(first, "begin; select * from orders where id = 4111111111111111", waiting=True)
    later(second, "begin; lock table orders in share mode", waiting=True)
    facts = pg.info(max_blocked_seconds=0)
    (root,) = facts["blocking"]
    assert (root["pid"], root["application"]) == (holder.pid, "migration")
    assert {one["pid"] for one in root["blocks"]} == {first.pid, second.pid}
    waiting = next(one for one in root["blocks"] if one["pid"] == first.pid)
    assert waiting["statement"] == "begin; select * from orders where id = ?" and waiting["blocked_seconds"] > 0
    verdict = next(one for one in facts["verdicts"] if one["check"] == "max_blocked_seconds")
    assert verdict["verdict"] == "exceeded" and verdict["culprit"]["pid"] == holder.pid
    assert facts["culprit"]["application"] == "migration"


@pytest.mark.parametrize(
    ("threshold", "culprit"),
    [
        ("max_in_transaction_seconds", "shop-worker"),
        ("max_transaction_seconds", "shop-worker"),
        ("max_query_seconds", "report"),
        ("max_used_share", None),
        ("max_idle_share", "shop-api"),
    ],
)
def test_a_threshold_that_is_exceeded_names_the_application_and_can_fail(pg, later, threshold, culprit):
    pg.in_transaction()
    for _ in range(9):
        pg.open()
    later(pg.open("report"), "select pg_sleep(3600)")
    limits = {name: 10**6 for name in (f"max_{what}_seconds" for what in ("in_transaction", "transaction", "query"))}
    facts = pg.info(**{**limits, threshold: 0}, idle_seconds=0)
    assert facts["rc"] == 0 and facts["verdict"] == "exceeded"
    exceeded = [one for one in facts["verdicts"] if one["verdict"] == "exceeded"]
    assert [one["check"] for one in exceeded] == [threshold]
    assert exceeded[0]["culprit"]["application"] == (culprit or "shop-api")
    failed = pg.info(**{**limits, threshold: 0}, idle_seconds=0, fail=True)
    assert (failed["rc"], failed["mend"]["reason"], failed["mend"]["rule"]) == (1, "verify", "thresholds")
    assert threshold in failed["msg"] and failed["mend"]["details"]["culprit"] == facts["culprit"]


def test_who_may_not_see_is_told_so_and_nothing_is_called_good(pg):
    role = pg.make_role(f"{pg.name}_plain")
    pg.open(), pg.in_transaction()
    facts = pg.info(uri=pg.uri_of(role))
    assert facts["rc"] == 0 and facts["verdict"] == "unknown"
    assert facts["missing_privileges"] == ["pg_read_all_stats"]
    assert any("lacks pg_read_all_stats" in line for line in facts["summary"])
    assert facts["by_application"]["shop-api"]["sessions"] == 1 and facts["in_transaction"] == []
    pg.admin.execute(f"grant pg_monitor to {role}")
    seen = pg.info(uri=pg.uri_of(role))
    assert seen["missing_privileges"] == [] and len(seen["in_transaction"]) >= 1


def test_a_statement_in_another_encoding_is_shown(pg):
    other = pg.make_database(f"{pg.name}_latin", "template template0 encoding 'LATIN1' locale 'C'")
    session = pg.open("caf\xe9", dbname=other, client_encoding="LATIN1")
    session.execute("begin")
    session.execute('select 1 as "caf\xe9"')
    facts = pg.info()
    assert facts["rc"] == 0, facts
    (row,) = [one for one in facts["in_transaction"] if one["pid"] == session.pid]
    assert row["statement"].startswith('select ? as "caf')


def test_a_function_of_the_database_s_owner_is_not_taken_for_the_server_s(pg):
    owner = pg.open("owner")
    owner.execute("create schema trap")
    owner.execute(
        "create function trap.pg_is_in_recovery() returns bool language plpgsql as $$begin raise 'trapped'; end$$"
    )
    pg.admin.execute(f"alter database {pg.name} set search_path = trap, pg_catalog")
    uri = f"{pg.uri.removesuffix('/postgres')}/{pg.name}"
    with psycopg.connect(uri) as client, pytest.raises(psycopg.errors.RaiseException):
        client.execute("select pg_is_in_recovery()")
    assert pg.info(uri=uri)["rc"] == 0


def test_another_version_of_the_server_says_the_same(pg, postgres_box, debian_server):
    service = postgres_box.add(Service(name="debian", binary=debian_server))
    try:
        with contextlib.closing(type(pg)(service.uri)) as shop:
            idle, waiting = shop.open(), shop.in_transaction()
            facts = pg.info(uri=service.uri)
            assert facts["rc"] == 0 and facts["by_database"][shop.name] == 2
            assert facts["connections"]["reserved_for_members"] == 0
            options = {"uri": service.uri, "database": shop.name}
            assert shop.pids(pg.terminate(**options)["done"]) == {idle.pid}
            assert shop.pids(pg.terminate(**options, in_transaction_seconds=0)["done"]) == {waiting.pid}
    finally:
        postgres_box.remove("debian")
