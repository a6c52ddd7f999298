from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.mendbook import plan as plans
from ansible.module_utils.mendbook.guard import needs_confirmation
from ansible.module_utils.mendbook.mongo_backup_plan import Observed, backup_plan, expected_seconds
from ansible.module_utils.mendbook.plan_text import plan_lines

PARAMS = {
    "database": "estore",
    "key": None,
    "latest": False,
    "consistency": "snapshot",
    "users_and_roles": False,
    "max_bytes_per_second": 0,
}
SURVEY = {
    "collections": 14,
    "views": 1,
    "count": 1000,
    "bytes": 400_000_000,
    "member": "db2:27017",
    "secondary": True,
    "consistency": "snapshot",
    "window_seconds": 300,
    "outside": [],
}
PREVIOUS = {"key": "daily/a.gz", "finished": "2026-11-19T00:00:11Z", "size_bytes": 70_000_000, "seconds": 30.0}
SOURCE = {
    "id": "rs0@db1:27017/estore",
    "address": "db1:27017",
    "version": "6.0.5",
    "kind": "replica_set",
    "identity": {"kind": "replica_set", "set": "rs0", "hosts": ["db1:27017"]},
}


def seen(**changed: Any) -> Observed:
    survey = {**SURVEY, **changed.pop("survey", {})}
    fields = {
        "store": {"endpoint": "http://s3:9000", "bucket": "b", "prefix": "daily/"},
        "key": "daily/estore-20261120T000003Z.archive.gz",
        "taken": False,
        "source": SOURCE,
        "survey": survey,
        "unfit": [],
        "missing": [],
        "previous": None,
        "debris": [],
        "pointer": None,
        "holder": None,
        "clock_ahead_seconds": 0,
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
    assert expected_seconds(SURVEY, previous, {**PARAMS, "max_bytes_per_second": rate}) == seconds


def test_what_is_longer_than_the_servers_history_is_refused_with_parameter_and_value():
    (refusal,) = planned({"max_bytes_per_second": 1_000_000})["refusals"]
    assert (refusal["rule"], refusal["value"], refusal["limit"]) == ("snapshot_window", 400, 300)
    assert "minSnapshotHistoryWindowInSeconds: 540" in refusal["override"]
    assert "mongo_backup_consistency=per_collection" in refusal["override"]


@pytest.mark.parametrize(
    ("survey", "params", "rules"),
    [
        ({"window_seconds": 501}, {"max_bytes_per_second": 1_000_000}, []),
        ({"window_seconds": 499}, {"max_bytes_per_second": 1_000_000}, ["snapshot_window"]),
        ({"consistency": "per_collection"}, {"max_bytes_per_second": 1_000_000}, []),
    ],
)
def test_the_window_counts_for_a_snapshot_and_with_room_to_spare(survey, params, rules):
    assert refused(params, survey=survey) == rules


@pytest.mark.parametrize(
    ("changed", "params", "rule"),
    [
        ({"taken": True}, {}, "key"),
        ({"pointer": {"foreign": "it is a dump"}}, {"latest": True}, "latest"),
        ({"missing": [{"msg": "may not find", "role": "backup"}]}, {}, "privileges"),
        ({"unfit": [plans.refusal("mongo_sharded", "a mongos")]}, {}, "mongo_sharded"),
    ],
)
def test_what_speaks_against_a_backup_is_refused_by_its_rule(changed, params, rule):
    assert refused(params, **changed) == [rule]


def test_a_dump_that_is_named_latest_is_in_nobodys_way_when_no_pointer_is_asked_for():
    assert refused(pointer={"foreign": "it is a dump"}) == []


def test_latest_is_moved_last_and_from_what_it_named():
    changes = planned({"latest": True}, pointer={"key": "daily/a.gz"}, debris=[{"object": "x", "bytes": 5}])["changes"]
    assert [change["op"] for change in changes] == ["-", "+", "~"]
    assert (changes[-1]["object"], changes[-1]["before"]) == ("s3://b/daily/latest", "daily/a.gz")
    assert planned({"latest": True})["changes"][-1]["op"] == "+"


def test_a_standalone_and_capped_collections_are_said_not_to_be_of_one_moment():
    assert noted(
        "a standalone server has no snapshots",
        source={**SOURCE, "kind": "standalone"},
        survey={"consistency": "per_collection"},
    )
    assert not noted("standalone", survey={"consistency": "per_collection"})
    assert noted("not all of one moment", survey={"consistency": "per_collection"})
    assert noted("not of that moment: audit, which no snapshot can hold", survey={"outside": ["audit"]})


def test_users_and_roles_are_said_to_be_in_it_or_not():
    assert noted("users and roles are not in it")
    assert noted("users and roles of the database are in it", {"users_and_roles": True})


@pytest.mark.parametrize(
    ("ahead", "words"), [(172_800, "2 d 0 h ahead of"), (-172_800, "2 d 0 h behind"), (300, None), (-299, None)]
)
def test_a_wrong_clock_is_said_and_does_not_stop_the_backup(ahead, words):
    assert noted("the clock of this machine", clock_ahead_seconds=ahead) == bool(words)
    assert words is None or noted(f"{words} the store's", clock_ahead_seconds=ahead)
    assert refused(clock_ahead_seconds=ahead) == []


def test_live_traffic_time_and_debris_are_no_drift_and_another_database_is():
    approved = planned()
    later = planned(
        key="daily/estore-20261120T000009Z.archive.gz",
        survey={"count": 5000, "bytes": 1},
        previous=PREVIOUS,
        debris=[{"object": "x", "bytes": 1}],
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
    survey = {"outside": ["a\x1b[31mb"], "member": "db\u202e2"}
    text = "\n".join(plan_lines(planned(survey=survey), "estore"))
    assert "\x1b" not in text and "\u202e" not in text
