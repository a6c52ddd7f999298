"""The journal: whole lines in a chain, whatever stands in them, and every change to it noticed."""

import hashlib
import json
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.module_utils.mendbook import journal as journals
from ansible.module_utils.mendbook.errors import Refused, VerifyFailed
from ansible.module_utils.mendbook.journal import Journal, state_folder, unfinished, verify_chain
from hypothesis import given, settings
from hypothesis import strategies as st

HOSTILE = ["line\nbreak", "\r\n", "\x1b[2J", "nul\0", "\udcff", " ", '"}\n{"event":"end"}', "{{ x }}", "é" * 70000]


def journal(tmp_path, run="run-1"):
    return Journal(run, str(tmp_path), procedure="restore_mongo", who={"user": "alice"})


def read(journal):
    """An independent reader: it trusts nothing but bytes, newlines, JSON and SHA-256."""
    events, prev = [], None
    with open(journal.path, "rb") as file:
        content = file.read()
    assert content.endswith(b"\n")
    for number, line in enumerate(content[:-1].split(b"\n"), 1):
        event = json.loads(line)
        assert event["prev"] == prev
        assert event["seq"] == number
        events.append(event)
        prev = hashlib.sha256(line).hexdigest()
    return events


def test_each_line_names_the_one_before(tmp_path):
    made = journal(tmp_path)
    made.write("run_begin")
    begun = made.begin(host="a", target={"id": "t"}, plan={"changes": []}, plan_sha256="p")
    begun.end(state="done", done=[])
    made.write("run_end")
    events = read(made)
    assert [event["event"] for event in events] == ["run_begin", "begin", "end", "run_end"]
    assert events[2]["begin"] == begun.sha256 == events[2]["prev"]
    assert events[2]["host"] == "a" and "plan" not in events[2]
    assert all(event["procedure"] == "restore_mongo" and event["who"] == {"user": "alice"} for event in events)
    assert all(event["schema"] == 1 and event["run"] == "run-1" and event["at"].endswith("Z") for event in events)
    assert [event["seq"] for event in verify_chain(made.path)] == [1, 2, 3, 4]


def test_nobody_else_may_read_it(tmp_path):
    made = journal(tmp_path / "new" / "state")
    made.write("run_begin")
    assert stat.S_IMODE(os.stat(made.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(made.folder).st_mode) == 0o700


def test_the_reserve_of_a_begin_is_there_until_its_end(tmp_path):
    made = journal(tmp_path)
    begun = made.begin()
    (reserve,) = [name for name in os.listdir(made.folder) if name.endswith(".reserve")]
    assert os.stat(os.path.join(made.folder, reserve)).st_blocks * 512 >= 64 << 10
    begun.end(state="done")
    assert os.listdir(made.folder) == ["run-1.jsonl"]


def test_what_killed_processes_reserved_is_given_back_and_nothing_else(tmp_path):
    made, other = journal(tmp_path), journal(tmp_path, "run-10")
    made.begin()
    other.begin()
    made.give_back()
    assert [name.split(".")[1] for name in os.listdir(made.folder) if name.endswith(".reserve")] == ["run-10"]


def test_a_begin_without_an_end_is_found(tmp_path):
    made = journal(tmp_path)
    made.begin(host="a").end(state="done")
    made.begin(host="b")
    assert [event["host"] for event in unfinished(verify_chain(made.path))] == ["b"]


def test_an_end_fits_into_what_was_reserved_for_it(tmp_path):
    made = journal(tmp_path)
    begun = made.begin(host="a")
    done = [{"op": "-", "object": "x" * 4000, "bytes": 1} for _ in range(1000)]
    begun.end(state="done", done=done, read_back={"deep": ["y" * 9000] * 50}, msg="z" * 100_000)
    with open(made.path, "rb") as file:
        line = file.readlines()[-1]
    assert len(line) <= 60 << 10
    event = json.loads(line)
    assert sum(entry.get("objects", 1) for entry in event["done"]) == 1000
    assert event["state"] == "done" and event["begin"] == begun.sha256


def test_a_record_that_nothing_can_shorten_keeps_its_short_fields(tmp_path):
    made = journal(tmp_path)
    made.begin().end(state="done", read_back={f"key {number}": "x" * 100 for number in range(5000)})
    assert read(made)[-1]["cut"]
    assert read(made)[-1]["state"] == "done"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_one_line(tmp_path, name):
    made = journal(tmp_path)
    made.begin(host=name, plan={name: [{"object": name}]}).end(done=[{"object": name}], msg=name)
    assert [event["event"] for event in read(made)] == ["begin", "end"]
    assert read(made)[0]["host"].startswith(name[:4096])


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.text(st.characters(), max_size=60) | st.integers() | st.booleans() | st.none(),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=20), inner, max_size=4)
        ),
    )
)
def test_any_plan_makes_a_line_that_the_reader_understands(tmp_path_factory, value):
    made = journal(tmp_path_factory.mktemp("state"))
    with pytest.MonkeyPatch.context() as patched:
        # so many lines wait too long for a disk that others are busy with
        patched.setattr(os, "fsync", lambda file: None)
        made.begin(plan={"changes": value}).end(done=value)
    assert len(read(made)) == 2
    assert verify_chain(made.path)[0]["plan"] == {"changes": json.loads(json.dumps(value))}


def _append_many(folder, name, count):
    for number in range(count):
        Journal("run-1", folder).begin(host=name, number=number).end(state="done")


def test_processes_that_write_at_once_make_one_chain(tmp_path, monkeypatch):
    # each line waits for the disk, and nobody promises whose turn is next
    monkeypatch.setattr(journals, "LOCK_SECONDS", 240)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(str(tmp_path), f"h{n}", 15)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert len(read(journal(tmp_path))) == 120
    assert unfinished(verify_chain(journal(tmp_path).path)) == []


def lines_of(tmp_path, count=4):
    made = journal(tmp_path)
    for number in range(count):
        made.write("refused", number=number)
    with open(made.path, "rb") as file:
        return made.path, file.readlines()


def _changed(lines):
    return [lines[0], lines[1].replace(b'"number":1', b'"number":7'), *lines[2:]]


@pytest.mark.parametrize(
    "tamper, line",
    [
        (_changed, 3),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3),
        (lambda lines: [lines[0], b"\n", *lines[1:]], 2),
        (lambda lines: [*lines, b'{"event":"end"}\n'], 5),
        (lambda lines: [*lines[:3], lines[3][:-10] + b"\n"], 4),
        (lambda lines: [*lines, b"[]\n"], 5),
        (lambda lines: [lines[0][:20] + b"\n", *lines[1:]], 1),
    ],
)
def test_a_tampered_chain_is_noticed_at_its_line(tmp_path, tamper, line):
    path, lines = lines_of(tmp_path)
    with open(path, "wb") as file:
        file.writelines(tamper(lines))
    with pytest.raises(VerifyFailed, match=f"line {line} "):
        verify_chain(path)


def test_a_half_line_of_a_crash_was_never_written(tmp_path):
    path, lines = lines_of(tmp_path)
    for half in (b'{"event":"begin","half', b"x" * 200_000):
        with open(path, "ab") as file:
            file.write(half)
        assert len(verify_chain(path)) == len(lines)
        journal(tmp_path).write("run_end")
        with open(path, "rb") as file:
            after = file.readlines()
        assert after[:-1] == lines
        assert len(read(journal(tmp_path))) == len(after)
        lines = after


def test_a_journal_that_is_nothing_but_half_a_line_begins_anew(tmp_path):
    made = journal(tmp_path)
    os.makedirs(made.folder)
    with open(made.path, "wb") as file:
        file.write(b'{"event"')
    made.write("run_begin")
    assert [event["seq"] for event in read(made)] == [1]


def test_a_last_line_longer_than_any_block_is_chained(tmp_path):
    made = journal(tmp_path)
    made.write("begin", plan={f"k{number}": "x" * 4000 for number in range(200)})
    made.write("end")
    assert len(read(made)) == 2


@pytest.mark.parametrize("run", ["", "../escape", "a/b", "-x", ".hidden", "a" * 64, "a\nb", "a b"])
def test_a_run_whose_name_is_no_file_name_is_refused(tmp_path, run):
    with pytest.raises(Refused):
        Journal(run, str(tmp_path))


def test_an_unknown_event_is_a_bug(tmp_path):
    with pytest.raises(ValueError, match="finished"):
        journal(tmp_path).write("finished")


def test_a_link_in_the_place_of_the_journal_is_not_followed(tmp_path):
    made = journal(tmp_path)
    os.makedirs(made.folder)
    (tmp_path / "victim").touch()
    os.symlink(tmp_path / "victim", made.path)
    with pytest.raises(OSError):
        made.begin()
    assert (tmp_path / "victim").read_bytes() == b"" and os.listdir(made.folder) == ["run-1.jsonl"]


def test_a_journal_that_another_process_holds_is_an_error_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "LOCK_SECONDS", 0.05)
    made = journal(tmp_path)
    with made._locked(), pytest.raises(TimeoutError):
        journal(tmp_path).begin()
    assert not [name for name in os.listdir(made.folder) if name.endswith(".reserve")]


def test_the_state_folder_is_the_one_that_is_named_or_the_users_own(monkeypatch):
    assert state_folder({"MENDBOOK_STATE": "/srv/state"}) == "/srv/state"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state_folder({}) == "/var/lib/mendbook"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert state_folder({"XDG_STATE_HOME": "/srv/xdg"}) == "/srv/xdg/mendbook"
    assert state_folder({}).endswith("/.local/state/mendbook")


def test_runs_that_start_in_the_same_second_have_different_names():
    # by chance, so of a few only
    assert len({journals.new_run() for _ in range(5)}) == 5


def test_the_program_in_the_page_follows_the_chain_and_stops_where_it_breaks(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
    program = page.partition("```python\n")[2].partition("```")[0]
    made = journal(tmp_path)
    for event in ("run_begin", "begin", "end", "run_end"):
        made.write(event, host="db1")
    good = subprocess.run([sys.executable, "-c", program, made.path], capture_output=True, text=True, check=False)
    assert good.returncode == 0 and [line.split()[2] for line in good.stdout.splitlines()] == [
        "run_begin",
        "begin",
        "end",
        "run_end",
    ]
    forged = Path(made.path).read_bytes().replace(b"alice", b"bobby", 1)
    Path(made.path).write_bytes(forged)
    bad = subprocess.run([sys.executable, "-c", program, made.path], capture_output=True, text=True, check=False)
    assert bad.returncode == 1 and "changed, missing or moved before line 2" in bad.stderr
