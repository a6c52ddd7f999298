"""A master that dies, hangs or is replaced meanwhile: nothing that matches stays, and nothing that is kept goes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from contextlib import ExitStack

import pytest
from ansible.module_utils.mendbook import redis_scan, redis_sweep
from ansible.module_utils.mendbook.redis_client import connect
from ansible.module_utils.mendbook.redis_lock import Presence
from ansible.module_utils.mendbook.redis_masters import masters_now

from mendbook.sandbox.services.redis import Service

pytestmark = pytest.mark.faults
pytest_plugins = ["redis_lab", "redis_flush_lab"]
CACHED, KEPT = 3000, 300
# a machine that is slow for others, too, elects late
PATIENT = {"failover_timeout_seconds": 120}


@pytest.fixture(scope="module")
def fragile(redis_box):
    """A cluster whose masters may die, and are not taken for dead where the machine stands still for a while."""
    yield redis_box.add(Service(name="fragile", cluster=True, settings={"cluster-node-timeout": "6000"}))
    redis_box.remove("fragile")


@pytest.fixture
def cluster(fragile, lab_of):
    with contextlib.closing(lab_of(fragile)) as lab:
        yield lab
        fragile.restart()
        caught_up(lab)
        lab.empty()


def fill(lab):
    lab.fill(**{"cache": CACHED, "cache:home": KEPT})
    caught_up(lab)


def caught_up(lab):
    """Wait until every replica has what its master has: what was not there is nobody's to find."""
    deadline = time.monotonic() + 60
    for port in lab.service.ports:
        said = lab.witness(port).info("replication")
        while said["role"] == "slave" and not (
            said["master_link_status"] == "up"
            and said["slave_repl_offset"] >= lab.witness(said["master_port"]).info("replication")["master_repl_offset"]
        ):
            assert time.monotonic() < deadline
            time.sleep(0.02)
            said = lab.witness(port).info("replication")


@pytest.fixture
def in_the_middle(monkeypatch):
    """Do something once, in the thread of a master, after some of its keys are gone: ``in_the_middle(hook)``."""
    monkeypatch.setattr(redis_scan.scan, "__defaults__", (None, 50))

    def call(hook, after=3):
        real, portions = redis_sweep.Sweep._remove, []

        def remove(self, connection, keys):
            real(self, connection, keys)
            portions.append(self.place)
            if len(portions) == after:
                hook(self.place)

        monkeypatch.setattr(redis_sweep.Sweep, "_remove", remove)

    return call


def every(lab):
    """A URI that names every server, as an inventory should."""
    others = ",".join(f"127.0.0.1:{port}" for port in lab.service.ports[1:])
    return f"{lab.service.uri.removesuffix('/0')},{others}/0"


def kept(lab):
    return lab.keys("cache:home:*")


def everything_right(lab, result, at_least=CACHED):
    assert result["state"] == "done", result.get("msg", result)
    assert lab.keys("cache:*") == kept(lab) and len(kept(lab)) == KEPT
    # what a master confirmed and its replica had not heard of was removed twice; what was told and lost is not counted
    unanswered = result["figures"]["keys_unanswered"]
    assert lab.removed(result) + unanswered >= at_least


def test_a_cluster_s_master_that_dies_is_replaced_and_emptied(cluster, in_the_middle, fault_rounds, record_fault):
    service, rounds, took = cluster.service, fault_rounds(1, 20), []
    for number in range(rounds):
        fill(cluster)
        lost = []

        def lose(place, lost=lost):
            lost.append(place.node.port)
            service.node(place.node.port).kill()

        # some thirty portions in all
        in_the_middle(lose, after=number % 10 * 2 + 1)
        began = time.monotonic()
        # the server by which we come in may be the one that dies
        result = cluster.flush("cache:*", keep=["cache:home:*"], **PATIENT)
        took.append(time.monotonic() - began)
        service.restart()
        assert lost
        everything_right(cluster, result)
    record_fault(
        "a cluster's master killed while keys are removed",
        rounds=rounds,
        held=f"0 matching keys left, 0 kept keys lost; {max(took):.0f} s at most, the election included",
    )


def test_a_master_that_nobody_replaces_leaves_a_partial_result_with_counts(cluster, in_the_middle, monkeypatch):
    fill(cluster)
    for port in cluster.service.ports:
        cluster.witness(port).config_set("cluster-replica-no-failover", "yes")
    lost, through, real = [], threading.Semaphore(0), redis_sweep.Sweep.run

    def run(self):
        real(self)
        through.release()

    def lose(place):
        # the others are through: a run that has lost a master stops before long
        for _ in range(2):
            assert through.acquire(timeout=60)
        lost.append(place.node.port)
        cluster.service.node(place.node.port).kill()

    in_the_middle(lose)
    monkeypatch.setattr(redis_sweep.Sweep, "run", run)
    options = {"keep": ["cache:home:*"], "failover_timeout_seconds": 1, "uri": every(cluster)}
    result = cluster.flush("cache:*", **options)
    assert (result["rc"], result["state"], result["mend"]["reason"]) == (1, "partial", "partial")
    counts = {entry["object"]: entry["count"] for entry in result["done"]}
    assert len(counts) == 3 and sum(counts.values()) == cluster.removed(result) < CACHED
    assert result["mend"]["details"]["masters"] == counts and f"127.0.0.1:{lost[0]}/0" in counts
    # the other two are empty of what matches
    assert cluster.keys("cache:*") == kept(cluster)
    again = cluster.plan("cache:*", **options)
    assert (again["rc"], again["mend"]["rule"]) == (1, "redis_master_lost") and str(lost[0]) in again["msg"]
    cluster.service.restart()
    for port in cluster.service.ports:
        cluster.witness(port).config_set("cluster-replica-no-failover", "no")
    everything_right(cluster, cluster.flush("cache:*", keep=["cache:home:*"]), CACHED - cluster.removed(result))


@pytest.fixture
def pair(own_redis):
    return own_redis(replicas=1)


def promote_soon(lab):
    """What an operator does a moment later."""
    replica = lab.witness(lab.service.ports[1])
    threading.Timer(0.5, lambda: replica.execute_command("REPLICAOF", "NO", "ONE")).start()
    return replica


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=lambda number: number.name)
def test_a_replica_that_is_promoted_by_hand_is_emptied(pair, in_the_middle, how):
    fill(pair)
    pid = pair.service.pid

    def lose(_place):
        os.kill(pid, how)
        promote_soon(pair)

    in_the_middle(lose)
    options = {"uri": every(pair), "operation_timeout_seconds": 5, "connect_timeout_seconds": 5, **PATIENT}
    result = pair.flush("cache:*", keep=["cache:home:*"], **options)
    assert result["state"] == "done", result
    assert result["read_back"]["masters"][0]["master"].endswith(str(pair.service.ports[1]))
    replica = pair.witness(pair.service.ports[1])
    assert set(replica.keys()) == {f"cache:home:{n}".encode() for n in range(KEPT)}


def test_a_whole_database_is_emptied_at_the_master_that_takes_over(pair, monkeypatch):
    pair.fill(cache=CACHED)
    caught_up(pair)
    real, lost = redis_sweep.Sweep._flush, []

    def flush(self, connection):
        if not lost:
            # before its turn: the one that takes over still has all keys
            lost.append(pair.service.pid)
            pair.service.processes[0].kill()
            promote_soon(pair)
        real(self, connection)

    monkeypatch.setattr(redis_sweep.Sweep, "_flush", flush)
    result = pair.flush(whole_database=True, uri=every(pair), **PATIENT)
    assert lost and result["state"] == "done" and pair.removed(result) == CACHED
    assert pair.witness(pair.service.ports[1]).dbsize() == 0


def test_a_run_that_was_there_first_at_the_new_master_stops_this_one(pair, in_the_middle):
    fill(pair)
    replica = pair.witness(pair.service.ports[1])
    with ExitStack() as stack:

        def lose(_place):
            pair.service.processes[0].kill()
            replica.execute_command("REPLICAOF", "NO", "ONE")
            params = {"uri": pair.service.uris[1], "connect_timeout_seconds": 10, "operation_timeout_seconds": 30}
            access = stack.enter_context(connect(params, run="quicker"))
            stack.enter_context(Presence(access, "quicker")).hold(masters_now(access).nodes)

        in_the_middle(lose)
        result = pair.flush("cache:*", uri=every(pair), **PATIENT)
    assert (result["state"], result["mend"]["rule"]) == ("partial", "lock_lost")
    assert "run quicker" in result["msg"] and pair.removed(result) > 0


def test_a_single_server_that_dies_is_partial_and_the_next_run_goes_on(own_redis, in_the_middle):
    lab = own_redis()
    lab.fill(cache=CACHED)
    in_the_middle(lambda _place: lab.service.kill())
    result = lab.flush("cache:*", failover_timeout_seconds=1)
    assert result["state"] == "partial" and lab.removed(result) > 0 and "redis_" in result["mend"]["rule"]
    lab.service.restart()
    left = len(lab.keys())
    unanswered = result["mend"]["details"]["unanswered"]
    assert CACHED - lab.removed(result) - unanswered <= left <= CACHED - lab.removed(result)
    assert lab.removed(lab.flush("cache:*")) == left and lab.keys() == set()


def test_a_server_that_comes_back_in_time_is_gone_on_with(own_redis, in_the_middle):
    lab = own_redis()
    lab.fill(cache=CACHED)

    def restart(_place):
        lab.service.kill()
        threading.Timer(0.5, lab.service.restart).start()

    in_the_middle(restart)
    result = lab.flush("cache:*", **PATIENT)
    assert result["state"] == "done" and lab.keys() == set()
