"""restore_mongo and what it is asked for: which collections, of every kind, again, with TTL, and read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_restore, mongo_restore_replace

import restore_lab
from mendbook.sandbox import Sandbox
from mendbook.sandbox.services.mongo import Service
from restore_lab import RESTORED, Lab, archive_of, live_data, numbered
from waiting import until

pytestmark = pytest.mark.e2e


def test_the_same_backup_again_changes_nothing_and_after_one_changed_document_is_a_change(lab, backup):
    assert lab.restore(path=backup)["state"] == "done"
    before = lab.everything()
    again = lab.restore(path=backup)
    assert (again["rc"], again["changed"], again["state"]) == (0, False, "nothing to do")
    assert lab.everything() == before
    lab.database["orders"].update_one({"_id": 3}, {"$set": {"value": "RESTORED"}})
    assert lab.restore(path=backup)["state"] == "done"
    assert lab.documents("orders")[3] == {"_id": 3, "value": "restored"}


@pytest.mark.parametrize("how", ["a document more", "a collection made again", "a view changed"])
def test_what_is_no_longer_the_backup_is_restored_again(lab, tmp_path, how):
    path = tmp_path / "viewed.archive"
    views = {"restored_view": {"viewOn": "orders", "pipeline": [{"$match": {"_id": 1}}]}}
    path.write_bytes(archive_of("estore", RESTORED, views=views))
    assert lab.restore(path=str(path))["state"] == "done"
    restored = lab.picture()
    if how == "a document more":
        lab.database["orders"].insert_one({"_id": "more"})
    elif how == "a collection made again":
        lab.database["orders"].drop()
        lab.database["orders"].insert_many(RESTORED["orders"])
    else:
        lab.database.command({"collMod": "restored_view", "viewOn": "coupons", "pipeline": []})
    assert lab.restore(path=str(path))["state"] == "done"
    assert lab.picture() == restored


def test_a_chosen_and_renamed_collection_leaves_every_other_one_alone(lab, backup):
    before = lab.picture()
    result = lab.restore(path=backup, collections=["orders"], rename={"orders": "orders_yesterday"})
    assert [one["object"] for one in result["done"]] == [f"{lab.database.name}.orders_yesterday"]
    after = lab.picture()
    assert len(lab.documents("orders_yesterday")) == 20
    assert {name: seen for name, seen in after.items() if name != "orders_yesterday"} == before
    assert lab.undo()["state"] == "done"
    assert lab.picture() == before


def test_what_the_backup_lacks_is_kept_or_on_request_moved_aside(lab, backup):
    before = lab.picture()
    planned = lab.plan(path=backup)["plan"]
    assert any("not in the backup, kept: live_view, notes" in note for note in planned["notes"])
    result = lab.restore(path=backup, extra="aside")
    assert result["state"] == "done", result.get("msg")
    assert sorted(lab.picture()) == ["coupons", "orders"]
    assert {one["object"].split(".")[1] for one in result["done"] if one["op"] == "-"} == {"live_view", "notes"}
    assert lab.undo()["state"] == "done"
    assert lab.picture() == before


KINDS: dict[str, dict[str, Any]] = {
    "capped": {"capped": True, "size": 8192, "max": 50},
    "clustered": {"clusteredIndex": {"key": {"_id": 1}, "unique": True}},
    "collated": {"collation": {"locale": "de", "strength": 2}},
    "plain": {},
}


@pytest.mark.parametrize("live", KINDS)
def test_every_kind_of_collection_takes_the_place_of_every_other(lab, tmp_path, live):
    path = tmp_path / "kinds.archive"
    path.write_bytes(archive_of("estore", {kind: numbered(9) for kind in KINDS}, options=KINDS))
    for kind in KINDS:
        lab.database.create_collection(kind, **KINDS[live]).insert_many(numbered(3, "live"))
    before = lab.picture()
    assert lab.restore(path=str(path))["state"] == "done"
    options = {entry["name"]: entry["options"] for entry in lab.database.list_collections()}
    for kind, wanted in KINDS.items():
        assert list(lab.documents(kind).values()) == numbered(9)
        assert {key: options[kind].get(key) for key in wanted if key in ("capped", "max")} == {
            key: value for key, value in wanted.items() if key in ("capped", "max")
        }
        assert ("collation" in options[kind]) == (kind == "collated")
        assert ("clusteredIndex" in options[kind]) == (kind == "clustered")
    assert lab.undo()["state"] == "done"
    assert lab.picture() == before


@pytest.fixture(scope="module")
def ttl_uri(sandbox: Sandbox) -> Iterator[str]:
    """A server whose TTL monitor comes every second instead of every minute."""
    service = Service(name="ttl", replica_set=None, arguments=["--setParameter", "ttlMonitorSleepSecs=1"])
    sandbox.add(service)
    yield service.uri
    sandbox.remove("ttl")


@pytest.fixture
def ttl_lab(ttl_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    restore_lab.quick_writers(monkeypatch)
    with pymongo.MongoClient(ttl_uri) as client:
        lab = Lab(ttl_uri, client, f"estore_{uuid4().hex[:8]}")
        live_data(lab.database)
        yield lab
        client.drop_database(lab.database.name)


def wait_for_the_monitor(lab: Lab) -> None:
    """Return when the TTL monitor has been everywhere since now: the pass after the one that may be under way."""

    def passes() -> int:
        return lab.database.client.admin.command("serverStatus")["metrics"]["ttl"]["passes"]

    begun = passes()
    until(lambda: passes() >= begun + 2)


def expired(count: int) -> list[dict[str, Any]]:
    return [{"_id": n, "at": datetime(2020, 1, 1)} for n in range(count)]


def after(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, then: Callable[[], None]) -> None:
    """Do something once a step of the restore is over."""
    original = getattr(owner, name)

    def step(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        then()
        return result

    monkeypatch.setattr(owner, name, step)


TTL_INDEX = {"v": 2, "key": {"at": 1}, "name": "at_ttl", "expireAfterSeconds": 0}


def test_documents_that_have_expired_are_all_there_at_the_swap(ttl_lab, tmp_path, monkeypatch):
    lab, path = ttl_lab, tmp_path / "ttl.archive"
    path.write_bytes(archive_of("estore", {"sessions": expired(40)}, indexes={"sessions": [TTL_INDEX]}))
    counts = []

    def look() -> None:
        wait_for_the_monitor(lab)
        (side,) = [name for name in lab.leftovers() if name.endswith("_sessions")]
        counts.append(lab.database[side].count_documents({}))

    after(monkeypatch, mongo_restore_replace, "load", look)
    result = lab.restore(path=str(path))
    assert result["state"] == "done", result.get("msg")
    assert counts == [40]
    assert {one["name"]: one.get("expireAfterSeconds") for one in lab.database["sessions"].list_indexes()}[
        "at_ttl"
    ] == 0


def test_what_expires_right_after_the_swap_is_no_failed_read_back(ttl_lab, tmp_path, monkeypatch):
    lab, path = ttl_lab, tmp_path / "ttl.archive"
    documents = {"sessions": expired(40), "orders": numbered(5)}
    path.write_bytes(archive_of("estore", documents, indexes={"sessions": [TTL_INDEX]}))
    read_back = mongo_restore.read_back

    def late(*args: Any, **kwargs: Any) -> Any:
        wait_for_the_monitor(lab)
        return read_back(*args, **kwargs)

    monkeypatch.setattr(mongo_restore, "read_back", late)
    result = lab.restore(path=str(path))
    assert lab.database["sessions"].count_documents({}) == 0
    assert result["state"] == "done", result.get("msg")


def test_a_document_that_is_lost_between_swap_and_read_back_is_noticed(lab, backup, monkeypatch):
    read_back = mongo_restore.read_back

    def after_a_loss(*args: Any, **kwargs: Any) -> Any:
        lab.database["orders"].delete_one({"_id": 1})
        return read_back(*args, **kwargs)

    monkeypatch.setattr(mongo_restore, "read_back", after_a_loss)
    result = lab.restore(path=backup)
    assert (result["rc"], result["mend"]["reason"], result["mend"]["rule"]) == (1, "verify", "read_back")
    assert "19 documents, 20 were restored" in result["msg"]


def test_the_age_of_a_backup_is_in_the_plan_and_counts_from_now(lab, backup):
    plan = lab.plan(path=backup)["plan"]
    finished = datetime.fromisoformat(plan["source"]["finished"].replace("Z", "+00:00"))
    assert abs((datetime.now(UTC) - finished).total_seconds() - plan["source"]["age_seconds"]) < 60
