"""Names of the marks beside a backup."""

from __future__ import annotations

import datetime

import pytest
from ansible.module_utils.mendbook import s3_mark
from ansible.module_utils.mendbook.s3_backup import Entry

RUN = "20261120T000000Z-0a1b2c"


@pytest.mark.parametrize("key", ["a", "mongo/estore.archive.gz", "new\nline", "x.drill.y", f"a.inuse.{RUN}.json"])
@pytest.mark.parametrize("kind", [s3_mark.IN_USE, s3_mark.DRILL])
def test_a_marks_key_names_its_object_again(key, kind):
    assert s3_mark.parse_key(s3_mark.mark_key(key, kind, RUN)) == (key, kind, RUN)


@pytest.mark.parametrize(
    "key",
    ["a.gz", "estore.drill.archive.gz", "a.inuse.json", f"a.inuse.{RUN}", f".inuse.{RUN}.json", f"a.lock.{RUN}.json"],
)
def test_what_only_looks_like_a_mark_is_an_object(key):
    assert s3_mark.parse_key(key) is None


def at(hours, key="a.gz", run=RUN, **more):
    now = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)
    written = now - datetime.timedelta(hours=hours)
    return Entry(s3_mark.mark_key(key, s3_mark.IN_USE, run), None, "etag", 1, written, **more), now


@pytest.mark.parametrize(("hours", "in_force"), [(0, True), (5.99, True), (6, False), (48, False), (-48, True)])
def test_a_mark_is_in_force_for_six_hours_of_the_stores_clock(hours, in_force):
    entry, now = at(hours)
    assert s3_mark.users([entry], now) == ({"a.gz": RUN} if in_force else {})


@pytest.mark.parametrize("changed", [{"current": False}, {"deleted": datetime.datetime.now(datetime.UTC)}])
def test_a_mark_that_was_taken_away_is_not_in_force(changed):
    entry, now = at(1, **changed)
    assert s3_mark.users([entry], now) == {}


def test_one_of_two_runs_is_enough_and_a_drills_record_is_no_mark():
    (old, now), (new, _) = at(10), at(1, run="20261120T110000Z-0a1b2c")
    record = Entry(s3_mark.mark_key("b.gz", s3_mark.DRILL, RUN), None, "etag", 1, now)
    assert s3_mark.users([new, old, record], now) == {"a.gz": "20261120T110000Z-0a1b2c"}
