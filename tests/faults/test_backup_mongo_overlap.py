"""backup_mongo under prefixes of which one begins with the other: nobody takes the other's work for a dead run's."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.mendbook import mongo_backup, s3_lock, s3_upload
from s3_proxy import Fault

import backup_lab
from backup_lab import BackupLab, noise
from waiting import until

pytestmark = pytest.mark.faults

MADE = "shop-20260101T000000Z.archive.gz"
# the prefix, and the key where it has one, of the run that works, and the prefix of the one that comes meanwhile
OVERLAPS = {
    "longer": ("shop-test-", None, "shop"),
    "shorter": ("", None, "estore_"),
    "a key in a folder": ("", f"daily/{MADE}", "daily/"),
}
DENIED = {"status": 403, "code": "AccessDenied"}


@pytest.fixture
def lab(mongo_box: Any, store: Any, impatient: None) -> Iterator[BackupLab]:
    """Through the proxy."""
    facts = {**store.facts, "endpoint_url": store.proxy.endpoint_url}
    with backup_lab.backup_lab(mongo_box.status()["mongo"]["uri"], store.s3, facts) as lab:
        lab.database["orders"].insert_many({"_id": n} for n in range(50))
        yield lab
        store.proxy.reset()


def hold(lab: BackupLab, prefix: str, **entry: Any) -> None:
    """The lock of a prefix as a run that is at work, or died, has written it."""
    written = {"owner": "r7/x", "run": "r7", "holder": "alice", "host": "ops7", "pid": 7, "seconds": 60, **entry}
    key = f"{lab.prefix}{prefix}.mendbook-lock.json"
    lab.s3.put_object(Bucket=lab.bucket, Key=key, Body=json.dumps(written).encode())


def begin(lab: BackupLab, key: str) -> None:
    """An upload as a run that is at work, or died, has begun it."""
    lab.s3.create_multipart_upload(Bucket=lab.bucket, Key=lab.prefix + key)


def removed(planned: dict[str, Any]) -> int:
    return [change["op"] for change in planned["plan"]["changes"]].count("-")


@pytest.mark.parametrize("end", [0, 1], ids=["before its upload ends", "before its manifest"])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_the_work_of_a_run_under_another_prefix_is_no_debris(lab, monkeypatch, overlap, end):
    # S3 takes no part that is smaller, but the last one
    monkeypatch.setattr(s3_upload, "PART_BYTES", 5 << 20)
    noise(lab.database, 6)
    prefix, key, other = OVERLAPS[overlap]
    first = {"prefix": lab.prefix + prefix, "key": key and lab.prefix + key}
    real, ends, meanwhile = mongo_backup._to_its_end, iter(range(10)), []

    def to_its_end(operation: Any) -> Any:
        if next(ends) == end:
            meanwhile.append(lab.backup(prefix=lab.prefix + other))
        return real(operation)

    monkeypatch.setattr(mongo_backup, "_to_its_end", to_its_end)
    result = lab.backup(**first)
    (second,) = meanwhile
    assert (result["state"], second["state"]) == ("done", "done"), (result.get("msg"), second.get("msg"))
    assert [entry["op"] for entry in second["done"]] == ["+"]
    assert any("is left alone" in note and "run run-1 of" in note for note in second["plan"]["notes"])
    assert len(lab.whole()) == 2 and lab.unfinished() == []


def test_what_a_dead_run_under_a_longer_prefix_has_left_goes_when_its_lease_is_over(lab):
    begin(lab, f"test-{MADE}")
    hold(lab, "test-", seconds=1)
    assert removed(lab.plan()) == 0
    until(lambda: removed(lab.plan()) == 1)
    hold(lab, "test-", released=True)
    assert removed(lab.plan()) == 1
    # of another folder, and of a prefix that the key does not begin with
    hold(lab, "other/")
    hold(lab, "tess")
    assert lab.backup()["state"] == "done" and lab.unfinished() == []


def test_a_run_that_begins_while_the_debris_is_listed_is_seen(lab, store):
    """Its lock is younger than the first listing, and older than its upload."""
    at_work: list[str] = []

    def start() -> None:
        hold(lab, "test-")
        begin(lab, f"test-{MADE}")
        at_work.extend(lab.unfinished())

    planned = lab.plan()
    store.proxy.faults = [Fault("GET .*uploads", times=1, before=start)]
    assert lab.act(planned)["state"] == "done"
    assert lab.unfinished() == at_work != []


@pytest.mark.parametrize("comes", ["its manifest", "another object"])
def test_an_object_that_is_no_debris_any_more_stays(lab, monkeypatch, comes):
    assert lab.backup()["state"] == "done"
    (key,) = lab.whole()
    manifest, body, real = lab.body(f"{key}.manifest.json"), lab.body(key), mongo_backup.dump
    lab.s3.delete_object(Bucket=lab.bucket, Key=f"{lab.prefix}{key}.manifest.json")

    def dump(*args: Any, **options: Any) -> Any:
        name, data = (f"{key}.manifest.json", manifest) if comes == "its manifest" else (key, body[::-1])
        lab.s3.put_object(Bucket=lab.bucket, Key=lab.prefix + name, Body=data)
        return real(*args, **options)

    monkeypatch.setattr(mongo_backup, "dump", dump)
    result = lab.backup()
    assert removed(result) == 1 and result["state"] == "done", result.get("msg")
    (left,) = result["skipped_objects"]
    assert "is another one by now, or has its manifest, and stays" in left["reason"]
    assert lab.body(key) == (body if comes == "its manifest" else body[::-1])


@pytest.mark.parametrize(("since", "until", "goes"), [(-2, -1, False), (-1, 1, True), (1, 2, False)])
def test_an_upload_goes_only_when_a_dead_run_that_named_its_key_can_have_begun_it(lab, since, until, goes):
    now = dt.datetime.now(dt.UTC)
    told = {name: (now + dt.timedelta(hours=n)).isoformat() for name, n in (("since", since), ("until", until))}
    begin(lab, "film.mkv")
    begin(lab, "other.mkv")
    hold(lab, "", released=True, making=[{"key": f"{lab.prefix}film.mkv", **told}])
    assert lab.backup()["state"] == "done"
    assert set(lab.unfinished()) == {f"{lab.prefix}{name}" for name in ["film.mkv", "other.mkv"][goes:]}


def test_a_key_is_remembered_while_what_is_left_of_it_cannot_be_seen_or_removed(lab, store):
    begin(lab, "film.mkv")
    told = {"since": "2000-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}
    hold(lab, "", released=True, making=[{"key": f"{lab.prefix}film.mkv", **told}])
    for fault in (Fault("GET .*uploads", **DENIED), Fault("DELETE .*uploadId", **DENIED)):
        planned = lab.plan()
        store.proxy.faults = [fault]
        assert lab.act(planned)["state"] == "done" and len(lab.unfinished()) == 1
        store.proxy.reset()
    assert lab.backup()["state"] == "done" and lab.unfinished() == []


def test_credentials_that_see_their_own_prefix_alone_clean_up_below_it(lab, store):
    begin(lab, MADE)
    above = [Fault(rf"GET .*prefix={lab.prefix[:end]}\.mendbook", **DENIED) for end in range(len(lab.prefix))]
    planned = lab.plan()
    store.proxy.faults = above
    assert lab.act(planned)["state"] == "done" and lab.unfinished() == []
    assert any("prefix=.mendbook" in request.path for request in store.proxy.requests), "nobody looked above"


def test_a_lock_that_may_be_seen_and_not_read_counts_by_its_age(lab, store):
    begin(lab, f"test-{MADE}")
    hold(lab, "test-")
    planned = lab.plan()
    store.proxy.faults = [Fault(r"GET .*test-\.mendbook-lock\.json", **DENIED)]
    assert lab.act(planned)["state"] == "done" and len(lab.unfinished()) == 1


@pytest.mark.parametrize(
    ("other", "touches"),
    [("", True), ("da", True), ("daily", True), ("daily/test-", True), ("daily/sub/", True), ("weekly/", False)],
)
def test_whose_keys_may_lie_below_a_prefix_is_told_by_their_locks(lab, store, other, touches):
    hold(lab, other)
    hold(lab, "daily/")
    client, prefix = store.client, f"{lab.prefix}daily/"
    found = s3_lock.held_elsewhere(client, lab.bucket, prefix, store.params)
    assert list(found) == ([lab.prefix + other] if touches else [])
    assert all(holder["run"] == "r7" for holder in found.values())
