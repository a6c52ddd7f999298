"""The plan of a restore as a table: what was observed, what the plan says."""

from types import SimpleNamespace

import pytest
from ansible.module_utils.mendbook.mongo_restore_plan import Observed, largest_piece_bytes, needed_bytes, restore_plan
from ansible.module_utils.mendbook.mongo_restore_selection import Item
from ansible.module_utils.mendbook.plan import drift, refusals_in

PARAMS = {
    "database": "estore",
    "extra": "keep",
    "users": [],
    "roles": [],
    "max_age_seconds": 86400,
    "allow_writers": False,
    "scratch": False,
    "proof": "full",
    "piecewise": False,
    "ignore_oplog": False,
    "ignore_space": False,
    "keep_seconds": 86400,
}


def item(name, target=None, kind="collection"):
    return Item(SimpleNamespace(db="estore", name=name, type=kind), target or name)


def live(count, kind="collection", uuid="u"):
    return {"type": kind, "uuid": uuid, "count": count, "bytes": count * 100}


def observed(**changes):
    fields = {
        "target": {"kind": "mongodb", "id": "rs0@h:1/estore", "address": "h:1", "facts": {}},
        "backup": {
            "name": "s3://b/k",
            "identity": ["b", "k", None, "etag", 5],
            "age_seconds": 3600,
            "complete": None,
            "finished_from": "last_modified",
            "age_from": "the age of the backup is that of the object (LastModified)",
        },
        "dump": {
            "format": "archive+gzip",
            "integrity": "CRC",
            "tool_version": "100.8",
            "server_version": "6.0.5",
            "has_oplog": False,
            "oplog_entries": None,
            "has_access": False,
            "warnings": [],
            "data_bytes": 1_000_000,
        },
        "items": [item("orders"), item("users")],
        "live": {"orders": live(10), "extra": live(3)},
        "expected": None,
        "unfit": [],
        "missing": [],
        "writers": [],
        "writers_unknown": None,
        "space": {"free_bytes": 10_000_000_000, "msg": ""},
        "holder": None,
        "marker": None,
        "expired": [],
        "restored": False,
        "already": set(),
        "shares": {},
    }
    return Observed(**{**fields, **changes})


def rules(plan):
    return [entry["rule"] for entry in refusals_in(plan)]


def test_replaces_what_is_live_creates_what_is_not_and_keeps_the_rest():
    plan = restore_plan(observed(), PARAMS)
    assert [(c["op"], c["object"]) for c in plan["changes"]] == [("~", "estore.orders"), ("+", "estore.users")]
    assert plan["changes"][0]["before"] == {"type": "collection", "count": 10}
    assert plan["totals"]["count"] == 10
    assert "not in the backup, kept: extra" in plan["notes"]
    assert refusals_in(plan) == []


def test_moves_the_rest_aside_when_told():
    plan = restore_plan(observed(), {**PARAMS, "extra": "aside"})
    assert ("-", "estore.extra") in [(c["op"], c["object"]) for c in plan["changes"]]
    assert plan["remains"] == {"collections": 0}


def test_counts_of_the_manifest_are_what_will_be_there():
    plan = restore_plan(observed(expected={"orders": {"count": 42}}), PARAMS)
    assert plan["changes"][0]["after"]["count"] == 42
    assert plan["changes"][1]["after"]["count"] is None


def test_the_same_backup_again_is_nothing_to_do_and_nothing_to_refuse():
    plan = restore_plan(observed(restored=True, writers=[{"namespace": "a", "writes_per_second": 1}]), PARAMS)
    assert plan["changes"] == []
    assert plan["notes"] == ["the database already holds this backup: UUIDs, counts and sums were compared just now"]
    assert refusals_in(plan) == []


@pytest.mark.parametrize(
    ("fields", "rule", "way_on"),
    [
        ({"age_seconds": 86401}, "age", "mongo_restore_max_age_seconds="),
        ({"complete": False, "reason": "it has 0 bytes"}, "complete", "name another backup"),
    ],
)
def test_refuses_a_bad_backup_with_the_way_on(fields, rule, way_on):
    seen = observed()
    seen.backup = {**seen.backup, **fields}
    (refusal,) = refusals_in(restore_plan(seen, PARAMS))
    assert refusal["rule"] == rule
    assert way_on in refusal["override"]


@pytest.mark.parametrize(
    ("changes", "rule", "override"),
    [
        (
            {"writers": [{"namespace": "estore.a", "writes_per_second": 3.0, "who": ["shop"]}]},
            "writers",
            "allow_writers",
        ),
        ({"space": {"free_bytes": 1_299_999, "msg": ""}}, "space", "ignore_space"),
        ({"oplog": True}, "oplog", "ignore_oplog"),
    ],
)
def test_each_refusal_has_an_override_that_lifts_it_and_no_other(changes, rule, override):
    if changes.pop("oplog", None):
        changes["dump"] = {**observed().dump, "has_oplog": True, "oplog_entries": 7}
    seen = observed(**changes)
    assert rules(restore_plan(seen, PARAMS)) == [rule]
    assert rules(restore_plan(seen, {**PARAMS, override: True})) == []
    others = {"allow_writers": True, "ignore_space": True, "ignore_oplog": True, override: False}
    assert rules(restore_plan(seen, {**PARAMS, **others})) == [rule]


def test_the_refusal_of_an_oplog_says_how_many_entries_would_be_left_out():
    seen = observed(dump={**observed().dump, "has_oplog": True, "oplog_entries": 7})
    assert "holds 7 entries" in refusals_in(restore_plan(seen, PARAMS))[0]["msg"]


def test_a_missing_privilege_names_the_role():
    seen = observed(missing=[{"privilege": "renameCollection", "role": "restore@admin", "msg": "may not rename"}])
    (refusal,) = refusals_in(restore_plan(seen, PARAMS))
    assert refusal["override"] == "grant the role restore@admin"


def test_what_makes_the_deployment_unfit_is_passed_on_as_it_is():
    unfit = {"rule": "mongo_secondary", "msg": "m", "value": 1, "limit": 2, "override": "o"}
    assert refusals_in(restore_plan(observed(unfit=[unfit]), PARAMS)) == [unfit]


def test_space_is_enough_at_the_limit_and_not_one_byte_below():
    seen = observed()
    for free, expected in ((needed_bytes(seen, PARAMS), []), (needed_bytes(seen, PARAMS) - 1, ["space"])):
        seen.space = {"free_bytes": free, "msg": ""}
        assert rules(restore_plan(seen, PARAMS)) == expected


def test_unknown_space_is_said():
    plan = restore_plan(observed(space={"free_bytes": None, "msg": "the server does not say"}), PARAMS)
    assert any("the server does not say" in note for note in plan["notes"])


def test_what_is_not_atomic_is_said_with_the_number_of_documents():
    seen = observed(items=[item("m", kind="timeseries")], live={"m": live(2000, "timeseries")})
    assert any("not atomic" in note and "2000" in note for note in restore_plan(seen, PARAMS)["notes"])


@pytest.mark.parametrize(
    "change",
    [
        {"backup": {**observed().backup, "identity": ["b", "k", None, "other", 5]}},
        {"live": {"orders": live(10, uuid="other"), "extra": live(3)}},
        {"items": [item("orders")]},
        {"items": [item("orders", "orders_2"), item("users")]},
        {"marker": {"run": "r", "phase": "swapping"}},
    ],
)
def test_another_backup_target_or_selection_has_another_fingerprint(change):
    assert restore_plan(observed(**change), PARAMS)["fingerprint"] != restore_plan(observed(), PARAMS)["fingerprint"]


def test_live_traffic_moves_counts_and_not_the_fingerprint():
    busy = observed(live={"orders": live(11), "extra": live(300)})
    assert restore_plan(busy, PARAMS)["fingerprint"] == restore_plan(observed(), PARAMS)["fingerprint"]


@pytest.mark.parametrize(("allowed", "drifted"), [(False, True), (True, False)])
def test_counts_that_run_away_are_drift_unless_writers_are_allowed(allowed, drifted):
    params = {**PARAMS, "allow_writers": allowed}
    later = restore_plan(observed(live={"orders": live(100), "extra": live(3)}), params)
    assert (drift(restore_plan(observed(), params), later) is not None) is drifted


def test_undo_names_the_playbook_the_target_and_the_time():
    undo = restore_plan(observed(), PARAMS)["undo"]
    assert undo["procedure"] == "undo_restore_mongo"
    assert undo["variables"]["mongo_undo_confirm"] == "rs0@h:1/estore"
    assert restore_plan(observed(), {**PARAMS, "keep_seconds": 0})["undo"].keys() == {"none"}


def test_users_come_back_only_by_name_and_are_said_otherwise():
    seen = observed(dump={**observed().dump, "has_access": True})
    assert any("only when mongo_restore_users" in note for note in restore_plan(seen, PARAMS)["notes"])
    plan = restore_plan(seen, {**PARAMS, "users": ["shop"]})
    assert ("~", "user shop") in [(c["op"], c["object"]) for c in plan["changes"]]


def full_of(orders, users, **changes):
    """A server with 1 MB of backup to restore and room for less."""
    sizes = {"orders": live(orders), "users": live(users)}
    return observed(live=sizes, space={"free_bytes": 900_000, "msg": ""}, **changes)


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        # 1.3 times the live size of the larger one, or of its share of the 1 MB
        ({"orders": 6000, "users": 100}, True),
        ({"orders": 7000, "users": 100}, False),
        ({"orders": 100, "users": 100, "shares": {"orders": 0.6, "users": 0.4}}, True),
        ({"orders": 100, "users": 100, "shares": {"orders": 0.9, "users": 0.1}}, False),
        ({"orders": 0, "users": 0}, False),
        ({"orders": 0, "users": 0, "shares": {"orders": 0.5, "users": 0.5}}, True),
    ],
)
def test_one_collection_at_a_time_is_offered_where_that_fits(fields, offered):
    seen = full_of(**fields)
    (refusal,) = refusals_in(restore_plan(seen, PARAMS))
    assert refusal["rule"] == "space"
    assert ("-e mongo_restore_piecewise=true -e mongo_restore_keep_seconds=0" in refusal["override"]) is offered
    piecewise = restore_plan(seen, {**PARAMS, "piecewise": True, "keep_seconds": 0})
    assert rules(piecewise) == ([] if offered else ["space"])


def test_a_time_series_needs_room_for_its_copies():
    parts = {"items": [item("orders", kind="timeseries"), item("users")], "shares": {"orders": 0.3, "users": 0.7}}
    assert largest_piece_bytes(observed(live={}, **parts)) == int(300_000 * 1.3 * 3)


def test_what_is_there_already_is_left_out_and_said():
    params = {**PARAMS, "piecewise": True, "keep_seconds": 0}
    plan = restore_plan(observed(already={"orders"}), params)
    assert [change["object"] for change in plan["changes"]] == ["estore.users"]
    assert any("left as they are: orders" in note for note in plan["notes"])
    assert any("the backup is read 2 times" in note for note in plan["notes"])


@pytest.mark.parametrize("changes", [{"keep_seconds": 86400}, {"users": ["shop"]}, {"roles": ["clerk"]}])
def test_what_cannot_be_done_one_at_a_time_is_refused(changes):
    plan = restore_plan(observed(), {**PARAMS, "piecewise": True, "keep_seconds": 0, **changes})
    assert rules(plan) == ["piecewise"]
