"""kill_idle_postgres on a real server: who is ended and who is not, as the clients and an administrator see it."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import psycopg
import pytest
from ansible.module_utils.mendbook import postgres_terminate

from local_inventory import local_inventory
from mendbook.sandbox.services.postgres import Service
from waiting import until

pytestmark = pytest.mark.e2e
pytest_plugins = ["postgres_lab"]
# what runbooks 002 and 003 type, with the count of seconds in it
RUNBOOK = """
select pid from pg_stat_activity where datname = %s and state = 'idle' and query_start < now() - %s * interval '1 s'
"""


@pytest.fixture
def inventory(tmp_path) -> Path:
    """One host in the group postgres, in the place of those with MongoDB and S3."""
    return local_inventory(tmp_path / "inventory.yml", "shop", "postgres", postgres_uri="env:SANDBOX_POSTGRES_URI")


@pytest.fixture
def sandbox_secrets(postgres) -> dict[str, str]:
    return {"SANDBOX_POSTGRES_URI": postgres.uri}


@pytest.fixture
def at_work(pg):
    """Sessions in the middle of a query; they end when the test does."""
    threads = []

    def start(session=None):
        session = session or pg.open("shop-report")

        def work():
            with contextlib.suppress(psycopg.Error):
                session.execute("select pg_sleep(3600)")

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        until(lambda: state_of(pg, session) == "active")
        return session

    yield start
    pg.admin.execute("select pg_cancel_backend(pid) from pg_stat_activity where datname = %s", [pg.name])
    for thread in threads:
        thread.join()


def state_of(pg, session):
    found = pg.admin.execute("select state from pg_stat_activity where pid = %s", [session.pid]).fetchone()
    return found and found[0]


def rest(pg, session):
    """For how long a session has done nothing, as the server says it."""
    age = "select extract(epoch from clock_timestamp() - state_change) from pg_stat_activity where pid = %s"
    return pg.admin.execute(age, [session.pid]).fetchone()[0]


def test_the_playbook_ends_what_is_idle_and_nothing_else(pg, playbook, at_work):
    idle = [pg.open(), pg.open("shop-web")]
    waiting = pg.in_transaction()
    busy = at_work()
    until(lambda: rest(pg, waiting) >= 5)
    options = {"database": pg.name, "idle_seconds": 5, "connect_timeout_seconds": 30}
    variables = {f"postgres_terminate_{name}": value for name, value in options.items()}

    def play(*arguments, **more):
        played = playbook("kill_idle_postgres", *arguments, variables={**variables, **more})
        assert pg.alive(waiting, busy) == [True, True] or "postgres_terminate_confirm" in more
        return played, played.of("mend_postgres_terminate")[0]

    played, result = play("--check")
    assert played.rc == 0 and result["changed"] and pg.pids(result["plan"]["changes"]) == {one.pid for one in idle}
    assert result["plan"]["risk"] == "changes" and pg.alive(*idle) == [True, True]
    assert played.journal() == [] or not [line for line in played.journal() if line["event"] == "begin"]

    played, result = play()
    assert played.rc == 0 and result["state"] == "done" and pg.pids(result["done"]) == {one.pid for one in idle}
    assert result["read_back"]["ended"] == 2 and pg.alive(*idle) == [False, False]
    assert [one.is_ended() for one in idle] == [True, True]
    (end,) = [line for line in played.journal() if line["event"] == "end"]
    assert end["state"] == "done" and len(end["done"]) == 2 and end["target"]["id"].startswith("pg:")

    played, result = play()
    assert played.rc == 0 and (result["changed"], result["state"]) == (False, "nothing to do")

    played, result = play(postgres_terminate_in_transaction_seconds=5)
    assert played.rc != 0 and result["mend"]["rule"] == "confirm" and pg.alive(waiting) == [True]
    target = result["plan"]["target"]["id"]
    assert target.endswith(f"/{pg.name}") and f"postgres_terminate_confirm={target}" in result["msg"]

    played, result = play(postgres_terminate_in_transaction_seconds=5, postgres_terminate_confirm=target)
    assert played.rc == 0 and pg.pids(result["done"]) == {waiting.pid}
    assert waiting.is_ended() and pg.alive(busy) == [True]


def test_the_seconds_count_from_when_a_session_fell_idle_and_not_from_its_query(pg):
    session = pg.open()
    looked_in_time = False
    while not looked_in_time:
        session.execute("select pg_sleep(3.2)")
        planned = pg.plan(idle_seconds=3)
        # the trap of the runbooks: the query began long ago, and its client has had the answer for a moment only
        assert pg.admin.execute(RUNBOOK, [pg.name, 3]).fetchall() == [(session.pid,)]
        # on a machine that stood still meanwhile the session did rest for so long
        looked_in_time = rest(pg, session) < 3
    assert planned["plan"]["changes"] == []
    assert not session.is_ended()
    pg.terminate()
    assert session.is_ended()


def test_check_mode_ends_nobody_and_takes_no_lock(pg):
    sessions = [pg.open(), pg.in_transaction()]
    locks = "select count(*) from pg_locks where locktype = 'advisory'"
    planned = pg.plan(in_transaction_seconds=0)
    assert planned["changed"] and len(planned["plan"]["changes"]) == 2 and planned["plan"]["risk"] == "destroys"
    assert pg.admin.execute(locks).fetchone() == (0,)
    assert [one.is_ended() for one in sessions] == [False, False]


def test_without_a_receipt_nobody_is_ended(pg):
    session = pg.open()
    result = pg.plan(check=False)
    assert (result["rc"], result["mend"]["rule"]) == (1, "receipt") and not session.is_ended()


@pytest.fixture
def just_before(monkeypatch):
    """Do something between the look under the lock and the statement that ends sessions."""

    def call(hook):
        real = postgres_terminate.Terminate._end

        def end(self, server, sessions):
            hook()
            return real(self, server, sessions)

        monkeypatch.setattr(postgres_terminate.Terminate, "_end", end)

    return call


def test_what_is_used_between_the_plan_and_the_end_is_spared(pg, at_work, just_before):
    used, gone, again, idle = pg.open("used"), pg.open("gone"), pg.open("again"), pg.open("idle")
    worker = pg.open("worker")

    def meanwhile():
        used.execute("select 1")
        pg.leave(gone)
        again.execute("begin")
        at_work(worker)

    just_before(meanwhile)
    result = pg.terminate()
    assert result["state"] == "done" and pg.pids(result["done"]) == {idle.pid}
    reasons = {int(one["object"].split()[-1]): one["reason"] for one in result["skipped_objects"]}
    assert reasons == {
        used.pid: "it was used meanwhile and is idle now",
        gone.pid: "it had gone by itself",
        again.pid: "it was used meanwhile and is idle in transaction now",
        worker.pid: "it was used meanwhile and is active now",
    }
    assert pg.alive(used, gone, again, worker, idle) == [True, False, True, True, False]
    assert result["figures"]["spared"] == 4


def test_a_process_id_that_another_session_has_by_now_is_spared(pg, monkeypatch):
    session = pg.open()
    planned = pg.plan()
    real = postgres_terminate.look

    def as_if_it_had_begun_before(server):
        activity = real(server)
        for one in activity.sessions:
            one["started"] -= 1
        return activity

    monkeypatch.setattr(postgres_terminate, "look", as_if_it_had_begun_before)
    result = pg.act(planned)
    assert result["skipped_objects"][0]["reason"] == "it had gone by itself" and not session.is_ended()


def test_sessions_of_other_databases_are_not_meant_and_a_star_means_all(pg):
    other = pg.make_database(f"{pg.name}_2")
    here, there = pg.open(), pg.open(dbname=other)
    assert pg.pids(pg.terminate()["done"]) == {here.pid} and not there.is_ended()
    planned = pg.plan(database="*", applications=["shop-*"])
    assert planned["plan"]["target"]["id"].endswith("/*") and pg.pids(planned["plan"]["changes"]) == {there.pid}
    pg.act(planned, database="*", applications=["shop-*"])
    assert there.is_ended()


def test_only_those_that_match_every_filter_are_ended(pg):
    other = pg.make_role(f"{pg.name}_other")
    shop, web, theirs = pg.open("shop-api"), pg.open("web"), pg.open("shop-api", user=other)
    for options, expected in (
        ({"applications": ["shop-*"]}, {shop.pid, theirs.pid}),
        ({"applications": ["shop-*"], "users": [pg.name]}, {shop.pid}),
        ({"clients": ["127.0.0.0/8"], "exclude_applications": ["shop-api"]}, {web.pid}),
        ({"clients": ["10.0.0.0/8", "socket"]}, set()),
        ({"exclude_clients": ["127.0.0.1"]}, set()),
        ({"exclude_users": [f"{pg.name}_*"]}, {shop.pid, web.pid}),
        ({"applications": ["SHOP-*"]}, set()),
    ):
        assert pg.pids(pg.plan(**options)["plan"]["changes"]) == expected, options


def test_those_who_are_idle_by_their_nature_are_spared_unless_told_otherwise(pg):
    monitor = pg.make_role(f"{pg.name}_m", "in role pg_monitor")
    leader, listener = pg.open("leader"), pg.open("listener")
    leader.execute("select pg_advisory_lock(7)")
    listener.execute("LISTEN orders")
    spared = {
        "superusers": pg.open("admin-tool", user="postgres", password=pg.admin.info.password),
        "poolers": pg.open("PgBouncer 1.25"),
        "monitoring": pg.open("anything", user=monitor),
        "lock_holders": leader,
        "listeners": listener,
    }
    exporter, dump = pg.open("postgres_exporter"), pg.open("pg_dump")
    planned = pg.plan()["plan"]
    assert planned["changes"] == []
    notes = " / ".join(planned["notes"])
    assert all(f"spared ({kind})" in notes for kind in spared)
    for kind, session in spared.items():
        rest = [other for other in spared if other != kind]
        extra = {exporter.pid, dump.pid} if kind == "monitoring" else set()
        assert pg.pids(pg.plan(spare=rest)["plan"]["changes"]) == {session.pid} | extra
    result = pg.terminate(spare=[])
    assert len(result["done"]) == 7 and not any(pg.alive(*spared.values(), exporter, dump))


def test_a_standby_s_own_sessions_can_be_ended_there(postgres_box, pg):
    pair = postgres_box.add(Service(name="pair", standby=True))
    try:
        with psycopg.connect(pair.uri, application_name="shop-api") as on_primary:
            with psycopg.connect(pair.standby_uri, application_name="shop-api") as on_standby:
                options = {"uri": pair.standby_uri, "database": "*", "spare": ["poolers"]}
                planned = pg.plan(**options)
                assert planned["plan"]["target"]["facts"]["role"] == "standby"
                assert any("this is a standby of 127.0.0.1:" in note for note in planned["plan"]["notes"])
                result = pg.act(planned, **options)
                assert result["state"] == "done" and pg.pids(result["done"]) == {on_standby.info.backend_pid}
                with pytest.raises(psycopg.errors.AdminShutdown):
                    on_standby.execute("select 1")
            assert on_primary.execute("select pg_is_in_recovery()").fetchone() == (False,)
            # replication is nobody's idle session
            streaming = "select count(*) from pg_stat_replication where state = 'streaming'"
            assert on_primary.execute(streaming).fetchone() == (1,)
            # what the primary writes by itself may be on its way just now
            until(lambda: pg.info(uri=pair.standby_uri)["replication"]["lag_seconds"] == 0)
            facts = pg.info(uri=pair.standby_uri)["replication"]
            assert facts["role"] == "standby" and facts["receiver"] == "streaming"
            assert pg.info(uri=pair.uri)["replication"]["standbys"][0]["name"] == "standby"
    finally:
        postgres_box.remove("pair")
