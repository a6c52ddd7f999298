"""inventory/containers with a real engine: procedures in containers, seen by testinfra over docker://."""

from __future__ import annotations

import json
import subprocess

import pytest
import testinfra
from gate_lab import CONTENT

from containers_lab import BINS, DEFAULT_ENGINE, SHIPPED, containers_inventory

pytestmark = pytest.mark.e2e
pytest_plugins = ["docker_lab", "containers_lab"]


@pytest.fixture
def inventory(tmp_path, docker_engine):
    return containers_inventory(tmp_path, docker_engine)


@pytest.fixture
def sandbox_secrets():
    return {}


@pytest.fixture
def seen(docker_engine, monkeypatch):
    """``seen("web")`` is a container as testinfra sees it."""
    monkeypatch.setenv("DOCKER_HOST", docker_engine.docker_host)
    # a client that fits the engine
    monkeypatch.setenv("PATH", docker_engine.environment["PATH"])
    return lambda name: testinfra.get_host(f"docker://{name}")


def listed(inventory, collections) -> dict:
    command = [str(BINS / "ansible-inventory"), "-i", str(inventory), "--list"]
    environment = collections | {"PATH": "/usr/bin", "HOME": str(inventory.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_containers_are_in_the_groups_that_their_labels_name(containers, docker_engine, inventory, collections):
    containers("web", "hosts"), containers("web2", "hosts"), containers("ci", "docker")
    containers("empty", ""), containers("unlabelled", None)
    groups = listed(inventory, collections)
    assert sorted(groups["hosts"]["hosts"]) == ["web", "web2"] and groups["docker"]["hosts"] == ["ci"]
    assert sorted(groups["_meta"]["hostvars"]) == ["ci", "web", "web2"]
    web = groups["_meta"]["hostvars"]["web"]
    # texts of an engine are no templates, and ansible marks them so
    assert web["ansible_connection"] == {"__ansible_unsafe": "community.docker.docker_api"}
    assert web["ansible_docker_docker_host"] == docker_engine.docker_host


def test_a_diagnosis_of_every_container(containers, playbook, collections):
    containers("web", "hosts"), containers("web2", "hosts")
    # as strict as a container can be: its root read-only, a user without a name, no sudo
    containers("strict", "hosts", options=["--read-only", "--user=12345"])
    for arguments in (["--check"], []):
        played = playbook("diagnose_disk", *arguments, env=collections)
        assert played.rc == 0, played.stdout + played.stderr
        assert len(played.of("mend_disk_info")) == 3
    assert all(entry["status"] == "ok" for entry in played.results)


def test_a_change_in_a_container_is_planned_made_and_not_made_again(containers, playbook, collections, seen, inventory):
    containers("web", "hosts"), containers("web2", "hosts")
    # become as a host needs it; in a container the engine gives the user
    task = {"name": "Touch", "mend_touch": {"folder": "/srv", "names": ["left"]}, "become": True}
    plays = [{"name": "Trial", "hosts": "hosts", "gather_facts": False, "tasks": [task]}]
    env = collections | {"ANSIBLE_LIBRARY": str(CONTENT / "library")}
    for web in ("web", "web2"):
        seen(web).check_output("mkdir -p /srv")
    checked = playbook(plays, "--check", env=env)
    assert [result["state"] for result in checked.of("mend_touch")] == ["planned"] * 2, checked.stdout
    assert not seen("web").file("/srv/left").exists
    assert [result["state"] for result in playbook(plays, env=env).of("mend_touch")] == ["done"] * 2
    assert seen("web").file("/srv/left").is_file and seen("web2").file("/srv/left").user == "root"
    assert [result["state"] for result in playbook(plays, env=env).of("mend_touch")] == ["nothing to do"] * 2


def test_without_an_engine_nothing_is_run(tmp_path, playbook, collections, inventory):
    file = inventory / "docker.yml"
    file.write_text(file.read_text().replace("docker.sock", "nowhere.sock"))
    played = playbook("diagnose_disk", env=collections)
    assert played.rc != 0 and played.results == []
    assert "Error connecting" in played.stderr


def test_the_shipped_inventory_names_the_usual_engine():
    assert DEFAULT_ENGINE in (SHIPPED / "docker.yml").read_text()
