"""A question is asked in a child: it may hang, die, say too much, or be interrupted."""

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.mendbook import disk_ask
from ansible.module_utils.mendbook.disk_ask import SILENT, ask
from disk_children import settled


def hang():
    time.sleep(600)
    yield 1


def after_one():
    yield "one"
    time.sleep(600)


def dies():
    yield "one"
    raise OSError("the disk is gone")


def children():
    """The processes that this one has started and that have not ended."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {pid for pid in pids if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"}


@pytest.fixture(autouse=True)
def nobody_is_left():
    before = children()
    yield
    deadline = time.monotonic() + 30
    while children() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children() <= before


def test_answers_come_as_they_were_given_whatever_their_length():
    answers = [None, {"a": ["x" * 3_000_000, 1.5, "\udcff\n\x1b"]}, [], ""]
    assert [answer for _, answer in ask({"q": lambda: iter(answers)}, 60)] == answers


def test_several_are_asked_side_by_side_and_each_is_told_by_its_name():
    found = list(ask({1: lambda: iter("ab"), None: lambda: iter("c"), "x": lambda: iter(())}, 60))
    assert sorted(found, key=str) == sorted([(1, "a"), (1, "b"), (None, "c")], key=str)


@pytest.mark.parametrize("said", [[], ["one"], ["one", "two"]])
def test_who_says_no_more_is_given_up_and_what_was_said_counts(said):
    with settled() as child:

        def work():
            yield from said
            child.hang()

        assert [answer for _, answer in ask({"q": work}, 0.5)] == [*said, SILENT]


def test_who_dies_is_given_up_at_once_and_what_was_said_counts():
    assert [answer for _, answer in ask({"q": dies}, 600)] == ["one", SILENT]


@pytest.fixture
def clock(monkeypatch):
    """Put the clock of whoever asks forward."""
    ahead = []
    monkeypatch.setattr(
        disk_ask, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + sum(ahead), sleep=time.sleep)
    )
    return ahead.append


@pytest.fixture
def pipes():
    ends = [*os.pipe(), *os.pipe()]
    yield ends
    for end in ends:
        os.close(end)


def test_patience_is_for_each_answer_and_not_for_all_of_them(clock, pipes):
    wait, go, *_ = pipes

    def slow():
        for number in range(4):
            yield number
            os.read(wait, 1)

    found = []
    for name, answer in ask({"q": slow, "dead": hang}, 60):
        found.append((name, answer))
        if name == "q":
            # all in all longer than the patience, and never so long between two answers
            clock(25)
            os.write(go, b".")
    assert sorted(found, key=str) == sorted([("dead", SILENT), *(("q", number) for number in range(4))], key=str)


def test_what_was_said_while_the_asker_itself_stood_still_is_heard(clock, pipes):
    wait, go, heard, said = pipes

    def first():
        yield "a"

    def then():
        os.read(wait, 1)
        yield "b"
        os.write(said, b".")

    found = []
    for name, answer in ask({"first": first, "then": then}, 60):
        found.append((name, answer))
        if answer == "a":
            os.write(go, b".")
            os.read(heard, 1)
            clock(1000)
    assert ("then", "b") in found and ("then", SILENT) not in found


def test_whoever_stops_listening_leaves_no_child_behind():
    for _, answer in ask({"a": after_one, "b": hang}, 60):
        assert answer == "one"
        break


def test_a_child_ends_by_a_signal_whatever_its_parent_does_with_it():
    kept = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("the parent's handler ran in the child"))
    try:
        answers = [answer for _, answer in ask({"q": lambda: iter([os.kill(os.getpid(), signal.SIGTERM)])}, 60)]
    finally:
        signal.signal(signal.SIGTERM, kept)
    assert answers == [SILENT]


def test_a_child_holds_nothing_of_what_its_parent_says(capfd):
    def loud():
        os.write(1, b"out")
        os.write(2, b"err")
        yield [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)]

    ((_, links),) = ask({"q": loud}, 60)
    # or whoever reads the module's output would wait for the end of a child that cannot end
    assert links == [os.devnull] * 3 and capfd.readouterr() == ("", "")
