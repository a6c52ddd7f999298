"""`mendbook schedule --install` and `--remove`: whole files, once, and never over what somebody else has written."""

from __future__ import annotations

import os

import pytest
from schedule_lab import LOOK, scheduler


@pytest.fixture
def schedule(monkeypatch, tmp_path, capsys):
    return scheduler(monkeypatch, tmp_path, capsys)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "units"
    made.mkdir()
    return made


def test_installed_once_a_second_time_nothing_is_changed_and_removed_it_is_gone(schedule, folder):
    words = (*LOOK, "--install", "--directory", folder)
    code, out, _ = schedule(*words)
    assert code == 0 and out.count("wrote ") == 2
    files = {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in folder.iterdir()}
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o644"}
    code, out, _ = schedule(*words)
    assert code == 0 and out.startswith("nothing to do")
    assert files == {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in folder.iterdir()}
    code, out, _ = schedule(*words[:-3], "--on-calendar", "weekly", *words[-3:])
    assert code == 0 and out.splitlines() == [f"wrote {folder}/mendbook-look_around.timer"]
    code, out, _ = schedule("look_around", "--remove", "--directory", folder)
    assert code == 0 and out.count("removed ") == 2 and list(folder.iterdir()) == []
    code, _, err = schedule("look_around", "--remove", "--directory", folder)
    assert code == 7 and "nothing to remove" in err


def test_where_no_systemd_runs_the_commands_are_said(schedule, tmp_path):
    assert schedule(*LOOK, "--user", "--install")[2].count("systemd does not run here") == 3
    assert (
        "systemctl --user disable --now mendbook-look_around.timer" in schedule("look_around", "--user", "--remove")[2]
    )


def in_the_way(path, kind):
    if kind == "text":
        path.write_text("[Timer]\n")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        # how systemd masks a unit
        path.symlink_to("/dev/null")
    else:
        path.write_bytes(b"\xff\xfe")
    return path


@pytest.mark.parametrize("kind", ["text", "folder", "link", "bytes"])
def test_what_is_not_ours_is_neither_replaced_nor_removed(schedule, folder, kind):
    path = in_the_way(folder / "mendbook-look_around.timer", kind)
    code, out, err = schedule(*LOOK, "--install", "--directory", folder)
    assert (code, out) == (6, "") and f"{path} is in the way" in err
    # not even the half that would have been possible
    assert list(folder.iterdir()) == [path]
    code, out, err = schedule("look_around", "--remove", "--directory", folder)
    assert (code, out) == (6, "") and os.path.lexists(path)


def test_a_file_that_was_changed_by_hand_is_left_alone(schedule, folder):
    schedule(*LOOK, "--install", "--directory", folder)
    timer = folder / "mendbook-look_around.timer"
    timer.write_text(timer.read_text().replace("daily", "weekly"))
    for words in ((*LOOK, "--install"), ("look_around", "--remove")):
        code, _, err = schedule(*words, "--directory", folder)
        assert code == 6 and "was changed by hand" in err
    assert "weekly" in timer.read_text() and len(list(folder.iterdir())) == 2


def test_a_folder_that_cannot_be_written_to_is_said_and_nothing_is_left(schedule, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = schedule(*LOOK, "--install", "--directory", tmp_path / "file" / "units")
    assert (code, out) == (2, "") and "cannot be written: Not a directory" in err


def test_a_disk_that_is_full_leaves_no_half_of_a_file(schedule, folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, out, err = schedule(*LOOK, "--install", "--directory", folder)
    assert code == 2 and "No space left on device" in err
    assert list(folder.iterdir()) == []
