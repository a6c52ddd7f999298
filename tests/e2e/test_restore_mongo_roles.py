"""restore_mongo with exactly the least roles, and what it says when one is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pymongo
import pytest

import restore_lab
from mendbook.sandbox import Sandbox
from mendbook.sandbox.services.mongo import Service
from restore_lab import Lab, RealDump, live_data, unchanged

pytestmark = pytest.mark.e2e

PASSWORD = "canary-least"  # noqa: S105 (a server on loopback)
WHOLE = ("backup", "restore")
OF_DATABASE = ("readWrite", "dbAdmin")


@pytest.fixture(scope="module")
def standalone(sandbox: Sandbox) -> Iterator[Service]:
    service = Service(name="standalone", replica_set=None)
    sandbox.add(service)
    yield service
    sandbox.remove("standalone")


@pytest.fixture(params=["replica set", "standalone"])
def server_uri(request: pytest.FixtureRequest, sandbox: Sandbox) -> str:
    """The administrator's connection string of each kind of deployment."""
    if request.param == "standalone":
        return request.getfixturevalue("standalone").uri
    return sandbox.status()["mongo"]["uri"]


@pytest.fixture
def lab_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Lab]]:
    """Give a Lab whose modules log in with these roles, while the test looks on as the administrator."""
    restore_lab.quick_writers(monkeypatch)
    made: list[tuple[pymongo.MongoClient[Any], str]] = []

    def lab_with(uri: str, *roles: str) -> Lab:
        client: pymongo.MongoClient[Any] = pymongo.MongoClient(uri)
        name = f"estore_{uuid4().hex[:8]}"
        made.append((client, name))
        granted = [{"role": role, "db": "admin" if role in WHOLE else name} for role in roles]
        client.admin.command("createUser", name, pwd=PASSWORD, roles=granted)
        hosts = uri.rpartition("@")[2]
        lab = Lab(f"mongodb://{name}:{PASSWORD}@{hosts}", client, name)
        live_data(lab.database)
        return lab

    yield lab_with
    for client, name in made:
        client.drop_database(name)
        client.admin.command("dropUser", name)
        client.close()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("real") / "estore.archive"
    path.write_bytes(RealDump().cut(8))
    return str(path)


def restore_again_and_undo(lab: Lab, **options: Any) -> None:
    """The whole life of a restore; every step must be allowed."""
    before = lab.picture()
    result = lab.restore(**options)
    assert (result["state"], result["rc"]) == ("done", 0), result.get("msg")
    assert lab.database["orders"].count_documents({}) == 8
    (ttl,) = [one for one in lab.database["sessions"].list_indexes() if one["name"] == "session_ttl"]
    assert ttl["expireAfterSeconds"] == 0, "its TTL still sleeps"
    assert lab.restore(**options)["state"] == "nothing to do"
    assert lab.undo()["state"] == "done"
    after = lab.picture()
    assert {name: seen for name, seen in after.items() if "metrics" not in name} == before
    assert lab.restore(**options)["state"] == "done"
    assert lab.undo("drop")["state"] == "done"
    assert [name for name in lab.leftovers() if not name.startswith("__mend_m_")] == []
    assert not lab.locked()


def test_backup_and_restore_are_enough_for_everything(lab_of, server_uri, real):
    restore_again_and_undo(lab_of(server_uri, *WHOLE), path=real)


def test_readwrite_and_dbadmin_of_the_database_are_enough_without_time_series(lab_of, server_uri, real):
    restore_again_and_undo(lab_of(server_uri, *OF_DATABASE), path=real, exclude=["metrics"])


def test_a_live_time_series_that_is_not_restored_needs_no_more_rights(lab_of, server_uri, real):
    lab = lab_of(server_uri, *OF_DATABASE)
    lab.database.create_collection("metrics", timeseries={"timeField": "at"})
    lab.database["metrics"].insert_one({"at": datetime.now(UTC)})
    result = lab.restore(path=real, exclude=["metrics"])
    assert (result["state"], result["rc"]) == ("done", 0), result.get("msg")
    assert lab.database["metrics"].count_documents({}) == 1


def test_a_failed_restore_cleans_up_with_the_least_roles(lab_of, server_uri, tmp_path):
    lab = lab_of(server_uri, *WHOLE)
    path = tmp_path / "twice.archive"
    path.write_bytes(restore_lab.archive_of("estore", {"orders": [{"_id": 1}, {"_id": 1}]}))
    with unchanged(lab):
        result = lab.restore(path=str(path))
    assert (result["rc"], result["mend"]["rule"]) == (1, "mongo_duplicate")


@pytest.mark.parametrize(
    ("roles", "named"),
    [
        ((), "backup and restore on admin"),
        (("read",), "readWrite and dbAdmin on"),
        (("readWrite",), "bypassDocumentValidation"),
        (("dbAdmin",), "find"),
        (("backup",), "insert"),
        (("restore",), "find"),
    ],
)
def test_a_missing_privilege_is_named_before_anything_is_written(lab_of, sandbox, real, roles, named):
    lab = lab_of(sandbox.status()["mongo"]["uri"], *roles)
    before = lab.everything()
    planned = lab.plan(path=real, exclude=["metrics"])
    assert lab.everything() == before
    refused = (planned["plan"] or {}).get("refusals") or []
    # who may not even look gets no plan, and is told the same in an error
    assert refused or (planned["rc"], planned["state"], planned["mend"]["rule"]) == (1, "refused", "privileges")
    said = " ".join(str(one) for one in refused) + planned.get("msg", "")
    assert named in said and "grantRolesToUser" in said and "backup and restore on admin" in said, said
    assert {one["rule"] for one in refused} <= {"privileges"}
    assert PASSWORD not in said
    if refused:
        with unchanged(lab):
            acted = lab.act(planned, path=real, exclude=["metrics"])
        assert acted["rc"] == 1 and not acted["changed"]


def test_a_time_series_needs_more_than_the_roles_of_its_database(lab_of, sandbox, real):
    lab = lab_of(sandbox.status()["mongo"]["uri"], *OF_DATABASE)
    with unchanged(lab):
        result = lab.restore(path=real)
    assert (result["state"], result["mend"]["rule"]) == ("refused", "privileges")
    assert "time-series" in result["msg"] and "backup and restore on admin" in result["msg"]


def test_the_playbook_restores_with_the_least_roles(lab_of, playbook, sandbox, real):
    lab = lab_of(sandbox.status()["mongo"]["uri"], *WHOLE)
    variables = {
        "mongo_restore_database": lab.database.name,
        "mongo_restore_source_database": "estore",
        "mongo_restore_path": real,
        "mongo_restore_confirm": lab.plan(path=real)["plan"]["target"]["id"],
    }
    played = playbook("restore_mongo", variables=variables, env={"SANDBOX_MONGO_URI": lab.uri})
    assert played.rc == 0, played.stdout
    assert played.of("mend_mongo_restore")[0]["state"] == "done"
    assert lab.database["users"].count_documents({}) == 8
    assert PASSWORD not in played.stdout
