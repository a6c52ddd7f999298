"""kill_idle_postgres killed, raced and left without its server: nobody else is hit, and the next run goes on."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
from ansible.module_utils.mendbook import postgres_lock, postgres_terminate
from ansible.module_utils.mendbook.errors import Locked
from ansible.module_utils.mendbook.postgres import connect

from forked import forked, signal_at
from mendbook.sandbox.services.postgres import Service
from waiting import until

pytestmark = pytest.mark.faults
pytest_plugins = ["postgres_lab"]
STEPS = ("lock", "first", "second", "third", "read back")
TIMEOUTS = {"connect_timeout_seconds": 60, "operation_timeout_seconds": 60}


def act_and_die(pg, planned, step, number):
    """Act in a forked process that gets a signal at one of its steps; its result, None when it was killed."""

    def work():
        postgres_terminate.CHUNK = 1
        terminate = postgres_terminate.Terminate
        signal_at(step, STEPS, number, [(postgres_terminate, "look"), (terminate, "_end"), (terminate, "read_back")])
        return pg.act(planned)

    return forked(work)


def nobody_holds_it(pg):
    """Whether the server has noticed that a client is dead, which it does a moment later."""
    return pg.admin.execute("select 1 from pg_locks where locktype = 'advisory'").fetchone() is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_at_any_step_leaves_some_ended_nobody_else_and_no_lock(pg, fault_rounds, record_fault, number):
    rounds, held = fault_rounds(1, 20), []
    other = [pg.in_transaction(), pg.open(user="postgres", password=pg.admin.info.password)]
    for _ in range(rounds):
        for step in STEPS:
            sessions = [pg.open(f"shop-{n}") for n in range(3)]
            result = act_and_die(pg, pg.plan(), step, number)
            until(lambda: nobody_holds_it(pg))
            gone = pg.alive(*sessions).count(False)
            if number == signal.SIGTERM:
                assert result["rc"] == (0 if result["state"] == "done" else 1)
                assert len(result["done"]) == gone, result
            assert gone <= STEPS.index(step) or number == signal.SIGTERM
            # the lock went with the session, and what is left is the next run's
            again = pg.terminate()
            assert again["state"] in ("done", "nothing to do"), again
            assert not any(pg.alive(*sessions)) and pg.alive(*other) == [True, True]
            assert pg.terminate()["state"] == "nothing to do"
            held.append(gone)
    record_fault(
        f"{number.name} at each step of ending three idle sessions",
        rounds=rounds * len(STEPS),
        held=f"{held.count(0)} none ended, {held.count(3)} all, the rest a part; every next run ended the rest",
    )


@pytest.mark.parametrize("databases", [1, 2], ids=["one database", "two databases"])
def test_of_twenty_operators_at_once_at_most_one_acts(pg, fault_rounds, record_fault, databases):
    rounds, operators, won = fault_rounds(2, 20), 20, []
    place = [f"{pg.uri.removesuffix('/postgres')}/{name}" for name in ("postgres", pg.name)][:databases]
    for _ in range(rounds):
        # the winner holds its lock until everybody else has been answered
        answered = threading.Semaphore(0)
        start = threading.Barrier(operators)

        def operate(number):
            with ExitStack() as stack:
                options = {"uri": place[number % len(place)], **TIMEOUTS}  # noqa: B023
                server = stack.enter_context(connect(options, run=f"run-{number}"))
                start.wait(60)  # noqa: B023
                try:
                    stack.enter_context(postgres_lock.lock(server))
                except Locked as error:
                    answered.release()  # noqa: B023
                    return error.details
                for _ in range(operators - 1):
                    assert answered.acquire(timeout=60)  # noqa: B023
                return None

        with ThreadPoolExecutor(operators) as pool:
            answers = list(pool.map(operate, range(operators)))
        winners = [number for number, answer in enumerate(answers) if answer is None]
        won.append(len(winners))
        if databases == 1:
            assert len(winners) == 1
            named = {answer["run"] for answer in answers if answer is not None}
            assert named == {f"run-{winners[0]}"}
        assert len(winners) <= 1
    where = "one database" if databases == 1 else "two databases of a server"
    record_fault(
        f"twenty operators at once, logged in to {where}",
        rounds=rounds,
        held=f"{won.count(1)} one winner, {won.count(0)} none, {sum(count > 1 for count in won)} two",
    )


def test_a_failover_between_plan_and_run_is_refused(pg, postgres_box):
    pair = postgres_box.add(Service(name="pair", standby=True))
    try:
        with psycopg.connect(pair.standby_uri, autocommit=True, application_name="leaky") as session:
            options = {"uri": pair.standby_uri, "database": "*", "spare": []}
            planned = pg.plan(**options)
            assert planned["plan"]["changes"] and planned["plan"]["target"]["facts"]["role"] == "standby"
            pair.processes[0].kill()
            session.execute("select pg_promote()")
            result = pg.act(planned, **options)
            assert (result["mend"]["reason"], result["mend"]["rule"]) == ("drift", "drift")
            assert session.execute("select pg_is_in_recovery()").fetchone() == (False,)
            assert pg.pids(pg.terminate(**options)["done"]) == {session.info.backend_pid}
    finally:
        postgres_box.remove("pair")


def test_a_server_that_dies_while_sessions_end_is_unknown_and_the_next_run_looks_again(pg, postgres_box, monkeypatch):
    fragile = postgres_box.add(Service(name="fragile"))
    try:
        with psycopg.connect(fragile.uri, application_name="leaky"):
            real, killed = postgres_terminate._wait, []

            def after_its_death(server, sessions):
                if not killed:
                    killed.append(True)
                    fragile.kill()
                return real(server, sessions)

            monkeypatch.setattr(postgres_terminate, "_wait", after_its_death)
            options = {"uri": fragile.uri, "database": "*", "spare": []}
            result = pg.terminate(**options)
            assert (result["state"], result["mend"]["reason"]) == ("UNKNOWN", "unknown")
        fragile.restart()
        assert pg.terminate(**options)["state"] == "nothing to do"
    finally:
        postgres_box.remove("fragile")
