"""`mendbook preflight` for services that are reached from here: their addresses, the interpreter, the drivers."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
import yaml

from local_inventory import local_inventory
from preflight_lab import preflight

pytestmark = pytest.mark.e2e
EXAMPLE = Path(__file__).resolve().parents[2] / "inventory" / "example"


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed():
    """A port that nothing listens on: taken, and not listened to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_every_address_of_a_connection_string_is_tried_and_nothing_else_of_it_is_told(tmp_path, listening, closed):
    inventory = local_inventory(tmp_path / "inventory.yml", "estore", "mongo", mongo_uri="env:ESTORE_URI")
    uri = f"mongodb://anna:hunter2@127.0.0.1:{listening},127.0.0.1:{closed}/?replicaSet=rs0"
    done = preflight("-i", inventory, "--json", ESTORE_URI=uri)
    assert (done.code, done.found("estore")) == (4, [("unreachable", "endpoint")])
    assert f"nothing listens on port {closed}" in done.words("estore")
    assert not {"hunter2", "anna"} & set(done.stdout.replace('"', " ").replace(":", " ").split())
    assert "hunter2" not in done.stdout
    drivers = done.hosts["estore"]["facts"]["drivers"]
    assert {name for name, driver in drivers.items() if driver["state"] == "found"} >= {"pymongo", "boto3"}


@pytest.mark.parametrize("via", ["", False, None])
def test_a_service_that_answers_is_fine(tmp_path, listening, via):
    uri = f"postgresql://anna:hunter2@127.0.0.1:{listening}/shop"
    inventory = local_inventory(tmp_path / "inventory.yml", "shop", "postgres", postgres_uri=uri, mend_via=via)
    done = preflight("-i", inventory)
    assert (done.code, done.stderr) == (0, "")
    assert "1 of 1 hosts are fine" in done.stdout and "hunter2" not in done.stdout


def test_what_cannot_be_known_is_said_not_to_be_checked():
    done = preflight("-i", EXAMPLE, "--limit", "estore", "--json")
    assert done.code == 0
    assert done.found("estore") == [("not checked", "endpoint")]
    assert "MONGO_URI is not set here" in done.words("estore")


def test_an_interpreter_without_the_drivers_is_told_from_one_that_is_not_there(tmp_path):
    bare = tmp_path / "python"
    # the real probe, in a Python that finds nothing that was installed
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    inventory = local_inventory(tmp_path / "inventory.yml", "estore", "s3", "mongo")
    tree = yaml.safe_load(inventory.read_text())
    text = inventory.read_text()
    assert "ansible_playbook_python" in text, tree
    inventory.write_text(text.replace("{{ ansible_playbook_python }}", str(bare)))
    done = preflight("-i", inventory, "--json")
    assert done.code == 2
    assert f"{bare} has no pymongo" in done.words("estore") and f"{bare} has no boto3" in done.words("estore")
    inventory.write_text(text.replace("{{ ansible_playbook_python }}", "/opt/none/python"))
    assert "no Python: /opt/none/python" in preflight("-i", inventory, "--json").words("estore")


def test_a_procedure_chooses_its_hosts_and_what_they_need(tmp_path):
    done = preflight("-i", EXAMPLE, "kill_idle_postgres", "--json")
    assert list(done.hosts) == ["shop"]
    assert list(done.hosts["shop"]["facts"]["drivers"]) == ["psycopg"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-i", EXAMPLE, "--limit", "nobody"], 7, "no host of the inventory matched"),
        (["-i", "localhost,", "kill_idle_postgres"], 7, "no host of the inventory matched"),
        (["-i", __file__], 64, "the inventory cannot be read"),
    ],
)
def test_a_request_that_cannot_be_done_ends_with_its_code(arguments, code, words):
    done = preflight(*arguments)
    assert (done.code, done.stdout) == (code, "")
    assert words in done.stderr
