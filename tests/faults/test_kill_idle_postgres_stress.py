"""Sessions that begin to work at the very moment at which idle ones are ended; the server's own log is the witness."""

from __future__ import annotations

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
from waiting import until

pytestmark = pytest.mark.faults
pytest_plugins = ["postgres_lab"]
BUSY = Path(__file__).resolve().parents[1] / "postgres_busy.py"
SELECTION = {
    "database": "*", "applications": ["busy"], "users": [], "clients": [], "exclude_applications": [],
    "exclude_users": [], "exclude_clients": [], "spare": [], "idle_seconds": 0, "in_transaction_seconds": None,
}  # fmt: skip
ONE_STATEMENT = """
select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'busy' and state = 'idle'
"""
AT_WORK = "select count(*) from pg_stat_activity where application_name = 'busy'"


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
def busy(lab, sessions, rest, query):
    """Sessions at work beside us; those that were ended come back, or nothing was proven."""
    command = [sys.executable, str(BUSY), lab.uri_of(lab.name, lab.name), str(sessions), rest, query]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "up\n"
            yield
            until(lambda: lab.admin.execute(AT_WORK).fetchone() == (sessions,))
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


def end_idle(server, params, least=0):
    """What the module does under its lock: look, choose, end; the number of those that are gone, and of the spared.

    Nobody is ended until there are ``least`` to choose.
    """
    terminate = postgres_terminate.Terminate(params)
    chosen = select(look(server), params).chosen
    if len(chosen) < least:
        return 0, 0
    terminate._end(server, chosen)
    return len(terminate._ended), len(chosen) - len(terminate._ended)


def params(lab, **options):
    given = {"uri": lab.uri, "connect_timeout_seconds": 60, "operation_timeout_seconds": 60}
    return {**SELECTION, **given, **options}


@pytest.mark.parametrize(
    ("sessions", "rest", "least"),
    [(40, "0-0.02", 1), (300, "0-0.1", 250)],
    ids=["one look for each", "one look for four"],
)
def test_a_session_that_begins_to_work_is_hit_at_most_three_times_in_a_thousand(
    arena, crowd, fault_rounds, record_fault, sessions, rest, least
):
    given = params(crowd)

    def under_stress(end, wanted, hits=0):
        witness, ended, deadline = Witness(arena), 0, time.monotonic() + 120 + wanted / 5
        with busy(crowd, sessions, rest, "0.003-0.003"):
            while any(seen < enough for seen, enough in zip(witness.read(), (wanted, hits), strict=True)):
                assert time.monotonic() < deadline
                ended += end()
                time.sleep(0.02)
        told, hit = witness.read()
        assert told >= ended
        return told, hit

    def one_statement():
        crowd.admin.execute(ONE_STATEMENT)
        # one that is still going is told twice: the log counts
        return 0

    # What the runbooks type, in the same stress, until the same witness has seen one hit. Of hundreds at once it rarely
    # has: two processors cannot make that many begin to work while one statement runs.
    raw, raw_hit = under_stress(one_statement, fault_rounds(150, 1000), hits=1 if least == 1 else 0)
    # chance alone makes several in few rounds, and more where the machine stands still in the middle of a statement
    for _ in range(3):
        with connect(given) as server:
            ended, hit = under_stress(lambda: end_idle(server, given, least)[0], fault_rounds(300, 5000))  # noqa: B023
        most = max(9, 3 * ended / 1000)
        if hit <= most:
            break
    record_fault(
        f"idle sessions ended, of {sessions} that rest for {rest} s (threshold 0, which options refuse)",
        rounds=ended,
        held=f"{hit} in the middle of a query; of {raw} by one statement {raw_hit}",
    )
    assert hit <= most


def test_at_the_least_threshold_at_most_one_in_a_thousand_that_just_begin_is_hit(
    arena, crowd, fault_rounds, record_fault
):
    given = params(crowd, idle_seconds=5)

    def list_then_end(server):
        # what a script does that does not look again; a person needs longer between the two
        chosen = select(look(server), given).chosen
        time.sleep(0.1)
        pids = [session["pid"] for session in chosen]
        crowd.admin.execute("select pg_terminate_backend(pid) from unnest(%s::int[]) as pid", [pids])
        # one that is still going is told twice: the log counts
        return 0, 0

    def under_stress(end, wanted):
        """(how many were ended, how many of them in the middle of a query, how many were spared)"""
        witness, ended, spared, deadline = Witness(arena), 0, 0, time.monotonic() + 120 + wanted / 5
        while witness.read()[0] < wanted:
            assert time.monotonic() < deadline
            gone, left = end()
            ended, spared = ended + gone, spared + left
            time.sleep(0.1)
        until(lambda: witness.read()[0] >= ended)
        return *witness.read(), spared

    def most(ended):
        # chance alone makes two in few rounds
        return max(2, ended / 1000)

    # each rests until just before the threshold or just after it, so many begin to work as they are chosen
    with busy(crowd, 600, "4.5-5.5", "0.05-0.2"), connect(given) as server:
        listed, listed_hit, _ = under_stress(lambda: list_then_end(server), fault_rounds(150, 500))
        for _ in range(3):
            ended, hit, spared = under_stress(lambda: end_idle(server, given), fault_rounds(300, 5000))
            if hit <= most(ended):
                break
    record_fault(
        "idle sessions ended at the threshold of 5 s, of 600 that rest for 4.5 to 5.5 s and work for 0.05 to 0.2 s",
        rounds=ended,
        held=f"{hit} in the middle of a query, {spared} spared because they had begun one; of {listed} that were "
        f"listed, and ended 0.1 s later, {listed_hit}",
    )
    assert listed_hit > most(listed)
    assert hit <= most(ended)
