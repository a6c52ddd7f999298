"""inventory/containers with a real engine: procedures in containers, seen by testinfra over docker://."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
import testinfra

from containers_lab import BINS, DEFAULT_ENGINE, SHIPPED, containers_inventory
from docker_lab import BASE

pytestmark = pytest.mark.e2e
pytest_plugins = ["docker_lab", "docker_ssh_lab", "containers_lab", "ssh_lab"]


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
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
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
    containers("web", "hosts")
    # as strict as a container can be: its root read-only, a user without a name, no sudo
    containers("strict", "hosts", options=["--read-only", "--user=12345"])
    played = playbook("diagnose_disk", env=collections)
    assert played.rc == 0, played.stdout + played.stderr
    assert [result["target"]["kind"] for result in played.of("mend_disk_info")] == ["container"] * 2


def test_a_change_in_a_container_is_planned_made_and_not_made_again(containers, playbook, collections, seen):
    containers("web", "hosts")
    web = seen("web")
    web.check_output("mkdir /var/log && touch -d '90 days ago' /var/log/old.log && touch /var/log/new.log")
    (planned,) = playbook("clean_disk", "--check", env=collections).of("mend_disk_reclaim")
    assert (planned["state"], planned["plan"]["target"]["kind"]) == ("planned", "container"), planned
    assert web.file("/var/log/old.log").exists
    # the role wants become, as hosts do; in a container the engine gives the user
    (cleaned,) = playbook("clean_disk", env=collections).of("mend_disk_reclaim")
    assert cleaned["state"] == "done", cleaned
    assert not web.file("/var/log/old.log").exists and web.file("/var/log/new.log").is_file
    (again,) = playbook("clean_disk", env=collections).of("mend_disk_reclaim")
    assert again["state"] == "nothing to do", again


def test_a_container_that_is_replaced_after_the_plan_is_not_cleaned(
    containers, docker_engine, playbook, collections, seen
):
    containers("web", "hosts", options=["--hostname=web"])
    seen("web").check_output("mkdir /var/log && touch -d 2020-01-01 /var/log/old.log")
    docker = f"env DOCKER_HOST={docker_engine.docker_host} PATH={docker_engine.environment['PATH']} docker"
    run = f"{docker} run --detach --name web --hostname web --label mendbook.group=hosts --volume /usr:/usr:ro {BASE}"
    files = 'sh -c "mkdir /var/log && touch -d 2020-01-01 /var/log/old.log"'
    script = f"({docker} rm --force web && {run} && {docker} exec web {files}) >/dev/null && echo false"
    # the gate asks for a hold between the plan and the act
    variables = {"mend_hold": f"{{{{ lookup('ansible.builtin.pipe', {script!r}) }}}}"}
    played = playbook("clean_disk", env=collections, variables=variables)
    (result,) = played.of("mend_disk_reclaim")
    assert result["mend"]["reason"] == "drift", played.stdout
    assert seen("web").file("/var/log/old.log").exists


def test_without_an_engine_nothing_is_run_and_the_cause_stands_first(inventory, tmp_path, collections):
    file = inventory / "docker.yml"
    file.write_text(file.read_text().replace("docker.sock", "nowhere.sock"))
    command = [str(BINS / "mendbook"), "run", "diagnose_disk", "-i", str(inventory)]
    environment = os.environ | collections | {"MENDBOOK_STATE": str(tmp_path / "state")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 64
    assert "mendbook: the inventory cannot be read: no Docker engine answers where it says" in done.stderr


def test_containers_of_an_engine_behind_ssh(containers, engine_by_ssh, inventory, playbook, collections, tmp_path):
    containers("far", "hosts")
    home = tmp_path / "home" / ".ssh"
    home.mkdir(parents=True)
    for name, file in {"config": engine_by_ssh.ssh_config, "known_hosts": engine_by_ssh.known_hosts}.items():
        (home / name).write_text(file.read_text())
    file = inventory / "docker.yml"
    file.write_text(re.sub("docker_host: .*", "docker_host: ssh://root@build1", file.read_text()))
    played = playbook("diagnose_disk", env=collections | {"HOME": str(home.parent)})
    assert played.rc == 0, played.stdout + played.stderr
    assert [result["target"]["kind"] for result in played.of("mend_disk_info")] == ["container"]


def test_the_shipped_inventory_names_the_usual_engine():
    assert DEFAULT_ENGINE in (SHIPPED / "docker.yml").read_text()
