"""Where a host's lock lies: what somebody has made ready there is refused or left out, and runs meet all the same."""

from __future__ import annotations

import os
import subprocess

import pytest
from ansible.module_utils.mendbook import host_lock
from ansible.module_utils.mendbook.errors import Locked, Refused
from ansible.module_utils.mendbook.host_lock import HostLock, holder

from disk_places import mounted


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder of the locks, which nobody has made yet."""
    monkeypatch.setattr(host_lock, "_places", lambda: (str(tmp_path / "locks"),))
    return tmp_path / "locks"


def a_link(file, folder):
    file.symlink_to(folder / "victim")


def a_link_to_nothing(file, folder):
    file.symlink_to(folder / "nowhere")


def a_second_name(file, folder):
    os.link(folder / "victim", file)


def a_pipe(file, folder):
    os.mkfifo(file)


def a_folder(file, folder):
    file.mkdir()


@pytest.mark.parametrize("made", [a_link, a_link_to_nothing, a_second_name, a_pipe, a_folder])
def test_a_file_that_was_made_ready_is_refused_and_left_alone(place, tmp_path, made):
    place.mkdir(0o700)
    (tmp_path / "victim").write_text("mine")
    made(place / "disk.lock", tmp_path)
    for attempt in (lambda: HostLock("disk", "one").__enter__(), lambda: holder("disk")):
        with pytest.raises(Refused) as caught:
            attempt()
        assert caught.value.rule == "lock_place" and str(place / "disk.lock") in caught.value.msg
    assert (tmp_path / "victim").read_text() == "mine" and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("mode", [0o770, 0o701, 0o1777])
def test_a_folder_that_others_may_enter_is_refused(place, mode):
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(Refused, match=f"{mode:o}"), HostLock("disk", "one"):
        pass
    assert list(place.iterdir()) == []


def test_a_folder_that_is_a_link_is_refused(place, tmp_path):
    (tmp_path / "elsewhere").mkdir(0o700)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused), HostLock("disk", "one"):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", [".", "disk.lock"])
def test_a_foreign_owner_is_refused(place, name):
    place.mkdir(0o700)
    (place / "disk.lock").touch(0o600)
    os.chown(place / name, 65534, 65534)
    with pytest.raises(Refused), HostLock("disk", "one"):
        pass


def test_where_there_is_no_place_at_all_it_refuses_and_names_them(monkeypatch):
    monkeypatch.setattr(host_lock, "_places", lambda: ("/nowhere/locks", "/proc/locks-of-ours"))
    assert holder("disk") is None
    with pytest.raises(Refused, match="/nowhere/locks or /proc/locks-of-ours"), HostLock("disk", "one"):
        pass


def test_the_places_of_root_and_of_each_user_are_their_own(monkeypatch):
    found = []
    for user in (0, 1000, 1001):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        found += host_lock._places()
    assert len(set(found)) == len(found)


def test_the_next_place_is_taken_where_the_first_cannot_be(place, tmp_path, monkeypatch):
    monkeypatch.setattr(host_lock, "_places", lambda: ("/nowhere/locks", str(place)))
    with HostLock("disk", "one"):
        assert holder("disk")["run"] == "one"


def test_a_place_that_has_become_read_only_is_left_out(place, tmp_path, monkeypatch):
    with mounted(tmp_path / "first", "mode=700"):
        monkeypatch.setattr(host_lock, "_places", lambda: (str(tmp_path / "first"), str(place)))
        with HostLock("disk", "one"):
            pass
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "first")], check=True)
        assert holder("disk") is None
        with HostLock("disk", "two"):
            assert holder("disk")["run"] == "two"


def test_runs_meet_although_one_finds_the_first_place_full(place, tmp_path, monkeypatch):
    first = tmp_path / "first"
    monkeypatch.setattr(host_lock, "_places", lambda: (str(first), str(place)))
    with pytest.MonkeyPatch.context() as full:
        mkdir = os.mkdir
        full.setattr(os, "mkdir", lambda path, mode: mkdir(path if path == str(place) else "/proc/no", mode))
        with HostLock("disk", "one"):
            full.undo()
            assert not first.exists()
            with pytest.raises(Locked) as caught, HostLock("disk", "two"):
                pass
            assert caught.value.details["run"] == "one" == holder("disk")["run"]
    # the one that was refused has let go of the first place, too
    with HostLock("disk", "three"):
        assert (first / "disk.lock").exists()


@pytest.mark.parametrize("made", [a_link, a_folder, a_pipe])
def test_a_place_that_somebody_has_taken_keeps_nobody_from_the_other(place, tmp_path, monkeypatch, made):
    taken = tmp_path / "taken"
    made(taken, tmp_path)
    taken.chmod(0o777) if made is a_folder else None
    monkeypatch.setattr(host_lock, "_places", lambda: (str(taken), str(place)))
    with HostLock("disk", "one"):
        assert holder("disk")["run"] == "one" and (place / "disk.lock").exists()
        with pytest.raises(Locked), HostLock("disk", "two"):
            pass


def test_a_file_that_goes_while_one_waits_is_not_the_lock(place, monkeypatch):
    flock, removed = host_lock.fcntl.flock, []

    def remove_first(file, how):
        if not removed:
            removed.append((place / "disk.lock").unlink())
        flock(file, how)

    monkeypatch.setattr(host_lock.fcntl, "flock", remove_first)
    with HostLock("disk", "one"), pytest.raises(Locked), HostLock("disk", "two"):
        pass
    assert removed
