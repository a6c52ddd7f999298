"""How RTO and RPO are judged: what is not known is not met, and every figure says where it is from."""

from __future__ import annotations

import datetime as dt

import pytest
from ansible.module_utils.mendbook import recovery
from ansible.module_utils.mendbook.errors import Refused

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
OBJECTIVES = {"rto_seconds": 60.0, "rpo_seconds": 3600.0}


def after(seconds):
    return NOON + dt.timedelta(seconds=seconds)


def judged(**changed):
    facts = {"began": NOON, "stopped": after(50), "last_write": NOON, "found": (after(-3600), "data", None)}
    return recovery.judge(**{**facts, "objectives": OBJECTIVES, **changed})


def test_both_figures_at_their_objectives_are_met():
    facts = judged(stopped=after(60))
    assert (facts["rto_seconds"], facts["rpo_seconds"], facts["missed"]) == (60.0, 3600.0, [])
    assert (facts["rpo_from"], facts["objectives"]) == ("data", OBJECTIVES)


@pytest.mark.parametrize(
    ("changed", "missed", "words"),
    [
        ({"stopped": after(60.001)}, ["rto_seconds"], "recovery took 1 min, and the RTO is 1 min"),
        ({"last_write": after(7200)}, ["rpo_seconds"], "data lost is that of 3 h, and the RPO is 1 h"),
        ({"began": None}, ["rto_seconds"], "how long a recovery takes is not known (RTO 1 min): nobody said when it"),
        ({"restored": False}, ["rto_seconds"], "the scratch server held this backup already"),
        ({"found": None}, ["rpo_seconds"], "how much would be lost is not known (RPO 1 h)"),
        ({"began": None, "found": None}, ["rto_seconds", "rpo_seconds"], "; how much would be lost is not known"),
    ],
)
def test_what_is_over_its_objective_or_not_known_is_missed(changed, missed, words):
    facts = judged(**changed)
    assert facts["missed"] == missed and words in recovery.words(facts)


def test_a_figure_is_told_with_its_objective_and_by_what_it_was_measured():
    newest = {"collection": "orders", "field": "placedAt", "at": "2026-03-01T11:00:00Z"}
    facts = {**judged(found=(after(-3600), "data", newest)), "notes": ["a note"]}
    assert recovery.sentences(facts) == [
        "RTO 50 s: met, the objective is 1 min",
        "RPO 1 h by the newest record (orders.placedAt): met, the objective is 1 h",
        "a note",
    ]
    assert recovery.sentences({**judged(found=(NOON, "finished", None)), "notes": []})[1].startswith(
        "RPO 0 s by the end of the backup: met"
    )


def test_clocks_that_differ_by_five_minutes_cost_nothing():
    assert judged(found=(after(300), "data", None))["rpo_seconds"] == 0.0
    assert judged(began=after(300), stopped=NOON)["rto_seconds"] == 0.0


@pytest.mark.parametrize(
    ("changed", "figure", "words"),
    [
        (
            {"began": after(7200), "stopped": NOON},
            "rto_seconds",
            "began is 2 h later than the end of the recovery: it is wrong, or two clocks differ",
        ),
        (
            {"found": (after(86400), "data", {"collection": "orders", "field": "at", "at": "x"})},
            "rpo_seconds",
            "the newest record is 1 d later than the last write that should be there, 2026-03-01T12:00:00Z: "
            "last_write or began is wrong, or two clocks differ",
        ),
        ({"found": (after(301), "finished", None)}, "rpo_seconds", "the end of the backup is 5.02 min later"),
    ],
)
def test_a_span_of_more_than_clocks_differ_into_the_past_is_not_known_and_so_missed(changed, figure, words):
    facts = judged(**changed)
    assert facts[figure] is None and facts["missed"] == [figure]
    assert words in facts["unknown"][figure] and words in recovery.words(facts)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["rto_seconds", "rpo_seconds"])
def test_an_objective_that_nothing_or_everything_would_meet_is_refused_before_anything_is_contacted(name, value):
    params = {"began": None, "last_write": None, "time_fields": {}, **OBJECTIVES, name: value}
    with (
        pytest.raises(Refused, match=f"{name} is .* must be a number above 0") as refused,
        recovery.Recovery(params).open(params),
    ):
        pytest.fail("it was taken")
    assert refused.value.rule == "options"


@pytest.mark.parametrize(
    ("backup", "found"),
    [
        ({}, None),
        ({"finished": "2026-03-01T12:00:00Z"}, (NOON, "finished", None)),
        (
            {
                "finished": "2026-03-01T13:00:00Z",
                "collections": {
                    "estore.users": {"newest": "unknown"},
                    "estore.a.b": {"newest": "2026-03-01T12:00:00Z"},
                    "estore.c": {"newest": "2026-03-01T11:00:00Z"},
                    "estore.d": {"newest": None},
                },
            },
            (NOON, "manifest", {"collection": "a.b", "field": None, "at": "2026-03-01T12:00:00Z"}),
        ),
        (
            {"finished": "2026-03-01T12:00:00Z", "collections": {"estore.users": {"newest": "unknown"}}},
            (NOON, "finished", None),
        ),
    ],
)
def test_what_a_backup_says_of_its_newest_record(backup, found):
    assert recovery.newest_in(backup) == found


@pytest.mark.parametrize("text", ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00", "20260301T120000Z-5f3a9c"])
def test_a_moment_is_iso_text_or_the_name_of_a_run(text):
    assert recovery.moment_in("began", text) == NOON


def test_no_moment_is_none():
    assert recovery.moment_in("began", None) is None and recovery.moment_in("began", "") is None


@pytest.mark.parametrize("text", ["yesterday", "2026-03-01T12:00:00", "20260301T120000Z", "20260301T120000Z-5f3a9c-1"])
def test_a_moment_without_a_zone_or_sense_is_refused_with_the_name_of_the_option(text):
    with pytest.raises(Refused, match="began is not a moment with a time zone") as refused:
        recovery.moment_in("began", text)
    assert refused.value.rule == "options"
