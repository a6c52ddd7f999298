"""The plan of a prune: what it frees, what it refuses, what it says."""

from __future__ import annotations

import pytest
from ansible.module_utils.mendbook.plan import refusals_in
from ansible.module_utils.mendbook.s3_prune_plan import Observed, growth, prune_plan, target_id
from ansible.module_utils.mendbook.s3_prune_removal import Listed, backup_removals
from backup_rows import backup, evidence, judge, live, of_source, rules

PARAMS = {
    "pattern": "*",
    "max_age_seconds": 30 * 86400,
    "keep_complete": 2,
    "unfinished_age_seconds": 86400,
    "versions": False,
    "max_delete": 100,
    "max_share": 0.5,
}


def plan(*backups, params=None, versions=False, **seen):
    backups = list(backups) or [backup(day) for day in (0, 1, 2, 60)]
    verdicts = judge(backups, rules(versions=versions), evidence(**seen.pop("says", {})))
    facts = {
        "endpoint": "https://s3.example.com:9000",
        "bucket": "b",
        "prefix": "daily/",
        "verdicts": verdicts,
        "removals": backup_removals(verdicts, Listed(live(*backups), (), versions)),
        "versioning": "off",
    }
    return prune_plan(Observed(**{**facts, **seen}), {**PARAMS, "versions": versions, **(params or {})})


def rules_of(planned):
    return [entry["rule"] for entry in refusals_in(planned)]


def test_it_destroys_and_names_store_bucket_and_prefix():
    planned = plan()
    assert planned["risk"] == "destroys" and planned["target"]["id"] == "s3@s3.example.com:9000/b/daily/"
    assert target_id("https://s3.example.com", "b", "") == "s3@s3.example.com/b/"
    assert planned["totals"] == {"objects": 1, "bytes": 110, "backups": 1}
    assert planned["remains"]["complete"] == 3 and rules_of(planned) == []


@pytest.mark.parametrize(
    ("versioning", "versions", "version_id", "freed"),
    [
        ("off", False, None, 110),
        ("unknown", False, None, 110),
        ("on", False, "v", 0),
        ("unseen", False, None, 0),
        ("on", True, "v", 110),
        ("suspended", False, "v", 0),
        ("suspended", False, "null", 100),
    ],
)
def test_bytes_are_what_the_store_really_has_back(versioning, versions, version_id, freed):
    backups = [backup(day, version_id=version_id) for day in (0, 1, 2, 60)]
    planned = plan(*backups, versioning=versioning, versions=versions)
    assert planned["totals"]["bytes"] == freed == planned["changes"][0]["bytes"]
    hidden = "only get a delete marker" in " ".join(planned["notes"])
    assert hidden is (freed < 110)


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        ({"clock": "the clock of this machine is 2 d 0 h behind the store's"}, "clock"),
        ({"pointers": ("latest cannot say",)}, "pointer"),
        ({"versions": True, "versioning": "on", "mfa": True}, "mfa"),
        ({"versions": True, "versioning": "unseen"}, "versions"),
    ],
)
def test_what_cannot_be_known_or_done_is_refused_with_the_way_on(seen, rule):
    planned = plan(**seen)
    assert rules_of(planned) == [rule]
    assert all(entry["override"] for entry in planned["refusals"])


def test_nothing_to_do_is_not_refused_for_what_would_only_matter_when_acting():
    assert rules_of(plan(backup(0), backup(1), clock="wrong", pointers=("broken",))) == []


def test_without_a_complete_backup_nothing_goes():
    # by the rules nothing would, so the refusal is asked for itself: a mark is all that is removed
    mark = plan(backup(0), backup(1), backup(60)).get("changes")
    assert mark
    verdicts = judge([backup(60, complete=None)], rules(), evidence())
    gone = backup_removals(judge([backup(0), backup(1), backup(60)], rules(), evidence()), Listed([], (), False))
    assert rules_of(plan(backup(0), verdicts=verdicts, removals=gone, params={"max_share": 1})) == ["remains"]


def test_caps_count_backups_and_not_the_marks_beside_them():
    backups = [backup(day) for day in (0, 1, 50, 60, 70)]
    assert rules_of(plan(*backups)) == ["cap share of the backups"]
    assert rules_of(plan(*backups, params={"max_share": 0.6})) == []
    assert rules_of(plan(*backups, params={"max_share": 1.0, "max_delete": 2})) == ["cap backups removed"]


def test_the_notes_say_what_stays_although_it_is_old():
    old = backup(60)
    notes = plan(backup(0), backup(1), old, says={"in_use": {old.key: "r1"}})["notes"]
    assert notes == [f"kept: {old.key}, 60 d 0 h old: run r1 reads it now"]


def test_the_notes_name_the_rows_and_say_where_no_manifest_names_the_database():
    named = [backup(0, key=f"daily/{name}.gz", **of_source(f"rs0@db1/{name}")) for name in ("users", "shop")]
    rows = "daily/* (no manifest says of which database), daily/* (shop), daily/* (users)"
    assert plan(*named, backup(1, key="daily/x.gz"))["notes"] == [f"each of the 3 rows keeps its own minimum: {rows}"]


def test_many_that_stay_are_counted():
    old = [backup(day) for day in range(40, 70)]
    says = {"in_use": {one.key: "r1" for one in old}}
    notes = plan(backup(0), backup(1), *old, says=says)["notes"]
    assert len(notes) == 21 and notes[-1] == "and 10 more are kept although they are old"


def test_other_parameters_are_another_plan_and_more_than_was_approved_is_seen():
    assert plan()["fingerprint"] != plan(params={"max_age_seconds": 86400})["fingerprint"]
    less, more = plan(), plan(*(backup(day) for day in (0, 1, 2, 3, 50, 60)))
    assert less["fingerprint"] == more["fingerprint"]
    assert growth(more, less) is None and growth(less, less) is None
    assert growth(less, more) == "the backups that are to go were 1 and are now 2"
