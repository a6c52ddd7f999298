"""What undo would do, as a plan, from what was seen."""

from __future__ import annotations

from uuid import UUID

import pytest
from ansible.module_utils.mendbook.mongo_undo_plan import Observed, undo_plan

OLD, NEW = UUID(int=1), UUID(int=2)
MARKER = {
    "token": "cafe",
    "run": "r1",
    "begun_by": "r1",
    "phase": "swapped",
    "at": "2026-01-01T00:00:00+00:00",
    "settled": True,
}
TARGET = {"kind": "mongodb", "id": "rs0@a:1/estore", "address": "a:1", "facts": {}}
DROPPED = {
    "name": "__mend_o_cafe_orders",
    "type": "collection",
    "uuid": str(OLD),
    "count": 3,
    "bytes": 9,
    "token": "cafe",
}


def collection(name, old=OLD, new=NEW):
    return {"k": "c", "n": name, "old": old, "new": new}


def seen(action="undo", states=(), marker=MARKER, **fields):
    found = {
        "action": action,
        "target": TARGET,
        "deployment": {"set": "rs0"},
        "database": "estore",
        "markers": [marker] if marker else [],
        "steps": [5] if marker else [],
        "states": list(states),
        "counts": {"orders": 7},
        "dropped": [],
        "below": None,
        "writers": [],
        "unfit": [],
        "missing": [],
        "holder": None,
    }
    return Observed(**{**found, **fields})


@pytest.mark.parametrize(
    ("item", "op"),
    [(collection("orders"), "~"), (collection("users", old=None), "-"), (collection("obsolete", new=None), "+")],
)
def test_undo_says_what_becomes_of_each_object(item, op):
    plan = undo_plan(seen(states=[(item, "new")]))
    assert [(one["op"], one["object"]) for one in plan["changes"]] == [(op, f"estore.{item['n']}")]
    assert plan["risk"] == "destroys"
    assert any("not merged" in note for note in plan["notes"])


def test_a_name_that_was_of_another_kind_is_one_change():
    view = {"k": "v", "n": "orders", "old": b"d", "new": None}
    plan = undo_plan(seen(states=[(view, "new"), (collection("orders", old=None), "new")]))
    assert [(one["op"], one["object"]) for one in plan["changes"]] == [("~", "estore.orders")]


def test_a_time_series_is_said_to_be_not_atomic():
    series = {"k": "ts", "n": "ts", "old": OLD, "new": NEW, "options_old": b"", "options_new": b""}
    plan = undo_plan(seen(states=[(series, "new")]))
    assert any("not atomic" in note and "ts" in note for note in plan["notes"])


def test_an_interrupted_swap_is_finished_in_the_other_direction():
    between = {**MARKER, "phase": "swapping"}
    states = [(collection("orders"), "gap"), (collection("users"), "new")]
    assert [one["after"]["state"] for one in undo_plan(seen("finish", states, between))["changes"]] == ["new", "new"]
    assert [one["after"]["state"] for one in undo_plan(seen("undo", states, between))["changes"]] == ["old", "old"]


def test_sleeping_ttl_indexes_are_something_left_to_do():
    unsettled = {**MARKER, "settled": False}
    assert undo_plan(seen("finish", [(collection("orders"), "new")], unsettled))["changes"]
    assert not undo_plan(seen("finish", [(collection("orders"), "new")], MARKER))["changes"]


@pytest.mark.parametrize("action", ["undo", "finish", "drop", "drop_expired"])
def test_nothing_to_do_is_said_and_refuses_nothing(action):
    lacking = [{"privilege": "find", "role": "backup", "msg": "may not find"}]
    plan = undo_plan(seen(action, marker=None, missing=lacking))
    assert plan["changes"] == [] and plan["refusals"] == []
    assert plan["notes"][0].startswith("nothing to ")


def test_only_what_is_past_its_time_goes_without_a_confirmation():
    risks = {action: undo_plan(seen(action, dropped=[DROPPED]))["risk"] for action in ("drop", "drop_expired")}
    assert risks == {"drop": "destroys", "drop_expired": "changes"}


def test_a_drop_names_what_is_dropped_with_its_size():
    (change,) = undo_plan(seen("drop", dropped=[DROPPED]))["changes"]
    assert (change["op"], change["object"]) == ("-", "estore.__mend_o_cafe_orders")
    assert (change["count"], change["bytes"]) == (3, 9)


def test_a_missing_privilege_refuses_and_names_the_role():
    lacking = [{"privilege": "collMod", "role": "backup and restore on admin", "msg": "u may not collMod"}]
    (refusal,) = undo_plan(seen(states=[(collection("orders"), "new")], missing=lacking))["refusals"]
    assert refusal["rule"] == "privileges" and "backup and restore" in refusal["override"]


def test_the_plan_is_another_one_when_the_marker_has_moved_or_other_data_is_dropped():
    states = [(collection("orders"), "new")]
    base = undo_plan(seen(states=states))["fingerprint"]
    assert undo_plan(seen(states=states))["fingerprint"] == base
    assert undo_plan(seen(states=states, counts={"orders": 8}))["fingerprint"] == base, "counts move with traffic"
    assert undo_plan(seen(states=states, steps=[6]))["fingerprint"] != base
    assert undo_plan(seen(states=states, action="finish"))["fingerprint"] != base
    one = undo_plan(seen("drop", dropped=[DROPPED]))["fingerprint"]
    assert undo_plan(seen("drop", dropped=[{**DROPPED, "uuid": str(NEW)}]))["fingerprint"] != one


def test_who_holds_the_lock_and_who_writes_is_told():
    holder = {"run": "r9", "holder": "alice", "host": "ops1"}
    writing = [{"namespace": "estore.orders", "writes_per_second": 4.0, "who": ["checkout"]}]
    notes = undo_plan(seen(states=[(collection("orders"), "new")], holder=holder, writers=writing))["notes"]
    assert any("alice on ops1" in note for note in notes)
    assert any("estore.orders" in note and "checkout" in note for note in notes)


def test_the_restore_below_is_named_by_its_token():
    below = {**MARKER, "token": "beef", "run": "r0"}
    notes = undo_plan(seen(states=[(collection("orders"), "new")], below=below))["notes"]
    assert any("mongo_undo_token=beef" in note and "after this one" in note for note in notes)


def test_with_the_newest_taken_back_the_one_below_is_named_and_no_one_says_that_none_is_live():
    below = {**MARKER, "token": "beef", "run": "an undo", "begun_by": "r0"}
    notes = undo_plan(seen(marker=None, below=below))["notes"]
    assert notes[0] == "nothing to undo: the newest restore was taken back already"
    assert notes[1].startswith("the restore before it (run r0, ") and "when it is named" in notes[1]
    (note,) = undo_plan(seen(marker=None))["notes"]
    assert note == "nothing to undo: no restore is live that has kept its old data"


def test_an_undo_that_was_interrupted_is_worded_by_the_restore():
    marker = {**MARKER, "run": "an undo", "phase": "undoing"}
    notes = undo_plan(seen(marker=marker, states=[(collection("orders"), "new")]))["notes"]
    assert any("before the restore of run r1 " in note for note in notes)
