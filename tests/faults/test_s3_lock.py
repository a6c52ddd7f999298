"""The lease in a bucket under many at once, deaths, stops and clocks that lie; and where conditions are ignored."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from multiprocessing import get_context

import pytest
from ansible.module_utils.mendbook import lock, s3, s3_lock_object
from ansible.module_utils.mendbook.errors import Locked, MendError, Unknown
from ansible.module_utils.mendbook.s3_catalogue import catalogue
from ansible.module_utils.mendbook.s3_lock import S3Lease, holder
from s3_proxy import Fault
from s3_stores import ignoring

from forked import forked
from waiting import until

pytestmark = pytest.mark.faults

PROCESSES = 20


@pytest.fixture(params=["conditional writes", "conditions ignored"])
def new_client(request):
    return s3.client if request.param == "conditional writes" else ignoring


@pytest.fixture
def params(store):
    return {**store.params, "s3_endpoint_url": store.facts["endpoint_url"]}


@pytest.fixture
def prefix(request):
    return f"lock/{request.node.name}/"


@pytest.fixture
def lease(store, params, prefix, new_client):
    """Make a lease on the test's own prefix for the run of this name."""
    return lambda run, **options: S3Lease(new_client(params), store.bucket, prefix, run, **options)


def entry(store, prefix):
    """The lock's object as another client sees it."""
    return json.loads(store.s3.get_object(Bucket=store.bucket, Key=f"{prefix}.mendbook-lock.json")["Body"].read())


def test_of_twenty_at_once_exactly_one_wins_in_every_round(
    store, params, prefix, new_client, request, record_fault, fault_rounds
):
    rounds = fault_rounds(3, 30)
    context = get_context("fork")
    barrier, answers = context.Barrier(PROCESSES), context.Queue()
    arguments = (new_client(params), store.bucket, prefix, rounds, barrier, answers)
    processes = [context.Process(target=_compete, args=(number, *arguments)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    got = [answers.get(timeout=240) for _ in range(PROCESSES * rounds)]
    for process in processes:
        process.join()
    assert Counter(number for number, won in got if won) == dict.fromkeys(range(rounds), 1)
    fault = f"{PROCESSES} runs at once at one prefix, {request.node.callspec.id}"
    record_fault(fault, rounds=rounds, held="one winner each time")


def _compete(number, client, bucket, prefix, rounds, barrier, answers):
    for current in range(rounds):
        barrier.wait(120)
        try:
            # on a machine that is busy with all of them, to ask everybody takes its time
            with S3Lease(client, bucket, prefix, f"run-{number}", seconds=180):
                answers.put((current, True))
                barrier.wait(120)
        except Locked:
            answers.put((current, False))
            barrier.wait(120)


def test_the_second_run_is_told_who_holds_it_until_it_is_free(store, params, prefix, lease):
    with lease("first", who="alice"):
        with pytest.raises(Locked, match="locked by run first of alice") as caught, lease("second"):
            pytest.fail("two at once")
        facts = holder(store.client, store.bucket, prefix, params)
    assert {"run": "first", "holder": "alice", "pid": os.getpid()}.items() <= caught.value.details.items()
    assert caught.value.details["host"] and caught.value.details["since"].endswith("+00:00")
    assert facts["run"] == "first" and facts["remaining_seconds"] > 30
    assert holder(store.client, store.bucket, prefix, params) is None
    with lease("third"):
        pass


def test_looking_who_holds_it_changes_nothing(store, params, prefix):
    assert holder(store.client, store.bucket, prefix, params) is None
    assert "Contents" not in store.s3.list_objects_v2(Bucket=store.bucket, Prefix=prefix)


def test_a_dead_owner_keeps_it_for_its_lease_and_no_longer(lease):
    def die():
        lease("dead", seconds=3).__enter__()
        os.kill(os.getpid(), signal.SIGKILL)

    def got():
        try:
            with lease("late"):
                return True
        except Locked as error:
            assert error.details["run"] == "dead"

    began = time.monotonic()
    assert forked(die) is None
    until(got)
    assert time.monotonic() - began > 3


def test_it_is_renewed_while_the_work_goes_on(store, params, prefix, lease):
    with lease("long", seconds=12) as held:
        until(lambda: held._entry["renewal"] >= 2)
        held.check()
        assert holder(store.client, store.bucket, prefix, params)["remaining_seconds"] > 0


def test_a_clock_of_this_machine_that_is_days_off_does_not_matter(store, params, prefix, lease, monkeypatch):
    with lease("first"):
        for seconds in (time.time() + 172800, 0.0):
            monkeypatch.setattr(time, "time", lambda seconds=seconds: seconds)
            with pytest.raises(Locked), lease("second"):
                pytest.fail("two at once")
        assert 30 < holder(store.client, store.bucket, prefix, params)["remaining_seconds"] <= 62


def test_an_owner_that_could_not_renew_in_time_is_told_without_asking(lease, monkeypatch):
    with lease("paused") as held:
        now = lock.steady_now()
        monkeypatch.setattr(lock, "steady_now", lambda: now + 61)
        with pytest.raises(Unknown, match="could not be renewed for 60 seconds.*look who holds the lock"):
            held.check()


def test_an_owner_that_slept_notices_and_does_not_take_the_lock_back(store, params, prefix, lease):
    """A process is stopped for longer than its lease, as by a machine that hangs; another takes the lock meanwhile."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            with lease("sleeper", seconds=6) as held:
                os.kill(os.getpid(), signal.SIGSTOP)
                held.check()
            os.write(writing, b"it did not notice")
        except Unknown as error:
            os.write(writing, error.msg.encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, os.WUNTRACED)
    until(lambda: holder(store.client, store.bucket, prefix, params) is None)
    with lease("second") as second:
        os.kill(pid, signal.SIGCONT)
        with os.fdopen(reading) as told:
            assert "lost the lock" in told.read()
        os.waitpid(pid, 0)
        second.confirm()
        assert holder(store.client, store.bucket, prefix, params)["run"] == "second"


def test_an_owner_whose_object_was_taken_learns_who_has_it(store, params, prefix):
    with S3Lease(s3.client(params), store.bucket, prefix, "first") as held:
        theirs = {**entry(store, prefix), "owner": "x", "run": "thief", "host": "other"}
        store.s3.put_object(Bucket=store.bucket, Key=f"{prefix}.mendbook-lock.json", Body=json.dumps(theirs).encode())
        with pytest.raises(Unknown, match="run thief on other has it now"):
            time.sleep(0.3)
            held.confirm()
    assert entry(store, prefix)["run"] == "thief" and not entry(store, prefix).get("released")


def test_an_owner_whose_object_is_gone_is_told(store, params, prefix):
    with S3Lease(s3.client(params), store.bucket, prefix, "first") as held:
        store.s3.delete_object(Bucket=store.bucket, Key=f"{prefix}.mendbook-lock.json")
        with pytest.raises(Unknown, match="its object is gone"):
            time.sleep(0.3)
            held.confirm()


@pytest.mark.parametrize("lost", [1, 2, 3], ids=["first write", "first probe", "second probe"])
def test_an_answer_that_gets_lost_is_no_lost_lock(store, prefix, lost):
    faults = [Fault("PUT .*lock", times=lost - 1, stall_at=None), Fault("PUT .*lock", times=1, lose_answer=True)]
    store.proxy.faults = faults
    with S3Lease(store.client, store.bucket, prefix, "first") as held:
        assert faults[1].times == 0
        store.proxy.faults = [Fault("PUT .*lock", times=1, lose_answer=True)]
        time.sleep(0.3)
        held.confirm()
        assert store.proxy.faults[0].times == 0
        held.confirm()
        with pytest.raises(Locked), S3Lease(store.client, store.bucket, prefix, "second"):
            pytest.fail("two at once")
    with S3Lease(store.client, store.bucket, prefix, "third"):
        pass


def test_a_store_that_is_busy_for_a_while_does_not_end_the_lease(store, prefix):
    with S3Lease(store.client, store.bucket, prefix, "first") as held:
        store.proxy.faults = [Fault("PUT .*lock", times=3, status=503)]
        time.sleep(0.3)
        held.confirm()
        assert store.proxy.faults[0].times == 0


def test_a_store_that_stays_away_ends_the_lease_in_its_time_and_no_sooner(store, prefix):
    with S3Lease(store.client, store.bucket, prefix, "first", seconds=6) as held:
        began = lock.steady_now()
        store.proxy.faults = [Fault("PUT .*lock", status=503)]
        with pytest.raises(Unknown, match="could not be renewed for 6 seconds"):
            while True:
                held.check()
                assert lock.steady_now() - began < 60
                time.sleep(0.05)


def test_a_store_that_does_not_know_conditions_gets_an_object_for_each_run(store, params, prefix):
    store.proxy.faults = [Fault("PUT .*mendbook-lock.json ", status=501, code="NotImplemented")]
    with S3Lease(store.client, store.bucket, prefix, "first") as held:
        held.confirm()
        (key,) = [found["Key"] for found in store.s3.list_objects_v2(Bucket=store.bucket, Prefix=prefix)["Contents"]]
        assert key.startswith(f"{prefix}.mendbook-lock.first-")
        with pytest.raises(Locked, match="run first"), S3Lease(store.client, store.bucket, prefix, "second"):
            pytest.fail("two at once")
    assert holder(store.client, store.bucket, prefix, params) is None


def test_without_the_right_to_delete_a_share_that_was_given_up_is_empty(store, prefix):
    store.proxy.faults = [Fault("PUT .*mendbook-lock.json ", status=501, code="NotImplemented")]
    store.proxy.faults += [Fault("DELETE ", status=403, code="AccessDenied")]
    for run in ("first", "second"):
        with S3Lease(store.client, store.bucket, prefix, run):
            pass
    found = store.s3.list_objects_v2(Bucket=store.bucket, Prefix=prefix)["Contents"]
    assert [listed["Size"] for listed in found] == [0, 0]


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b'{"seconds": 1e12}', b'{"seconds": "x", "run": {"a": 1}}'])
def test_a_lock_that_cannot_be_read_holds_for_a_lease_and_no_longer(store, params, prefix, content, monkeypatch):
    store.s3.put_object(Bucket=store.bucket, Key=f"{prefix}.mendbook-lock.json", Body=content)
    with pytest.raises(Locked), S3Lease(store.client, store.bucket, prefix, "first"):
        pytest.fail("taken from an owner that may live")
    monkeypatch.setattr(s3_lock_object, "_SLACK_SECONDS", -100)
    with S3Lease(store.client, store.bucket, prefix, "second") as held:
        held.check()


def test_an_empty_lock_is_free(store, params, prefix):
    store.s3.put_object(Bucket=store.bucket, Key=f"{prefix}.mendbook-lock.json", Body=b"")
    assert holder(store.client, store.bucket, prefix, params) is None
    with S3Lease(store.client, store.bucket, prefix, "first"):
        pass


def test_a_missing_permission_is_named(store, prefix):
    for method, action in (("GET", "s3:GetObject"), ("PUT", "s3:PutObject")):
        store.proxy.faults = [Fault(f"{method} .*lock", status=403, code="AccessDenied")]
        with pytest.raises(MendError, match=action), S3Lease(store.client, store.bucket, prefix, "first"):
            pytest.fail("entered")


def test_an_answer_without_its_date_is_no_ground_for_taking_a_lock(store, prefix):
    store.proxy.faults = [Fault("GET .*lock", drop_header="Date")]
    with pytest.raises(MendError, match="answers without a Date"), S3Lease(store.client, store.bucket, prefix, "first"):
        pytest.fail("entered")


def test_the_lock_is_no_backup_and_two_prefixes_have_two(store, params, prefix, new_client):
    client = new_client(params)
    with S3Lease(client, store.bucket, prefix, "a"), S3Lease(client, store.bucket, prefix[:-1], "b"):
        assert len(catalogue(client, store.bucket, prefix[:-1], params=params)) == 0
    assert len(catalogue(client, store.bucket, prefix[:-1], params=params)) == 0


def test_a_signal_while_the_heart_is_waited_for_still_gives_the_lock_back(store, params, prefix, lease):
    def interrupted(timeout):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), lease("first") as held:
        held._heart.join = interrupted
    assert holder(store.client, store.bucket, prefix, params) is None
