"""A drill's end: what is written, what is only a warning, and which exit code it gives."""

from __future__ import annotations

import json

import junitparser
import pytest

from mendbook.drills import history
from mendbook.drills.phases import Drill, ObjectivesMissed
from mendbook.drills.record import BackupTaken, Objectives
from mendbook.drills.showing import Outputs, perform
from mendbook.drills.store import Store
from mendbook.errors import Cancelled, Failed, Refused, UsageError, VerifyFailed


class Shut(Store):
    """A bucket whose credentials may only read."""

    def put(self, record):
        raise Failed("AccessDenied")


@pytest.fixture(autouse=True)
def state(monkeypatch, tmp_path):
    folder = tmp_path / "state"
    monkeypatch.setenv("MENDBOOK_STATE", str(folder))
    return folder


def outputs(folder, **changed):
    facts = {"junit": folder / "drill.xml", "markdown": folder / "drill.md", "store": None, "history_file": None}
    return Outputs(**{**facts, "recorded": True, "as_json": False, **changed})


def drill_that(ends_with=None):
    """A drill and its phases: one that ends well, then perhaps an error."""
    drilled = Drill("restore_mongo", Objectives())

    def phases():
        with drilled.phase("find") as found:
            found.append("a backup")
            drilled.backup = BackupTaken("estore", "daily/a")
            drilled.verified = True
        with drilled.phase("restore") as found:
            if ends_with:
                raise ends_with
            found.append("10 documents")

    return drilled, phases


@pytest.mark.parametrize(
    ("error", "code", "result", "verified", "failing"),
    [
        (None, 0, "passed", True, []),
        (ObjectivesMissed("too slow"), 5, "missed", True, []),
        (VerifyFailed("not equal"), 5, "failed", False, ["restore"]),
        (Refused("not scratch"), 6, "failed", False, ["restore"]),
        (Failed("no server"), 2, "failed", False, ["restore"]),
    ],
)
def test_every_end_has_its_code_its_record_and_its_reports(tmp_path, capsys, error, code, result, verified, failing):
    drilled, phases = drill_that(error)
    assert perform(drilled, outputs(tmp_path), phases) == code
    ((kept,), broken) = history.read(history.lines(tmp_path / "state" / "drills.jsonl"))
    assert (kept.result, kept.verified, kept.error, broken) == (result, verified, error and error.msg, [])
    (suite,) = junitparser.JUnitXml.fromfile(str(tmp_path / "drill.xml"))
    assert [case.name for case in suite if case.result and case.name not in ("RTO", "RPO")] == failing
    assert (tmp_path / "drill.md").read_text().startswith("### drill of restore\\_mongo: ")
    assert (error.msg if error else "") in capsys.readouterr().err


def test_json_is_a_line_for_each_phase_and_the_record_as_the_last(tmp_path, capsys):
    drilled, phases = drill_that(VerifyFailed("not equal"))
    perform(drilled, outputs(tmp_path, as_json=True), phases)
    first, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (first["phase"], first["found"]) == ("find", "a backup")
    assert (last["drill"], last["result"], last["error"]) == ("restore_mongo", "failed", "not equal")
    assert last["seconds"] >= first["seconds"] and last["schema"] == 1


@pytest.mark.parametrize("error", [Cancelled("cancelled"), KeyboardInterrupt()])
def test_a_drill_that_was_stopped_says_nothing_about_the_backup_and_is_not_recorded(tmp_path, state, error):
    drilled, phases = drill_that(error)
    with pytest.raises(type(error)):
        perform(drilled, outputs(tmp_path), phases)
    assert not state.exists() and not (tmp_path / "drill.xml").exists()


def test_a_history_and_a_bucket_that_take_no_record_are_warnings(tmp_path, state, capsys):
    (state / "drills.jsonl").mkdir(parents=True)
    made = outputs(tmp_path, store=Shut("estore", "daily/"))
    made.check()
    assert "warning: no history will be kept: " in capsys.readouterr().err
    drilled, phases = drill_that()
    assert perform(drilled, made, phases) == 0
    warned = capsys.readouterr().err
    assert "has no record of this drill: Is a directory" in warned
    assert "no record of this drill beside the backup: AccessDenied" in warned


def test_without_records_nothing_is_tried(tmp_path, state, capsys):
    made = outputs(tmp_path, store=Shut("estore", "daily/"), recorded=False)
    made.check()
    drilled, phases = drill_that()
    assert perform(drilled, made, phases) == 0
    assert not state.exists() and capsys.readouterr().err == ""


def test_a_history_that_was_named_and_cannot_be_written_is_an_error_before_anything_starts(tmp_path):
    with pytest.raises(UsageError, match="cannot be written: Is a directory"):
        outputs(tmp_path, history_file=tmp_path).check()


def test_a_report_that_cannot_be_written_after_all_fails_a_drill_that_went_well(tmp_path):
    made = outputs(tmp_path)
    made.check()
    (tmp_path / "drill.xml").mkdir()
    drilled, phases = drill_that()
    with pytest.raises(Failed, match="drill.xml: Is a directory"):
        perform(drilled, made, phases)
