"""A drill in words: lines, Markdown for CI, the table of a history."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from drill_records import record
from mendbook.drills import report
from mendbook.drills.record import Objectives, Phase

HOSTILE = "a|b `c` <img src=x> [d](e)\n# f *g* _h_ \x1b[31m\x00"


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "drill of restore_mongo: passed in 12 s"),
        ({"result": "missed"}, "drill of restore_mongo: MISSED its objectives in 12 s"),
        ({"result": "failed"}, "drill of restore_mongo: FAILED in the phase 'restore' after 12 s"),
    ],
)
def test_the_headline_says_what_came_of_it(changed, line):
    assert report.headline(record(**changed), 12.0, "restore") == line


def test_figures_stand_against_their_objectives_and_what_is_unknown_is_not_met():
    lines = list(report.summary(record(rto_seconds=20_000.0, rpo_seconds=None, notes=["passed over a\x1b[31m"])))
    assert lines == [
        "  RTO        5 h 33 min  missed: the objective is 4 h",
        "  RPO         unknown  not known: the objective is 24 h",
        "  note       passed over a",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(14400, "4 h"), (86400, "24 h"), (5400, "1 h 30 min"), (0.5, "0.5 s"), (604800, "7 d")]
)
def test_a_round_span_is_said_as_people_say_it(seconds, words):
    assert report.span(seconds) == words


def test_the_summary_for_ci_has_every_phase_and_the_error():
    page = report.markdown(record(result="missed", error="objectives missed: too slow"), 601.0, "measure")
    assert page.startswith("### drill of restore\\_mongo: MISSED its objectives in 10 min 1 s\n")
    assert "> objectives missed: too slow" in page and page.endswith("\n\n")
    assert "| RTO | 11 min 40 s | 4 h | met |" in page and "| restore | 10 min 0 s | 10 documents |" in page


def test_nothing_from_outside_makes_tables_tags_or_links_in_it():
    hostile = record(error=HOSTILE, subject=HOSTILE, notes=[HOSTILE], phases=[Phase("find", 1.0, HOSTILE)])
    page = report.markdown(hostile, 1.0, "find")
    inert = "a\\|b \\`c\\` \\<img src=x\\> \\[d\\](e) # f \\*g\\* \\_h\\_"
    assert page.count(inert) == 4
    assert "\x1b" not in page and "\n# f" not in page


def test_a_drill_that_failed_at_once_has_a_summary_too():
    page = report.markdown(record(result="failed", phases=[], rto_seconds=None, rpo_seconds=None), 0.1, "sandbox")
    assert "FAILED in the phase 'sandbox'" in page and "| RTO | unknown | 4 h | not known |" in page
    assert "| phase |" not in page


def test_a_history_is_a_table_whose_columns_stand_below_each_other():
    records = [
        record(1),
        record(2, result="failed", backup=None, subject="s3://x/, estore", bytes=None, documents=None),
    ]
    head, first, second = report.history_lines(records)
    assert (
        first
        == "2026-11-01 03:00  passed  11 min 40 s  1 h 0 min  4 MB  10         s3://estore-backups/daily/estore.archive.gz"
    )
    assert second.endswith("s3://x/, estore") and head.index("backup") == first.index("s3://") == second.index("s3://")


def test_a_shop_that_was_made_on_the_spot_does_not_look_like_a_backup_of_ones_own():
    (row,) = report.rows([record(1, subject="the sandbox's shop, seed 1, scale 1")])
    assert row[-1] == "the sandbox's shop, seed 1, scale 1"
    (row,) = report.rows([record(1, subject="s3://estore-backups/daily/, estore")])
    assert row[-1] == "s3://estore-backups/daily/estore.archive.gz"


def drawn(renderable):
    out = io.StringIO()
    Console(file=out, width=120, force_terminal=False).print(renderable)
    return out.getvalue().splitlines()


def test_a_terminal_shows_each_phase_at_its_place_in_the_whole():
    head, find, restore = drawn(report.timeline(record(phases=[Phase("find", 1.0, ""), Phase("restore", 3.0, "")])))
    assert head.split() == ["phase", "time", "share"]
    assert restore.count("█") > 2 * find.count("█") > 0 and restore.index("█") > find.rindex("█")


@pytest.mark.parametrize("phases", [[], [Phase("find", 0.0, "")]])
def test_phases_that_took_no_time_are_drawn_without_an_error(phases):
    assert len(drawn(report.timeline(record(phases=phases)))) == 1 + len(phases)


def test_a_terminal_shows_a_history_with_the_same_words():
    text = " ".join(drawn(report.history_table([record(1), record(2, result="missed")])))
    assert "missed" in text and "s3://estore-backups/daily/estore.archive.gz" in text


def test_an_objective_that_is_met_to_the_second_is_met():
    assert report.figures(record(rto_seconds=60.0, objectives=Objectives(60.0, 60.0)))[0][3] == "met"
