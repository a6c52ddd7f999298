"""What kill_idle_postgres refuses and what goes wrong with it: the right words, and nobody ended who should not be."""

from __future__ import annotations

import contextlib
import os
import signal

import psycopg
import pytest
from ansible.module_utils.mendbook import postgres_lock, postgres_terminate, postgres_terminate_plan
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.postgres import connect

from mendbook.sandbox.services.postgres import Service
from postgres_proxy import PostgresProxy
from waiting import quickest, until

pytestmark = pytest.mark.e2e
pytest_plugins = ["postgres_lab"]
TIMEOUTS = {"connect_timeout_seconds": 10, "operation_timeout_seconds": 30}


def refused(result):
    """Why a plan or a run ended; nobody may have been ended."""
    assert result["rc"] == 1 and not result.get("done"), result
    return result["mend"]["reason"], result["mend"]["rule"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"idle_seconds": 0}, ("refused", "idle_seconds")),
        ({"idle_seconds": 4}, ("refused", "idle_seconds")),
        ({"idle_seconds": -300}, ("refused", "idle_seconds")),
        ({"in_transaction_seconds": 0}, ("refused", "in_transaction_seconds")),
        ({"database": ""}, ("nothing", "database")),
        ({"database": "no_such_shop"}, ("nothing", "database")),
        ({"max_share": 0}, (None, "max_share")),
        ({"max_share": 1.5}, (None, "max_share")),
        ({"clients": ["db1.example.com"]}, (None, "clients")),
        ({"exclude_clients": ["10.0.0.0/99"]}, (None, "clients")),
    ],
)
def test_options_that_cannot_be_meant(pg, monkeypatch, options, expected):
    monkeypatch.setattr(postgres_terminate_plan, "MIN_SECONDS", 5)
    session = pg.open()
    assert refused(pg.plan(**{"idle_seconds": 5, **options})) == expected
    assert not session.is_ended()


def test_a_database_that_is_nearly_right_is_named(pg):
    assert f"did you mean {pg.name}?" in pg.plan(database=pg.name[:-1] + "z")["msg"]


def test_more_sessions_than_the_cap_are_refused_whole(pg):
    sessions = [pg.open() for _ in range(3)]
    planned = pg.plan(max_sessions=2)
    assert planned["plan"]["caps"][0] == {
        "name": "sessions", "limit": 2, "used": 3, "override": "raise postgres_terminate_max_sessions",
    }  # fmt: skip
    assert refused(pg.act(planned, max_sessions=2)) == ("refused", "cap sessions")
    assert [one.is_ended() for one in sessions] == [False] * 3
    assert len(pg.terminate(max_sessions=3)["done"]) == 3


def test_nearly_everybody_is_refused_and_a_few_are_not(pg):
    for _ in range(11):
        pg.open()
    planned = pg.plan(max_share=0.99)
    assert refused(pg.act(planned, max_share=0.99)) == ("refused", "cap share of the sessions")
    active = pg.in_transaction()
    assert len(pg.terminate(max_share=0.95)["done"]) == 11
    assert not active.is_ended()
    few = pg.open()
    assert len(pg.terminate(max_share=0.1)["done"]) == 1 and few.is_ended()


def test_a_plan_for_other_sessions_or_another_selection_is_no_permission(pg):
    pg.open()
    planned = pg.plan()
    many = [pg.open() for _ in range(6)]
    assert refused(pg.act(planned)) == ("drift", "drift")
    assert refused(pg.act(pg.plan(), exclude_applications=["x"])) == ("drift", "drift")
    assert not any(one.is_ended() for one in many)


def test_a_login_that_may_not_see_or_end_sessions_is_told_the_role_it_lacks(pg):
    role = pg.make_role(f"{pg.name}_ops")
    uri = pg.uri_of(role)
    session, own = pg.open(), pg.open(user=role)
    result = pg.plan(uri=uri)
    assert refused(result) == ("refused", "privileges")
    assert f'GRANT pg_read_all_stats TO "{role}"' in result["msg"]
    pg.admin.execute(f"grant pg_read_all_stats to {role}")
    # who reads all statistics counts as monitoring, too
    options = {"uri": uri, "spare": ["superusers"]}
    planned = pg.plan(**options)
    (missing,) = planned["plan"]["refusals"]
    assert missing["rule"] == "privileges" and f'GRANT pg_signal_backend TO "{role}"' in missing["override"]
    assert refused(pg.act(planned, **options)) == ("refused", "privileges")
    # its own sessions are its own to end
    assert pg.pids(pg.terminate(users=[role], **options)["done"]) == {own.pid}
    assert not session.is_ended()
    pg.admin.execute(f"grant pg_signal_backend to {role}")
    assert pg.pids(pg.terminate(**options)["done"]) == {session.pid}


def test_superusers_end_by_a_superusers_hand_only(pg):
    role = pg.make_role(f"{pg.name}_ops", "in role pg_monitor, pg_signal_backend")
    tool = pg.open("tool", user="postgres", password=pg.admin.info.password)
    options = {"uri": pg.uri_of(role), "spare": []}
    planned = pg.plan(**options)
    assert planned["plan"]["refusals"][0]["value"] == "SUPERUSER"
    assert refused(pg.act(planned, **options)) == ("refused", "privileges") and not tool.is_ended()


@pytest.fixture
def crowded(postgres_box):
    """A server with nine connections: three for superusers, two for members, four for anybody."""
    service = Service(name="crowded", max_connections=9, settings={"reserved_connections": "2"})
    yield postgres_box.add(service)
    postgres_box.remove("crowded")


def used(shop):
    """How many slots are taken; that of a client who has left, or was turned away, is given back a little later."""
    slots = "select count(*) from pg_stat_activity where backend_type = 'client backend'"
    return shop.admin.execute(slots).fetchone()[0]


def test_full_slots_leave_the_reserved_ones_to_work_with(crowded, pg):
    with contextlib.closing(type(pg)(crowded.uri)) as shop:
        ops = shop.make_role("ops", "in role pg_monitor, pg_signal_backend, pg_use_reserved_connections")
        # the witness has one of the four
        until(lambda: used(shop) == 1)
        idle = [shop.open() for _ in range(3)]
        with pytest.raises(psycopg.OperationalError, match="remaining connection slots are reserved"):
            shop.open()
        plain = shop.uri_of(shop.name)
        result = pg.plan(uri=plain, database=shop.name)
        assert refused(result) == (None, "postgres_slots") and "pg_use_reserved_connections" in result["msg"]
        until(lambda: used(shop) == 4)
        facts = pg.info(uri=shop.uri_of(ops), max_used_share=0.9)
        assert facts["connections"] == {
            "max": 9, "used": 5, "reserved_for_superusers": 3, "reserved_for_members": 2, "free": 0, "free_reserved": 4,
        }  # fmt: skip
        assert facts["verdict"] == "exceeded" and facts["culprit"]["application"] == "shop-api"
        assert len(pg.terminate(uri=shop.uri_of(ops), database=shop.name)["done"]) == 3
        assert not any(shop.alive(*idle))
        # all nine are taken: nobody can help by connecting
        until(lambda: used(shop) == 1)
        taken = [shop.open(user="postgres", password=crowded.password) for _ in range(8)]
        result = pg.plan(uri=crowded.uri, database=shop.name)
        assert refused(result) == (None, "postgres_slots")
        assert shop.alive(*taken) == [True] * 8


def test_a_pooler_in_between_is_refused_and_named(pg, postgres):
    session = pg.open()
    proxy = PostgresProxy(postgres.ports[0], pooled=True)
    try:
        uri = pg.uri.replace(str(postgres.ports[0]), str(proxy.port))
        planned = pg.plan(uri=uri)
        assert planned["plan"]["refusals"][0]["rule"] == "postgres_pooler"
        assert refused(pg.act(planned, uri=uri)) == ("refused", "postgres_pooler")
    finally:
        proxy.close()
    assert not session.is_ended()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in the same database", "in another database"])
def test_the_second_operator_is_told_who_the_first_is(pg, elsewhere):
    session = pg.open()
    planned = pg.plan()
    uri = f"{pg.uri.removesuffix('/postgres')}/{pg.name if elsewhere else 'postgres'}"
    with connect({"uri": uri, **TIMEOUTS}, run="20261121T093000Z-5f3a9c") as server, postgres_lock.lock(server):
        result, seconds = quickest(lambda: pg.act(planned))
        assert refused(result) == ("locked", "lock") and seconds < 2
        holder = result["mend"]["details"]
        assert (holder["run"], holder["pid"]) == ("20261121T093000Z-5f3a9c", str(os.getpid()))
        assert os.uname().nodename[:20].startswith(holder["host"][:20]) and holder["since"].startswith("20")
        assert any("locked now by run 20261121T093000Z-5f3a9c" in note for note in pg.plan()["plan"]["notes"])
        assert pg.info()["lock"]["run"] == "20261121T093000Z-5f3a9c"
    assert not session.is_ended()
    assert len(pg.act(planned)["done"]) == 1


def test_a_lock_goes_with_its_session(pg):
    pg.open()
    planned = pg.plan()
    with pytest.raises(MendError, match="somebody ended this session"):
        with connect({"uri": pg.uri, **TIMEOUTS}, run="r1") as server, postgres_lock.lock(server):
            pg.admin.execute("select pg_terminate_backend(%s)", [server.pid])
            server.connection.execute("select 1")
    # its client is told a little before it has gone
    there = "select count(*) from pg_stat_activity where pid = %s"
    until(lambda: pg.admin.execute(there, [server.pid]).fetchone() == (0,))
    assert len(pg.act(planned)["done"]) == 1


def test_a_session_that_does_not_go_is_no_success(pg, monkeypatch):
    monkeypatch.setattr(postgres_terminate, "GONE_SECONDS", 0.5)
    stuck, other = pg.open("stuck"), pg.open("other")
    planned = pg.plan()
    look = postgres_terminate._left

    def when_the_other_has_gone(server, sessions):
        until(lambda: pg.alive(other) == [False])
        return look(server, sessions)

    monkeypatch.setattr(postgres_terminate, "_left", when_the_other_has_gone)
    os.kill(stuck.pid, signal.SIGSTOP)
    try:
        result = pg.act(planned)
        assert result["rc"] == 1 and (result["mend"]["reason"], result["mend"]["rule"]) == ("verify", "read_back")
        assert pg.pids(result["done"]) == {other.pid} and result["mend"]["details"] == {"left": [stuck.pid]}
        (spared,) = result["skipped_objects"]
        assert spared == {"object": f"stuck pid {stuck.pid}", "reason": "told to end, and still there"}
    finally:
        os.kill(stuck.pid, signal.SIGCONT)


def test_a_connection_that_is_lost_while_sessions_end_is_unknown(pg, monkeypatch):
    pg.open()
    real = postgres_terminate._wait

    def lose_it(server, sessions):
        pg.admin.execute("select pg_terminate_backend(%s)", [server.pid])
        return real(server, sessions)

    monkeypatch.setattr(postgres_terminate, "_wait", lose_it)
    result = pg.terminate()
    assert (result["rc"], result["state"], result["mend"]["reason"]) == (1, "UNKNOWN", "unknown")
    assert "diagnose_postgres" in result["msg"]


def test_a_signal_between_two_portions_leaves_a_count_of_what_was_done(pg, monkeypatch):
    monkeypatch.setattr(postgres_terminate, "CHUNK", 1)
    sessions = [pg.open() for _ in range(3)]
    real, calls = postgres_terminate.Terminate._end, []

    def end(self, server, chosen):
        items = real(self, server, chosen)
        calls.append(chosen)
        if len(calls) == 2:
            # held back until this portion is told of
            os.kill(os.getpid(), signal.SIGTERM)
        return items

    monkeypatch.setattr(postgres_terminate.Terminate, "_end", end)
    result = pg.terminate()
    assert result["rc"] == 1 and result["state"] == "partial" and "SIGTERM" in result["msg"]
    assert len(result["done"]) == 2 and pg.alive(*sessions).count(False) == 2


def test_names_of_every_kind_are_data(pg):
    evil = 'o\'brien\n\x1b[31mred\x1b[0m "%s" {{ 7 * 7 }} \u202e; --'
    role = pg.make_role(evil)
    database = pg.make_database(f"{evil}{pg.name}")
    session = pg.open(evil, user=role, dbname=database)
    for options in ({"database": database}, {"users": [evil], "database": "*"}):
        planned = pg.plan(_ansible_diff=True, **options)
        (change,) = planned["plan"]["changes"]
        assert change["before"]["user"] == evil and change["before"]["database"] == database
        assert str(session.pid) in change["object"]
        assert "\x1b" not in planned["diff"]["prepared"] and planned["diff"]["prepared"].count("\n") == 2
    result = pg.terminate(database=database)
    assert pg.pids(result["done"]) == {session.pid} and session.is_ended()
    facts = pg.info()
    assert not any("\x1b" in line or "\n" in line for line in facts["summary"])
