"""Sessions that begin to work at the very moment at which idle ones are ended; the server's own log is the witness."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible.module_utils.mendbook import postgres_terminate
from ansible.module_utils.mendbook.postgres import connect
from ansible.module_utils.mendbook.postgres_activity import look
from ansible.module_utils.mendbook.postgres_terminate_plan import select

from mendbook.sandbox.services.postgres import Service

pytestmark = pytest.mark.faults
pytest_plugins = ["postgres_lab"]
BUSY = Path(__file__).resolve().parents[1] / "postgres_busy.py"
SELECTION = {
    "database": "*", "applications": ["busy", "leaky"], "users": [], "clients": [], "exclude_applications": [],
    "exclude_users": [], "exclude_clients": [], "spare": [], "idle_seconds": 0, "in_transaction_seconds": None,
}  # fmt: skip
ONE_STATEMENT = """
select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'busy' and state = 'idle'
"""


@pytest.fixture(scope="module")
def arena(postgres_box):
    """A server for hundreds of sessions whose logins cost little."""
    settings = {"max_connections": "700", "scram_iterations": "1"}
    yield postgres_box.add(Service(name="arena", settings=settings))
    postgres_box.remove("arena")


@pytest.fixture
def crowd(arena, pg):
    lab = type(pg)(arena.uri)
    yield lab
    lab.close()


@contextmanager
def busy(lab, sessions, rest):
    """Sessions at work beside us; the value is filled with what they have counted when they end."""
    counts = {}
    command = [sys.executable, str(BUSY), lab.uri_of(lab.name, lab.name), str(sessions), str(rest)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "up\n"
            yield counts
            process.terminate()
            counts.update(json.loads(process.stdout.readline()))
        finally:
            process.kill()


class Witness:
    """What the server's log says about sessions that were ended since now."""

    def __init__(self, service):
        self._log = service.processes[0].log
        self._start = self._log.stat().st_size

    def read(self):
        """(how many were ended, how many of them in the middle of a query)"""
        with open(self._log, encoding="utf-8", errors="replace") as file:
            file.seek(self._start)
            text = file.read()
        ended = text.count("FATAL:  terminating connection due to administrator command")
        return ended, text.count("STATEMENT:  select pg_sleep")


def end_idle(server, params):
    """What the module does under its lock: look, choose, end; the number of those that are gone."""
    terminate = postgres_terminate.Terminate(params)
    chosen = select(look(server), params).chosen
    terminate._end(server, chosen)
    return len(terminate._ended)


def params(lab, **options):
    given = {"uri": lab.uri, "connect_timeout_seconds": 60, "operation_timeout_seconds": 60}
    return {**SELECTION, **given, **options}


def test_a_session_that_begins_to_work_is_hit_at_most_three_times_in_a_thousand(
    arena, crowd, fault_rounds, record_fault
):
    given = params(crowd)

    def under_stress(end, wanted):
        witness, ended = Witness(arena), 0
        with busy(crowd, 40, 0.02) as counts:
            while ended < wanted:
                ended += end()
                time.sleep(0.02)
        told, hit = witness.read()
        assert told >= ended and counts["reconnected"] > 0
        return ended, hit

    # what the runbooks type, in the same stress and seen by the same witness
    raw, raw_hit = under_stress(lambda: len(crowd.admin.execute(ONE_STATEMENT).fetchall()), fault_rounds(150, 1000))
    # chance alone makes several in few rounds, and more where the machine stands still in the middle of a statement
    for _ in range(3):
        with connect(given) as server:
            ended, hit = under_stress(lambda: end_idle(server, given), fault_rounds(300, 5000))  # noqa: B023
        most = max(9, 3 * ended / 1000)
        if hit <= most:
            break
    record_fault(
        "idle sessions ended, of 40 that rest for 0 to 20 ms (threshold 0, which options refuse)",
        rounds=ended,
        held=f"{hit} in the middle of a query; of {raw} by one statement {raw_hit}",
    )
    assert hit <= most


def test_with_the_least_threshold_nobody_who_works_is_hit(arena, crowd, fault_rounds, record_fault):
    rounds, at_once = fault_rounds(1, 10), fault_rounds(60, 500)
    witness, ended = Witness(arena), 0
    given = params(crowd, idle_seconds=5)
    with busy(crowd, 40, 0.02) as counts, connect(given) as server:
        for _ in range(rounds):
            leaky = [crowd.open("leaky") for _ in range(at_once)]
            deadline, before = time.monotonic() + 120, ended
            while ended - before < at_once:
                assert time.monotonic() < deadline
                ended += end_idle(server, given)
                time.sleep(0.02)
            assert not any(crowd.alive(*leaky))
    told, hit = witness.read()
    record_fault(
        "sessions ended that were idle for 5 s, beside 40 that rest for 0 to 20 ms",
        rounds=ended,
        held=f"{hit} in the middle of a query, {counts['queries']} queries answered",
    )
    assert (told, hit) == (ended, 0) and ended == rounds * at_once
