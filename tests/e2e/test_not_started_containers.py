"""Containers in which a module cannot start, or does not end: what is said of each, and what was done."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading

import pytest
import yaml
from gate_lab import Gate, trial

from containers_lab import BINS, containers_inventory
from docker_lab import BASE, NO_PYTHON, USR
from waiting import until

pytestmark = pytest.mark.e2e
pytest_plugins = ["docker_lab", "containers_lab"]
API = "community.docker.docker_api"
# root without the rights to open what belongs to others
PLAIN_ROOT = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.fixture
def gate(tmp_path, short_folder, docker_engine):
    gate = Gate(BINS, tmp_path, short_folder)
    gate.inventory = containers_inventory(tmp_path, docker_engine)
    return gate


def add_hosts(gate, **hosts):
    """Hosts of the group broken that no engine lists: ``name={"variable": value}``."""
    entries = {name: {"ansible_connection": API, **variables} for name, variables in hosts.items()}
    (gate.inventory / "more.yml").write_text(yaml.safe_dump({"broken": {"hosts": entries}}))


def test_each_container_that_does_not_work_says_why(gate, containers, docker_engine, collections, tmp_path):
    containers("fine", "broken")
    containers("without-python", "broken", image=NO_PYTHON)
    containers("sealed", "broken", options=["--read-only", "--user=12345", "--ipc=none"])
    containers("stopped", "broken", "true")
    containers("paused", "broken")
    docker_engine.cli("wait", "stopped")
    docker_engine.cli("pause", "paused")
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    (gone, absent, denied) = (
        {"ansible_host": "gone", "ansible_docker_docker_host": docker_host}
        for docker_host in (docker_engine.docker_host, f"unix://{tmp_path}/none.sock", f"unix://{closed}/docker.sock")
    )
    add_hosts(gate, gone=gone, absent=absent, denied=denied)
    look = [{"name": "look", "mend_look": {"folder": "/"}}]
    seen = gate.play(look, hosts="broken", env=collections, prefix=PLAIN_ROOT)
    words = {host: result.get("msg", "") for (_, host), result in seen.by_host.items()}
    assert "etc" in seen.by_host["look", "fine"]["there"], seen.output
    wanted = {
        # where, unless the engine has lost the shell's words
        "without-python": "the module could not start: there is no Python "
        + ("at /usr/bin/python3" if "at /usr/bin/python3" in words["without-python"] else "where ansible looks for it"),
        "sealed": "the module could not start: no folder for temporary files can be written by this user",
        "stopped": "container stopped is stopped: docker start stopped",
        "paused": "container paused is paused: docker unpause paused",
        "gone": "there is no container gone any more: it was removed or replaced after the inventory was read",
        "absent": "no Docker engine answers at the address that the inventory gives",
        "denied": "this user may not talk to the Docker engine",
    }
    assert {host: words[host] for host, said in wanted.items() if said not in words[host]} == {}, seen.output
    unreachable = {event["host"] for event in seen.events("unreachable")}
    assert unreachable == {"stopped", "paused", "gone", "absent", "denied"}
    assert seen.by_host["look", "sealed"]["state"] == "failed (nothing changed)"


def between_plan_and_act(docker_engine, *commands: str) -> dict[str, str]:
    """Variables that let these docker commands happen when the plan is made and nothing has begun."""
    docker = f"env DOCKER_HOST={docker_engine.docker_host} PATH={docker_engine.environment['PATH']} docker"
    script = " && ".join(f"{docker} {command} >/dev/null" for command in commands)
    # the gate reads the hold then
    return {"mend_hold": "{{ lookup('ansible.builtin.pipe', '" + script + " && echo false') }}"}


def test_a_container_that_goes_before_anything_was_done_is_not_called_unknown(
    gate, containers, docker_engine, collections
):
    containers("going", "broken")
    variables = between_plan_and_act(docker_engine, "rm --force going")
    task = trial("act", "/tmp", task_vars=variables, task_ignore_errors=True)
    seen = gate.play([task], hosts="broken", env=collections)
    result = seen.results["act"]
    assert (result["state"], result["changed"]) == ("failed (nothing changed)", False), seen.output
    assert "there is no container going any more" in result["msg"]
    assert [event["state"] for event in seen.events("end")] == ["failed (nothing changed)"]


def test_a_container_that_is_replaced_while_a_module_works_in_it_leaves_the_outcome_unknown(
    gate, containers, docker_engine, collections
):
    containers("changing", "broken")
    docker_engine.cli("exec", "changing", "mkdir", "/srv")
    path = gate.playbook([trial("act", "/srv", pause=3600)], hosts="broken")
    results = gate.folder / "results.jsonl"
    command = [str(BINS / "ansible-playbook"), str(path), "-i", str(gate.inventory)]
    with replaced_after_the_first_file(docker_engine, "changing"):
        done = subprocess.run(
            command, env=gate.environment(results, **collections), capture_output=True, text=True, timeout=240
        )
    seen = gate.seen(done.returncode, done.stdout, results)
    result = seen.results["act"]
    assert (result["state"], result["mend"]["reason"]) == ("UNKNOWN", "unknown"), seen.output
    # the engine tells how it ended, or no longer knows of it
    words = ("the module was killed while it was at work", "the container was removed or replaced while the module was")
    assert any(said in result["msg"] for said in words), result["msg"]
    assert [event["state"] for event in seen.events("end")] == ["UNKNOWN"]
    assert docker_engine.attempt("exec", "changing", "ls", "/srv").returncode != 0, "its successor is as it was"


@contextlib.contextmanager
def replaced_after_the_first_file(engine, name):
    def replace() -> None:
        until(lambda: engine.attempt("exec", name, "test", "-e", "/srv/one").returncode == 0, "the module works")
        engine.cli("rm", "--force", name)
        engine.cli("run", "--detach", "--name", name, *USR, BASE)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_read_only_container_has_room_for_the_module_and_none_for_its_change(gate, containers, collections):
    containers("read-only", "broken", options=["--read-only"])
    tasks = [
        {"name": "look", "mend_look": {"folder": "/"}},
        trial("act", "/etc", task_ignore_errors=True),
    ]
    seen = gate.play(tasks, hosts="broken", env=collections)
    assert "etc" in seen.results["look"]["there"], seen.output
    assert "Read-only file system" in seen.results["act"]["msg"], json.dumps(seen.results["act"])
    assert seen.results["act"]["state"] == "failed (nothing changed)"
