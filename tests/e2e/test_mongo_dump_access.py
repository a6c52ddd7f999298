"""Who may dump, what is said to whom may not, and servers that have no history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_dump
from ansible.module_utils.mendbook.errors import Refused
from ansible.module_utils.mendbook.mongo_dump_window import WINDOW
from pymongo.database import Database

from dump_lab import connected, raw_documents, take
from mendbook.sandbox.services.mongo import Service

pytestmark = pytest.mark.e2e


@pytest.fixture
def shop(database: Database[Any]) -> Database[Any]:
    """Collections that every role of a reader covers; a time-series is a test's own business."""
    database["orders"].insert_many([{"n": n} for n in range(50)])
    database["orders"].create_index("n")
    database.create_collection("log", capped=True, size=4096).insert_one({"n": 1})
    database.create_collection("open_orders", viewOn="orders", pipeline=[])
    return database


@pytest.fixture
def user(sandbox: Any, mongo_client: pymongo.MongoClient[Any]) -> Iterator[Callable[..., str]]:
    """Make the user dumper@admin with these roles; the connection string that it uses."""
    facts = sandbox.status()["mongo"]

    def make(*roles: dict[str, str]) -> str:
        mongo_client.admin.command("createUser", "dumper", pwd="secret", roles=list(roles))
        return f"mongodb://dumper:secret@{facts['host']}:{facts['port']}/?replicaSet=rs0&authSource=admin"

    yield make
    mongo_client.admin.command("dropUser", "dumper")


BACKUP = {"role": "backup", "db": "admin"}


def series(database: Database[Any]) -> None:
    database.create_collection("series", timeseries={"timeField": "at"})


def test_the_role_backup_is_all_that_a_dump_needs(
    shop: Database[Any], user: Callable[..., str], tmp_path: Path
) -> None:
    series(shop)
    shop["system.js"].insert_one({"_id": "one", "value": 1})
    surveyed: list[Any] = []
    params = {"users_and_roles": True, "time_fields": {"orders": "n"}}
    taken = take(user(BACKUP), shop.name, tmp_path / "a.gz", params=params, surveyed=surveyed.append)
    assert taken.documents(shop.name, "orders") == raw_documents(shop, "orders")
    assert taken.dumped.access == {"users": 0, "roles": 0}
    assert surveyed[0].window_seconds == 300 and surveyed[0].notes == ()


def test_the_role_read_is_enough_without_time_series_and_users(
    shop: Database[Any], user: Callable[..., str], tmp_path: Path
) -> None:
    uri = user({"role": "read", "db": shop.name})
    taken = take(uri, shop.name, tmp_path / "a.gz")
    assert taken.documents(shop.name, "orders") == raw_documents(shop, "orders")
    assert taken.dumped.consistency == "snapshot"
    (note,) = [note for note in taken.dumped.notes if WINDOW in note]
    assert "unknown" in note and "300 s" in note


@pytest.mark.parametrize(
    ("role", "prepare", "params", "words", "grant"),
    [
        ("read", series, {}, 'read the buckets of the time-series "series"', '{role: "backup", db: "admin"}'),
        ("read", None, {"users_and_roles": True}, "read the users and roles", '{role: "backup", db: "admin"}'),
        (None, None, {}, "list the collections", '{role: "read", db: "'),
    ],
    ids=["time-series", "users", "nothing"],
)
def test_the_missing_role_is_named(
    shop: Database[Any], user: Callable[..., str], tmp_path: Path, role: Any, prepare: Any, params: Any, words: str,
    grant: str,
) -> None:  # fmt: skip
    if prepare:
        prepare(shop)
    uri = user(*([{"role": role, "db": shop.name}] if role else []))
    with pytest.raises(Refused) as caught:
        take(uri, shop.name, tmp_path / "a.gz", params=params)
    assert caught.value.rule == "privileges"
    assert words in caught.value.msg and grant in caught.value.msg and "grantRolesToUser" in caught.value.msg


def test_a_role_that_covers_one_collection_only_does_not_make_a_smaller_dump(
    shop: Database[Any], user: Callable[..., str], mongo_client: pymongo.MongoClient[Any], tmp_path: Path
) -> None:
    resource = {"db": shop.name, "collection": "orders"}
    every = {"db": shop.name, "collection": ""}
    privileges = [
        {"resource": resource, "actions": ["find", "listIndexes", "collStats"]},
        {"resource": every, "actions": ["listCollections"]},
    ]
    mongo_client.admin.command("createRole", "one_collection", privileges=privileges, roles=[])
    try:
        with pytest.raises(Refused, match='may not read "log"'):
            take(user({"role": "one_collection", "db": "admin"}), shop.name, tmp_path / "a.gz")
    finally:
        mongo_client.admin.command("dropRole", "one_collection")


def test_the_survey_says_what_would_be_read_as_json(shop: Database[Any], sandbox: Any) -> None:
    with connected(sandbox.status()["mongo"]["uri"]) as deployment:
        survey = mongo_dump.survey(deployment, shop.name, {})
    facts = survey.facts()
    assert (facts["collections"], facts["views"], facts["count"]) == (2, 1, 51)
    assert facts["outside"] == ["log"] and facts["consistency"] == "snapshot" and facts["window_seconds"] == 300
    assert facts["bytes"] == sum(shop.command("collStats", name)["size"] for name in ("orders", "log"))
    assert survey.collections["orders"].indexes[1]["key"] == {"n": 1}


# a server without a history


@pytest.fixture(scope="module")
def standalone(sandbox: Any) -> str:
    return sandbox.add(Service(name="dump-standalone", replica_set=None)).uri


def test_a_standalone_is_dumped_collection_by_collection_and_says_so(standalone: str, tmp_path: Path) -> None:
    with pymongo.MongoClient(standalone) as client:
        database = client["alone"]
        database["orders"].insert_many([{"n": n} for n in range(500)])
        series(database)
        database["series"].insert_one({"at": datetime(2026, 1, 1)})
        taken = take(standalone, "alone", tmp_path / "a.gz", params={"users_and_roles": True})
        assert taken.documents("alone", "orders") == raw_documents(database, "orders")
    dumped = taken.dumped
    assert dumped.consistency == "per_collection" and dumped.cluster_time is None
    assert any("standalone" in note for note in dumped.notes)
    assert dumped.collections["alone.series"]["count"] == 1
    assert not any("snapshot" in entry for entry in dumped.collections.values())


def test_a_mongos_and_an_old_server_are_refused_with_the_reason(sandbox: Any) -> None:
    with connected(sandbox.status()["mongo"]["uri"]) as deployment:
        deployment.version = (5, 0, 9)
        with pytest.raises(Refused, match=r"MongoDB 5\.0 .* 6\.0 can"):
            mongo_dump.survey(deployment, "estore", {})
        deployment.hello = {"msg": "isdbgrid"}
        with pytest.raises(Refused, match="mongos"):
            mongo_dump.survey(deployment, "estore", {})
