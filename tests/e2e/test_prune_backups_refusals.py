"""What prune_backups refuses, and that nothing is removed then."""

from __future__ import annotations

import mend_s3_backup_prune
import pytest
from ansible.module_utils.mendbook import s3, s3_lock

from bucket_lab import BucketLab, lab_of, notes, removed, rule, store_time, young
from restore_lab import run_module

pytestmark = pytest.mark.e2e


@pytest.fixture
def lab(sandbox, s3_client, request) -> BucketLab:
    return lab_of(sandbox, s3_client, request.node.name)


def test_more_than_half_at_once_needs_a_word(lab):
    old = [lab.backup(day) for day in range(40, 49)]
    young(lab)
    before = lab.everything()
    refused = lab.act(lab.plan())
    assert rule(refused) == "cap share of the backups" and "max_share" in refused["msg"]
    assert lab.everything() == before
    assert lab.act(lab.plan(max_share=0.6, max_delete=8), max_share=0.6, max_delete=8)["mend"]["reason"] == "refused"
    assert len(removed(lab.prune(max_share=0.6))) == len(old)


def test_nothing_complete_would_remain(lab):
    # only the mark of a dead run, and a backup that was never finished
    lab.mark(lab.unfinished(40))
    with store_time(days=2):
        planned = lab.plan()
        assert rule(planned) == ["remains"]
        assert lab.act(planned)["mend"]["rule"] == "remains"


def test_a_clock_that_is_two_days_off(lab):
    lab.backup(60)
    young(lab)
    for ahead in (2 * 86400, -2 * 86400):
        with store_time(ahead_seconds=ahead):
            planned = lab.plan()
            assert rule(planned) == ["clock"] and "2 d 0 h" in planned["plan"]["refusals"][0]["msg"]
            assert rule(lab.act(planned)) == "clock"


def test_a_latest_that_cannot_be_read(lab):
    lab.backup(60)
    young(lab)
    lab.put(f"{lab.prefix}latest", b'{"key": 7}')
    assert rule(lab.plan()) == ["pointer"]


def test_a_backup_is_made_at_the_same_time(lab):
    old = lab.backup(60)
    young(lab)
    planned = lab.plan()
    client = s3.client({**lab.options})
    with s3_lock.S3Lease(client, lab.bucket, lab.prefix, "20260101T000000Z-bbbbbb"):
        # what backup_mongo has uploaded so far
        half = lab.unfinished(0)
        locked = lab.act(planned)
        assert locked["mend"]["reason"] == "locked" and "20260101T000000Z-bbbbbb" in locked["msg"]
        assert "locked now by run 20260101T000000Z-bbbbbb" in notes(lab.plan())
        assert old in lab.keys()
    assert removed(lab.act(planned)) == [old]
    assert half in lab.keys()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prefix": ""}, "Neither prefix nor pattern says which objects"),
        ({"prefix": "no-such-prefix/"}, "There is no backup under"),
        ({"pattern": "nothing-*"}, "There is no backup under"),
        ({"bucket": "no-such-bucket"}, "there is no bucket no-such-bucket"),
        ({"keep_complete": 0}, "keep_complete must be at least 1"),
        ({"max_age_seconds": 3600}, "max_age_seconds must be at least 86400"),
        ({"unfinished_age_seconds": 86399}, "unfinished_age_seconds must be at least 86400"),
        ({"max_share": 1.1}, "max_share is a share"),
        ({"max_delete": 0}, "max_delete must be at least 1"),
    ],
)
def test_what_selects_nothing_or_cannot_be_meant(lab, options, words):
    young(lab)
    result = lab.plan(**options)
    assert result["rc"] == 1 and words in result["msg"]
    nothing = "There is no" in words or "Neither" in words or "no bucket" in words
    assert (result["mend"]["reason"] == "nothing") is nothing


def test_without_a_receipt_nothing_is_removed(lab):
    lab.backup(60)
    young(lab)
    before = lab.everything()
    refused = run_module(mend_s3_backup_prune, **lab.options, confirm="s3@anything")
    assert rule(refused) == "receipt" and lab.everything() == before


def test_more_than_was_approved_is_not_removed(lab):
    old = [lab.backup(day) for day in (60, 29.9)]
    young(lab)
    planned = lab.plan()
    assert len(planned["plan"]["changes"]) == 1
    with store_time(days=0.2):
        result = lab.act(planned)
        assert result["mend"]["reason"] == "drift" and "were 1 and are now 2" in result["msg"]
        assert set(old) <= set(lab.keys())
        assert len(removed(lab.prune())) == 2
