"""Following progress and journal files while they are written."""

import json
import os

import pytest

from mendbook.events import Planned, Progressed
from mendbook.watch import Watch

PLAN = {
    "schema": 1,
    "module": "mend_x",
    "target": {"kind": "t", "id": "t1"},
    "risk": "changes",
    "changes": [],
    "fingerprint": "f",
}


@pytest.fixture
def told():
    return []


@pytest.fixture
def watch(tmp_path, told):
    (tmp_path / "progress").mkdir()
    return Watch(tmp_path / "progress", tmp_path / "journal.jsonl", told.append)


def write(path, *entries, end="\n"):
    with path.open("a") as file:
        file.write("\n".join(json.dumps(entry) for entry in entries) + end)


def step(done, **facts):
    return {"phase": "load", "done": done, "total": 10, "unit": "documents"} | facts


def test_each_line_is_told_once_with_the_host_of_its_file(tmp_path, watch, told):
    path = tmp_path / "progress" / "db-1-2.jsonl"
    write(path, step(1))
    watch.look()
    watch.look()
    write(path, step(2))
    watch.look()
    assert told == [Progressed("db-1", "load", 1, 10, "documents"), Progressed("db-1", "load", 2, 10, "documents")]
    assert watch.last["db-1"].done == 2


def test_the_hosts_of_all_plays_are_known(tmp_path, watch, told):
    write(tmp_path / "progress" / "matched", {"hosts": ["a", "b"]}, {"hosts": ["b", "c"]}, {"other": 1})
    watch.look()
    assert watch.matched == {"a", "b", "c"} and told == []


def test_half_a_line_waits_for_its_end(tmp_path, watch, told):
    path = tmp_path / "progress" / "a-1.jsonl"
    path.write_text('{"phase": "load", ')
    watch.look()
    assert told == []
    with path.open("a") as file:
        file.write('"done": 1}\n')
    watch.look()
    assert told == [Progressed("a", "load", 1, None, "")]


@pytest.mark.parametrize(
    "line", ["not json", "[1]", '{"phase": 1, "done": 1}', '{"done": 1}', '{"phase": "x", "done": "1"}']
)
def test_a_line_of_another_form_is_passed_over(tmp_path, watch, told, line):
    (tmp_path / "progress" / "a-1.jsonl").write_text(f"{line}\n{json.dumps(step(1, total=None, unit=None))}\n")
    watch.look()
    assert [event.done for event in told] == [1]


def test_the_process_that_works_is_remembered(tmp_path, watch):
    write(
        tmp_path / "progress" / "a-1.jsonl",
        {"pid": os.getpid(), "phase": "start"},
        {"pid": 2**22 + 1, "phase": "start"},
    )
    watch.look()
    assert [process.pid for process in watch.modules] == [os.getpid()]


def test_a_plan_is_told_when_the_change_begins(tmp_path, watch, told):
    begin = {"event": "begin", "host": "a", "plan": PLAN}
    write(
        tmp_path / "journal.jsonl",
        {"event": "run_begin"},
        begin,
        {"event": "begin", "host": "b", "plan": {"schema": 2}},
    )
    watch.look()
    assert [(type(event), event.host) for event in told] == [(Planned, "a")]


def test_a_plan_is_told_before_the_work_however_late_both_are_read(tmp_path, watch, told):
    write(tmp_path / "progress" / "a-1.jsonl", step(1))
    write(tmp_path / "journal.jsonl", {"event": "begin", "host": "a", "plan": PLAN})
    watch.look()
    assert [type(event) for event in told] == [Planned, Progressed]


def test_work_that_is_written_while_the_journal_is_read_is_not_told_before_its_plan(tmp_path, watch, told, monkeypatch):
    journal = tmp_path / "journal.jsonl"
    journal.touch()
    read, first = type(watch._journal).lines, iter([True])

    def lines(tail):
        found = read(tail)
        if tail is watch._journal and next(first, False):
            write(journal, {"event": "begin", "host": "a", "plan": PLAN})
            write(tmp_path / "progress" / "a-1.jsonl", step(1))
        return found

    monkeypatch.setattr(type(watch._journal), "lines", lines)
    watch.look()
    watch.look()
    assert [type(event) for event in told] == [Planned, Progressed]


def test_the_last_word_of_the_journal_on_each_host_is_kept(tmp_path, watch):
    write(
        tmp_path / "journal.jsonl",
        {"event": "begin", "host": "a", "plan": PLAN},
        {"event": "end", "host": "a", "state": "x"},
    )
    write(tmp_path / "journal.jsonl", {"event": "begin", "host": "b", "plan": PLAN})
    watch.look()
    assert {host: entry["event"] for host, entry in watch.acts.items()} == {"a": "end", "b": "begin"}
