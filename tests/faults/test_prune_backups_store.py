"""prune_backups told no by S3, or overtaken by a writer or a reader."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from ansible.module_utils.mendbook import s3, s3_lock
from ansible.module_utils.mendbook.errors import Unknown
from ansible.module_utils.mendbook.s3_in_use import in_use
from botocore.exceptions import ConnectionClosedError
from s3_proxy import Fault

from bucket_lab import BucketLab, store_time

pytestmark = pytest.mark.faults

FEW = {"keep_complete": 1, "max_share": 1.0}


@pytest.fixture
def lab(store) -> BucketLab:
    """Old and young backups, reached through the proxy."""
    facts = {**store.facts, "endpoint_url": store.proxy.endpoint_url}
    lab = BucketLab(store.s3, facts, store.bucket, f"{uuid.uuid4().hex[:8]}/")
    lab.options.update(FEW)
    return lab


@pytest.fixture
def old(lab) -> list[str]:
    """Three that go, the oldest first, and two that stay."""
    keys = [lab.backup(day) for day in (60, 50, 40)]
    lab.backup(1.1)
    lab.backup(0.1)
    return keys


def names(entries):
    return [entry["object"] for entry in entries]


def delete_of(key):
    return f"DELETE .*/{key}( |$|[?])"


# -- told no


def test_one_that_may_not_be_deleted_leaves_the_others_deleted_and_is_named(store, lab, old):
    store.proxy.faults = [Fault(delete_of(old[1]), status=403, code="AccessDenied")]
    result = lab.prune()
    assert result["mend"]["reason"] == "partial" and result["state"] == "partial"
    assert "1 of 3 could not be removed" in result["msg"] and "s3:DeleteObject" in result["msg"]
    assert names(result["done"]) == [old[0], old[2]]
    assert names(result["skipped_objects"]) == [old[1]]
    assert [key for key in old if key in lab.keys()] == [old[1]]
    store.proxy.reset()
    assert names(lab.prune()["done"]) == [old[1]]


def test_none_may_be_deleted_is_a_failure_that_changed_nothing(store, lab, old):
    before = lab.everything()
    store.proxy.faults = [Fault("DELETE ", status=403, code="AccessDenied")]
    result = lab.prune()
    assert result["state"] == "failed (nothing changed)" and not result["changed"]
    assert "The credentials need s3:DeleteObject" in result["msg"]
    assert lab.everything() == before


def test_a_manifest_that_may_not_be_deleted_is_said_and_goes_with_the_next_run(store, lab, old):
    store.proxy.faults = [Fault(delete_of(f"{old[0]}.manifest.json"), status=403, code="AccessDenied")]
    result = lab.prune()
    assert result["state"] == "partial"
    assert [entry.get("left", "")[:13] for entry in result["done"]] == ["Cannot delete", "", ""]
    assert f"{old[0]}.manifest.json" in lab.keys() and old[0] not in lab.keys()
    store.proxy.reset()
    with store_time(days=1.1):
        lab.backup(-0.002)
        assert names(lab.prune()["done"]) == [old[0]]
    assert f"{old[0]}.manifest.json" not in lab.keys()


def test_busy_is_waited_for_and_broken_ends_the_run_with_what_was_done(store, lab, old, monkeypatch):
    store.proxy.faults = [Fault(delete_of(old[0]), status=503, times=2)]
    store.proxy.faults += [Fault(delete_of(old[1]), status=503)]
    # enough tries for the first one, however long they take
    monkeypatch.setattr(s3, "Patience", lambda *a, **k: _PATIENCE(1.5, least_tries=4))
    result = lab.prune()
    assert result["mend"]["reason"] == "partial" and "stopped after 1 of 3" in result["msg"]
    assert names(result["done"]) == [old[0]]
    assert [key for key in old if key in lab.keys()] == old[1:]


_PATIENCE = s3.Patience


def test_a_store_without_conditional_deletes_is_pruned_all_the_same(store, lab, old):
    store.proxy.faults = [Fault("DELETE ", status=501, code="NotImplemented", times=1)]
    assert names(lab.prune()["done"]) == old


def test_a_deletion_whose_answer_got_lost_is_done(lab, old, monkeypatch):
    made = s3.client

    def losing(params: dict[str, Any]) -> Any:
        client = made(params)
        delete, lost = client.delete_object, []

        def once(**arguments: Any) -> Any:
            answer = delete(**arguments)
            if arguments["Key"] not in lost:
                lost.append(arguments["Key"])
                raise ConnectionClosedError(endpoint_url="http://localhost")
            return answer

        client.delete_object = once
        return client

    monkeypatch.setattr(s3, "client", losing)
    result = lab.prune()
    assert result["state"] == "done" and names(result["done"]) == old and not result["skipped_objects"]


def test_a_second_factor_and_versions_that_cannot_be_seen_are_refused_in_words(store, lab):
    lab.bucket = lab.options["bucket"] = f"versions-{uuid.uuid4().hex[:8]}"
    store.s3.create_bucket(Bucket=lab.bucket)
    store.s3.put_bucket_versioning(Bucket=lab.bucket, VersioningConfiguration={"Status": "Enabled"})
    for day in (60, 1):
        lab.backup(day)
    said = b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>"
    store.proxy.faults = [Fault("GET .*[?]versioning", body=said)]
    assert [entry["rule"] for entry in lab.plan(versions=True)["plan"]["refusals"]] == ["mfa"]
    assert lab.plan()["plan"]["refusals"] == []
    store.proxy.faults = [Fault("GET .*[?&]versions", status=403, code="AccessDenied")]
    assert [entry["rule"] for entry in lab.plan(versions=True)["plan"]["refusals"]] == ["versions"]
    hidden = lab.plan()
    assert hidden["plan"]["refusals"] == [] and hidden["plan"]["totals"]["bytes"] == 0
    store.proxy.faults = [Fault("GET .*[?]versioning", status=403, code="AccessDenied")]
    assert lab.plan(versions=True)["plan"]["totals"]["bytes"] > 0


def test_records_that_may_not_be_read_stop_it_because_nobody_knows_what_they_prove(store, lab, old):
    lab.drill(old[0])
    store.proxy.faults = [Fault(r"GET .*[.]drill[.]", status=403, code="AccessDenied")]
    result = lab.plan()
    assert result["rc"] == 1 and "Cannot read" in result["msg"]


# -- overtaken


def test_a_mark_that_appears_after_the_plan_keeps_its_backup(lab, old):
    planned = lab.plan()
    lab.mark(old[1])
    result = lab.act(planned)
    assert result["state"] == "done" and names(result["done"]) == [old[0], old[2]]
    assert old[1] in lab.keys()


def test_what_a_restore_reads_stays_until_it_has_read_it(lab, old):
    client = s3.client(lab.options)
    planned = lab.plan()
    with in_use(client, lab.bucket, old[1], "20260101T000000Z-cccccc", pytest.fail):
        result = lab.act(planned)
        assert names(result["done"]) == [old[0], old[2]]
        assert any("run 20260101T000000Z-cccccc reads it now" in note for note in result["plan"]["notes"])
    assert names(lab.prune()["done"]) == [old[1]]


def test_a_mark_that_appears_while_another_backup_is_removed_keeps_its_own(store, lab, old):
    store.proxy.faults = [Fault(delete_of(old[0]), times=1, before=lambda: lab.mark(old[2]) and None)]
    result = lab.prune()
    assert names(result["done"]) == old[:2]
    (skipped,) = result["skipped_objects"]
    assert skipped["object"] == old[2] and "reads it now" in skipped["reason"]
    assert old[2] in lab.keys() and f"{old[2]}.manifest.json" in lab.keys()


@pytest.mark.parametrize("moment", ["before it is looked at again", "before it is deleted"])
def test_an_object_that_is_replaced_meanwhile_stays(store, lab, old, moment):
    def replace() -> None:
        lab.put(old[1], b"somebody else's")

    match = delete_of(old[0]) if "looked" in moment else delete_of(old[1])
    store.proxy.faults = [Fault(match, times=1, before=replace)]
    result = lab.prune()
    assert names(result["done"]) == [old[0], old[2]]
    assert "replaced" in result["skipped_objects"][0]["reason"]
    assert store.s3.get_object(Bucket=lab.bucket, Key=old[1])["Body"].read() == b"somebody else's"
    assert f"{old[1]}.manifest.json" in lab.keys()


def test_one_that_somebody_else_has_removed_is_skipped(store, lab, old):
    def remove() -> None:
        for key in (old[1], f"{old[1]}.manifest.json"):
            store.s3.delete_object(Bucket=lab.bucket, Key=key)

    store.proxy.faults = [Fault(delete_of(old[0]), times=1, before=remove)]
    result = lab.prune()
    assert result["state"] == "done" and names(result["done"]) == [old[0], old[2]]
    assert "gone already" in result["skipped_objects"][0]["reason"]


def test_that_what_was_to_stay_is_gone_is_found_when_it_is_read_back(store, lab, old):
    young = next(key for key in lab.keys() if key not in old and key.endswith(".gz"))
    remove = [
        Fault(delete_of(old[2]), times=1, before=lambda: store.s3.delete_object(Bucket=lab.bucket, Key=young) and None)
    ]
    store.proxy.faults = remove
    result = lab.prune()
    assert result["mend"]["reason"] == "verify" and f"{young} was to stay" in result["msg"]


def test_a_run_that_loses_its_lock_stops(lab, old, monkeypatch):
    checks = []

    def check(self: Any) -> None:
        checks.append(1)
        if len(checks) > 1:
            raise Unknown("lost the lock", rule="lock_lost")

    monkeypatch.setattr(s3_lock.S3Lease, "check", check)
    result = lab.prune()
    assert result["mend"]["rule"] == "lock_lost" and names(result["done"]) == [old[0]]
    assert [key for key in old if key in lab.keys()] == old[1:]
