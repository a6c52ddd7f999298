from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from ansible.module_utils.mendbook import plan as plans
from ansible.module_utils.mendbook.guard import needs_confirmation
from ansible.module_utils.mendbook.mongo_backup_debris import Debris
from ansible.module_utils.mendbook.mongo_backup_plan import Observed, backup_plan, backup_seconds
from ansible.module_utils.mendbook.mongo_dump_member import Choice
from ansible.module_utils.mendbook.mongo_dump_survey import Survey, Surveyed
from ansible.module_utils.mendbook.plan_text import plan_lines

PARAMS = {
    "database": "estore",
    "key": None,
    "latest": False,
    "consistency": "snapshot",
    "users_and_roles": False,
    "max_bytes_per_second": 0,
}
PREVIOUS = {"key": "daily/a.gz", "finished": "2026-11-19T00:00:11Z", "size_bytes": 70_000_000, "seconds": 30.0}
SOURCE = {
    "id": "rs0@db1:27017/estore",
    "address": "db1:27017",
    "version": "6.0.5",
    "identity": {"kind": "replica_set", "set": "rs0", "hosts": ["db1:27017"]},
}
STALE = Debris("daily/b.gz", "unfinished upload of daily/b.gz", upload_id="1")


def surveyed(name: str = "orders", size: int = 400_000_000, **options: Any) -> Surveyed:
    return Surveyed(name, "collection", options, [], UUID(int=1), name, size, 1000, {})


def survey(*collections: Surveyed, **changed: Any) -> Survey:
    fields = {
        "database": "estore",
        "server_version": "6.0.5",
        "member": Choice(("db2", 27017), "secondary", 0.0, "a secondary, 0 s behind"),
        "collections": {one.name: one for one in collections or [surveyed()]},
        "users_and_roles": False,
        "time_fields": {},
        "consistency": "snapshot",
        "no_snapshot": None,
        "window_seconds": 300,
        "bytes_per_second": 40_000_000,
        "measured": False,
    }
    return Survey(**{**fields, **changed})


def seen(**changed: Any) -> Observed:
    fields = {
        "store": {"endpoint": "http://s3:9000", "bucket": "b", "prefix": "daily/"},
        "key": "daily/estore-20261120T000003Z.archive.gz",
        "taken": False,
        "source": SOURCE,
        "survey": survey(),
        "previous": None,
        "debris": [],
        "pointer": None,
        "holder": None,
        "clock": None,
        "notes": [],
    }
    return Observed(**{**fields, **changed})


def planned(params: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    return backup_plan(seen(**changed), {**PARAMS, **(params or {})})


def refused(params: dict[str, Any] | None = None, **changed: Any) -> list[str]:
    return [entry["rule"] for entry in planned(params, **changed)["refusals"]]


def noted(words: str, params: dict[str, Any] | None = None, **changed: Any) -> bool:
    return any(words in note for note in planned(params, **changed)["notes"])


def test_a_backup_is_one_new_object_and_needs_no_confirmation():
    plan = planned()
    (change,) = plan["changes"]
    assert (change["op"], change["object"]) == ("+", "s3://b/daily/estore-20261120T000003Z.archive.gz")
    assert (change["count"], change["bytes"]) == (1000, 100_000_000)
    assert plan["target"]["id"] == "s3://b/daily/" and plan["source"]["name"] == SOURCE["id"]
    assert plan["risk"] == "changes" and not needs_confirmation(plan) and plan["refusals"] == []


def test_the_last_backup_says_how_large_and_how_long_the_next_will_be():
    plan = planned(previous=PREVIOUS)
    assert (plan["changes"][-1]["bytes"], plan["expected_seconds"]) == (70_000_000, 30)
    assert noted("the last one is of 2026-11-19T00:00:11Z, 70.0 MB, in 30 s: daily/a.gz", previous=PREVIOUS)
    assert noted("in 3 min: daily/a.gz", previous={**PREVIOUS, "seconds": 180.4})
    # its manifest may not say when it was begun
    assert planned(previous={**PREVIOUS, "seconds": None})["expected_seconds"] == 10


@pytest.mark.parametrize(
    ("rate", "previous", "seconds"),
    [(0, None, 10), (1_000_000, None, 400), (1_000_000, PREVIOUS, 400), (10**9, None, 10)],
)
def test_a_rate_makes_a_backup_longer_and_never_shorter(rate, previous, seconds):
    assert backup_seconds(survey(), previous, {**PARAMS, "max_bytes_per_second": rate}) == seconds


def test_what_is_longer_than_the_servers_history_is_refused_with_parameter_and_value():
    (refusal,) = planned({"max_bytes_per_second": 1_000_000})["refusals"]
    assert (refusal["rule"], refusal["value"], refusal["limit"]) == ("window", 400, 300)
    assert "minSnapshotHistoryWindowInSeconds: " in refusal["override"]
    assert "per_collection" in refusal["override"]


@pytest.mark.parametrize(
    ("found", "params", "rules"),
    [
        ({}, {"consistency": "per_collection"}, []),
        ({"consistency": "per_collection", "no_snapshot": "a standalone"}, {}, []),
        ({"window_seconds": None}, {}, []),
        ({"window_seconds": 10_000}, {}, []),
        ({}, {}, ["window"]),
    ],
)
def test_the_window_counts_for_a_snapshot_only(found, params, rules):
    assert refused({"max_bytes_per_second": 1_000_000, **params}, survey=survey(**found)) == rules


@pytest.mark.parametrize(
    ("changed", "params", "rule"),
    [
        ({"taken": True}, {}, "key"),
        ({"pointer": {"foreign": "it is a dump"}}, {"latest": True}, "latest"),
    ],
)
def test_what_speaks_against_a_backup_is_refused_by_its_rule(changed, params, rule):
    assert refused(params, **changed) == [rule]


def test_a_dump_that_is_named_latest_is_in_nobodys_way_when_no_pointer_is_asked_for():
    assert refused(pointer={"foreign": "it is a dump"}) == []


def test_latest_is_moved_from_what_it_named():
    changes = planned({"latest": True}, pointer={"key": "daily/a.gz"}, debris=[STALE])["changes"]
    assert [change["op"] for change in changes] == ["-", "+", "~"]
    assert (changes[-1]["object"], changes[-1]["before"]) == ("s3://b/daily/latest", "daily/a.gz")
    assert planned({"latest": True})["changes"][-1]["op"] == "+"


def test_what_is_not_of_one_moment_is_said():
    alone = survey(consistency="per_collection", no_snapshot="a standalone server has no history")
    assert noted("a standalone server has no history", survey=alone)
    assert noted("not all of one moment", {"consistency": "per_collection"})
    assert noted("not of that moment: audit, which no snapshot can hold", survey=survey(surveyed("audit", capped=True)))
    assert planned({"consistency": "per_collection"})["source"]["consistency"] == "per_collection"
    assert planned(survey=alone)["source"]["consistency"] == "per_collection"


def test_users_and_roles_are_said_to_be_in_it_or_not():
    assert noted("users and roles are not in it")
    assert noted("users and roles of the database are in it", {"users_and_roles": True})


def test_a_wrong_clock_is_said_and_does_not_stop_the_backup():
    assert noted(
        "2 d 0 h ahead of the store's: the backup is dated by the store's", clock="2 d 0 h ahead of the store's"
    )
    assert refused(clock="2 d 0 h ahead of the store's") == []


def test_a_holder_of_the_lock_is_named():
    assert noted("locked now by run r of someone on db", holder={"run": "r", "holder": "someone", "host": "db"})


def test_live_traffic_time_and_debris_are_no_drift_and_another_database_is():
    approved = planned()
    later = planned(
        key="daily/estore-20261120T000009Z.archive.gz",
        survey=survey(surveyed(size=1), surveyed("new")),
        previous=PREVIOUS,
        debris=[STALE],
    )
    assert plans.drift(approved, later) is None
    for other in (
        planned({"database": "shop"}),
        planned({"users_and_roles": True}),
        planned({"key": "daily/x.gz"}),
        planned(store={"endpoint": "http://s3:9000", "bucket": "b", "prefix": "weekly/"}),
        planned(source={**SOURCE, "identity": {"kind": "standalone", "set": None, "hosts": ["db1:27017"]}}),
    ):
        assert plans.drift(approved, other)


def test_a_plan_is_fit_for_a_terminal_whatever_the_names_are():
    found = survey(surveyed("a\x1b[31mb", capped=True), surveyed("b\u202ec", capped=True))
    text = "\n".join(plan_lines(planned(survey=found), "estore"))
    assert "\x1b" not in text and "\u202e" not in text
