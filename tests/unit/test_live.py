"""What a person sees while a run goes on."""

import io
from types import SimpleNamespace

import pytest

from mendbook import live
from mendbook.events import Planned, Progressed, Started, Stopping, TaskEnded, TaskStarted
from mendbook.outcome import HostResult
from mendbook.records import Plan, Target

PLAN = Plan(1, "mend_x", Target("t", "rs0@h/d"), "destroys", [], "f", expected_seconds=90)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def lines(*events):
    out = io.StringIO()
    view = live.view(out)
    for event in events:
        view(event)
    view.close()
    return out.getvalue().splitlines()


def step(done, phase="load", total=100.0):
    return Progressed("db1", phase, done, total, "documents")


def test_a_log_gets_sentences_and_no_escape_codes():
    said = lines(
        Started("r1", "restore_mongo", False, "now"),
        TaskStarted("db1", "Validate", "ansible.builtin.validate_argument_spec"),
        TaskStarted("db1", "Restore", "mend_mongo_restore"),
        Planned("db1", PLAN),
        TaskEnded("db1", "Restore", HostResult("db1", "failed", 2, msg="no \x1b[31mway")),
        Stopping("SIGINT", 15),
    )
    assert said == [
        "restore_mongo: run r1",
        "db1: Restore",
        "db1: acting on rs0@h/d, 0 changes, about 1 min 30 s",
        "db1: failed: no way",
        "stopping (SIGINT): waiting up to 15 s for the run's processes to end",
    ]


def test_a_log_gets_each_phase_once_and_then_only_now_and_then(monkeypatch):
    out = io.StringIO()
    view = live.view(out)
    for now, event in [(0, step(1)), (1, step(2)), (11, step(50)), (12, step(1, phase="index", total=None))]:
        monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda now=now: 100.0 + now))
        view(event)
    assert out.getvalue().splitlines() == [
        "db1: load 1 of 100 documents (1%)",
        "db1: load 50 of 100 documents (50%)",
        "db1: index 1 documents",
    ]


def test_a_terminal_gets_bars_and_is_left_as_it_was():
    out = Terminal()
    view = live.view(out)
    for event in (Started("r1", "p", False, "now"), step(10), step(100), Stopping("SIGINT", 15)):
        view(event)
    view.close()
    view.close()
    said = out.getvalue()
    assert "100 of 100 documents (100%)" in said and "stopping (SIGINT)" in said
    # the cursor that the bars hid is shown again
    assert said.rfind("\x1b[?25h") > said.rfind("\x1b[?25l")


def test_phases_side_by_side_are_not_said_again_and_again(monkeypatch):
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: 100.0))
    both = [event for done in (10, 20, 30) for event in (step(100), step(done, phase="proof"))]
    assert lines(*both, step(100, phase="proof"), step(100)) == [
        "db1: load 100 of 100 documents (100%)",
        "db1: proof 10 of 100 documents (10%)",
        "db1: proof 100 of 100 documents (100%)",
    ]


def test_a_message_that_begins_with_its_word_is_not_given_it_twice():
    refused = HostResult("db1", "refused", 6, msg="refused: too old")
    assert lines(TaskEnded("db1", "Restore", refused)) == ["db1: refused: too old"]


@pytest.mark.parametrize("total", [None, 0.0])
def test_an_unknown_total_is_no_division_by_zero(total):
    out = Terminal()
    view = live.view(out)
    view(step(5, total=total))
    view.close()
    assert "5 documents" in out.getvalue()


def test_names_from_a_target_are_no_markup():
    out = Terminal()
    view = live.view(out)
    view(Progressed("db[red]1", "lo\x1b[2Jad", 1, 2, "[/]"))
    view.close()
    assert "db[red]1" in out.getvalue() and "\x1b[2J" not in out.getvalue()
