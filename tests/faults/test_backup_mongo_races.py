"""backup_mongo while others are at work: another backup, a migration, an election."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_backup, mongo_dump
from pymongo.errors import PyMongoError

import backup_lab
from backup_lab import BackupLab
from mendbook.sandbox.services.mongo import Service
from waiting import until

pytestmark = pytest.mark.faults


@pytest.fixture
def lab(mongo_box: Any, store: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackupLab]:
    monkeypatch.setattr(mongo_backup, "_PAUSE_SECONDS", 0)
    with backup_lab.backup_lab(mongo_box.status()["mongo"]["uri"], store.s3, store.facts) as lab:
        for name in ("orders", "users"):
            lab.database[name].insert_many({"_id": n, "name": name} for n in range(200))
        yield lab


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run something between the survey and the reading, the first ``times`` times that a dump begins."""

    def install(what: Any, times: int = 1) -> None:
        real, left = mongo_backup.dump, iter(range(times))

        def dump(*args: Any, **options: Any) -> Any:
            if next(left, None) is not None:
                what()
            return real(*args, **options)

        monkeypatch.setattr(mongo_backup, "dump", dump)

    return install


def test_of_two_at_once_one_backs_up_and_the_other_is_told_by_whom_it_is_locked(lab, meanwhile):
    second: list[dict[str, Any]] = []

    def another() -> None:
        planned = lab.plan()
        assert any("locked now by run run-1" in note for note in planned["plan"]["notes"])
        second.append(lab.act(planned))

    meanwhile(another)
    first = lab.backup()
    assert first["state"] == "done", first.get("msg")
    (told,) = second
    assert (told["rc"], told["changed"], told["mend"]["reason"]) == (1, False, "locked")
    assert "run run-1" in told["msg"] and told["mend"]["details"]["pid"] == os.getpid()
    assert len(lab.whole()) == 1 and lab.clean()


def test_a_plan_does_not_take_the_work_of_another_run_for_what_a_dead_one_has_left(lab, meanwhile):
    plans: list[dict[str, Any]] = []
    key = f"{lab.prefix}estore-20260101T000000Z.archive.gz"

    def look() -> None:
        upload = lab.s3.create_multipart_upload(Bucket=lab.bucket, Key=key)["UploadId"]
        plans.append(lab.plan())
        lab.s3.abort_multipart_upload(Bucket=lab.bucket, Key=key, UploadId=upload)

    meanwhile(look)
    assert lab.backup()["state"] == "done"
    assert [change["op"] for change in plans[0]["plan"]["changes"]] == ["+"]


@pytest.mark.parametrize("what", ["dropped", "renamed", "created", "indexed", "made anew"])
def test_a_collection_that_changes_while_it_is_dumped_makes_the_dump_start_again(lab, meanwhile, what):
    database = lab.database

    def change() -> None:
        if what == "renamed":
            database["orders"].rename("old_orders")
        elif what == "created":
            database["new"].insert_one({"_id": 1})
        elif what == "indexed":
            database["orders"].create_index("name")
        else:
            database.drop_collection("orders")
            if what == "made anew":
                database["orders"].insert_one({"_id": "new"})

    meanwhile(change)
    result = lab.backup()
    assert result["state"] == "done", result.get("msg")
    assert result["figures"]["tries"] == 2
    assert any("the dump was started again" in words for words in result["warnings"])
    (key,) = lab.whole()
    told = {name: entry["count"] for name, entry in lab.manifest(key)["collections"].items()}
    live = [name for name in database.list_collection_names() if not name.startswith("__mend_")]
    assert told == {f"{database.name}.{name}": database[name].count_documents({}) for name in live}
    indexes = lab.manifest(key)["collections"].get(f"{database.name}.orders", {}).get("indexes", [])
    assert ("name_1" in [one["name"] for one in indexes]) is (what == "indexed")
    assert lab.clean()


def test_a_migration_that_goes_on_is_no_reason_to_go_on_for_ever(lab, meanwhile):
    numbers = iter(range(100))
    meanwhile(lambda: lab.database[f"new_{next(numbers)}"].insert_one({}), times=100)
    result = lab.backup()
    assert (result["rc"], result["changed"], result["mend"]["rule"]) == (1, False, "changed"), result["msg"]
    assert result["figures"]["tries"] == mongo_backup.TRIES and lab.keys() == [] and lab.unfinished() == []


def test_what_is_written_while_the_dump_runs_is_in_it_whole_or_not_at_all(lab, monkeypatch):
    """Two documents that are always equal: of one moment, or the two collections would differ."""
    database, stop = lab.database, threading.Event()
    orders, users = database["orders"], database["users"]

    def write() -> None:
        number = 0
        with database.client.start_session() as session:
            while not stop.is_set():
                number += 1
                with session.start_transaction():
                    orders.insert_one({"_id": f"n{number}"}, session=session)
                    users.insert_one({"_id": f"n{number}"}, session=session)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: orders.count_documents({}) > 200)
        before = orders.count_documents({})
        results = [lab.backup(readers=readers) for readers in (1, 2)]
    finally:
        stop.set()
        writer.join()
    for result in results:
        assert result["state"] == "done", result.get("msg")
        told = lab.manifest(result["read_back"]["key"][len(lab.prefix) :])["collections"]
        assert told[f"{database.name}.orders"]["count"] == told[f"{database.name}.users"]["count"]
    assert orders.count_documents({}) > before, "nothing was written meanwhile"


def test_a_step_down_during_the_dump_is_waited_for(mongo_box, store, monkeypatch):
    service = Service(name="electing", members=3)
    mongo_box.add(service)
    try:
        with backup_lab.backup_lab(service.uri, store.s3, store.facts) as lab:
            majority = lab.database.with_options(write_concern=pymongo.WriteConcern(w=3))
            majority["orders"].insert_many({"_id": n} for n in range(300))
            real, calls = mongo_dump.dump, []

            def dump(*args: Any, **options: Any) -> Any:
                calls.append(args[2].member.name)
                if len(calls) == 1:
                    # the very member that is about to be read dies, and the set elects
                    service.member(int(calls[0].rpartition(":")[2])).kill()
                return real(*args, **options)

            monkeypatch.setattr(mongo_backup, "dump", dump)
            result = lab.backup(read_preference="primary", operation_timeout_seconds=10)
            assert result["state"] == "done", result.get("msg")
            assert result["figures"]["tries"] > 1 and calls[-1] != calls[0]
            (key,) = lab.whole()
            assert lab.manifest(key)["collections"][f"{lab.database.name}.orders"]["count"] == 300
    finally:
        mongo_box.remove("electing")


def test_a_step_down_while_a_secondary_is_read_is_not_noticed(mongo_box, store, monkeypatch):
    service = Service(name="stepping", members=3)
    mongo_box.add(service)
    try:
        with backup_lab.backup_lab(service.uri, store.s3, store.facts) as lab:
            majority = lab.database.with_options(write_concern=pymongo.WriteConcern(w=3))
            majority["orders"].insert_many({"_id": n} for n in range(300))
            real = mongo_dump.dump

            def dump(*args: Any, **options: Any) -> Any:
                try:
                    lab.database.client.admin.command("replSetStepDown", 60, secondaryCatchUpPeriodSecs=30)
                except PyMongoError as error:
                    assert "closed" in str(error) or "step" in str(error).lower(), error
                return real(*args, **options)

            monkeypatch.setattr(mongo_backup, "dump", dump)
            result = lab.backup()
            assert result["state"] == "done", result.get("msg")
            assert len(lab.whole()) == 1
    finally:
        mongo_box.remove("stepping")
