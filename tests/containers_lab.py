"""Real containers as Ansible's hosts, by the inventory that mendbook ships; a plugin of the tests of containers."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from docker_lab import BASE, DockerEngine
from requirement import missing

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "inventory" / "containers"
DEFAULT_ENGINE = "docker_host: unix:///var/run/docker.sock"
BINS = Path(sys.executable).parent


@pytest.fixture(scope="session")
def collections() -> dict[str, str]:
    """The environment in which ansible finds community.docker."""
    folder = ROOT / ".venv-collections"
    if not (folder / "ansible_collections" / "community" / "docker").is_dir():
        missing("no community.docker: tools/environments.sh collections gets it")
    return {"ANSIBLE_COLLECTIONS_PATH": str(folder)}


def containers_inventory(folder: Path, engine: DockerEngine) -> Path:
    """A copy of inventory/containers that names this engine, as its page says."""
    copy = shutil.copytree(SHIPPED, folder / "containers")
    file = copy / "docker.yml"
    assert DEFAULT_ENGINE in file.read_text()
    file.write_text(file.read_text().replace(DEFAULT_ENGINE, f"docker_host: {engine.docker_host}"))
    return copy


@pytest.fixture
def containers(docker_engine: DockerEngine) -> Iterator[Callable[..., str]]:
    """``containers("web", "hosts")`` starts one in that group of the inventory; all are removed after the test."""
    names: list[str] = []

    def start(name: str, group: str | None, *command: str, image: str = BASE, options: Sequence[str] = ()) -> str:
        names.append(name)
        labels = {} if group is None else {"mendbook.group": group}
        return docker_engine.run(name, image, *command, labels=labels, options=options)

    yield start
    docker_engine.attempt("rm", "--force", "--volumes", *names)
