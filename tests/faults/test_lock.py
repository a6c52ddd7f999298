"""The lease in MongoDB under many at once, deaths, stops and clocks that lie."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from datetime import timedelta
from multiprocessing import get_context

import pymongo
import pytest
from ansible.module_utils.mendbook import lock
from ansible.module_utils.mendbook.errors import Locked, Unknown
from ansible.module_utils.mendbook.lock import MongoLease, holder

import mendbook.sandbox
from forked import forked
from mendbook.sandbox.services.mongo import Service

pytestmark = pytest.mark.faults

PROCESSES = 20


@pytest.fixture(scope="module")
def server():
    with mendbook.sandbox.start(("mongo",)) as box:
        yield box


@pytest.fixture(scope="module", params=["replica set", "standalone"])
def uri(request, server):
    if request.param == "replica set":
        return server.services["mongo"].uri
    return server.add(Service(name="alone", replica_set=None)).uri


@pytest.fixture
def database(uri):
    with pymongo.MongoClient(uri) as client:
        client.drop_database("locked")
        yield client["locked"]


def test_of_twenty_at_once_exactly_one_wins_in_every_round(database, uri, record_fault, fault_rounds):
    rounds = fault_rounds(4, 50)
    context = get_context("fork")
    barrier, answers = context.Barrier(PROCESSES), context.Queue()
    processes = [context.Process(target=_compete, args=(uri, n, rounds, barrier, answers)) for n in range(PROCESSES)]
    for process in processes:
        process.start()
    got = [answers.get(timeout=120) for _ in range(PROCESSES * rounds)]
    for process in processes:
        process.join()
    winners = Counter(number for number, won, *_ in got if won)
    assert winners == dict.fromkeys(range(rounds), 1)
    fences = [fence for number, won, fence, _ in sorted(got, key=lambda one: one[0]) if won]
    assert fences == sorted(set(fences)), "a fence never comes twice and never goes back"
    # the machine may stand still in a round, and not in all of them
    assert min(max(seconds for current, *_, seconds in got if current == number) for number in range(rounds)) < 2
    record_fault(f"{PROCESSES} runs at once at one database", rounds=rounds, held="one winner each time, told in 2 s")


def _compete(uri, number, rounds, barrier, answers):
    with pymongo.MongoClient(uri) as client:
        database = client["locked"]
        database.command("ping")
        for current in range(rounds):
            barrier.wait(60)
            begun = time.monotonic()
            try:
                with MongoLease(database, f"run-{number}") as lease:
                    answers.put((current, True, lease.fence, time.monotonic() - begun))
                    barrier.wait(60)
            except Locked:
                answers.put((current, False, None, time.monotonic() - begun))
                barrier.wait(60)


def test_the_second_run_is_told_who_holds_it(database):
    with MongoLease(database, "first", who="alice"):
        with pytest.raises(Locked) as caught, MongoLease(database, "second"):
            pass
        facts = holder(database)
    assert {"run": "first", "holder": "alice", "pid": os.getpid()}.items() <= caught.value.details.items()
    assert caught.value.details["host"] and caught.value.details["since"]
    assert facts["run"] == "first"
    assert holder(database) is None
    with MongoLease(database, "third"):
        pass


def test_a_dead_owner_keeps_it_no_longer_than_its_lease(database, uri):
    def die():
        with pymongo.MongoClient(uri) as client, MongoLease(client["locked"], "dead", seconds=8):
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked(die) is None
    with pytest.raises(Locked), MongoLease(database, "early"):
        pass
    time.sleep(8.1)
    with MongoLease(database, "late") as lease:
        assert lease.fence > 1


def test_it_is_renewed_while_the_work_goes_on(database):
    # every 3 s, and lost by a machine that stands still for 5 s
    with MongoLease(database, "long", seconds=9) as lease:
        time.sleep(9.5)
        lease.check()
        with pytest.raises(Locked), MongoLease(database, "second"):
            pass


def test_clocks_of_two_control_nodes_that_differ_by_days_do_not_matter(database, monkeypatch):
    with MongoLease(database, "first"):
        ahead = time.time() + 172800
        monkeypatch.setattr(time, "time", lambda: ahead)
        with pytest.raises(Locked), MongoLease(database, "two days ahead"):
            pass
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with MongoLease(database, "in 1970"):
        assert 0 < holder(database)["remaining_seconds"] <= 30


def test_an_owner_whose_lease_was_taken_is_told_before_its_next_step(database):
    with MongoLease(database, "first") as lease:
        later = lock.server_now(database) + timedelta(seconds=60)
        stolen = {"owner": "x", "run": "thief", "host": "other", "pid": 1, "holder": "eve", "until": later}
        database["__mend_lock"].insert_one({"_id": 10_000, "since": later, **stolen})
        time.sleep(0.3)
        with pytest.raises(Unknown, match="thief on other"):
            lease.confirm()
        with pytest.raises(Unknown):
            lease.check()
    assert holder(database)["run"] == "thief", "the loser does not release what is not its own"


def test_an_owner_that_could_not_renew_in_time_is_told_without_asking_the_server(database, monkeypatch):
    with MongoLease(database, "first") as lease:
        now = lock.steady_now()
        monkeypatch.setattr(lock, "steady_now", lambda: now + 31)
        with pytest.raises(Unknown, match="renewed"):
            lease.check()


def test_the_log_stays_small(database):
    with MongoLease(database, "first") as lease:
        assert database["__mend_lock"].options()["capped"]
        lease.check()


def test_looking_who_holds_it_changes_nothing(database):
    assert holder(database) is None
    assert database.list_collection_names() == []
