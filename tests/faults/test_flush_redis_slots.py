"""Slots that move between masters while keys are removed, and applications that write meanwhile."""

from __future__ import annotations

import threading
import time

import pytest
import redis
from ansible.module_utils.mendbook import redis_flush_round, redis_scan, redis_sweep
from redis.crc import key_slot

pytestmark = pytest.mark.faults
pytest_plugins = ["redis_lab", "redis_flush_lab"]
# all keys with this tag are in one slot
TAG = "{moving}"
SLOT = key_slot(TAG.encode())
TAGGED = 200


class Move:
    """The slot on its way from the master that has it to another one, as redis-cli moves it, step by step."""

    def __init__(self, lab):
        self.lab = lab
        masters = lab.masters()
        nodes = redis.RedisCluster.from_url(lab.service.uri, protocol=2)
        port = nodes.get_node_from_key(TAG).port
        nodes.close()
        self.source = lab.witness(port)
        self.port = port
        self.target = next(client for client in masters if client is not self.source)
        self.target_port = self.target.connection_pool.connection_kwargs["port"]
        self.ids = [str(client.execute_command("CLUSTER", "MYID"), "ascii") for client in (self.source, self.target)]

    def begin(self):
        self._say(self.target, "IMPORTING", self.ids[0])
        self._say(self.source, "MIGRATING", self.ids[1])

    def keys(self, *keys):
        """Move these keys, or all that are still there."""
        keys = keys or self.source.execute_command("CLUSTER", "GETKEYSINSLOT", SLOT, 10_000)
        if keys:
            auth = ("AUTH", self.lab.service.password)
            place = ("127.0.0.1", self.target_port, "", 0, 10_000)
            self.source.execute_command("MIGRATE", *place, *auth, "KEYS", *keys)

    def end(self):
        for client in (self.target, self.source):
            self._say(client, "NODE", self.ids[1])

    def back(self):
        """The slot is its first master's own again."""
        for client in (self.source, self.target):
            self._say(client, "STABLE")
        for client in self.lab.masters():
            self._say(client, "NODE", self.ids[0])

    def _say(self, client, *words):
        client.execute_command("CLUSTER", "SETSLOT", SLOT, *words)


@pytest.fixture
def move(cluster):
    """Keys of one slot and others, and the way of that slot to another master; at the end everything is as before."""
    cluster.fill(f"kept:{TAG}", *(f"cache:{TAG}:{n}" for n in range(TAGGED)), cache=300)
    moving = Move(cluster)
    yield moving
    for client in cluster.masters():
        client.flushall()
    moving.back()


@pytest.fixture
def before(monkeypatch):
    """Do something before a step of a sweep: before("run", hook), where hook gets the sweep and what the step gets."""

    def call(step, hook):
        real = getattr(redis_sweep.Sweep, step)

        def stepped(self, *args):
            hook(self, *args)
            return real(self, *args)

        monkeypatch.setattr(redis_sweep.Sweep, step, stepped)

    return call


def gone(cluster, result, number=TAGGED + 300):
    assert result["state"] == "done", result.get("msg", result)
    # asked at the servers themselves: a client would be sent on to the other side
    assert cluster.keys() == {f"kept:{TAG}".encode()}
    assert cluster.removed(result) == number
    assert result["read_back"]["written_since"] == 0


def test_a_slot_that_stays_half_way_is_emptied_at_both_ends(cluster, move):
    move.begin()
    move.keys(*(f"cache:{TAG}:{n}" for n in range(0, TAGGED, 2)))
    assert len(move.target.keys(f"cache:{TAG}:*")) == len(move.source.keys(f"cache:{TAG}:*")) == TAGGED / 2
    gone(cluster, cluster.flush("cache:*"))


def test_keys_that_go_to_a_master_after_it_was_looked_at_are_found(cluster, move, monkeypatch):
    real, swept, moved = redis_sweep.Sweep.run, threading.Event(), []

    def run(self):
        if self.place.node.port == move.port and not moved:
            assert swept.wait(60)
            moved.append(True)
            move.begin()
            move.keys()
            move.end()
        real(self)
        if self.place.node.port == move.target_port:
            swept.set()

    monkeypatch.setattr(redis_sweep.Sweep, "run", run)
    result = cluster.flush("cache:*")
    assert moved and result["figures"]["rounds"] > 2
    gone(cluster, result)


def test_keys_that_leave_between_the_look_and_their_removal_are_found_where_they_went(cluster, move, before):
    """Redis answers ASK."""
    moved = []

    def hook(sweep, _connection, keys):
        tagged = [key for key in keys if TAG.encode() in key]
        if sweep.place.node.port == move.port and tagged and not moved:
            moved.append(True)
            move.begin()
            move.keys(*tagged)

    before("_remove", hook)
    result = cluster.flush("cache:*")
    assert moved
    gone(cluster, result)


def test_a_slot_that_has_left_between_the_look_and_the_removal_is_followed(cluster, move, before):
    """Redis answers MOVED."""
    moved = []

    def hook(sweep, _connection, keys):
        if sweep.place.node.port == move.port and any(TAG.encode() in key for key in keys) and not moved:
            moved.append(True)
            move.begin()
            move.keys()
            move.end()

    before("_remove", hook)
    result = cluster.flush("cache:*")
    assert moved
    gone(cluster, result)


def test_a_slot_that_moves_for_ever_is_no_success(cluster, move, before):
    turns = []

    def hook(sweep):
        if sweep.place.node.port == move.port:
            turns.append(True)
            move.begin() if len(turns) % 2 else move.back()

    before("run", hook)
    result = cluster.flush("cache:*", failover_timeout_seconds=5)
    assert (result["state"], result["mend"]["rule"]) == ("partial", "slots_move") and len(turns) > 2
    assert cluster.removed(result) == TAGGED + 300 and len(result["done"]) == 3


@pytest.fixture
def after_each_look(monkeypatch):
    """Do something after every sweep of a place."""

    def call(hook):
        real = redis_sweep.Sweep.run

        def run(self):
            real(self)
            hook()

        monkeypatch.setattr(redis_sweep.Sweep, "run", run)

    return call


def test_what_is_written_again_meanwhile_is_told_and_is_no_failure(single, after_each_look):
    single.fill(cache=500)
    written = []

    def write():
        written.append(f"cache:again:{len(written)}")
        single.fill(written[-1])

    after_each_look(write)
    result = single.flush("cache:*")
    assert result["state"] == "done" and result["read_back"]["written_since"] == 1
    # what came during the first round went in the second, and what came then is told; the last came after the count
    assert len(written) == 3 and single.keys() == {b"cache:again:1", b"cache:again:2"}
    assert single.removed(result) == 501


def test_a_cache_that_applications_fill_all_the_time_is_flushed(single):
    single.fill(cache=5000)
    stop, written = threading.Event(), []

    def fill():
        with single.service.client(single.service.ports[0]) as client:
            while not stop.is_set():
                client.set(f"cache:live:{len(written)}", "x")
                written.append(1)

    writer = threading.Thread(target=fill)
    writer.start()
    try:
        result = single.flush("cache:*", max_share=1.0)
    finally:
        stop.set()
        writer.join()
    assert result["state"] == "done" and len(single.keys("cache:[0-9]*")) == 0
    assert 5000 <= single.removed(result) <= 5000 + len(written)


def test_a_kept_key_that_goes_by_itself_is_told(single, after_each_look):
    single.fill("cache:home:1", "cache:home:2", cache=10)
    witness = single.witness(single.service.ports[0])
    after_each_look(lambda: witness.delete("cache:home:1"))
    result = single.flush("cache:*", keep=["cache:home:*"])
    assert result["state"] == "done"
    assert (result["read_back"]["kept"], result["read_back"]["kept_gone"]) == (1, 1)


def test_what_is_written_to_an_emptied_database_is_not_emptied_again(single, after_each_look):
    single.fill(cache=100)
    after_each_look(lambda: single.fill("fresh"))
    result = single.flush(whole_database=True)
    assert result["state"] == "done" and single.keys() == {b"fresh"}
    assert (single.removed(result), result["read_back"]["written_since"]) == (100, 1)


def test_keys_of_every_kind_of_name_go_and_stay(single):
    long = b"cache:" + b"k" * 65536
    hostile = [
        b"cache:\n", b"cache:\r\nDEL x\r\n", b"cache:\x00\xff", b"cache:*", b"cache:[a]", b"cache:{a}{b}", b"cache: ",
        "cache:\u202e\U0001f600".encode(), b"cache:{{ 7 * 7 }}", b"cache:$(id)", b"cache:-n", b"cache:\x1b[31m", long,
    ]  # fmt: skip
    others = [key.replace(b"cache:", b"other:") for key in hostile]
    single.fill(*hostile, *others)
    planned = single.plan("cache:*", _ansible_diff=True)
    assert planned["plan"]["totals"]["count"] == len(hostile) and "\x1b" not in planned["diff"]["prepared"]
    result = single.act(planned, "cache:*")
    assert single.removed(result) == len(hostile) and single.keys() == set(others)
    # a pattern may be as odd as a key
    for pattern in ("other:\n", r"other:\*", r"other:\[a\]", "other:{a}*", "other: ", "other:\u202e?*", "other:-n"):
        assert single.removed(single.flush(pattern)) == 1, pattern
    assert single.removed(single.flush("other:*", keep=["other:" + "k" * 65536])) == len(others) - 8
    assert single.keys() == {long.replace(b"cache:", b"other:")}


def test_an_answer_that_no_move_explains_ends_it_with_a_count(single, monkeypatch):
    single.fill(cache=500)
    monkeypatch.setattr(redis_scan.scan, "__defaults__", (None, 20))
    witness = single.witness(single.service.ports[0])
    real, calls = redis_sweep.Sweep._remove, []

    def remove(self, connection, keys):
        real(self, connection, keys)
        calls.append(1)
        if len(calls) == 2:
            witness.config_set("min-replicas-to-write", 1)

    monkeypatch.setattr(redis_sweep.Sweep, "_remove", remove)
    try:
        result = single.flush("cache:*", failover_timeout_seconds=1)
    finally:
        witness.config_set("min-replicas-to-write", 0)
    assert (result["state"], result["mend"]["rule"]) == ("partial", "redis_writes_stopped")
    assert single.removed(result) == 500 - len(single.keys()) > 0


def test_nothing_runs_on_when_a_round_has_ended(single, before, monkeypatch):
    single.fill(cache=3000)
    monkeypatch.setattr(redis_scan.scan, "__defaults__", (None, 10))
    monkeypatch.setattr(redis_flush_round.Round, "failed", property(lambda self: self.removed > 0))
    stopped = redis_flush_round.Partial("stopped")
    monkeypatch.setattr(redis_flush_round.Rounds, "_translated", lambda self, this: stopped)

    def hook(sweep, *_):
        # there is more to remove when it is stopped, and it takes a moment to hear of that
        if sweep.tally.removed:
            assert sweep._stop.wait(60)
            time.sleep(0.1)

    before("_remove", hook)
    threads = set(threading.enumerate())
    result = single.flush("cache:*")
    assert result["state"] == "partial" and set(threading.enumerate()) <= threads
    assert single.removed(result) == 3000 - len(single.keys()) and len(single.keys()) > 0
