"""A dump of a real server: everything is in it, as an independent client and our restore see it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import mend_mongo_verify
import pymongo
import pytest
from ansible.module_utils.mendbook import manifest
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.mongo_content import manifest_of
from pymongo.database import Database
from seeded_shop import seed

import restore_lab
from dump_lab import Taken, insert_large, raw_documents, take
from restore_lab import Lab, run_module

pytestmark = pytest.mark.e2e

LARGEST = (16 << 20) - 64
# 255 bytes are the most that a namespace may have
LONG = "l" * (255 - len("shop_12345678."))
HOSTILE = ["a\nb", " ", 'quote"\\', "ünïcode ☃", "a/b", "*", "{}", "system", "\x01"]


def fill(database: Database[Any]) -> None:
    """Every kind of collection and index, and documents that are easy to get wrong."""
    seed(database)
    chance = random.Random(7)
    odd = [None, 1.5, bson.Int64(7), "text", {"a": 1}, bson.Binary(b"\0" * 16, 4), bson.MinKey(), bson.MaxKey(), True]
    odd += [bson.Timestamp(1, 1), bson.Decimal128("1.10"), datetime(1, 1, 1), bson.ObjectId()]
    database["odd_ids"].insert_many([{"_id": one, "n": n} for n, one in enumerate(odd)])
    database["odd_dates"].insert_many([{"_id": n, "at": bson.DatetimeMS(n * 10**15)} for n in (-9, 9)])
    insert_large(database["largest"], [{"_id": 1, "noise": chance.randbytes(LARGEST)}])
    database["largest"].insert_many([{"_id": 10 + n, "size": "small"} for n in range(5000)])
    database["mixed"].insert_many([{"_id": n, "filler": "x" * chance.randrange(3000)} for n in range(3000)])
    database["system.js"].insert_one({"_id": "add", "value": bson.Code("function (a, b) { return a + b; }")})
    for name in [LONG, *HOSTILE]:
        database.command({"create": name})
        database.command({"insert": name, "documents": [{"_id": 1, "name": name}]})
    database["users"].create_index([("email", 1), ("team", -1)], name='bei "E-Mail" / ☃', hidden=True)
    database["__mend_lock"].insert_one({"_id": 1, "until": datetime.now(UTC) - timedelta(days=1)})


@pytest.fixture(scope="module")
def uri(sandbox: Any) -> str:
    return sandbox.status()["mongo"]["uri"]


@pytest.fixture(scope="module")
def full(mongo_client: pymongo.MongoClient[Any]) -> Iterator[Database[Any]]:
    """A database that no test of this file changes."""
    database = mongo_client["shop_12345678"]
    mongo_client.drop_database(database.name)
    fill(database)
    database.command("createUser", "shop_app", pwd="x", roles=["readWrite"])
    database.command("createRole", "auditor", privileges=[], roles=["read"])
    yield database
    database.command("dropAllUsersFromDatabase")
    database.command("dropAllRolesFromDatabase")
    mongo_client.drop_database(database.name)


@pytest.fixture(scope="module")
def taken(full: Database[Any], uri: str, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """One dump of it, with users and roles."""
    path = tmp_path_factory.mktemp("dump") / "shop.archive.gz"
    return take(uri, full.name, path, params={"users_and_roles": True})


def data_names(database: Database[Any]) -> dict[str, str]:
    """{name: where its documents stand}, of all that must be in a dump."""
    found = {}
    for entry in database.list_collections():
        name, kind = entry["name"], entry["type"]
        if kind != "view" and not name.startswith("__mend_") and (name == "system.js" or name[:7] != "system."):
            found[name] = f"system.buckets.{name}" if kind == "timeseries" else name
    return found


def test_every_document_is_in_it_byte_for_byte(full: Database[Any], taken: Taken) -> None:
    places = data_names(full)
    assert {"users", "largest", "metrics", "audit", "system.js", LONG, *HOSTILE} <= set(places)
    for name, place in places.items():
        assert taken.documents(full.name, place) == raw_documents(full, place), name
    # the lock is mendbook's own, and a view has no documents
    found = {name for _db, name in taken.contents.documents if not name.startswith("$admin.")}
    assert found == {*places.values(), "active"}


def test_our_reader_takes_it_and_finds_every_sum_right(taken: Taken) -> None:
    dump = open_dump(str(taken.path))
    counts = {item.namespace[1]: item.count for item in dump.iterate() if len(item) == 2}
    assert dump.format == "archive+gzip" and dump.server_version.startswith("6.")
    assert dump.warnings == [] and dump.has_oplog is False
    assert counts["largest"] == 5001 and counts["empty"] == 0 and counts["active"] == 0


def test_a_restore_of_it_equals_the_source(
    full: Database[Any], taken: Taken, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_lab.quick_writers(monkeypatch)
    lab = Lab(uri, full.client, "shop_87654321")
    source = Lab(uri, full.client, full.name).picture()
    try:
        result = lab.restore(path=str(taken.path), source_database=full.name, keep_seconds=0)
        assert result["state"] == "done", result
        restored = lab.picture()
    finally:
        full.client.drop_database(lab.database.name)
    del source["system.js"]  # comes back only when asked for by name
    assert restored == source


def test_the_manifest_entries_are_what_a_reader_of_the_database_finds(full: Database[Any], taken: Taken) -> None:
    found = dict(taken.dumped.collections)
    expected = manifest_of(full)
    assert found.pop(f"{full.name}.audit") == {**expected.pop(f"{full.name}.audit"), "snapshot": False}
    assert found == expected
    for name in ("users", "metrics", "largest", "empty"):
        assert found[f"{full.name}.{name}"]["count"] == full[name].count_documents({})
    newest = max(one["_id"].generation_time for one in full["users"].find({}, {"_id": 1}))
    assert found[f"{full.name}.users"]["newest"] == newest.isoformat().replace("+00:00", "Z")
    assert found[f"{full.name}.metrics"]["newest"] == "2026-01-01T03:19:00Z"
    assert found[f"{full.name}.odd_dates"]["newest"] == "unknown"


def test_what_it_says_of_itself(full: Database[Any], taken: Taken) -> None:
    dumped = taken.dumped
    assert dumped.consistency == "snapshot" and set(dumped.cluster_time) == {"t", "i"}
    assert dumped.access == {"users": 1, "roles": 1}
    assert dumped.started < dumped.finished
    (note,) = [note for note in dumped.notes if "capped" in note]
    assert '"audit"' in note
    written = sum(map(len, taken.contents.documents.values()))
    assert dumped.documents == written
    assert dumped.bytes == sum(len(one) for found in taken.contents.documents.values() for one in found)


def test_its_manifest_is_one_that_verify_takes(
    full: Database[Any], taken: Taken, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = {
        "schema": 1,
        "object": {"key": "k", "size": 1, "sha256": "0" * 64},
        "finished": "2026-01-02T00:00:00Z",
        "consistency": taken.dumped.consistency,
        "collections": taken.dumped.collections,
    }
    path = tmp_path / "k.manifest.json"
    path.write_text(manifest.json.dumps(described))
    result = run_module(mend_mongo_verify, uri=uri, database=full.name, manifest_file=str(path))
    assert result["verified"] is True and result["rc"] == 0
    assert result["summary"]["collections"] == len(taken.dumped.collections)


def test_users_and_roles_of_this_database_alone_are_in_it(
    full: Database[Any], taken: Taken, mongo_client: pymongo.MongoClient[Any]
) -> None:
    (user,) = taken.decoded(full.name, "$admin.system.users")
    assert user == mongo_client["admin"]["system.users"].find_one({"_id": f"{full.name}.shop_app"})
    (role,) = taken.decoded(full.name, "$admin.system.roles")
    assert (role["role"], role["db"]) == ("auditor", full.name)
    (version,) = taken.decoded(full.name, "$admin.system.version")
    assert version["_id"] == "authSchema"


def test_users_and_roles_come_back_by_a_restore(
    database: Database[Any], uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore_lab.quick_writers(monkeypatch)
    database["orders"].insert_one({"_id": 1})
    database.command("createUser", "shop_app", pwd="the password", roles=["readWrite"])
    try:
        taken = take(uri, database.name, tmp_path / "a.gz", params={"users_and_roles": True})
        database.command("dropUser", "shop_app")
        lab = Lab(uri, database.client, database.name)
        result = lab.restore(path=str(taken.path), source_database=database.name, users=["shop_app"])
        assert result["state"] == "done", result.get("msg")
        host = uri.split("@")[1].split("/")[0]
        with pymongo.MongoClient(
            host, username="shop_app", password="the password", authSource=database.name
        ) as client:
            assert client[database.name]["orders"].count_documents({}) == 1
    finally:
        database.command("dropAllUsersFromDatabase")


def test_without_being_asked_no_users_are_in_it(database: Database[Any], uri: str, tmp_path: Path) -> None:
    database["orders"].insert_one({"_id": 1})
    taken = take(uri, database.name, tmp_path / "a.gz")
    assert taken.dumped.access is None
    assert list(taken.contents.documents) == [(database.name, "orders")]


@pytest.mark.parametrize("readers", [1, 5])
def test_the_number_of_readers_changes_nothing(
    full: Database[Any], taken: Taken, uri: str, tmp_path: Path, readers: int
) -> None:
    again = take(uri, full.name, tmp_path / "a.gz", readers=readers, level=0, params={"users_and_roles": True})
    assert again.dumped.collections == taken.dumped.collections
    for key, documents in taken.contents.documents.items():
        assert sorted(again.contents.documents[key]) == sorted(documents), key


def test_time_fields_give_the_newest_record_where_ids_hold_no_time(
    full: Database[Any], uri: str, tmp_path: Path
) -> None:
    fields = {"users": "createdAt", "mixed": "at", "no_such": "at"}
    taken = take(uri, full.name, tmp_path / "a.gz", params={"time_fields": fields})
    users = taken.dumped.collections[f"{full.name}.users"]
    assert (users["newest"], users["newest_field"]) == ("2026-01-05T23:00:00Z", "createdAt")
    assert taken.dumped.collections[f"{full.name}.mixed"]["newest"] == "unknown"
    assert any('"no_such"' in note for note in taken.dumped.notes)


def test_mendbooks_own_and_foreign_names_with_our_prefix_are_left_out_and_said(
    database: Database[Any], uri: str, tmp_path: Path
) -> None:
    database["orders"].insert_one({"_id": 1})
    database["__mend_mine"].insert_one({"_id": 1})
    taken = take(uri, database.name, tmp_path / "a.gz")
    assert list(taken.contents.documents) == [(database.name, "orders")]
    assert any('"__mend_mine"' in note and "left out" in note for note in taken.dumped.notes)


def test_a_rate_limit_is_kept(database: Database[Any], uri: str, tmp_path: Path) -> None:
    database["orders"].insert_many([{"_id": n, "filler": bytes(1 << 20)} for n in range(6)])
    taken = take(uri, database.name, tmp_path / "a.gz", max_bytes_per_second=4 << 20)
    # the first reply is free, so 6 MiB at 4 MiB/s take at least one second
    assert (taken.dumped.finished - taken.dumped.started).total_seconds() > 0.9
    assert taken.dumped.documents == 6
