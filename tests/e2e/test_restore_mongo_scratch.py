"""mongo_restore_scratch: only a server that says of itself that it is scratch is restored without a confirmation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pymongo
import pytest
from ansible.module_utils.mendbook.mongo_scratch import COLLECTION, DATABASE, ID

import restore_lab
from mendbook.sandbox.services.mongo import Service
from restore_lab import RESTORED, Lab, live_data, unchanged

pytestmark = pytest.mark.e2e


def mark(client: pymongo.MongoClient[Any], **fields: Any) -> None:
    client[DATABASE][COLLECTION].replace_one({"_id": ID}, {"_id": ID, **fields}, upsert=True)


@pytest.fixture
def marked(mongo_client) -> Iterator[Callable[..., None]]:
    """Replace the marker of the sandbox's server for one test; None takes it away."""
    collection = mongo_client[DATABASE][COLLECTION]
    before = collection.find_one({"_id": ID})

    def write(members: Any) -> None:
        if members is None:
            collection.delete_one({"_id": ID})
        else:
            mark(mongo_client, members=members)

    yield write
    collection.delete_one({"_id": ID})
    if before:
        collection.insert_one(before)


@pytest.fixture
def hosts(mongo_client) -> list[str]:
    return mongo_client.admin.command("hello")["hosts"]


def test_a_scratch_server_is_restored_without_a_confirmation(lab, playbook, backup, marked, hosts):
    marked(hosts)
    variables = {
        "mongo_restore_database": lab.database.name,
        "mongo_restore_source_database": "estore",
        "mongo_restore_path": backup,
        "mongo_restore_scratch": True,
    }
    with unchanged(lab):
        refused = playbook("restore_mongo", variables={**variables, "mongo_restore_scratch": False})
    assert refused.failed()[0]["mend"]["rule"] == "confirm"
    played = playbook("restore_mongo", variables=variables)
    assert played.rc == 0, played.stdout
    (result,) = played.of("mend_mongo_restore")
    assert (result["state"], result["plan"]["risk"]) == ("done", "changes")
    assert len(lab.documents("orders")) == len(RESTORED["orders"])


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (None, "does not say that it is scratch"),
        (["db1.example.com:27017"], "made for another server"),
        ([], "made for another server"),
        ("127.0.0.1", "made for another server"),
    ],
)
def test_a_server_that_does_not_say_so_is_refused(lab, backup, marked, members, words):
    marked(members)
    with unchanged(lab):
        planned = lab.plan(path=backup, scratch=True)
        assert planned["plan"]["refusals"][0]["rule"] == "scratch"
        result = lab.restore(path=backup, scratch=True)
    assert (result["state"], result["mend"]["rule"]) == ("refused", "scratch")
    assert words in result["msg"] and "docs/restore_mongo.md" in result["msg"]


def test_the_playbook_refuses_even_when_the_target_is_confirmed(lab, playbook, backup, marked, hosts):
    marked([*hosts, "db2.example.com:27017"])
    variables = {
        "mongo_restore_database": lab.database.name,
        "mongo_restore_source_database": "estore",
        "mongo_restore_path": backup,
        "mongo_restore_scratch": True,
        "mongo_restore_confirm": lab.plan(path=backup)["plan"]["target"]["id"],
    }
    with unchanged(lab):
        played = playbook("restore_mongo", variables=variables)
    assert played.rc == 2
    assert (played.failed()[0]["mend"]["reason"], played.failed()[0]["mend"]["rule"]) == ("refused", "scratch")


def test_a_marker_that_goes_between_plan_and_lock_is_missed(lab, backup, marked, hosts):
    marked(hosts)
    planned = lab.plan(path=backup, scratch=True)
    assert planned["plan"]["refusals"] == []
    marked(None)
    with unchanged(lab):
        result = lab.act(planned, path=backup, scratch=True)
    assert (result["state"], result["mend"]["rule"]) == ("refused", "scratch")


def test_the_marker_is_never_restored(lab, backup, marked, hosts, mongo_client):
    marked(hosts)
    before = mongo_client[DATABASE][COLLECTION].find_one()
    for scratch in (True, False):
        result = lab.plan(path=backup, database=DATABASE, scratch=scratch)
        assert (result["state"], result["mend"]["rule"]) == ("refused", "scratch")
    assert mongo_client[DATABASE][COLLECTION].find_one() == before


def test_who_may_not_read_the_marker_is_told_which_role(lab, backup, marked, hosts, mongo_client):
    marked(hosts)
    name = lab.database.name
    roles = [{"role": role, "db": name} for role in ("readWrite", "dbAdmin")]
    mongo_client.admin.command("createUser", name, pwd="canary", roles=roles)
    try:
        uri = f"mongodb://{name}:canary@{hosts[0]}/"
        planned = lab.plan(path=backup, scratch=True, uri=uri)
    finally:
        mongo_client.admin.command("dropUser", name)
    (refused,) = planned["plan"]["refusals"]
    assert (refused["rule"], refused["override"]) == ("scratch", "grant the role backup on admin")


def test_a_standalone_is_known_by_the_host_that_it_calls_its_own(sandbox, backup, monkeypatch):
    restore_lab.quick_writers(monkeypatch)
    service = Service(name="scratch", replica_set=None)
    sandbox.add(service)
    try:
        with pymongo.MongoClient(service.uri) as client:
            lab = Lab(service.uri, client, "estore")
            live_data(lab.database)
            mark(client, members=["127.0.0.1:1"])
            assert lab.restore(path=backup, scratch=True)["mend"]["rule"] == "scratch"
            mark(client, members=[client.admin.command("serverStatus")["host"]])
            result = lab.restore(path=backup, scratch=True)
            assert (result["state"], result["plan"]["risk"]) == ("done", "changes")
    finally:
        sandbox.remove("scratch")
