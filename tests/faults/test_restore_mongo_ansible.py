"""restore_mongo under bare ansible-playbook when one of the two processes is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from s3_proxy import Fault

from local_inventory import local_inventory
from mendbook import processes
from restore_child import content, fill
from restore_lab import Lab
from waiting import until

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def gate(store: Any, backups: dict[str, str]) -> Iterator[Any]:
    """Lets the bytes of the backup `gate.key` pass once it is set; a run that only plans has them all the same."""
    gate = threading.Event()
    gate.key = f"{uuid4().hex}.archive"  # type: ignore[attr-defined]
    store.put(gate.key, Path(backups["long"]).read_bytes())

    def close() -> None:
        store.proxy.faults = [Fault(f"GET .*{gate.key} bytes=", before=lambda: gate.wait(60) and None)]

    # who acts says first that it reads the backup
    store.proxy.faults = [Fault("PUT .*[.]inuse[.]", before=close)]
    yield gate
    gate.set()
    store.proxy.reset()


@pytest.fixture
def play(lab: Lab, store: Any, gate: Any, tmp_path: Path, short_folder: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start bare ansible-playbook on restore_mongo with a backup that is loaded when the gate is open."""
    local_inventory(tmp_path / "inventory.yml", "estore", "mongo", mongo_uri="env:LAB_MONGO_URI")
    (tmp_path / "progress").mkdir()

    def start(**variables: Any) -> subprocess.Popen[str]:
        chosen = {
            "mongo_restore_database": lab.database.name,
            "mongo_restore_source_database": "estore",
            "mongo_restore_bucket": store.bucket,
            "mongo_restore_key": gate.key,
            "mongo_restore_max_age_seconds": 10**9,
            **{f"mongo_restore_{name}": value for name, value in store.params.items()},
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
                "TMPDIR": str(short_folder),
            },
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def module_pid(folder: Path, lab: Lab) -> int:
    """The process of the module, once it loads."""
    until(lambda: any("_n_" in name for name in lab.leftovers()))
    (line, *_) = until(lambda: [line for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()])
    return json.loads(line)["pid"]


def test_kill_of_the_module_under_ansible_is_not_called_a_success(lab, backups, play, tmp_path, record_fault):
    fill(lab)
    before = content(lab)
    target = lab.plan(path=backups["real"])["plan"]["target"]["id"]
    running = play(mongo_restore_confirm=target)
    os.kill(module_pid(tmp_path / "progress", lab), signal.SIGKILL)
    output = running.communicate(timeout=120)[0]
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


def test_kill_of_ansible_leaves_a_module_that_ends_by_itself(lab, backups, play, gate, tmp_path, record_fault):
    fill(lab)
    before = content(lab)
    target = lab.plan(path=backups["real"])["plan"]["target"]["id"]
    running = play(mongo_restore_confirm=target)
    pid = module_pid(tmp_path / "progress", lab)
    running.kill()
    gate.set()
    until(lambda: processes.read(pid) is None)
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
