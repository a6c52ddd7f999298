"""JUnit files, read back by another program's reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import junitparser
import pytest

from mendbook import junit
from mendbook.errors import Failed, UsageError, VerifyFailed
from mendbook.junit import Case
from mendbook.outcome import HostResult, Outcome


def written(tmp_path, *cases, **options):
    path = tmp_path / "report.xml"
    junit.write(path, "mendbook drill restore_mongo", cases, **options)
    (suite,) = junitparser.JUnitXml.fromfile(str(path))
    return suite


def test_a_suite_counts_its_cases_and_says_how_each_ended(tmp_path):
    suite = written(
        tmp_path,
        Case("find", 1.25, output="a backup"),
        Case("restore", 2.0, "failure", "it is not what was uploaded"),
        Case("verify", 0.0, "error", "no server"),
        Case("RTO", 0.0, "skipped", "not known"),
        seconds=4.5,
    )
    assert (suite.tests, suite.failures, suite.errors, suite.skipped, suite.time) == (4, 1, 1, 1, 4.5)
    find, restore, verify, rto = suite
    assert (find.time, find.classname, find.system_out, find.result) == (1.25, suite.name, "a backup", [])
    assert restore.result[0].message == restore.result[0].text == "it is not what was uploaded"
    assert isinstance(verify.result[0], junitparser.Error) and isinstance(rto.result[0], junitparser.Skipped)


def test_without_a_time_of_its_own_a_suite_took_what_its_longest_case_took(tmp_path):
    assert written(tmp_path, Case("a", 1.0), Case("b", 3.0)).time == 3.0
    assert written(tmp_path).time == 0.0


@pytest.mark.parametrize("text", ["</failure><x>", "a\x00b\x1b[31mred", "]]>&amp;\ud800", "\ufffe\u202e"])
def test_what_a_target_said_leaves_the_file_whole(tmp_path, text):
    (case,) = written(tmp_path, Case(text, 0.0, "failure", text, text))
    assert "\x00" not in case.name and "\x1b" not in (case.result[0].text or "")


def test_a_file_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError):
        junit.write(tmp_path / "none" / "report.xml", "suite", [])


HOST = HostResult("estore", "done", figures={"load_seconds": 2.5}, read_back={"documents": 10})
OUTCOME = Outcome("restore_mongo", "run", False, "done", 0, {"estore": HOST}, 3.5, Path("journal"))


def test_a_run_has_a_case_for_each_target():
    refused = HostResult("other", "refused", 6, msg="the backup is too old")
    lost = HostResult("third", "UNKNOWN", 70, msg="look")
    last = HostResult("last", "not begun", 2)
    hosts = {"estore": HOST, "other": refused, "third": lost, "last": last}
    cases = junit.of_run(replace(OUTCOME, hosts=hosts), None)
    assert [(case.name, case.seconds, case.end) for case in cases] == [
        ("estore", 3.5, None),
        ("other", 3.5, "failure"),
        ("third", 3.5, "error"),
        ("last", 3.5, "skipped"),
    ]
    assert cases[0].output == "done\ndocuments 10\nload_seconds 2.5" and cases[1].words.endswith(
        "the backup is too old"
    )


FACTS = {"rto_seconds": 12.04, "rpo_seconds": None, "objectives": {"rto_seconds": 3600.0, "rpo_seconds": 86400.0}}


def test_what_was_measured_against_an_objective_is_a_case_of_its_own():
    good = replace(HOST, facts={**FACTS, "rpo_seconds": 90.0, "missed": []})
    _, rto, rpo = junit.of_run(replace(OUTCOME, hosts={"estore": good}), None)
    assert (rto.name, rto.end, rto.output) == ("estore: RTO", None, "12 s, the objective is 1 h 0 min")
    assert (rpo.name, rpo.end, rpo.output) == ("estore: RPO", None, "1 min 30 s, the objective is 1 d 0 h")


def test_a_missed_objective_and_one_that_is_not_known_are_failures_beside_the_target():
    bad = HostResult("estore", "failed", 5, msg="missed", details={**FACTS, "missed": ["rto_seconds", "rpo_seconds"]})
    target, rto, rpo = junit.of_run(replace(OUTCOME, hosts={"estore": bad}), VerifyFailed("missed"))
    assert [case.end for case in (target, rto, rpo)] == ["failure"] * 3
    assert (rto.words, rpo.words) == ("12 s, the objective is 1 h 0 min", "unknown, the objective is 1 d 0 h")


@pytest.mark.parametrize(
    ("outcome", "error", "ends"),
    [
        (None, UsageError("no such variable"), ["error"]),
        (None, VerifyFailed("not equal"), ["failure"]),
        (OUTCOME, Failed("cut off"), [None, "error"]),
        (replace(OUTCOME, hosts={"a": HostResult("a", "not begun", 2)}), Failed("cut off"), ["skipped", "error"]),
        # a target that says why needs no second case
        (replace(OUTCOME, hosts={"a": HostResult("a", "failed", 2, msg="why")}), Failed("why"), ["error"]),
    ],
)
def test_an_error_beside_the_targets_is_a_case_of_its_own(outcome, error, ends):
    assert [case.end for case in junit.of_run(outcome, error)] == ends
