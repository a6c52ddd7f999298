"""The main job from an installed wheel, where there is no checkout: through the wrapper and through bare ansible."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pymongo
import pytest
from pymongo.database import Database

from dump_writer import archive, made

pytestmark = pytest.mark.e2e


@pytest.fixture
def wheeldb(mongo_client: pymongo.MongoClient) -> Iterator[Database]:
    mongo_client.drop_database("wheeldb")
    mongo_client["wheeldb"]["orders"].insert_one({"_id": "live"})
    yield mongo_client["wheeldb"]
    mongo_client.drop_database("wheeldb")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with a backup in it."""
    (tmp_path / "wheeldb.archive").write_bytes(archive({("wheeldb", "orders"): made(30)}))
    return tmp_path


@pytest.fixture
def bare(installed_wheel: Path, sandbox_secrets: Mapping[str, str], state: Path) -> dict[str, str]:
    """An environment in which nothing leads back to the checkout."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **sandbox_secrets, "MENDBOOK_STATE": str(state), "PATH": f"{installed_wheel}:/usr/bin:/bin"}


def variables(database: Database, folder: Path) -> list[str]:
    host, port = database.client.address
    return [
        "-e", "mongo_restore_database=wheeldb",
        "-e", f"mongo_restore_path={folder / 'wheeldb.archive'}",
        "-e", f"mongo_restore_confirm=rs0@{host}:{port}/wheeldb",
    ]  # fmt: skip


def run(*command: str, folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_wrapper_restores(wheeldb, folder, bare, inventory) -> None:
    run(
        "mendbook",
        "run",
        "restore_mongo",
        "-i",
        str(inventory),
        *variables(wheeldb, folder),
        folder=folder,
        environment=bare,
    )
    assert wheeldb["orders"].count_documents({}) == 30


def test_bare_ansible_restores_with_the_installed_content(wheeldb, folder, bare, inventory) -> None:
    content = run("mendbook", "path", folder=folder, environment=bare).strip()
    run(
        "ansible-playbook", f"{content}/playbooks/restore_mongo.yml", "-i", str(inventory), *variables(wheeldb, folder),
        folder=folder, environment={**bare, "ANSIBLE_CONFIG": f"{content}/ansible.cfg"},
    )  # fmt: skip
    assert wheeldb["orders"].count_documents({}) == 30
    assert wheeldb["orders"].find_one({"_id": "live"}) is None
