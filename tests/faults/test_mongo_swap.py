"""The swap under kill -9 of its process and of mongod, at every step: afterwards all is old or all is new."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from secrets import token_hex

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_marker, mongo_swap_steps
from ansible.module_utils.mendbook.errors import Locked, MendError, Unknown
from ansible.module_utils.mendbook.lock import MongoLease, holder
from ansible.module_utils.mendbook.mongo_swap import Swap
from pymongo.errors import PyMongoError
from swap_database import Held, both_pictures, fill_old, in_child, picture, prepared

import mendbook.sandbox
from mendbook.sandbox.services.mongo import Service
from waiting import until

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("FAULT_SEED", "1"))


@pytest.fixture(scope="module")
def server():
    # in memory where there is room: a swap waits for the journal at each step, and here there are thousands
    memory = Path("/dev/shm")  # noqa: S108
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30
    # a folder that was there before would stay
    with mendbook.sandbox.start(("mongo",), directory=memory / f"mendbook-{token_hex(4)}" if roomy else None) as box:
        yield box


@pytest.fixture(scope="module")
def standalone(server):
    return server.add(Service(name="standalone", replica_set=None))


@pytest.fixture
def uri(server):
    return server.status()["mongo"]["uri"]


@pytest.fixture
def database(uri, request):
    with pymongo.MongoClient(uri) as client:
        name = f"swap_{abs(hash(request.node.name)) % 10**8}"
        yield client[name]
        client.drop_database(name)


def forward(database, hook):
    Swap.latest(database, Held("forward"), hook).forward()


def undo(database, hook):
    Swap.latest(database, Held("undo"), hook).undo()


def steps_of(work, database):
    """How many steps the work has when nothing disturbs it."""
    seen = []
    work(database, seen.append)
    return len(seen)


@pytest.mark.parametrize("finish", [True, False], ids=["finish", "undo"])
def test_kill_at_every_step_of_the_swap_leaves_all_old_or_all_new(database, uri, finish, record_fault, fault_rounds):
    old, new = both_pictures(database)
    fill_old(database)
    prepared(database, Held())
    # each in its turn dies at every other step, so that together they have died at all
    steps = range(1 if finish else fault_rounds(2, 1), steps_of(forward, database) + 1, fault_rounds(2, 1))
    phases = Counter()
    for step in steps:
        fill_old(database)
        prepared(database, Held())
        assert in_child(forward, uri, database.name, step) == signal.SIGKILL, "it must die at this step"
        swap = Swap.latest(database, Held("recover"))
        phases[swap.phase] += 1
        ended = swap.recover(finish=finish)
        assert picture(database) == {"swapped": new, "undone": old}[ended], f"killed at step {step}"
        # only what was swapped already can no longer be taken back by a recovery
        assert ended == ("swapped" if finish or phases["swapped"] else "undone")
        assert swap.recover(finish=not finish) == ended, "a second recovery changes nothing"
    assert phases["swapping"] > 5 and phases["swapped"] > 0
    how = "finish" if finish else "undo"
    record_fault(
        f"kill -9 at steps of the swap, then {how}", rounds=len(steps), held=f"{len(steps)} all-old or all-new"
    )


def test_kill_at_every_step_of_the_undo_leaves_all_old(database, uri, record_fault, fault_rounds):
    old, new = both_pictures(database)
    steps = range(1, steps_of(undo, database) + 1, fault_rounds(2, 1))
    for step in steps:
        fill_old(database)
        prepared(database, Held()).forward()
        assert in_child(undo, uri, database.name, step) == signal.SIGKILL
        swap = Swap.latest(database, Held("recover"))
        if swap.phase == "swapped":
            assert picture(database) == new
            swap.undo()
        assert swap.recover(finish=True) == "undone", "what was being undone is undone, whatever is asked"
        assert picture(database) == old, f"killed at step {step}"
    record_fault("kill -9 at steps of the undo", rounds=len(steps), held=f"{len(steps)} all-old")


def test_a_kill_during_the_recovery_is_recovered_too(database, uri, record_fault, fault_rounds):
    old, new = both_pictures(database)
    chance = random.Random(SEED)
    rounds = fault_rounds(2, 100)
    for _ in range(rounds):
        fill_old(database)
        prepared(database, Held())
        in_child(forward, uri, database.name, chance.randrange(3, 40))
        in_child(lambda found, hook: Swap.latest(found, Held("r"), hook).recover(False), uri, database.name, 6)
        ended = Swap.latest(database, Held("last")).recover(finish=True)
        assert picture(database) == {"swapped": new, "undone": old}[ended]
    record_fault("kill -9 of the recovery as well", rounds=rounds, held=f"{rounds} all-old or all-new")


@pytest.mark.parametrize("kind", ["replica set", "standalone"])
def test_kill_of_mongod_at_any_time_leaves_all_old_or_all_new(
    kind, server, standalone, record_fault, fault_rounds, monkeypatch
):
    # nobody starts the server again while the swap waits for it
    monkeypatch.setattr(mongo_marker, "_SECONDS", 0.5)
    monkeypatch.setattr(mongo_swap_steps, "STEP_SECONDS", 0.5)
    service = server.services["mongo"] if kind == "replica set" else standalone
    chance = random.Random(SEED)
    with pymongo.MongoClient(service.uri) as client:
        old, new = both_pictures(client["killed"])
        fill_old(client["killed"])
        swap = prepared(client["killed"], Held())
        begun = time.monotonic()
        swap.forward()
        whole_seconds = time.monotonic() - begun
    rounds = fault_rounds(2, 110)
    kills = Counter()
    for number in range(rounds):
        with pymongo.MongoClient(service.uri) as client:
            fill_old(client["killed"])
            swap = prepared(client["killed"], Held())
            if back := chance.random() < 0.3:
                swap.forward()
        with pymongo.MongoClient(service.uri, serverSelectionTimeoutMS=300) as client:
            # so little patience is for a server that is killed, and not for one that is met for the first time
            until(lambda client=client: client.nodes)
            swap = Swap.latest(client["killed"], Held())
            timer = threading.Timer(chance.random() * whole_seconds, service.kill)
            timer.start()
            try:
                swap.undo() if back else swap.forward()
            except (PyMongoError, MendError) as error:
                kills[type(error).__name__] += 1
            timer.join()
        service.restart()
        with pymongo.MongoClient(service.uri) as client:
            ended = Swap.latest(client["killed"], Held("recover")).recover(finish=chance.random() < 0.5)
            assert picture(client["killed"]) == {"swapped": new, "undone": old}[ended], f"round {number}: {ended}"
    record_fault(f"kill -9 of mongod in a swap ({kind})", rounds=rounds, held=f"{rounds} all-old or all-new")


def test_no_acknowledged_write_is_lost_while_clients_make_collections_again(database, uri, record_fault, fault_rounds):
    fill_old(database)
    names = ["plain", "clustered", "emptied", "arriving"]
    acknowledged: list[tuple[str, str]] = []
    stop = threading.Event()

    def write(writer):
        with pymongo.MongoClient(uri) as client:
            number = 0
            while not stop.is_set():
                number += 1
                name, key = names[number % len(names)], f"{writer}-{number}"
                try:
                    client[database.name][name].insert_one({"_id": key, "a": 1})
                except PyMongoError:
                    continue
                acknowledged.append((name, key))

    swaps = fault_rounds(3, 20)
    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(swaps):
            swap = prepared(database, Held())
            swap.forward()
            before = len(acknowledged)
            until(lambda before=before: len(acknowledged) > before + 50)
            swap.undo()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    found = set()
    for entry in database.list_collections(filter={"type": "collection", "name": {"$not": {"$regex": "^system"}}}):
        found |= {str(one["_id"]) for one in database[entry["name"]].find({"a": 1}, {"_id": 1})}
    lost = [key for _, key in acknowledged if key not in found]
    assert len(acknowledged) > 50 * swaps
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged writes are lost"
    record_fault("clients write during swap and undo", rounds=len(acknowledged), held="0 acknowledged writes lost")


def test_an_owner_that_was_stopped_and_goes_on_changes_nothing_more(database, uri, record_fault):
    old, _ = both_pictures(database)
    fill_old(database)
    prepared(database, Held())
    pid = os.fork()
    if not pid:
        _swap_and_stop_half_way(uri, database.name)
    os.waitpid(pid, os.WUNTRACED)
    try:
        with pytest.raises(Locked), MongoLease(database, "early"):
            pass
        until(lambda: holder(database) is None)
        with MongoLease(database, "second") as lease:
            assert Swap.latest(database, lease).recover(finish=False) == "undone"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42, "the first owner must say UNKNOWN"
    assert picture(database) == old
    record_fault(
        "SIGSTOP of the owner until its lease is over, then SIGCONT", rounds=1, held="all-old, and UNKNOWN said"
    )


def _swap_and_stop_half_way(uri, name):
    steps = []

    def hook(step):
        steps.append(step)
        if len(steps) == 9:
            os.kill(os.getpid(), signal.SIGSTOP)

    try:
        with pymongo.MongoClient(uri) as client, MongoLease(client[name], "first", seconds=12) as lease:
            Swap.latest(client[name], lease, hook).forward()
    except Unknown:
        os._exit(42)
    os._exit(1)
