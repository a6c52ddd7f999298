"""Real servers, clients that are independent of ours, and bare `ansible-playbook` against them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pymongo
import pytest
import yaml
from botocore.config import Config

import mendbook.sandbox
import restore_lab
from local_inventory import local_inventory
from mendbook.sandbox import Sandbox
from restore_lab import RESTORED, Lab, archive_of

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """MongoDB and S3, one sandbox per worker; a test that breaks a server adds its own with `sandbox.add(...)`."""
    with mendbook.sandbox.start(("mongo", "s3")) as box:
        yield box


@pytest.fixture(scope="session")
def mongo_client(sandbox: Sandbox) -> Iterator[pymongo.MongoClient]:
    """The administrator's client."""
    with pymongo.MongoClient(sandbox.status()["mongo"]["uri"]) as client:
        yield client


@pytest.fixture
def database(mongo_client: pymongo.MongoClient) -> Iterator[Any]:
    """An empty database with a name of its own, dropped at the end."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    yield mongo_client[name]
    mongo_client.drop_database(name)


@pytest.fixture(scope="session")
def s3_client(sandbox: Sandbox) -> Any:
    """A boto3 client with the sandbox's keys; its bucket is `sandbox.status()["s3"]["bucket"]`."""
    facts = sandbox.status()["s3"]
    return boto3.client(
        "s3",
        endpoint_url=facts["endpoint_url"],
        aws_access_key_id=facts["access_key"],
        aws_secret_access_key=facts["secret_key"],
        region_name=facts["region"],
        config=Config(s3={"addressing_style": "path"}, connect_timeout=60, read_timeout=60),
    )


@pytest.fixture
def lab(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """One database of the sandbox with live data, and restore_mongo's module in this process."""
    with restore_lab.scratch(sandbox.status()["mongo"]["uri"], monkeypatch) as lab:
        yield lab


@pytest.fixture
def backup(tmp_path: Path) -> str:
    """The path of an archive that holds `restore_lab.RESTORED`."""
    path = tmp_path / "estore.archive"
    path.write_bytes(archive_of("estore", RESTORED))
    return str(path)


@dataclass
class Played:
    """What an ansible-playbook left: exit code, output, and one entry per host and task, in order.

    An entry is `{host, task, module, status: ok|failed|ignored|skipped|unreachable, result}`.
    """

    rc: int
    stdout: str
    stderr: str
    results: list[dict[str, Any]]
    state: Path

    def of(self, module: str) -> list[dict[str, Any]]:
        """The results of every task that used this module."""
        return [entry["result"] for entry in self.results if entry["module"].split(".")[-1] == module]

    def failed(self) -> list[dict[str, Any]]:
        """The results of the tasks that failed and were not ignored."""
        return [entry["result"] for entry in self.results if entry["status"] == "failed"]

    def journal(self) -> list[dict[str, Any]]:
        """Every journal line of the state folder, run by run."""
        files = sorted((self.state / "journal").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The MENDBOOK_STATE of this test's runs."""
    return tmp_path / "state"


@pytest.fixture
def sandbox_secrets(sandbox: Sandbox) -> dict[str, str]:
    """The environment that the inventory's `env:NAME` values are read from."""
    facts = sandbox.status()
    return {
        "SANDBOX_MONGO_URI": facts["mongo"]["uri"],
        "SANDBOX_S3_ACCESS_KEY": facts["s3"]["access_key"],
        "SANDBOX_S3_SECRET_KEY": facts["s3"]["secret_key"],
    }


@pytest.fixture
def inventory(sandbox: Sandbox, tmp_path: Path) -> Path:
    """One host `estore` in the groups mongo and s3, without secrets in the file."""
    facts = sandbox.status()["s3"]
    return local_inventory(
        tmp_path / "inventory.yml",
        "estore",
        "mongo",
        "s3",
        mongo_uri="env:SANDBOX_MONGO_URI",
        s3_endpoint_url=facts["endpoint_url"],
        s3_region=facts["region"],
        s3_path_style=True,
        s3_access_key="env:SANDBOX_S3_ACCESS_KEY",
        s3_secret_key="env:SANDBOX_S3_SECRET_KEY",
        s3_bucket=facts["bucket"],
    )


@pytest.fixture
def playbook(
    inventory: Path, state: Path, sandbox_secrets: dict[str, str], tmp_path: Path, short_folder: Path
) -> Callable[..., Played]:
    """Run bare ansible-playbook: `playbook("restore_mongo", "--check", variables={...})` -> Played.

    The first argument is a name in playbooks/, a path, or the plays themselves as a list of dicts.
    """
    runs = 0

    def play(
        what: str | Path | list[dict[str, Any]],
        *arguments: str,
        variables: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        program: str | Path | None = None,
        timeout: float = 600,
    ) -> Played:
        nonlocal runs
        runs += 1
        results = tmp_path / f"results-{runs}.jsonl"
        completed = subprocess.run(
            [
                str(program or Path(sys.executable).with_name("ansible-playbook")),
                str(_playbook_path(what, tmp_path / f"play-{runs}.yml")),
                "-i",
                str(inventory),
                *_extra_variables(variables, tmp_path / f"variables-{runs}.json"),
                *arguments,
            ],
            env=playbook_environment(results, state, short_folder) | sandbox_secrets | dict(env or {}),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        lines = results.read_text().splitlines() if results.exists() else []
        return Played(completed.returncode, completed.stdout, completed.stderr, [json.loads(x) for x in lines], state)

    return play


def playbook_environment(results: Path, state: Path, tmp: Path) -> dict[str, str]:
    """The environment of a bare run from another directory, with our callback and the test's beside it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MENDBOOK_", "AWS_"))}
    return kept | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": f"{ROOT / 'plugins/callback'}{os.pathsep}{HERE / 'callback_plugins'}",
        "ANSIBLE_CALLBACKS_ENABLED": "mend_journal,json_lines",
        "ANSIBLE_NOCOLOR": "1",
        "MENDBOOK_STATE": str(state),
        "MENDBOOK_TEST_RESULTS": str(results),
        "TMPDIR": str(tmp),
    }


def _playbook_path(what: str | Path | list[dict[str, Any]], written: Path) -> Path:
    if isinstance(what, list):
        written.write_text(yaml.safe_dump(what, sort_keys=False))
        return written
    named = ROOT / "playbooks" / f"{what}.yml"
    return named if named.exists() else Path(what)


def _extra_variables(variables: Mapping[str, Any] | None, written: Path) -> list[str]:
    if not variables:
        return []
    written.write_text(json.dumps(variables))
    return ["-e", f"@{written}"]
