"""restore_mongo under TERM, beside a second restore, and among clients that write."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from functools import partial
from typing import Any

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_load, mongo_restore, mongo_restore_plan
from ansible.module_utils.mendbook.lock import MongoLease
from ansible.module_utils.mendbook.mongo_batch import BatchWriter
from ansible.module_utils.mendbook.mongo_writers import writers
from bson import Decimal128
from pymongo.errors import PyMongoError

import restore_lab
from restore_child import Child, content, fill
from restore_lab import Lab
from waiting import until

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("FAULT_SEED", "1"))


@pytest.fixture
def endless(monkeypatch):
    """Loads do not end before a signal has come, however fast they are."""
    wait_for = mongo_load._Load._wait_for

    def wait_on(load: Any, threads: Any) -> None:
        wait_for(load, threads)
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(mongo_load._Load, "_wait_for", wait_on)


def loads(lab: Lab) -> bool:
    return any(name.endswith("_orders") for name in lab.leftovers())


@pytest.mark.parametrize("half", [0, 1])
def test_term_at_every_step_of_the_swap_says_what_is_true(lab, backups, pictures, half, record_fault):
    old, new, steps = pictures
    said: Counter[str] = Counter()
    for step in range(steps * 2 // 5 + half, steps + 1, 2):
        fill(lab)

        def term(label: str, at: int, step: int = step) -> None:
            if at == step:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.05)  # a thread that is not the main one goes on until the signal has been seen

        result = Child(lab, backups["real"], term).result()
        assert result, f"step {step}: no result"
        seen = content(lab)
        if result["rc"]:
            assert "cancelled" in result["msg"], f"step {step}: {result['msg']}"
        if seen == old:
            assert result["state"] == "failed (nothing changed)" and result["rc"] and not result["changed"], step
            assert lab.leftovers() == [] or lab.undo("drop")["state"] == "done"
        else:
            assert seen == new, f"neither old nor new at step {step}: {result['state']} {result.get('msg')}"
            assert result["changed"] and result["state"] != "failed (nothing changed)", (
                f"step {step}: {result['state']}"
            )
        assert not lab.locked()
        said[result["state"]] += 1
    assert said["failed (nothing changed)"] > 5 and len(said) > 1, said
    record_fault("TERM at each step of the swap", rounds=said.total(), held=f"the truth was said: {dict(said)}")


def test_term_while_loading_changes_nothing_and_leaves_nothing(lab, backups, endless, record_fault, fault_rounds):
    chance = random.Random(SEED)
    rounds = fault_rounds(4, 60)
    fill(lab)
    before = content(lab)
    for _ in range(rounds):
        child = Child(lab, backups["long"])
        until(lambda: loads(lab))
        time.sleep(chance.random() * 0.15)
        os.kill(child.pid, signal.SIGTERM)
        result = child.result()
        assert result and result["rc"] == 1, result
        assert (result["state"], result["changed"]) == ("failed (nothing changed)", False)
        assert "cancelled" in result["msg"]
        assert content(lab) == before
        # what the workers still had on the wire must not make a collection again
        time.sleep(0.2)
        assert lab.leftovers() == [] and not lab.locked()
    record_fault("TERM while a backup is loaded", rounds=rounds, held="nothing changed, nothing left")


def test_batches_that_are_still_on_their_way_make_no_collection_again(lab, backups, endless, monkeypatch):
    send = BatchWriter._send

    def send_late(*args: Any) -> Any:
        time.sleep(1)
        return send(*args)

    release = MongoLease._release

    def release_late(lease: MongoLease) -> None:
        time.sleep(1.5)
        release(lease)

    monkeypatch.setattr(BatchWriter, "_send", send_late)
    # as if the server took longer than the load waits for its threads
    monkeypatch.setattr(mongo_load, "_END_SECONDS", 0, raising=False)
    # after the collection was dropped, and before the connection is closed
    monkeypatch.setattr(MongoLease, "_release", release_late)
    fill(lab)
    child = Child(lab, backups["long"])
    until(lambda: loads(lab))
    time.sleep(0.1)
    os.kill(child.pid, signal.SIGTERM)
    result = child.result()
    assert result and "cancelled" in result["msg"], result
    assert lab.leftovers() == []
    monkeypatch.undo()
    restore_lab.quick_writers(monkeypatch)
    assert lab.restore(path=backups["other"])["state"] == "done"


def test_a_collection_that_is_being_made_when_a_signal_comes_is_not_left_behind(lab, backups, monkeypatch):
    create, release = mongo_load.create, MongoLease._release

    def create_slowly(*args: Any) -> None:
        making = threading.Timer(0.5, create, args)
        making.start()
        os.kill(os.getpid(), signal.SIGTERM)
        making.join()

    def release_late(lease: MongoLease) -> None:
        time.sleep(1)
        release(lease)

    monkeypatch.setattr(mongo_load, "create", create_slowly)
    monkeypatch.setattr(MongoLease, "_release", release_late)
    result = Child(lab, backups["real"]).result()
    assert result and "cancelled" in result["msg"], result
    assert lab.leftovers() == []


def test_the_second_of_two_restores_is_told_at_once_who_holds_the_lock(lab, backups):
    fill(lab)
    path = backups["real"]
    planned = lab.plan(path=path)

    def wait_in_the_load(label: str, step: int) -> None:
        if label == "loaded":
            os.kill(os.getpid(), signal.SIGSTOP)

    child = Child(lab, path, wait_in_the_load)
    os.waitpid(child.pid, os.WUNTRACED)
    before, took = lab.everything(), []
    # the best of a few: what the machine does beside it is not the product's
    while not took or (took[-1] >= 2 and len(took) < 4):
        began = time.monotonic()
        result = lab.act(planned, path=path)
        took.append(time.monotonic() - began)
    seen = lab.plan(path=path)
    assert lab.everything() == before
    os.kill(child.pid, signal.SIGCONT)
    first = child.result()
    assert (result["rc"], result["state"], result["mend"]["reason"]) == (1, "refused", "locked")
    assert min(took) < 2, f"told after {took} s"
    holder = result["mend"]["details"]
    assert holder["pid"] == child.pid and holder["run"] in result["msg"] and holder["host"] in result["msg"]
    assert any("locked now by run" in note for note in seen["plan"]["notes"])
    assert first and first["state"] == "done", first


def test_writers_are_refused_and_what_they_write_in_spite_of_it_is_never_lost(lab, backups, record_fault, monkeypatch):
    fill(lab)
    lab.database.create_collection("audit")
    stop, acknowledged = threading.Event(), []
    names = ("orders", "sessions", "audit")

    def write(writer: int) -> None:
        with pymongo.MongoClient(lab.uri) as client:
            number = 0
            while not stop.is_set():
                number += 1
                name, key = names[number % len(names)], f"{writer}-{number}"
                with contextlib.suppress(PyMongoError):
                    # an order that the restored validator lets in, too
                    document = {"_id": key, "by": "writer", "orderNo": key, "userId": 1, "items": [1]}
                    client[lab.database.name][name].insert_one({**document, "total": Decimal128("1")})
                    acknowledged.append((name, key))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    # these few documents double while a plan is read
    monkeypatch.setattr(mongo_restore_plan, "COUNT_TOLERANCE", None)
    monkeypatch.setattr(mongo_restore, "writers", partial(writers, seconds=0.2))
    try:
        # a disk that stands still for those 0.2 s shows no writers
        refused = until(lambda: lab.plan(path=backups["real"])["plan"]["refusals"])
        results = [lab.restore(path=backups["real"], allow_writers=True) for _ in range(3)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [one["rule"] for one in refused] == ["writers"]
    assert "-e mongo_restore_allow_writers=true" in refused[0]["override"]
    assert [one["state"] for one in results] == ["done"] * 3, [one.get("msg") for one in results]
    found = set()
    for name in lab.database.list_collection_names(filter={"type": "collection"}):
        if not name.startswith("system."):
            found |= {one["_id"] for one in lab.database[name].find({"by": "writer"}, {"_id": 1})}
    lost = [key for _, key in acknowledged if key not in found]
    assert len(acknowledged) > 100 and not lost, f"{len(lost)} of {len(acknowledged)} acknowledged writes are lost"
    strays = {name for name in lab.leftovers() if name.startswith("__mend_s_")}
    named = " ".join(str(warning) for one in results for warning in one.get("warnings") or ())
    assert all(stray in named for stray in strays), "a stray collection that the result does not name"
    record_fault("clients write during a restore", rounds=len(acknowledged), held="0 acknowledged writes lost")
