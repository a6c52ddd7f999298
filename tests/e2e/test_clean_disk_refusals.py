"""clean_disk on this machine itself, by the playbook: what cannot be meant is refused, and what is meant goes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from local_inventory import local_inventory
from requirement import missing

pytestmark = pytest.mark.e2e
pytest_plugins = ["disk_lab"]
MODULE = "mend_disk_reclaim"
# locks of its own, for beside this test there may be another one
ALONE = """#!/bin/sh
exec unshare --mount sh -c 'mount -t tmpfs none /run && mount -t tmpfs none /dev/shm && exec "$@"' sh {program} "$@"
"""


@pytest.fixture
def sandbox_secrets() -> dict[str, str]:
    return {}


@pytest.fixture
def inventory(tmp_path) -> Path:
    return local_inventory(tmp_path / "inventory.yml", "here", "hosts", disk_clean_become=False)


@pytest.fixture
def alone(tmp_path) -> Path:
    """ansible-playbook with a /run of its own."""
    if os.geteuid():
        missing("only root can give a program a /run of its own")
    path = tmp_path / "ansible-playbook"
    path.write_text(ALONE.format(program=Path(sys.executable).with_name("ansible-playbook")))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("variables", "reason", "rule"),
    [
        ({"disk_clean_rules": [{"root": "/", "patterns": ["*.log"]}]}, "refused", "root"),
        ({"disk_clean_rules": []}, "nothing", "rules"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_rule(playbook, variables, reason, rule):
    played = playbook("clean_disk", variables=variables)
    (result,) = played.of(MODULE)
    assert played.rc != 0 and (result["mend"]["reason"], result["mend"]["rule"]) == (reason, rule), result
    assert not [line for line in played.journal() if line["event"] == "begin"]


def test_a_field_that_no_rule_has_is_refused(playbook):
    played = playbook("clean_disk", variables={"disk_clean_rules": [{"root": "/var/log", "pattern": "*.log"}]})
    (result,) = played.of(MODULE)
    assert played.rc != 0 and not result["changed"] and "pattern" in result["msg"]


def test_on_this_machine_old_logs_go_and_a_hold_keeps_them(playbook, disk, alone):
    for number in range(3):
        disk.file(f"f{number}.log")
    disk.file("young.log", days=1)
    rules = {"disk_clean_rules": [disk.rule()], "disk_clean_allowed_roots": [str(disk.root)]}
    played = playbook("clean_disk", variables={**rules, "mend_hold": True}, program=alone)
    assert played.of(MODULE)[0]["mend"]["rule"] == "hold" and len(disk.names()) == 4
    played = playbook("clean_disk", variables=rules, program=alone)
    (result,) = played.of(MODULE)
    assert (played.rc, result["state"]) == (0, "done"), played.stdout + played.stderr
    assert disk.names() == ["young.log"] and "free_before_bytes" in str(result["read_back"])
