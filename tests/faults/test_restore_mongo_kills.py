"""restore_mongo as a whole under kill -9, TERM and races: all-old, all-new, or ended by one command."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import pymongo
import pytest
import yaml
from ansible.module_utils.mendbook import mongo_load, mongo_restore, mongo_restore_plan, mongo_side, mongo_swap
from ansible.module_utils.mendbook.lock import MongoLease
from ansible.module_utils.mendbook.mongo_batch import BatchWriter
from ansible.module_utils.mendbook.mongo_swap_steps import Steps
from ansible.module_utils.mendbook.mongo_writers import writers
from bson import Decimal128
from pymongo.errors import PyMongoError

import mendbook.sandbox
import restore_lab
from mendbook.sandbox import Sandbox
from mendbook.sandbox.services.mongo import Service
from restore_lab import Lab, RealDump, archive_of, live_data, numbered

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("FAULT_SEED", "1"))
KINDS = ("metrics", "orders", "sessions", "open_orders", "audit")


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with mendbook.sandbox.start(("mongo",)) as box:
        yield box


@pytest.fixture
def lab(server: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    restore_lab.quick_writers(monkeypatch)
    uri = server.status()["mongo"]["uri"]
    with pymongo.MongoClient(uri) as client:
        lab = Lab(uri, client, f"estore_{uuid4().hex[:8]}")
        yield lab
        client.drop_database(lab.database.name)


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A real dump with a time-series, a view, TTL and capped; another one; and one that takes its time to load."""
    folder = tmp_path_factory.mktemp("backups")
    chance = random.Random(SEED)
    long = [{"_id": n, "filler": chance.randbytes(2000)} for n in range(9000)]
    made = {
        "real": RealDump().cut(5, KINDS),
        "other": archive_of("estore", {"orders": numbered(9, "other"), "metrics": []}),
        "long": archive_of("estore", {"orders": long, "coupons": numbered(5)}),
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return {name: str(folder / name) for name in made}


def fill(lab: Lab) -> None:
    """The live data before each round: every kind that the backup has, with other content."""
    live_data(lab.database)
    database = lab.database
    database.create_collection("metrics", timeseries={"timeField": "t", "metaField": "m"})
    noon = datetime(2026, 1, 1, 12)
    database["metrics"].insert_many([{"t": noon, "m": number, "v": "live"} for number in range(3)])
    database["sessions"].create_index("at", expireAfterSeconds=10**9)
    database["sessions"].insert_many(numbered(3, "live"))


def content(lab: Lab) -> dict[str, Any]:
    """The picture without what is new each time that the same measurements are inserted: the hash of buckets."""
    seen = lab.picture()
    for name in [name for name in seen if name.startswith("system.buckets.")]:
        measured = lab.database[name.removeprefix("system.buckets.")].find({}, {"_id": 0})
        seen[name] = (sorted(map(str, measured)), *seen[name][1:])
    return seen


# -- a run in a process of its own, that a test may stop at any of its steps


def instrument(at_step: Callable[[str], None]) -> None:
    """Call ``at_step`` after every step that the run takes at the server; only ever used in a child process."""

    def after(owner: Any, name: str, label: str) -> None:
        original = getattr(owner, name)

        def step(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            at_step(label)
            return result

        setattr(owner, name, step)

    after(MongoLease, "_acquire", "lock")
    after(mongo_swap, "begin", "marker")
    after(mongo_load, "create", "create a side collection")
    after(mongo_side, "build", "build indexes")
    after(BatchWriter, "insert", "insert")
    after(mongo_load, "prove", "read back")
    after(mongo_restore, "load", "loaded")
    after(mongo_restore, "read_back", "read back what is live")
    begin = Steps.__init__

    def with_hook(self: Any, database: Any, token: Any, lease: Any, hook: Any = None) -> None:
        begin(self, database, token, lease, at_step)

    Steps.__init__ = with_hook  # type: ignore[method-assign]


class Child:
    """One acting run in a forked process; ``result()`` is what it printed, None when it was killed."""

    def __init__(self, lab: Lab, path: str, at_step: Callable[[str, int], None] | None = None, **options: Any) -> None:
        planned = lab.plan(path=path, **options)
        assert planned["rc"] == 0, planned["msg"]
        reading, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(reading)
            self._act(lab, planned, writing, at_step, path=path, **options)
        os.close(writing)
        self._output = os.fdopen(reading)
        self.status: int | None = None

    @staticmethod
    def _act(lab: Lab, planned: dict[str, Any], writing: int, at_step: Any, **options: Any) -> NoReturn:
        steps = 0

        def counted(label: str) -> None:
            nonlocal steps
            steps += 1
            at_step(label, steps)

        try:
            if at_step:
                instrument(counted)
            result = lab.act(planned, **options)
            os.write(writing, json.dumps({**result, "steps": steps}).encode())
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)

    def result(self) -> dict[str, Any] | None:
        text = self._output.read()
        self._output.close()
        self.status = os.waitpid(self.pid, 0)[1]
        return json.loads(text) if text else None


def dies_at(number: int) -> Callable[[str, int], None]:
    def at_step(label: str, step: int) -> None:
        if step == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return at_step


@pytest.fixture
def pictures(lab: Lab, backups: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any], int]:
    """All-old and all-new as an undisturbed run leaves them, and the number of its steps."""
    fill(lab)
    old = content(lab)
    result = Child(lab, backups["real"], lambda label, step: None).result()
    assert result and result["state"] == "done", result
    return old, content(lab), result["steps"]


def end(lab: Lab, way: str, backups: dict[str, str], old: Any, new: Any) -> str:
    """End what a dead run left by one command, and prove it by another client; how it ended."""
    if way == "the same restore again":
        result = lab.restore(path=backups["real"])
        assert result["state"] in ("done", "nothing to do"), result.get("msg")
        assert content(lab) == new
        assert lab.restore(path=backups["real"])["state"] == "nothing to do"
        ended = "new"
    elif way == "another restore":
        result = lab.restore(path=backups["other"])
        assert result["state"] == "done", result.get("msg")
        assert lab.documents("orders")[0] == {"_id": 0, "value": "other"}
        ended = "other"
    else:
        result = lab.undo(way)
        assert result["state"] in ("done", "nothing to do"), result.get("msg")
        seen = content(lab)
        assert seen == old or (way == "finish" and seen == new), f"neither old nor new after {result['state']}"
        assert lab.undo(way)["state"] == "nothing to do"
        ended = "old" if seen == old else "new"
        # the next run is not in anybody's way
        assert lab.restore(path=backups["other"])["state"] == "done"
    assert not lab.locked()
    assert lab.undo("drop")["state"] in ("done", "nothing to do")
    assert [name for name in lab.leftovers() if not name.startswith("__mend_m_")] == []
    return ended


WAYS = ("the same restore again", "undo", "finish", "another restore")


@pytest.mark.parametrize("half", [0, 1])
def test_kill_of_the_module_at_every_step_is_ended_by_one_command(
    lab, backups, pictures, half, record_fault, fault_rounds
):
    old, new, steps = pictures
    ended: Counter[str] = Counter()
    kills = 0
    # all ways at all steps under make faults; here each step once, the ways in turn
    for turn in range(fault_rounds(1, len(WAYS))):
        for step in range(1 + half, steps + 1, 2):
            fill(lab)
            child = Child(lab, backups["real"], dies_at(step))
            assert child.result() is None and child.status == signal.SIGKILL, f"it must die at step {step} of {steps}"
            kills += 1
            lab.expire_lock()
            ended[end(lab, WAYS[(step // 2 + turn) % len(WAYS)], backups, old, new)] += 1
    assert kills >= 15 and ended["old"] and ended["new"] and ended["other"] and sum(ended.values()) == kills
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
    server, backups, record_fault, fault_rounds, monkeypatch
):
    restore_lab.quick_writers(monkeypatch)
    service = Service(name="mortal")
    server.add(service)
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

                def kill_mongod(label: str, at: int, wanted: int | str = wanted, pid: int = pid) -> None:
                    if wanted in (at, label):
                        os.kill(pid, signal.SIGKILL)
                    if wanted == label:
                        # as if the run had noticed nothing: its driver has found the new process in the meantime
                        time.sleep(3)

                child = Child(lab, backups["real"], kill_mongod)
                service.processes[0].wait()
                service.restart()
                result = child.result()
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
        server.remove("mortal")
    record_fault("kill -9 of mongod during a restore", rounds=rounds, held=f"{rounds} recovered")


def test_term_at_every_step_of_the_swap_says_what_is_true(lab, backups, pictures, record_fault):
    old, new, steps = pictures
    said: Counter[str] = Counter()
    first = steps * 2 // 5
    for step in range(first, steps + 1):
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
    record_fault("TERM at each step of the swap", rounds=steps - first + 1, held=f"the truth was said: {dict(said)}")


def test_term_while_loading_changes_nothing_and_leaves_nothing(lab, backups, record_fault, fault_rounds):
    chance = random.Random(SEED)
    rounds = fault_rounds(4, 60)
    fill(lab)
    before = content(lab)
    for _ in range(rounds):
        child = Child(lab, backups["long"])
        while not any(name.endswith("_orders") for name in lab.leftovers()):
            time.sleep(0.005)
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


def test_batches_that_are_still_on_their_way_make_no_collection_again(lab, backups, monkeypatch):
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
    while not any(name.endswith("_orders") for name in lab.leftovers()):
        time.sleep(0.005)
    time.sleep(0.1)
    os.kill(child.pid, signal.SIGTERM)
    result = child.result()
    assert result and "cancelled" in result["msg"], result
    assert lab.leftovers() == []
    monkeypatch.undo()
    restore_lab.quick_writers(monkeypatch)
    assert lab.restore(path=backups["other"])["state"] == "done"


# -- several at once


def test_the_second_of_two_restores_is_told_at_once_who_holds_the_lock(lab, backups):
    fill(lab)
    path = backups["real"]
    planned = lab.plan(path=path)
    going, _ = os.pipe()

    def wait_in_the_load(label: str, step: int) -> None:
        if label == "loaded":
            os.kill(os.getpid(), signal.SIGSTOP)

    child = Child(lab, path, wait_in_the_load)
    os.waitpid(child.pid, os.WUNTRACED)
    before = lab.everything()
    began = time.monotonic()
    result = lab.act(planned, path=path)
    took = time.monotonic() - began
    seen = lab.plan(path=path)
    assert lab.everything() == before
    os.kill(child.pid, signal.SIGCONT)
    os.close(going)
    first = child.result()
    assert (result["rc"], result["state"], result["mend"]["reason"]) == (1, "refused", "locked")
    assert took < 2, f"told after {took:.1f} s"
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
        refused = lab.plan(path=backups["real"])["plan"]["refusals"]
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


# -- ansible-playbook


@pytest.fixture
def play(lab: Lab, backups: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start bare ansible-playbook on restore_mongo with a backup that takes seconds."""
    inventory = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "mongo_uri": "env:LAB_MONGO_URI",
    }
    (tmp_path / "inventory.yml").write_text(
        yaml.safe_dump({"all": {"children": {"mongo": {"hosts": {"estore": None}}}, "vars": inventory}})
    )
    (tmp_path / "progress").mkdir()

    def start(**variables: Any) -> subprocess.Popen[str]:
        chosen = {
            "mongo_restore_database": lab.database.name,
            "mongo_restore_source_database": "estore",
            "mongo_restore_path": backups["long"],
            "mongo_restore_max_age_seconds": 10**9,
            **variables,
        }
        (tmp_path / "variables.json").write_text(json.dumps(chosen))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "MENDBOOK_"))}
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        options = ["-i", str(tmp_path / "inventory.yml"), "-e", f"@{tmp_path / 'variables.json'}"]
        return subprocess.Popen(
            [program, str(ROOT / "playbooks" / "restore_mongo.yml"), *options],
            env=kept
            | {
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_NOCOLOR": "1",
                "LAB_MONGO_URI": lab.uri,
                "MENDBOOK_STATE": str(tmp_path / "state"),
                "MENDBOOK_PROGRESS": str(tmp_path / "progress"),
            },
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def module_pid(folder: Path, lab: Lab) -> int:
    """The process of the module, once it loads."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for file in folder.glob("*.jsonl"):
            lines = file.read_text().splitlines()
            if lines and any("_n_" in name for name in lab.leftovers()):
                return json.loads(lines[0])["pid"]
        time.sleep(0.02)
    raise AssertionError("it does not begin")


def wait_until_gone(pid: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.05)


def test_kill_of_the_module_under_ansible_is_not_called_a_success(lab, backups, play, tmp_path, record_fault):
    fill(lab)
    before = content(lab)
    target = lab.plan(path=backups["real"])["plan"]["target"]["id"]
    running = play(mongo_restore_confirm=target)
    os.kill(module_pid(tmp_path / "progress", lab), signal.SIGKILL)
    output = running.communicate(timeout=60)[0]
    assert running.returncode == 2, output
    assert "UNKNOWN" in output, output
    assert content(lab) == before
    (journal,) = (tmp_path / "state" / "journal").glob("*.jsonl")
    last = [json.loads(line) for line in journal.read_text().splitlines() if '"end"' in line][-1]
    assert (last["state"], last["reason"]) == ("UNKNOWN", "unknown")
    lab.expire_lock()
    assert lab.restore(path=backups["real"])["state"] == "done"
    assert len({name.split("_")[4] for name in lab.leftovers() if name.startswith("__mend_")}) == 1
    record_fault("kill -9 of the module under ansible-playbook", rounds=1, held="UNKNOWN; the next run restores")


def test_kill_of_ansible_leaves_a_module_that_ends_by_itself(lab, backups, play, tmp_path, record_fault):
    fill(lab)
    before = content(lab)
    target = lab.plan(path=backups["real"])["plan"]["target"]["id"]
    running = play(mongo_restore_confirm=target)
    pid = module_pid(tmp_path / "progress", lab)
    running.kill()
    wait_until_gone(pid)
    running.communicate(timeout=60)
    seen = content(lab)
    restored = seen != before
    if restored:
        assert lab.database["orders"].count_documents({}) == 9000
        assert lab.undo()["state"] == "done"
        assert content(lab) == before
    assert not lab.locked()
    lab.expire_lock()
    assert lab.restore(path=backups["real"])["state"] == "done"
    held = "the module went on to the end" if restored else "nothing changed"
    record_fault("kill -9 of ansible-playbook", rounds=1, held=held)
