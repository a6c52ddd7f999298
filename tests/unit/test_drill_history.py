"""The history of drills: whole lines or none, several writers at once, and one bad line hurts no other."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal

import msgspec
import pytest

from drill_records import record
from mendbook.drills import history
from mendbook.errors import NothingMatched


def read(path):
    return history.read(history.lines(path))


def test_records_come_back_as_they_were_oldest_first(tmp_path):
    path = tmp_path / "new" / "drills.jsonl"
    for day in (3, 1, 2):
        history.append(path, record(day))
    assert read(path) == ([record(1), record(2), record(3)], [])
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_dead_writer_has_cut_off_is_named_and_hurts_no_other(tmp_path):
    path = tmp_path / "drills.jsonl"
    history.append(path, record(1))
    with path.open("ab") as file:
        file.write(msgspec.json.encode(record(2))[:50])
    history.append(path, record(3))
    records, (words,) = read(path)
    assert records == [record(1), record(3)]
    assert words.startswith(f"{path}, line 2 is not a drill's record and is left out: ")


@pytest.mark.parametrize(
    "line",
    [
        b"nothing",
        b"[]",
        b"\xff\xfe",
        b'{"schema": 2}',
        b"{" * 2000,
        msgspec.json.encode({**msgspec.to_builtins(record()), "result": "splendid"}),
        msgspec.json.encode({**msgspec.to_builtins(record()), "rto_seconds": "fast"}),
    ],
)
def test_what_is_no_record_of_a_schema_that_is_known_is_left_out(tmp_path, line):
    path = tmp_path / "drills.jsonl"
    path.write_bytes(line + b"\n\n" + msgspec.json.encode(record(2)) + b"\n")
    records, broken = read(path)
    assert records == [record(2)] and len(broken) == 1


def test_a_record_of_a_newer_mendbook_with_more_in_it_is_read(tmp_path):
    path = tmp_path / "drills.jsonl"
    path.write_bytes(msgspec.json.encode({**msgspec.to_builtins(record()), "moon": "full"}))
    assert read(path) == ([record()], [])


def test_without_a_history_the_command_that_begins_one_is_named(tmp_path):
    with pytest.raises(NothingMatched, match="mendbook drill restore_mongo begins it"):
        read(tmp_path / "drills.jsonl")


def _append_many(path, day):
    for _ in range(25):
        history.append(path, record(day))


def test_drills_that_end_at_once_lose_no_line(tmp_path):
    path = tmp_path / "drills.jsonl"
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.starmap(_append_many, [(path, day) for day in range(1, 5)])
    records, broken = read(path)
    assert (len(records), broken) == (100, [])


def test_a_disk_that_is_full_in_the_middle_of_a_line_leaves_the_lines_before(tmp_path):
    path = tmp_path / "drills.jsonl"
    history.append(path, record(1))
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100,) * 2)
        try:
            history.append(path, record(2))
        except OSError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert read(path) == ([record(1)], [])


def test_a_place_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        history.append(tmp_path / "file" / "drills.jsonl", record())
