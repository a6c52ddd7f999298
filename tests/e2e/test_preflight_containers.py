"""`mendbook preflight` behind Ansible's own connections to containers: there, running, with Python, writable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from docker_lab import BASE, NO_PYTHON, DockerEngine
from preflight_lab import Checked, preflight

pytestmark = pytest.mark.e2e
pytest_plugins = ["containers_lab", "docker_lab"]
NAMES = ("good", "bare", "fixed", "roomy", "halted", "paused", "gone")
UNREACHABLE = [("unreachable", "container")]


@pytest.fixture(scope="module")
def faulty(docker_engine) -> Iterator[DockerEngine]:
    """One of each kind, with names that say what is wrong."""
    docker_engine.run("pf-good", BASE)
    docker_engine.run("pf-bare", NO_PYTHON)
    docker_engine.run("pf-fixed", BASE, options=["--read-only", "--user", "1000"])
    docker_engine.run("pf-roomy", BASE, options=["--read-only", "--user", "1000", "--tmpfs", "/tmp"])
    docker_engine.run("pf-halted", BASE)
    docker_engine.cli("stop", "pf-halted")
    docker_engine.run("pf-paused", BASE)
    docker_engine.cli("pause", "pf-paused")
    yield docker_engine
    docker_engine.attempt("rm", "--force", *(f"pf-{name}" for name in NAMES))


def checked(engine: DockerEngine, folder: Path, plugin: str, environment: dict, **variables: object) -> Checked:
    common = {
        "ansible_connection": f"community.docker.{plugin}",
        "ansible_docker_docker_host": engine.docker_host,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_remote_tmp": "/tmp/.ansible/tmp",
    }
    tree = {"hosts": {f"pf-{name}": None for name in NAMES}, "vars": common | variables}
    inventory = folder / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"all": tree}))
    # Debian's client first: another on this machine may be too new for the engine
    environment = environment | {"DOCKER_HOST": engine.docker_host, "PATH": f"/usr/bin:{os.environ['PATH']}"}
    return preflight("-i", inventory, "--json", "--timeout", "60s", **environment)


@pytest.mark.parametrize("plugin", ["docker_api", "docker"])
def test_each_container_says_what_is_wrong_with_it(faulty, collections, tmp_path, plugin):
    done = checked(faulty, tmp_path, plugin, collections)
    assert done.code == 4
    assert done.found("pf-good") == []
    assert done.found("pf-roomy") == [("warning", "read_only")]
    assert done.found("pf-fixed") == [("problem", "read_only")]
    assert "uid 1000 cannot write /tmp" in done.words("pf-fixed")
    assert done.found("pf-bare") == [("problem", "python")]
    words = {"pf-halted": "does not run", "pf-paused": "is paused", "pf-gone": "there is no container of this name"}
    for name, said in words.items():
        assert done.found(name) == UNREACHABLE
        assert said in done.words(name)
    assert faulty.cli("diff", "pf-good") == ""


def test_an_engine_that_does_not_answer_is_not_taken_for_a_container_that_is_gone(faulty, collections, tmp_path):
    done = checked(
        faulty, tmp_path, "docker_api", collections, ansible_docker_docker_host=f"unix://{tmp_path}/none.sock"
    )
    assert done.found("pf-good") == UNREACHABLE
    assert "no Docker engine answers" in done.words("pf-good")
