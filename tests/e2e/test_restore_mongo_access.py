"""What comes back only when it is asked for by name: users, roles and system collections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import pymongo
import pytest
from pymongo.database import Database

from dump_writer import archive, made, metadata

pytestmark = pytest.mark.e2e

USERS, ROLES = "$admin.system.users", "$admin.system.roles"


@pytest.fixture
def backup(mongo_client: pymongo.MongoClient, tmp_path: Path) -> Path:
    """An archive with two users and a role as `mongodump --dumpDbUsersAndRoles` leaves them, from a real server."""
    source = mongo_client["accessdb"]
    source.command("createRole", "auditor", privileges=[], roles=["read"])
    source.command("createUser", "shop", pwd="as-in-the-backup", roles=["readWrite"])
    source.command("createUser", "report", pwd="report", roles=["auditor"])
    stored = {
        name: [bson.encode(one) for one in mongo_client.admin[name[7:]].find({"db": "accessdb"})]
        for name in (USERS, ROLES)
    }
    drop_access(source)
    stored |= {"orders": made(20), "system.js": [bson.encode({"_id": "total", "value": bson.Code("function () {}")})]}
    assert "collectionName" in metadata("orders")
    path = tmp_path / "accessdb.archive"
    path.write_bytes(archive({("accessdb", name): documents for name, documents in stored.items()}))
    return path


@pytest.fixture
def accessdb(mongo_client: pymongo.MongoClient) -> Iterator[Database]:
    yield mongo_client["accessdb"]
    drop_access(mongo_client["accessdb"])
    mongo_client.drop_database("accessdb")


def drop_access(database: Database) -> None:
    database.command("dropAllUsersFromDatabase")
    database.command("dropAllRolesFromDatabase")


def names(database: Database) -> tuple[set[str], set[str]]:
    users = database.command("usersInfo")["users"]
    return {user["user"] for user in users}, {role["role"] for role in database.command("rolesInfo")["roles"]}


def restore(playbook: Any, database: Database, backup: Path, **variables: Any) -> Any:
    target = f"rs0@{database.client.address[0]}:{database.client.address[1]}/{database.name}"
    return playbook(
        "restore_mongo",
        variables={
            "mongo_restore_database": database.name,
            "mongo_restore_path": str(backup),
            "mongo_restore_confirm": target,
            **{f"mongo_restore_{name}": value for name, value in variables.items()},
        },
    )


def test_users_and_roles_come_back_by_name_and_no_others(playbook, accessdb, backup, sandbox) -> None:
    played = restore(playbook, accessdb, backup, users=["shop"])
    assert played.rc == 0, played.stdout
    assert names(accessdb) == ({"shop"}, set())
    assert "system.js" not in accessdb.list_collection_names()
    port = sandbox.status()["mongo"]["port"]
    with pymongo.MongoClient(
        "127.0.0.1", port, username="shop", password="as-in-the-backup", authSource="accessdb"
    ) as shop:
        assert shop["accessdb"]["orders"].count_documents({}) == 20
    # the copies hold credentials and must not stay
    assert [name for name in accessdb.list_collection_names() if "system.users" in name] == []

    again = restore(playbook, accessdb, backup, users=["report"], roles=["auditor"])
    assert again.rc == 0, again.stdout
    assert names(accessdb) == ({"shop", "report"}, {"auditor"})
    assert [one["object"] for one in again.of("mend_mongo_restore")[0]["done"]][-2:] == ["user report", "role auditor"]


def test_without_a_name_no_user_comes_back_and_the_plan_says_so(playbook, accessdb, backup) -> None:
    played = restore(playbook, accessdb, backup)
    assert played.rc == 0, played.stdout
    assert names(accessdb) == (set(), set())
    assert any("only when mongo_restore_users" in note for note in played.of("mend_mongo_restore")[0]["plan"]["notes"])


def test_a_user_that_the_backup_lacks_changes_nothing(playbook, accessdb, backup) -> None:
    accessdb["orders"].insert_one({"_id": "live"})
    played = restore(playbook, accessdb, backup, users=["nobody"])
    (result,) = played.of("mend_mongo_restore")
    assert (result["state"], result["mend"]["reason"]) == ("refused", "nothing")
    assert "it has: report, shop" in result["msg"]
    assert set(accessdb.list_collection_names()) - {"__mend_lock"} == {"orders"}
    assert list(accessdb["orders"].find()) == [{"_id": "live"}]


def test_users_of_a_backup_without_users_are_refused_before_anything_is_read(playbook, accessdb, tmp_path) -> None:
    plain = tmp_path / "plain.archive"
    plain.write_bytes(archive({("accessdb", "orders"): made(3)}))
    played = restore(playbook, accessdb, plain, users=["shop"])
    assert "--dumpDbUsersAndRoles" in played.of("mend_mongo_restore")[0]["msg"]
    assert accessdb.list_collection_names() == []


def test_system_js_comes_back_when_named_and_is_undone_like_a_collection(playbook, accessdb, backup) -> None:
    accessdb["system.js"].insert_one({"_id": "total", "value": 1})
    played = restore(playbook, accessdb, backup, collections=["system.js"])
    assert played.rc == 0, played.stdout
    assert accessdb["system.js"].find_one({"_id": "total"})["value"] == bson.Code("function () {}")
    assert [one["object"] for one in played.of("mend_mongo_restore")[0]["done"]] == ["accessdb.system.js"]
