"""What a lock object in S3 says of its age and owner; what it does is in tests/faults/test_s3_lock.py."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pytest
from ansible.module_utils.mendbook import s3_mark
from ansible.module_utils.mendbook.errors import Unknown
from ansible.module_utils.mendbook.s3_lock import S3Lease
from ansible.module_utils.mendbook.s3_lock_object import Seen

MINUTE = dt.timedelta(minutes=1)
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
SINCE = "2026-01-01T11:59:00+00:00"
ENTRY = {"owner": "r1/x", "run": "r1", "holder": "alice", "host": "ops1", "pid": 7, "since": SINCE}


def seen(age_seconds, etag='"1"', **entry):
    return Seen("k", NOON, etag, {**ENTRY, **entry}, age_seconds)


@pytest.mark.parametrize(
    ("found", "held"),
    [
        (seen(0), True),
        (seen(62), True),
        (seen(63), False),
        (seen(-5), True),
        (seen(0, etag=None), False),
        (seen(0, released=True), False),
        (seen(29, seconds=30), True),
        (seen(33, seconds=30), False),
        (seen(500, seconds=600), True),
        (seen(63, seconds=601), False),
        (seen(63, seconds=-1), False),
        (seen(63, seconds="600"), False),
    ],
)
def test_a_lock_is_held_for_its_lease_by_the_clock_of_the_store(found, held):
    assert found.is_held(60) is held


def test_who_holds_it_is_told_as_json_without_the_owner_secret():
    assert seen(22, seconds=60).facts(60) == {
        "run": "r1",
        "holder": "alice",
        "host": "ops1",
        "pid": 7,
        "since": SINCE,
        "remaining_seconds": 40.0,
    }


def test_what_somebody_wrote_into_a_lock_is_fit_for_a_terminal():
    facts = seen(0, run="\x1b[31m", holder=["x"], pid="rm", host="h" * 1000).facts(60)
    assert (facts["run"], facts["holder"], facts["pid"]) == ("\\x1b[31m", "['x']", 0)
    assert len(facts["host"]) < 300


@pytest.mark.parametrize(
    ("found", "until"),
    [
        (seen(20, seconds=60), NOON + dt.timedelta(seconds=40)),
        (seen(20), NOON + dt.timedelta(seconds=40)),
        (seen(20, released=True), NOON - dt.timedelta(seconds=20)),
        (seen(20, released=True, shared=True), NOON),
    ],
)
def test_a_run_can_have_begun_an_upload_while_it_held_the_lock(found, until):
    found.entry["making"] = [{"key": "a.gz", "since": SINCE}, {"key": "b.gz", "since": SINCE, "until": SINCE}]
    own, before = found.making(60)
    since = dt.datetime.fromisoformat(SINCE)
    assert (own.key, own.since, own.until) == ("a.gz", since, until)
    assert (before.key, before.until) == ("b.gz", since)
    assert own.covers("a.gz", since) and own.covers("a.gz", until)
    assert not own.covers("b.gz", since)
    assert not any(own.covers("a.gz", at) for at in (since - MINUTE, until + MINUTE))


@pytest.mark.parametrize(
    "told",
    [
        None,
        7,
        "a.gz",
        {"key": "a.gz"},
        ["a.gz"],
        [None],
        [{"key": "a.gz"}],
        [{"key": "a.gz", "since": 7}],
        [{"key": "a.gz", "since": SINCE, "until": None}],
        [{"key": "a.gz", "since": "2026-01-01"}],
    ],
)
def test_what_somebody_wrote_into_a_lock_makes_nobody_take_an_upload_for_a_dead_runs(told):
    assert seen(0, making=told).making(60) == []


def test_a_lease_that_was_never_taken_is_not_ours():
    client = SimpleNamespace(meta=SimpleNamespace(endpoint_url="https://s3.example.com"))
    with pytest.raises(Unknown, match="s3://b/daily/.*renewed"):
        S3Lease(client, "b", "daily/", "r1").check()


@pytest.mark.parametrize("prefix", ["", "daily/", "shop"])
@pytest.mark.parametrize("owner", [None, "r1-0a"])
def test_a_lock_is_known_by_its_key(prefix, owner):
    assert s3_mark.is_lock(s3_mark.lock_key(prefix, owner))
    assert s3_mark.parse_key(s3_mark.lock_key(prefix, owner)) is None


@pytest.mark.parametrize(
    "key", ["a.mendbook-lock", "mendbook-lock.json", "a.mendbook-lock.json.gz", "x.mendbook-lock.d/y.json"]
)
def test_what_only_looks_like_a_lock_is_an_object(key):
    assert not s3_mark.is_lock(key)
