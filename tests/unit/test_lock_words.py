"""What the lease says; what it does is in tests/faults/test_lock.py, against real servers."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pytest
from ansible.module_utils.mendbook import lock
from ansible.module_utils.mendbook.errors import Unknown

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
ENTRY = {
    "_id": 3,
    "owner": "r1/x",
    "run": "r1",
    "holder": "alice",
    "host": "ops1",
    "pid": 7,
    "since": NOON,
    "until": NOON + dt.timedelta(seconds=20),
}
DATABASE = SimpleNamespace(name="estore")


def test_who_holds_it_is_told_as_json_without_the_owner_secret():
    assert lock._facts(ENTRY, NOON) == {
        "run": "r1",
        "holder": "alice",
        "host": "ops1",
        "pid": 7,
        "since": "2026-01-01T12:00:00+00:00",
        "remaining_seconds": 20.0,
    }


def test_a_lease_that_is_over_has_no_time_left():
    assert lock._facts(ENTRY, NOON + dt.timedelta(hours=1))["remaining_seconds"] == 0


def test_locked_names_run_person_host_and_start():
    error = lock.locked(DATABASE.name, lock._facts(ENTRY, NOON), 30)
    assert error.reason == "locked"
    for word in ("estore", "r1", "alice", "ops1", "2026-01-01T12:00:00"):
        assert word in error.msg


def test_a_lease_that_was_never_taken_is_not_ours():
    with pytest.raises(Unknown, match="renewed"):
        lock.MongoLease(DATABASE, "r1").check()


def test_two_leases_of_one_run_are_two_owners():
    assert lock.MongoLease(DATABASE, "r1").owner != lock.MongoLease(DATABASE, "r1").owner
