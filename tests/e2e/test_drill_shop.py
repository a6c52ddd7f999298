"""The drill's shop on a real server: the same for the same seed, and no change that the comparison misses."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pymongo
import pytest

from mendbook.drills import picture, rehearsal
from mendbook.drills import shop as shops
from mendbook.drills.disaster import wreck
from mendbook.drills.phases import Drill
from mendbook.drills.record import Objectives
from mendbook.drills.writer import Writer
from mendbook.errors import Failed, VerifyFailed

pytestmark = pytest.mark.e2e
SCALE = 0.01
NAMES = "audit categories metrics open_orders orders payments products sessions settings users".split()


@pytest.fixture
def estore(mongo_client, monkeypatch):
    """A database in place of the shop's own, so that tests of other files may have that."""
    name = f"shop_{time.monotonic_ns()}"
    monkeypatch.setattr(shops, "DATABASE", name)
    monkeypatch.setattr("mendbook.drills.writer.DATABASE", name)
    yield mongo_client[name]
    mongo_client.drop_database(name)


def filled(database, seed=1, scale=SCALE):
    database.client.drop_database(database.name)
    shops.Shop(seed, scale).fill(database)
    return picture.picture(database)


def test_a_seed_makes_the_same_bytes_again_and_another_one_makes_others(estore):
    first = filled(estore)
    assert sorted(first) == NAMES
    assert filled(estore) == first
    others = picture.differences(first, filled(estore, seed=2))
    assert set(others) == set(NAMES) - {"categories", "settings", "open_orders"}


def test_a_scale_is_more_of_the_same_and_every_kind_of_collection_is_there(estore):
    filled(estore, scale=SCALE)
    assert (estore["users"].count_documents({}), estore["products"].count_documents({})) == (50, 10)
    kinds = {entry["name"]: entry for entry in estore.list_collections()}
    assert kinds["metrics"]["type"] == "timeseries" and kinds["open_orders"]["type"] == "view"
    assert kinds["audit"]["options"]["capped"] and "validator" in kinds["users"]["options"]
    indexes = [index for name in NAMES if kinds[name]["type"] == "collection" for index in estore[name].list_indexes()]
    for option in ("unique", "expireAfterSeconds", "partialFilterExpression", "sparse", "collation", "weights"):
        assert any(option in index for index in indexes), option
    with pytest.raises(pymongo.errors.WriteError, match="failed validation"):
        estore["users"].insert_one({"name": "nobody"})


def test_a_disaster_is_seen_in_everything_that_it_touched(estore):
    before = filled(estore)
    wreck(estore)
    after = picture.picture(estore)
    # the view reads orders, and is itself as it was
    assert set(picture.differences(before, after)) == {
        "products",
        "orders",
        "users",
        "payments",
        "metrics",
        "orders_v2",
    }


CHANGES = [
    lambda database: database["users"].update_one({}, {"$set": {"active": 1}}),
    lambda database: database["sessions"].delete_one({}),
    lambda database: database["orders"].drop_index("status_1"),
    lambda database: database["audit"].insert_one({"_id": 10**6}),
    lambda database: database["metrics"].insert_one({"at": datetime(2023, 1, 1), "page": 1}),
    lambda database: database.command("collMod", "users", validationLevel="strict"),
    lambda database: database.command("collMod", "open_orders", viewOn="orders", pipeline=[]),
    lambda database: database["settings"].drop(),
    lambda database: database["new"].insert_one({}),
]


def test_no_change_escapes_the_picture(estore):
    seen = filled(estore)
    for number, change in enumerate(CHANGES):
        change(estore)
        before, seen = seen, picture.picture(estore)
        assert len(picture.differences(before, seen)) == 1, number


def test_the_comparison_is_of_what_is_in_the_database(estore):
    before = filled(estore)
    times = [datetime(2026, 3, 1, 12, 0, 0, 20_000 * number) for number in range(3)]
    for number, at in enumerate(times[:2]):
        estore["orders"].insert_one(shops.live_order(number, at))
        estore["payments"].insert_one(shops.live_payment(number, at))
    drilled = Drill("restore_mongo", Objectives(), rpo_seconds=0.02)
    found = ["10 collections as before, to the byte", "orders of 0.0 s are lost: 1"]
    assert rehearsal._compare(drilled, estore, before, times) == found
    with pytest.raises(VerifyFailed, match="RPO was measured as 0.1 s, and orders of 0.02 s are gone"):
        rehearsal._compare(Drill("restore_mongo", Objectives(), rpo_seconds=0.1), estore, before, times)
    estore["products"].delete_one({})
    with pytest.raises(VerifyFailed, match="not as before the disaster: products"):
        rehearsal._compare(drilled, estore, before, times)


def test_customers_write_in_order_and_remember_only_what_was_acknowledged(estore, sandbox):
    filled(estore)
    began = datetime.now(UTC).replace(tzinfo=None) - timedelta(milliseconds=1)
    with Writer(sandbox.status()["mongo"]["uri"]) as writer:
        writer.wait_for(5)
        writer.stop()
    times = [
        order["placedAt"] for order in estore["orders"].find({"_id": {"$gte": shops.LIVE_FROM}}, sort=[("_id", 1)])
    ]
    assert times == writer.acknowledged == sorted(times) and len(times) >= 5 and times[0] > began
    assert estore["payments"].count_documents({"_id": {"$gte": shops.LIVE_FROM}}) == len(times)


def test_customers_who_cannot_write_fail_the_drill(estore, sandbox):
    filled(estore)
    with Writer(sandbox.status()["mongo"]["uri"]) as writer:
        writer.wait_for(1)
        estore.command("collMod", "orders", validator={"nothing": 1})
        with pytest.raises(Failed, match="the shop could not go on writing: Document failed validation"):
            writer.wait_for(1000)
        with pytest.raises(Failed):
            writer.stop()
