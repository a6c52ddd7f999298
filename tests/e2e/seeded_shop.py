"""A database of every kind of collection, its manifest, and verify run against it; a plugin of the verify tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import mend_mongo_verify
import pymongo
import pytest
from ansible.module_utils.mendbook.mongo_content import manifest_of
from ansible.module_utils.testing import patch_module_args
from pymongo import IndexModel
from pymongo.database import Database

START = datetime(2026, 1, 1)
TEN_YEARS = 315360000
HEAD = {"schema": 1, "object": {"key": "k", "size": 1, "sha256": "0" * 64}, "finished": "2026-01-02T00:00:00Z"}


def seed(database: Database) -> None:
    """One collection of every kind that the manifest describes."""
    users = database.create_collection("users", validator={"email": {"$regex": "@"}}, validationLevel="moderate")
    users.insert_many(
        {"email": f"u{n}@example.com", "createdAt": START + timedelta(hours=n), "active": n % 2 == 0}
        for n in range(120)
    )
    users.create_indexes(
        [
            IndexModel("email", unique=True),
            IndexModel([("active", 1), ("createdAt", -1)], name="active_created"),
            IndexModel("seen", expireAfterSeconds=3600),
            IndexModel("score", partialFilterExpression={"active": True, "at": {"$gt": START}}, name="partial"),
            IndexModel([("name", "text"), ("bio", "text")], weights={"name": 5}, name="words"),
            IndexModel([("$**", 1)], wildcardProjection={"prefs": 1}, name="wild"),
            IndexModel("city", collation={"locale": "de", "strength": 2}, name="city_de"),
            IndexModel([("team", "hashed")]),
            IndexModel([("place", "2dsphere")]),
        ]
    )
    database.create_collection("audit", capped=True, size=8192, max=20).insert_many({"n": n} for n in range(15))
    database.create_collection("notes", collation={"locale": "fr"}).insert_one({"_id": "a", "text": "x"})
    database.create_collection("clustered", clusteredIndex={"key": {"_id": 1}, "unique": True}).insert_one({"_id": 1})
    database.create_collection("empty")
    metrics = database.create_collection(
        "metrics", timeseries={"timeField": "t", "metaField": "m"}, expireAfterSeconds=TEN_YEARS
    )
    metrics.insert_many({"t": START + timedelta(minutes=n), "m": n % 3, "v": n} for n in range(200))
    database.create_collection("active", viewOn="users", pipeline=[{"$match": {"active": True}}])


@contextmanager
def seeded(client: pymongo.MongoClient) -> Iterator[Database]:
    database = client[f"shop_{uuid4().hex[:8]}"]
    try:
        seed(database)
        yield database
    finally:
        client.drop_database(database.name)


@pytest.fixture
def shop(mongo_client: pymongo.MongoClient) -> Iterator[Database]:
    """A seeded database of the test's own."""
    with seeded(mongo_client) as database:
        yield database


@pytest.fixture(scope="module")
def standing_shop(mongo_client: pymongo.MongoClient) -> Iterator[Database]:
    """A seeded database for tests that only read."""
    with seeded(mongo_client) as database:
        yield database


@pytest.fixture
def write_manifest(tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    """Write a manifest around its collections, as a backup does; returns the path."""

    def write(collections: dict[str, Any]) -> str:
        path = tmp_path / "k.manifest.json"
        path.write_text(json.dumps({**HEAD, "collections": collections}))
        return str(path)

    return write


@pytest.fixture
def run_verify(sandbox: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """The module in this process: its result, with `rc`."""

    def run_module(check: bool = False, **arguments: Any) -> dict[str, Any]:
        # a loaded machine answers late
        given = {"uri": sandbox.status()["mongo"]["uri"], "connect_timeout_seconds": 30, **arguments}
        arguments = {**given, "_ansible_check_mode": check}
        with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
            mend_mongo_verify.main()
        return {**json.loads(capsys.readouterr().out), "rc": ended.value.code}

    return run_module


@pytest.fixture
def verify_shop(run_verify, shop, write_manifest) -> Callable[..., dict[str, Any]]:
    """The module against the seeded database and the manifest that it had when it was seeded."""
    path = write_manifest(manifest_of(shop))
    return lambda **arguments: run_verify(**{"database": shop.name, "manifest_file": path, **arguments})
