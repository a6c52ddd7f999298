"""restore_mongo and a store that fails: S3 that refuses, stalls, lies, or changes under the reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from ansible.module_utils.mendbook import s3, s3_stream
from s3_proxy import Fault

from restore_lab import Lab, archive_of, noisy, unchanged

pytestmark = pytest.mark.faults

YEARS = 10 * 366 * 86400


@pytest.fixture
def stored(lab: Lab, store: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The options that lead to a good backup in S3, through the proxy, in parts that are small enough to be several."""
    small = partial(s3_stream.object_source, part_bytes=32 << 10, window=2)
    monkeypatch.setattr(s3_stream, "object_source", small)
    prefix = f"restore/{uuid4().hex[:8]}/"
    store.put(f"{prefix}estore.archive", archive_of("estore", {"orders": noisy(150)}))
    store.proxy.requests.clear()
    yield {
        **{name: value for name, value in store.params.items() if value is not None},
        "bucket": store.bucket,
        "prefix": prefix,
        "key": f"{prefix}estore.archive",
        "max_age_seconds": YEARS,
    }
    store.proxy.reset()


def test_a_backup_in_the_store_is_restored(lab, store, stored):
    assert lab.restore(**stored)["state"] == "done"
    assert len(lab.documents("orders")) == 150
    assert sum("estore.archive" in request.path for request in store.proxy.requests) > 5, "not in parts"


@pytest.mark.parametrize(
    ("options", "reason", "words"),
    [
        ({"key": "restore/none.archive"}, "nothing", "none.archive"),
        ({"bucket": "no-such-bucket"}, "nothing", "no-such-bucket"),
        ({"key": None, "latest": True}, "nothing", "latest"),
        ({"key": None, "prefix": "empty/"}, "nothing", "Check bucket and prefix"),
        ({"key": None, "at": "2001-01-01T00:00:00Z"}, "nothing", "2001-01-01"),
        ({"s3_secret_key": "wrong" * 8}, None, "s3_secret_key"),
        ({"s3_endpoint_url": "http://127.0.0.1:9"}, None, "127.0.0.1:9"),
    ],
)
def test_a_backup_that_cannot_be_had_is_named(lab, stored, options, reason, words):
    with unchanged(lab):
        result = lab.restore(**{**stored, **options})
    assert (result["rc"], result["changed"], result["mend"]["reason"]) == (1, False, reason)
    assert words in result["msg"], result["msg"]
    assert "wrongwrong" not in json.dumps(result)


def test_a_store_that_says_no_is_believed_and_the_permission_named(lab, store, stored):
    store.proxy.faults = [Fault("GET .*estore.archive( |$)", status=403, code="AccessDenied")]
    with unchanged(lab):
        result = lab.restore(**stored)
    assert result["rc"] == 1 and "s3:GetObject" in result["msg"]


def test_three_times_503_is_only_a_delay(lab, store, stored):
    store.proxy.faults = [Fault(r"GET .*estore.archive( |$)", times=3, status=503)]
    result = lab.restore(**stored)
    assert result["state"] == "done", result["msg"]
    assert store.proxy.faults[0].times == 0


def test_503_for_ever_ends_with_the_store_named(lab, store, stored, monkeypatch):
    planned = lab.plan(**stored)
    monkeypatch.setattr(s3_stream, "object_source", partial(s3_stream.object_source, patience_seconds=4))
    store.proxy.faults = [Fault(r"GET .*estore.archive( |$)", status=503)]
    with unchanged(lab):
        result = lab.act(planned, **stored)
    assert (result["rc"], result["changed"], result["mend"]["rule"]) == (1, False, "s3")
    assert "503" in result["msg"] or "SlowDown" in result["msg"], result["msg"]


def test_a_stall_at_half_is_resumed_by_range_and_not_from_the_start(lab, store, stored, record_fault, monkeypatch):
    planned = lab.plan(**stored)
    # what follows the deadline is what is tested
    monkeypatch.setitem(s3._LIMITS, "read_timeout", 1)
    store.proxy.requests.clear()
    store.proxy.faults = [Fault(r"GET .*estore.archive( |$)", times=1, stall_at=5000)]
    result = lab.act(planned, **stored)
    assert result["state"] == "done", result["msg"]
    starts = [one.start for one in store.proxy.requests if one.method == "GET" and "estore.archive" in one.path]
    assert store.proxy.faults[0].times == 0 and 5000 in [start % (32 << 10) for start in starts if start is not None]
    assert len(lab.documents("orders")) == 150
    record_fault("S3 stalls while a restore reads", rounds=1, held="resumed at the byte where it stopped")


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(lab, store, stored):
    other = archive_of("estore", {"orders": noisy(149)})
    planned = lab.plan(**stored)

    def replace() -> None:
        store.s3.put_object(Bucket=store.bucket, Key=stored["key"], Body=other)

    gets = rf"GET .*{stored['key']}( |$)"
    store.proxy.faults = [Fault(gets, times=3), Fault(gets, times=1, before=replace)]
    with unchanged(lab):
        result = lab.act(planned, **stored)
    assert result["rc"] == 1 and "replaced" in result["msg"], result["msg"]
    assert store.proxy.faults[1].times == 0, "it was never replaced"


def test_an_object_that_was_replaced_since_the_plan_is_drift(lab, store, stored):
    planned = lab.plan(**stored)
    store.put(stored["key"], archive_of("estore", {"orders": noisy(3)}))
    with unchanged(lab):
        result = lab.act(planned, **stored)
    assert (result["mend"]["reason"], result["state"]) == ("drift", "refused")


@pytest.mark.parametrize("manifest", [True, False])
def test_a_bit_that_flips_on_the_way_is_found(lab, store, stored, manifest):
    key = stored["key"]
    data = archive_of("estore", {"orders": noisy(150)})
    if not manifest:
        store.s3.delete_object(Bucket=store.bucket, Key=f"{key}.manifest.json")
    planned = lab.plan(**stored)
    store.proxy.faults = [Fault(rf"GET .*{key}( |$)", flip_at=len(data) // 2)]
    with unchanged(lab):
        result = lab.act(planned, **stored)
    assert (result["rc"], result["changed"]) == (1, False)
    assert "damaged" in result["msg"]


@pytest.mark.parametrize(("lie", "rule"), [({"size": 5}, "incomplete"), ({"sha256": "0" * 64}, "checksum")])
def test_an_object_that_is_not_what_its_manifest_says_is_not_restored(lab, store, stored, lie, rule):
    store.put(stored["key"], archive_of("estore", {"orders": noisy(150)}), **lie)
    with unchanged(lab):
        result = lab.restore(**stored)
    assert (result["rc"], result["changed"], result["mend"]["rule"]) == (1, False, rule), result["msg"]
