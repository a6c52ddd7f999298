"""restore_mongo as a whole under kill -9: all-old, all-new, or ended by one command."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import pymongo
import pytest

import restore_lab
from mendbook.sandbox.services.mongo import Service
from restore_child import WAYS, Child, content, dies_at, end, fill
from restore_lab import Lab

pytestmark = pytest.mark.faults

SEED = int(os.environ.get("FAULT_SEED", "1"))


@pytest.mark.parametrize("quarter", range(4))
def test_kill_of_the_module_at_every_step_is_ended_by_one_command(
    lab, backups, pictures, quarter, record_fault, fault_rounds
):
    old, new, steps = pictures
    ended: Counter[str] = Counter()
    kills = 0
    # all ways at all steps under make faults; here each step once, the ways in turn
    for turn in range(fault_rounds(1, len(WAYS))):
        for step in range(1 + quarter, steps + 1, 4):
            fill(lab)
            child = Child(lab, backups["real"], dies_at(step))
            assert child.result() is None and child.status == signal.SIGKILL, f"it must die at step {step} of {steps}"
            kills += 1
            lab.expire_lock()
            ended[end(lab, WAYS[(step // 4 + turn) % len(WAYS)], backups, old, new)] += 1
    assert kills >= 8 and ended["old"] and ended["new"] and ended["other"] and sum(ended.values()) == kills
    print(f"{kills} kills, {kills} recovered: {dict(ended)}")
    record_fault("kill -9 of the module at each step of a restore", rounds=kills, held=f"{kills} recovered")


def test_kill_of_the_module_at_any_time_is_ended_by_one_command(lab, backups, pictures, record_fault, fault_rounds):
    old, new, _steps = pictures
    chance = random.Random(SEED)
    rounds = fault_rounds(5, 200)
    for number in range(rounds):
        fill(lab)
        child = Child(lab, backups["real"])
        time.sleep(chance.random() * 0.7)
        os.kill(child.pid, signal.SIGKILL)
        child.result()
        lab.expire_lock()
        end(lab, WAYS[number % len(WAYS)], backups, old, new)
    record_fault("kill -9 of the module at random times", rounds=rounds, held=f"{rounds} recovered")


def test_kill_of_mongod_during_a_restore_is_ended_by_one_command(
    mongo_box, backups, record_fault, fault_rounds, monkeypatch
):
    restore_lab.quick_writers(monkeypatch)
    service = Service(name="mortal")
    mongo_box.add(service)
    chance = random.Random(SEED)
    try:
        with pymongo.MongoClient(service.uri) as client:
            lab = Lab(service.uri, client, "estore")
            fill(lab)
            old = content(lab)
            undisturbed = Child(lab, backups["real"], lambda label, step: None).result()
            assert undisturbed and undisturbed["state"] == "done"
            new = content(lab)
        rounds = fault_rounds(3, 40)
        words: Counter[str] = Counter()
        for number in range(rounds):
            with pymongo.MongoClient(service.uri) as client:
                lab = Lab(service.uri, client, "estore")
                fill(lab)
                pid = service.processes[0].pid
                # the last steps are the swap's, where it matters most
                step = chance.randrange(undisturbed["steps"] // 3, undisturbed["steps"] - 2)
                # what was loaded and proven is then only in the memory of the mongod that dies
                wanted: int | str = step if number else "loaded"

                hearing, telling = os.pipe()

                def kill_mongod(
                    label: str, at: int, wanted: int | str = wanted, pid: int = pid, hearing: int = hearing
                ) -> None:
                    if wanted in (at, label):
                        os.kill(pid, signal.SIGKILL)
                    if wanted == label:
                        # as if the run had noticed nothing: its driver has found the new process in the meantime
                        os.read(hearing, 1)
                        time.sleep(3)

                child = Child(lab, backups["real"], kill_mongod)
                service.processes[0].wait(120)
                service.restart()
                os.write(telling, b"x")
                result = child.result()
                os.close(hearing), os.close(telling)
            assert result, "the module itself must live"
            words[result["state"]] += 1
            if not number:
                assert result["mend"]["rule"] == "mongo_restarted", result.get("msg")
            with pymongo.MongoClient(service.uri) as client:
                lab = Lab(service.uri, client, "estore")
                if result["state"] == "done":
                    assert content(lab) == new
                elif result["state"].startswith("failed"):
                    assert content(lab) == old, result["msg"]
                lab.expire_lock()
                end(lab, WAYS[number % 3], backups, old, new)
        print(f"{rounds} kills of mongod, {rounds} recovered; the module said {dict(words)}")
    finally:
        mongo_box.remove("mortal")
    record_fault("kill -9 of mongod during a restore", rounds=rounds, held=f"{rounds} recovered")
