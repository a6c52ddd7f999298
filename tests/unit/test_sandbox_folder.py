"""The folder of a sandbox: which are taken, which refused, and what is removed."""

import fcntl
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from mendbook.sandbox import FolderRefused, SandboxError, folder, named_folder, status_in, stop_in
from mendbook.sandbox.keeper import MARKER, RECORD, clear


def dead_sandbox(path: Path) -> folder.Folder:
    """A folder as a sandbox leaves it whose keeper was killed."""
    claimed = folder.claim(path)
    (path / "mongo").mkdir()
    (path / "mongo" / "data").write_text("x")
    claimed.record["owned"] = [str(path / "mongo")]
    claimed.save()
    claimed.let_go()
    return claimed


def test_a_new_folder_is_private_and_marked(tmp_path):
    claimed = folder.claim(tmp_path / "a" / "b")
    assert claimed.path.stat().st_mode & 0o777 == 0o700
    assert (claimed.path / RECORD).stat().st_mode & 0o777 == 0o600
    assert folder.is_ours(claimed.path) and folder.is_alive(claimed.path)


def test_a_folder_with_files_of_somebody_else_is_refused_and_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FolderRefused, match="not empty and was not made by mendbook"):
        folder.claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FolderRefused, match="is a file"):
        folder.claim(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused(tmp_path):
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(FolderRefused, match="belongs to another user"):
        folder.claim(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused():
    with pytest.raises(FolderRefused, match="no permission"):
        folder.claim(Path("/proc/sandbox"))


def test_a_running_sandbox_is_refused_and_stays(tmp_path):
    claimed = folder.claim(tmp_path)
    with pytest.raises(FolderRefused, match=r"a sandbox is running .* stop"):
        folder.claim(tmp_path)
    assert folder.is_alive(claimed.path)


def test_a_folder_that_somebody_only_looks_at_is_taken(tmp_path, monkeypatch):
    with (tmp_path / MARKER).open("w") as look:
        fcntl.flock(look, fcntl.LOCK_EX)
        waits = SimpleNamespace(sleep=lambda seconds: fcntl.flock(look, fcntl.LOCK_UN))
        monkeypatch.setattr(folder, "time", waits)
        claimed = folder.claim(tmp_path)
    assert folder.is_alive(claimed.path)


def test_what_a_dead_sandbox_left_is_removed_and_the_folder_taken_again(tmp_path):
    dead_sandbox(tmp_path)
    claimed = folder.claim(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [MARKER, RECORD]
    assert claimed.record["owned"] == []


def test_a_folder_that_a_dead_sandbox_made_is_made_again(tmp_path):
    dead_sandbox(tmp_path / "box")
    claimed = folder.claim(tmp_path / "box")
    assert claimed.record["created"] and folder.is_alive(claimed.path)


def test_a_marker_without_a_readable_record_is_taken_over(tmp_path):
    (tmp_path / MARKER).write_text("")
    (tmp_path / RECORD).write_text("{half a rec")
    assert folder.claim(tmp_path).record["services"] == {}


def test_a_symlink_as_marker_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / MARKER).symlink_to(victim)
    with pytest.raises(OSError):
        folder.claim(tmp_path / "box")
    assert victim.read_text() == "mine"


def test_clearing_leaves_files_that_somebody_put_into_the_folder(tmp_path):
    box = tmp_path / "box"
    dead_sandbox(box)
    (box / "notes.txt").write_text("keep me")
    clear(box)
    assert [path.name for path in box.iterdir()] == ["notes.txt"]


def test_clearing_keeps_a_folder_that_was_there_before(tmp_path):
    dead_sandbox(tmp_path)
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_record_cannot_make_us_remove_files_elsewhere(tmp_path):
    outside, outside_folder = tmp_path / "file", tmp_path / "folder"
    outside.write_text("x")
    outside_folder.mkdir()
    (outside_folder / "file").write_text("x")
    box = tmp_path / "box"
    claimed = dead_sandbox(box)
    (box / "s3").symlink_to(outside_folder)
    claimed.record["owned"] += [str(outside), str(outside_folder), str(box / "s3"), str(box / ".." / "file")]
    claimed.save()
    clear(box)
    assert outside.read_text() == "x" and (outside_folder / "file").read_text() == "x"
    assert not box.exists()


def test_sockets_outside_the_folder_are_removed():
    # not tmp_path: the path of a socket is short
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as server:
        path = Path(place) / "weed.sock"
        server.bind(str(path))
        box = Path(place) / "box"
        claimed = dead_sandbox(box)
        claimed.record["owned"].append(str(path))
        claimed.save()
        clear(box)
        assert not path.exists()


def test_a_server_that_outlived_its_keeper_is_killed_and_a_stranger_with_a_recorded_id_is_not(tmp_path):
    box = tmp_path / "box"
    wait = "import time; print('here', flush=True); time.sleep(100)"
    with (
        subprocess.Popen(
            [sys.executable, "-c", wait, "--dbpath", f"{box}/mongo/data"], stdout=subprocess.PIPE
        ) as server,
        subprocess.Popen([sys.executable, "-c", wait], stdout=subprocess.PIPE) as stranger,
    ):
        try:
            # a process has no command line yet in the first moment of its program
            assert server.stdout.readline() == stranger.stdout.readline() == b"here\n"
            claimed = folder.claim(box)
            claimed.record["services"]["mongo"] = {"pids": [server.pid, stranger.pid, 2**22 + 1]}
            claimed.save()
            claimed.let_go()
            folder.remove_dead(box)
            assert server.wait(60) == -9
            assert stranger.poll() is None
            assert not box.exists()
        finally:
            server.kill()
            stranger.kill()


def test_the_sweep_takes_dead_temporary_sandboxes_only(tmp_path):
    dead_sandbox(tmp_path / "mendbook-sandbox-dead")
    alive = folder.claim(tmp_path / "mendbook-sandbox-alive")
    (tmp_path / "mendbook-sandbox-other").mkdir()
    (tmp_path / "mendbook-sandbox-other" / "file").write_text("x")
    folder.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mendbook-sandbox-alive", "mendbook-sandbox-other"]
    assert folder.is_alive(alive.path)


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/b", ".hidden", "/etc"])
def test_a_name_that_is_a_path_is_refused(name):
    with pytest.raises(SandboxError, match="no name for a sandbox"):
        named_folder(name)


def test_named_sandboxes_lie_in_the_state_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MENDBOOK_STATE", str(tmp_path))
    assert named_folder("default") == tmp_path / "sandbox" / "default"


def test_status_and_stop_of_nothing(tmp_path):
    assert status_in(tmp_path / "none") == {"directory": str(tmp_path / "none"), "running": False}
    assert stop_in(tmp_path / "none") is False


def test_stop_cleans_after_a_dead_sandbox(tmp_path):
    dead_sandbox(tmp_path / "box")
    assert status_in(tmp_path / "box")["running"] is False
    assert stop_in(tmp_path / "box") is True
    assert not (tmp_path / "box").exists()


def test_stop_never_touches_a_folder_without_the_marker(tmp_path):
    (tmp_path / RECORD).write_text('{"owned": ["%s"], "created": true}' % (tmp_path / "file"))
    (tmp_path / "file").write_text("x")
    assert stop_in(tmp_path) is False
    assert (tmp_path / "file").exists()
