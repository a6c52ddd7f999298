"""backup_mongo and a store that fails, and clocks that do not agree: no half backup, and words that say what to do."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.mendbook import mongo_backup, s3_clock, s3_upload
from ansible.module_utils.mendbook.s3_backup import CLOCK_TOLERANCE
from s3_proxy import Fault

import backup_lab
from backup_lab import BackupLab, noise

pytestmark = pytest.mark.faults

LAST = "PUT .*partNumber=2"
MANIFEST = r"PUT .*\.manifest\.json"


@pytest.fixture
def lab(mongo_box: Any, store: Any, impatient: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[BackupLab]:
    """Through the proxy, in two parts."""
    monkeypatch.setattr(s3_upload, "PART_BYTES", 5 << 20)
    facts = {**store.facts, "endpoint_url": store.proxy.endpoint_url}
    with backup_lab.backup_lab(mongo_box.status()["mongo"]["uri"], store.s3, facts) as lab:
        noise(lab.database, 6)
        yield lab
        store.proxy.reset()


def act_under(lab: BackupLab, store: Any, *faults: Fault, **options: Any) -> dict[str, Any]:
    """Plan in peace, act under the faults; then there is peace again."""
    planned = lab.plan(**options)
    assert planned["rc"] == 0, planned["msg"]
    store.proxy.faults = list(faults)
    try:
        return lab.act(planned, **options)
    finally:
        store.proxy.reset()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(LAST, status=403, code="AccessDenied"), "s3:PutObject"),
        (Fault(LAST, status=507, code="InsufficientStorage"), "507"),
        (Fault(LAST, status=503, code="ServiceUnavailable"), "503"),
        (Fault("POST .*uploadId", status=403, code="AccessDenied"), "s3:PutObject"),
        (Fault("POST .*uploads", status=400, code="InvalidStorageClass"), "storage class"),
    ],
)
def test_a_store_that_takes_no_more_leaves_nothing(lab, store, fault, words):
    result = act_under(lab, store, fault)
    assert (result["rc"], result["changed"], result["state"]) == (1, False, "failed (nothing changed)")
    assert words in result["msg"], result["msg"]
    assert lab.keys() == [] and lab.unfinished() == []
    assert lab.backup()["state"] == "done" and lab.clean()


def test_credentials_that_expire_at_half_leave_parts_that_the_next_run_removes(lab, store):
    expired = Fault(rf"({LAST}|DELETE )", status=400, code="ExpiredToken")
    result = act_under(lab, store, expired)
    assert (result["rc"], result["changed"]) == (1, False) and "have expired" in result["msg"], result["msg"]
    assert lab.keys() == [] and len(lab.unfinished()) == 1 and lab.whole() == []
    planned = lab.plan()
    assert [change["op"] for change in planned["plan"]["changes"]] == ["-", "+"]
    assert "unfinished upload of" in planned["plan"]["changes"][0]["object"]
    assert lab.act(planned)["state"] == "done" and lab.clean()


def test_parts_that_may_not_be_removed_do_not_stop_the_backup(lab, store):
    store.s3.create_multipart_upload(Bucket=lab.bucket, Key=f"{lab.prefix}estore-20260101T000000Z.archive.gz")
    result = act_under(lab, store, Fault("DELETE .*uploadId", status=403, code="AccessDenied"))
    assert result["state"] == "done" and len(lab.whole()) == 1
    (left,) = result["skipped_objects"]
    assert "s3:AbortMultipartUpload" in left["reason"]
    assert lab.backup()["state"] == "done" and lab.clean()


def test_credentials_that_may_only_add_are_enough(lab, store):
    denied = [
        Fault("DELETE ", status=403, code="AccessDenied"),
        Fault(r"GET .*versions", status=403, code="AccessDenied"),
    ]
    for _backup in range(2):
        result = act_under(lab, store, *denied, latest=True)
        assert result["state"] == "done" and result["skipped_objects"] == [], result.get("msg")
    assert len(lab.whole()) == 2 and lab.clean("latest")
    lab.plan()
    assert not [request for request in store.proxy.requests if request.method not in ("GET", "HEAD")], "a plan writes"


def test_uploads_of_others_below_the_same_prefix_stay(lab, store):
    key = f"{lab.prefix}film.mkv"
    upload = store.s3.create_multipart_upload(Bucket=lab.bucket, Key=key)["UploadId"]
    deeper = f"{lab.prefix}sub/estore-20260101T000000Z.archive.gz"
    other = store.s3.create_multipart_upload(Bucket=lab.bucket, Key=deeper)["UploadId"]
    assert lab.backup()["state"] == "done"
    assert set(lab.unfinished()) == {key, deeper}
    store.s3.abort_multipart_upload(Bucket=lab.bucket, Key=key, UploadId=upload)
    store.s3.abort_multipart_upload(Bucket=lab.bucket, Key=deeper, UploadId=other)


def test_a_manifest_that_is_refused_takes_the_object_with_it(lab, store):
    result = act_under(lab, store, Fault(MANIFEST, status=403, code="AccessDenied"))
    assert (result["rc"], result["changed"], result["state"]) == (1, False, "failed (nothing changed)")
    assert "manifest.json" in result["msg"] and "s3:PutObject" in result["msg"]
    assert lab.keys() == []


def test_an_object_that_cannot_be_removed_again_is_named_and_is_no_backup(lab, store):
    denied = [Fault(MANIFEST, status=403, code="AccessDenied"), Fault("DELETE ", status=403, code="AccessDenied")]
    result = act_under(lab, store, *denied)
    assert (result["rc"], result["state"], result["mend"]["reason"]) == (1, "partial", "partial")
    (key,) = lab.keys()
    assert lab.prefix + key in result["msg"] and "no backup" in result["msg"] and "s3:DeleteObject" in result["msg"]
    assert lab.whole() == []
    # with credentials that may only add, the next backup is as good, and says what it could not remove
    planned = lab.plan()
    store.proxy.faults = [Fault("DELETE ", status=403, code="AccessDenied")]
    result = lab.act(planned)
    assert result["state"] == "done" and len(result["skipped_objects"]) == 1
    assert len(lab.whole()) == 1 and key in lab.keys()
    store.proxy.reset()
    assert lab.backup()["state"] == "done" and lab.clean()


def test_a_manifest_whose_answers_get_lost_is_found_and_the_backup_done(lab, store):
    result = act_under(lab, store, Fault(MANIFEST, times=1, lose_answer=True))
    assert result["state"] == "done", result.get("msg")
    assert lab.clean() and len(lab.whole()) == 1


def test_a_pointer_that_cannot_be_moved_leaves_a_whole_backup_and_says_partial(lab, store):
    assert lab.backup(latest=True)["state"] == "done"
    before = json.loads(lab.body("latest"))
    result = act_under(lab, store, Fault("PUT .*latest", status=403, code="AccessDenied"), latest=True)
    assert (result["state"], result["mend"]["reason"], result["changed"]) == ("partial", "partial", True)
    assert len(lab.whole()) == 2 and json.loads(lab.body("latest")) == before


@pytest.mark.parametrize("what", ["the object", "the manifest"])
def test_what_is_replaced_at_once_by_somebody_else_is_found_by_reading_back(lab, store, what):
    def replace() -> None:
        key = next(key for key in lab.keys() if key.endswith(".gz"))
        if what == "the manifest":
            manifest = {**lab.manifest(key), "tool": "somebody else"}
            body, key = json.dumps(manifest).encode(), f"{key}.manifest.json"
        else:
            body = b"x" * 100
        store.s3.put_object(Bucket=lab.bucket, Key=lab.prefix + key, Body=body)

    # the first listing after the manifest is the one that reads back
    moved = Fault("PUT .*latest", times=1, before=replace)
    result = act_under(lab, store, moved, latest=True)
    assert (result["rc"], result["mend"]["reason"], result["mend"]["rule"]) == (1, "verify", "read_back"), result["msg"]


def test_a_byte_that_flips_in_the_store_is_found_by_reading_every_byte(lab, store):
    flipped = Fault(r"GET .*archive\.gz( |$)", flip_at=1 << 20)
    assert act_under(lab, store, flipped)["state"] == "done"
    result = act_under(lab, store, flipped, verify=True)
    assert (result["rc"], result["mend"]["reason"]) == (1, "verify") and "damaged" in result["msg"]


@pytest.mark.parametrize("days", [2, -2])
def test_a_clock_that_is_wrong_by_days_makes_a_good_backup(lab, monkeypatch, days):
    """The machine's clock, as far as mendbook asks it; boto signs by its own, which this store believes."""
    wrong = dt.timedelta(days=days)

    class Shifted(s3_clock.StoreClock):
        def __init__(self, date: str) -> None:
            super().__init__(date, now=dt.datetime.now(dt.UTC) + wrong)

    monkeypatch.setattr(s3_clock, "StoreClock", Shifted)
    result = lab.backup()
    assert result["state"] == "done", result.get("msg")
    assert any("the clock of this machine is 2 d 0 h" in note for note in result["plan"]["notes"])
    (backup,) = lab.found().backups
    assert backup.complete is True
    written = lab.s3.head_object(Bucket=lab.bucket, Key=backup.key)["LastModified"]
    assert abs(backup.finished - written) < CLOCK_TOLERANCE
    assert f"{written:%Y%m%d}" in backup.key or f"{written - dt.timedelta(minutes=1):%Y%m%d}" in backup.key


def test_term_during_the_dump_leaves_nothing_and_frees_the_lock(lab, store, monkeypatch):
    planned = lab.plan()
    real = mongo_backup.dump

    def interrupted(*args: Any, **options: Any) -> Any:
        told = options["progress"]

        def progress(documents: int, size: int) -> None:
            told(documents, size)
            if size > 5 << 20:
                os.kill(os.getpid(), signal.SIGTERM)

        return real(*args, **{**options, "progress": progress})

    monkeypatch.setattr(mongo_backup, "dump", interrupted)
    result = lab.act(planned)
    assert (result["rc"], result["changed"]) == (1, False) and "SIGTERM" in result["msg"], result["msg"]
    assert lab.keys() == [] and lab.unfinished() == []
    monkeypatch.undo()
    assert lab.backup()["state"] == "done" and lab.clean()


def test_term_while_the_manifest_is_written_comes_too_late(lab, store):
    result = act_under(lab, store, Fault(MANIFEST, times=1, before=lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert result["state"] == "done", result.get("msg")
    assert lab.clean() and len(lab.whole()) == 1


def test_term_while_the_object_is_made_takes_it_back(lab, store):
    made = Fault("POST .*uploadId", times=1, before=lambda: os.kill(os.getpid(), signal.SIGTERM))
    result = act_under(lab, store, made)
    assert (result["rc"], result["changed"]) == (1, False) and "SIGTERM" in result["msg"], result["msg"]
    assert lab.keys() == [] and lab.unfinished() == []


def test_a_lock_that_is_lost_during_the_dump_stops_before_anything_is_there(lab, store, monkeypatch):
    real = mongo_backup.dump

    def stolen(*args: Any, **options: Any) -> Any:
        # another run has taken it over, as after a pause of this machine, and the next renewal finds out
        lab.s3.put_object(
            Bucket=lab.bucket,
            Key=f"{lab.prefix}.mendbook-lock.json",
            Body=json.dumps({"owner": "other/1", "run": "other", "host": "elsewhere", "seconds": 60}).encode(),
        )
        made = real(*args, **options)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not lost():
            time.sleep(0.05)
        return made

    def lost() -> bool:
        return backups[-1]._lease._lost is not None

    backups: list[Any] = []
    begin = mongo_backup.Backup.__init__

    def remember(self: Any, params: Any) -> None:
        begin(self, params)
        backups.append(self)

    # renewed every 4 s, and lost by a machine that stands still for 11 s
    monkeypatch.setattr(mongo_backup.s3_lock, "SECONDS", 12)
    monkeypatch.setattr(mongo_backup.s3_lock.S3Lease.__init__, "__defaults__", (12,))
    monkeypatch.setattr(mongo_backup.Backup, "__init__", remember)
    monkeypatch.setattr(mongo_backup, "dump", stolen)
    result = lab.backup()
    assert (result["rc"], result["changed"], result["mend"]["rule"]) == (1, False, "lock_lost"), result["msg"]
    assert "run other on elsewhere" in result["msg"]
    assert lab.keys() == [] and lab.unfinished() == []
