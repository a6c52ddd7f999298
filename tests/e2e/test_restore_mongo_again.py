"""restore_mongo a second time: nothing is done only where everything is as the backup has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from restore_lab import REAL, Lab, archive_of, numbered

pytestmark = pytest.mark.e2e
PIECEWISE = {"piecewise": True, "keep_seconds": 0}
TEXT = {"weights": {"note": 1}, "default_language": "english", "language_override": "language", "textIndexVersion": 3}
INDEXES = {
    "orders": [
        {"v": 2, "key": {"value": 1.0}, "name": "value_1", "unique": True, "ns": "estore.orders", "background": True},
        {"v": 2, "key": {"at": 1}, "name": "at_1", "expireAfterSeconds": 10**9, "collation": {"locale": "sv"}},
        {"v": 2, "key": {"_fts": "text", "_ftsx": 1}, "name": "note_text", **TEXT},
    ]
}
OPTIONS: dict[str, dict[str, Any]] = {
    "coupons": {"validator": {"value": {"$exists": True}}, "collation": {"locale": "de"}},
    "users": {"capped": True, "size": 8192},
}
CHANGED: dict[str, Callable[[Database[Any]], object]] = {
    "an index dropped": lambda database: database["orders"].drop_index("value_1"),
    "an index more": lambda database: database["users"].create_index("value"),
    "another TTL": lambda database: database.command(
        {"collMod": "orders", "index": {"name": "at_1", "expireAfterSeconds": 77777777}}
    ),
    "a TTL left asleep": lambda database: database.command(
        {"collMod": "orders", "index": {"name": "at_1", "expireAfterSeconds": 2147483647}}
    ),
    "a validator that lets nothing in": lambda database: database.command(
        {"collMod": "users", "validator": {"$expr": False}}
    ),
    "a validator that lets everything in": lambda database: database.command(
        {"collMod": "coupons", "validationLevel": "off"}
    ),
}


@pytest.fixture
def shaped(tmp_path: Path) -> str:
    """A backup with indexes and options, as an older server writes them: without what newer ones complete."""
    orders = [{**one, "value": f"{one['_id']}"} for one in numbered(9)]
    path = tmp_path / "shaped.archive"
    path.write_bytes(
        archive_of(
            "estore",
            {"orders": orders, "coupons": numbered(3), "users": numbered(3)},
            indexes=INDEXES,
            options=OPTIONS,
        )
    )
    return str(path)


@pytest.mark.parametrize("options", [{}, PIECEWISE], ids=["whole", "piecewise"])
@pytest.mark.parametrize("backup", ["shaped", "real"])
def test_every_kind_of_collection_and_index_is_known_again(lab: Lab, shaped: str, backup: str, options) -> None:
    path = shaped if backup == "shaped" else str(REAL)
    first = lab.restore(path=path, **options)
    assert first["state"] == "done", first["msg"]
    again = lab.restore(path=path, **options)
    assert (again["rc"], again["state"]) == (0, "nothing to do"), again["plan"]["changes"]


def test_a_system_collection_that_was_named_is_known_again(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "system.archive"
    path.write_bytes(archive_of("estore", {"orders": numbered(3), "system.js": [{"_id": "total", "value": 1}]}))
    named = {"path": str(path), "collections": ["orders", "system.js"]}
    assert lab.restore(**named)["state"] == "done"
    assert lab.restore(**named)["state"] == "nothing to do"


@pytest.mark.parametrize("change", CHANGED)
def test_what_has_other_options_or_indexes_is_restored_again(lab: Lab, shaped: str, change: str) -> None:
    assert lab.restore(path=shaped)["state"] == "done"
    restored = lab.picture()
    CHANGED[change](lab.database)
    assert lab.picture() != restored
    assert lab.restore(path=shaped)["state"] == "done"
    assert lab.picture() == restored
    assert lab.restore(path=shaped)["state"] == "nothing to do"


def test_one_collection_at_a_time_only_what_was_changed_is_restored_again(lab: Lab, shaped: str) -> None:
    assert lab.restore(path=shaped, **PIECEWISE)["state"] == "done"
    restored = lab.picture()
    CHANGED["an index dropped"](lab.database)
    result = lab.restore(path=shaped, **PIECEWISE)
    assert [one["object"] for one in result["done"]] == [f"{lab.database.name}.orders"]
    assert lab.picture() == restored


def test_an_exact_copy_moves_what_has_come_since_aside(lab: Lab, shaped: str) -> None:
    assert lab.restore(path=shaped, extra="aside")["state"] == "done"
    restored = lab.picture()
    lab.database["payments"].insert_many(numbered(5))
    planned = lab.plan(path=shaped, extra="aside")["plan"]
    # what is removed stands first
    assert (planned["changes"][0]["op"], planned["changes"][0]["object"]) == ("-", f"{lab.database.name}.payments")
    assert lab.restore(path=shaped, extra="aside")["state"] == "done"
    assert lab.picture() == restored
    assert lab.restore(path=shaped, extra="aside")["state"] == "nothing to do"
