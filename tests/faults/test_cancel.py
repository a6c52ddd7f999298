"""A run that is stopped says "cancelled" or "timeout" only when nothing of it is left, and UNKNOWN otherwise."""

from __future__ import annotations

import functools
import json
import os
import random
import re
import shutil
import signal
import time

import pytest

from mendbook import processes
from notes import Ran, notes_in
from waiting import until

pytestmark = pytest.mark.faults
CONFIRM = ("--confirm", "note:a.txt")
# longer than any test waits: these runs end because they are stopped
SLOW = (*CONFIRM, "-e", "note_write_seconds=280")
GRACE_SECONDS = 15


@pytest.fixture
def notes(tmp_path):
    yield from notes_in(tmp_path)


def acting(notes):
    """The run and its module's process, once that is at work and says so."""
    written = "mendbook-*/progress/a-1.jsonl"
    (path,) = until(lambda: [path for path in notes.tmp.glob(written) if b'"write"' in path.read_bytes()])
    return notes.run_id(), json.loads(path.read_text().splitlines()[0])["pid"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_run_is_cancelled_when_its_module_is_gone_and_says_what_it_left(notes, number):
    process = notes.start(*SLOW)
    run, module = acting(notes)
    process.send_signal(number)
    ran = Ran.of(process)
    assert processes.of_run(run) == []
    assert ran.code == 130
    assert "cancelled: no process of this run is left; a: failed (nothing changed)" in ran.stderr
    assert [line.get("state") for line in notes.journal() if line["event"] == "end"] == ["failed (nothing changed)"]
    assert not notes.note().exists() and notes.left() == []


def test_a_timeout_is_124_when_its_module_is_gone(notes):
    # what is stopped before its module has begun ends in other ways, and how long that takes is the machine's to say
    for seconds in (8, 25, 75):
        began = time.monotonic()
        ran = notes.run(*SLOW, "--timeout", f"{seconds}s", "--json")
        took = time.monotonic() - began
        if "progress" in [event["event"] for event in ran.events()]:
            break
    assert ran.code == 124 and took < seconds + GRACE_SECONDS
    assert ran.events()[-1]["word"] == "timeout"
    assert "timeout" in [event.get("why") for event in ran.events()]
    assert processes.of_run(ran.events()[0]["run"]) == []


def test_a_module_that_takes_no_notice_makes_the_end_unknown_however_often_one_asks(notes):
    process = notes.start(*SLOW, "-e", "note_write_stubborn=true")
    run, module = acting(notes)
    began = time.monotonic()
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
        time.sleep(1)
        assert process.poll() is None
    ran = Ran.of(process)
    assert ran.code == 70 and time.monotonic() - began >= GRACE_SECONDS
    assert "UNKNOWN" in ran.stdout and "'Write the note' on a was told to end and is still at work" in ran.stderr
    # the words name the process and the command that finds out
    assert f"pid {module}" in ran.stderr and re.search(rf"ps -fp [0-9,]*\b{module}\b", ran.stderr)
    assert f"mendbook run write_note -i {notes.inventory} --check" in ran.stderr


def test_a_run_that_is_stopped_before_its_module_starts_changes_nothing(notes):
    process = notes.start(*SLOW)
    (folder,) = until(notes.left)
    process.send_signal(signal.SIGINT)
    ran = Ran.of(process)
    assert ran.code == 130 and "no process of this run is left" in ran.stderr
    assert not folder.exists() and not notes.note().exists()


def test_ansible_killed_under_a_module_is_not_called_failed_while_the_module_works(notes):
    process = notes.start(*SLOW)
    run, module = acting(notes)
    (main,) = [each for each in processes.of_run(run) if each.parent == process.pid]
    os.kill(main.pid, signal.SIGKILL)
    ran = Ran.of(process)
    assert ran.code == 70 and "is still at work" in ran.stderr and "told to end" not in ran.stderr
    assert processes.read(module)


def test_a_module_killed_hard_leaves_its_end_unknown(notes):
    process = notes.start(*SLOW)
    run, module = acting(notes)
    os.kill(module, signal.SIGKILL)
    ran = Ran.of(process)
    assert ran.code == 70 and "UNKNOWN" in ran.stdout


def test_stopped_at_any_moment_a_run_leaves_nothing_behind_and_says_so(notes, fault_rounds, record_fault):
    rounds = fault_rounds(6, 100)
    chance = random.Random(20261121)
    codes = []
    for _ in range(rounds):
        process = notes.start(*CONFIRM, "-e", "note_write_seconds=1", "--json")
        time.sleep(chance.uniform(0.2, 3.5))
        process.send_signal(signal.SIGINT)
        ran = Ran.of(process)
        codes.append(ran.code)
        run = next((event["run"] for event in ran.events() if event["event"] == "started"), None)
        assert run is None or processes.of_run(run) == []
        # cancelled; or too late, done; or in the moment between the gate's begin and the module's first line
        states = [line["state"] for line in notes.journal() if line["event"] == "end" and line["run"] == run]
        # on a slow machine even before mendbook has begun, while Python is still importing or itself not yet ready
        its_own = any(words in ran.stderr for words in ("Python runtime state", "import runpy module"))
        too_early = run is None and (ran.code == -signal.SIGINT or its_own)
        assert too_early or ran.code in (0, 130) or (ran.code == 70 and states == ["UNKNOWN"]), ran
        # the journal tells the truth about what was changed
        assert notes.note().exists() == (states == ["done"])
        notes.note().unlink(missing_ok=True)
    assert notes.left() == []
    held = f"no process left; {codes.count(130)} cancelled, {codes.count(0)} done before, {codes.count(70)} UNKNOWN"
    record_fault("cancel at a random moment", rounds=rounds, held=held)


def test_a_killed_mendbook_takes_its_run_with_it(notes, fault_rounds, record_fault):
    rounds = fault_rounds(2, 30)
    for _ in range(rounds):
        process = notes.start(*SLOW)
        run, module = acting(notes)
        process.kill()
        process.communicate()
        until(functools.partial(is_over, run))
        assert notes.journal()[-1]["state"] == "failed (nothing changed)"
        for folder in notes.left():
            shutil.rmtree(folder)
    record_fault("kill -9 of mendbook", rounds=rounds, held="the module ended, its end is in the journal")


def is_over(run):
    return not processes.of_run(run)
