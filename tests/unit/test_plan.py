"""What a plan holds, what it hashes, how it is trimmed, and when a fresh plan is no longer the approved one."""

import hashlib
import json

import pytest
from ansible.module_utils.mendbook import plan as plans
from hypothesis import given
from hypothesis import strategies as st


def plan(objects=("a", "b"), **changed):
    facts = {
        "module": "mend_x",
        "target": {"kind": "folder", "id": "host:/srv"},
        "risk": "changes",
        "changes": [{"op": "+", "object": name, "count": 1, "bytes": 10} for name in objects],
        "identity": ["uuid-1"],
        "undo": {"none": "nothing is lost"},
    }
    return plans.make_plan(**{**facts, **changed})


def test_holds_every_field_of_schema_1():
    assert set(plan()) == set(
        "schema module target risk changes totals remains caps fingerprint tolerance expected_seconds undo source "
        "notes refusals sha256".split()
    )


def test_totals_are_summed_from_the_changes_and_may_be_given():
    assert plan()["totals"] == {"objects": 2, "count": 2, "bytes": 20}
    assert plan(totals={"count": 7, "share": 0.5})["totals"] == {"objects": 2, "count": 7, "bytes": 20, "share": 0.5}
    assert plan(changes=[])["totals"] == {"objects": 0}


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"risk": "dangerous"}, "not one of reads, changes, destroys"),
        ({"target": {"kind": "folder", "id": ""}}, "needs kind and id"),
        ({"undo": {}}, "no way back"),
        ({"undo": {"none": "x", "procedure": "y"}}, "no way back"),
        ({"changes": [{"op": "*", "object": "a"}]}, "a change needs an op"),
        ({"changes": [{"op": "+", "object": b"a"}]}, "a change needs an op"),
        ({"changes": [{"op": "+"}]}, "a change needs an op"),
    ],
)
def test_tells_the_author_what_is_wrong(wrong, words):
    with pytest.raises(ValueError, match=words):
        plan(**wrong)


@pytest.mark.parametrize(
    "other", [{"identity": ["uuid-2"]}, {"module": "mend_y"}, {"target": {"kind": "folder", "id": "host:/other"}}]
)
def test_another_identity_module_or_target_has_another_fingerprint(other):
    assert plan(**other)["fingerprint"] != plan()["fingerprint"]


def test_counts_that_traffic_moves_leave_the_fingerprint_alone():
    assert plan(["a"])["fingerprint"] == plan(["a", "b", "c"])["fingerprint"]
    assert plan(["a"])["sha256"] != plan(["a", "b", "c"])["sha256"]


def test_the_sha256_is_that_of_the_plan_and_anybody_can_compute_it():
    made = plan()
    text = json.dumps({k: v for k, v in made.items() if k != "sha256"}, sort_keys=True, separators=(",", ":"))
    assert plans.plan_sha256(made) == hashlib.sha256(text.encode()).hexdigest()


def test_a_plan_that_json_cannot_hold_is_refused():
    with pytest.raises(TypeError):
        plan(identity={1, 2})
    with pytest.raises(ValueError):
        plan(identity=float("nan"))


def test_a_trimmed_plan_keeps_the_sha256_of_the_whole_list():
    whole = plan([f"o{number}" for number in range(1500)])
    trimmed = plans.trimmed(whole)
    assert len(whole["changes"]) == 1500
    assert len(trimmed["changes"]) == 1000
    assert trimmed["sha256"] == whole["sha256"]
    assert trimmed["totals"]["objects"] == 1500


def test_trim_keeps_the_largest_and_sums_the_rest_by_group():
    entries = [
        {"op": "-", "object": f"o{n}", "bytes": n, "count": 2, "group": "odd" if n % 2 else None} for n in range(50)
    ]
    kept = plans.trim(entries, 12)
    assert [entry["bytes"] for entry in kept[:10]] == list(range(49, 39, -1))
    assert kept[10:] == [
        {"op": "-", "object": "20 more in odd", "group": "odd", "objects": 20, "bytes": 400, "count": 40},
        {"op": "-", "object": "20 more", "objects": 20, "bytes": 380, "count": 40},
    ]


def test_trim_leaves_a_short_list_in_its_order():
    entries = [{"object": "small", "bytes": 1}, {"object": "large", "bytes": 9}]
    assert plans.trim(entries, 2) == entries


@given(
    st.lists(
        st.fixed_dictionaries(
            {"op": st.sampled_from("+~-"), "object": st.text(max_size=3), "bytes": st.integers(0, 99)},
            optional={"group": st.integers(0, 9), "count": st.integers(0, 9)},
        ),
        max_size=80,
    ),
    st.integers(1, 20),
)
def test_trim_never_loses_an_object_or_a_byte_and_never_exceeds_its_limit(entries, limit):
    kept = plans.trim(entries, limit)
    assert len(kept) <= limit or len(kept) == len(entries) <= limit
    assert sum(entry.get("objects", 1) for entry in kept) == len(entries)
    assert sum(entry.get("bytes", 0) for entry in kept) == sum(entry["bytes"] for entry in entries)


def test_the_same_plan_has_not_drifted():
    assert plans.drift(plan(), plan()) is None


def test_another_fingerprint_is_drift_whatever_the_tolerance():
    assert "host:/srv" in plans.drift(plan(tolerance={"objects": None}), plan(identity=["uuid-2"]))


@pytest.mark.parametrize(
    "tolerance, objects, drifted",
    [
        (None, 11, True),
        (None, 9, True),
        ({"objects": 0.1, "count": 0.1, "bytes": 0.1}, 11, False),
        ({"objects": 0.1, "count": 0.1, "bytes": 0.1}, 9, False),
        ({"objects": 0.1, "count": 0.1, "bytes": 0.1}, 12, True),
        ({"objects": None, "count": None, "bytes": None}, 100, False),
        ({"objects": None, "count": None}, 11, True),
    ],
)
def test_a_total_that_leaves_its_tolerance_is_drift(tolerance, objects, drifted):
    approved, fresh = plan("x" * 10, tolerance=tolerance), plan("x" * objects, tolerance=tolerance)
    assert bool(plans.drift(approved, fresh)) is drifted


def test_the_approved_tolerance_counts_and_not_the_fresh_one():
    assert plans.drift(plan("xx"), plan("xxx", tolerance={"objects": None, "count": None, "bytes": None}))


def test_a_total_that_only_one_plan_has_is_drift():
    assert "share was None and is now 0.5" in plans.drift(plan(), plan(totals={"share": 0.5}))


def test_nothing_left_to_do_is_not_drift():
    assert plans.drift(plan(), plan(changes=[])) is None


def test_a_cap_that_is_exceeded_is_a_refusal_with_its_numbers_and_the_way_on():
    caps = [plans.cap("files", 2, 2), plans.cap("bytes", 10, 20, "-e x_max_bytes=20"), plans.cap("share", None, 1)]
    (refusal,) = plans.refusals_in(plan(caps=caps))
    assert (refusal["rule"], refusal["value"], refusal["limit"]) == ("cap bytes", 20, 10)
    assert plans.refusal_text([refusal]) == "bytes is 20, over the cap of 10 (-e x_max_bytes=20)"


def test_a_plans_own_refusals_come_first():
    own = plans.refusal("age", "too old", 9, 5)
    found = plans.refusals_in(plan(refusals=[own], caps=[plans.cap("files", 1, 2)]))
    assert [entry["rule"] for entry in found] == ["age", "cap files"]
    assert plans.refusal_text(found) == "too old; files is 2, over the cap of 1"
