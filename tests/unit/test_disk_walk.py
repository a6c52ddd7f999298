"""What takes the space of a folder, against what du and the test itself count; and what happens when it changes."""

import gc
import os
import socket
import subprocess
import time
from types import SimpleNamespace

import pytest
from ansible.module_utils.mendbook import disk_folder, disk_walk
from ansible.module_utils.mendbook.disk_walk import walk

from forked import forked
from requirement import missing

KB = 1024


@pytest.fixture(params=["copy of the mount", "plain"])
def tree(request, tmp_path, monkeypatch):
    """A folder, read as root may and as everybody may."""
    if request.param == "plain":
        monkeypatch.setattr(disk_folder, "_open_tree", denied)
    elif os.geteuid():
        missing("only root may copy a mount")
    return tmp_path


def denied(path):
    raise PermissionError(1, "Operation not permitted")


def look(path, seconds=60, limit=10, points=None):
    *_, found = walk(str(path), points or {}, seconds, limit)
    return found


def fill(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def du(path, *options):
    done = subprocess.run(["du", "-xs", *options, path], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def clocked(monkeypatch, ticks_per_second):
    """A clock of the walk's own, which goes on by a tick whenever it is looked at."""
    ticks = iter(range(10**9))
    for module in (disk_walk, disk_folder):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(ticks) / ticks_per_second))


def paths(entries):
    return [one["path"] for one in entries]


def test_it_counts_as_du_does(tree):
    fill(tree / "a/b/large", 300 * KB)
    os.link(tree / "a/b/large", tree / "a/again")
    os.link(tree / "a/b/large", tree / "third")
    with open(tree / "sparse", "wb") as file:
        file.truncate(10**9)
    os.mkfifo(tree / "fifo")
    (tree / "loop").symlink_to(tree)
    (tree / "a/outside").symlink_to("/usr")
    for number in range(50):
        fill(tree / f"many/{number}", 1)
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(tree)
        listener.bind("socket")
        os.chdir(here)
        found = look(tree)
    assert found["bytes"] == du(tree, "-B1") and found["inodes"] == du(tree, "--inodes")
    assert found["is_complete"] and found["unseen"] == [] and found["folder_count"] == 4
    (first, *others) = found["files"]
    assert os.path.samefile(first["path"], tree / "third") and str(tree / "sparse") not in paths(others)
    assert found["most_files"][0]["path"] == str(tree / "many") and found["most_files"][0]["inodes"] == 51


def test_the_largest_come_first_and_a_folder_of_one_large_folder_is_left_out(tree):
    fill(tree / "a/deep/er/one", 900 * KB)
    fill(tree / "a/deep/er/two", 800 * KB)
    fill(tree / "b/three", 700 * KB)
    fill(tree / "b/c/four", 600 * KB)
    found = look(tree, limit=3)
    assert paths(found["files"]) == [str(tree / name) for name in ("a/deep/er/one", "a/deep/er/two", "b/three")]
    assert paths(found["folders"]) == [str(tree / name) for name in ("a/deep/er", "b", "b/c")]
    assert [one["bytes"] for one in found["folders"]] == [du(tree / name, "-B1") for name in ("a/deep/er", "b", "b/c")]


@pytest.mark.parametrize("turns", [1, 2, 64])
def test_it_counts_the_same_in_whatever_turns_it_reads(tree, monkeypatch, turns):
    monkeypatch.setattr(disk_walk, "_TURNS", turns)
    monkeypatch.setattr(disk_walk, "_TURN_SECONDS", 0)
    monkeypatch.setattr(disk_folder, "BATCH", 2)
    monkeypatch.setattr(disk_folder, "_CLOCK_EVERY", 1)
    for number in range(40):
        fill(tree / f"{number % 7}/{number % 3}/{number}", number * 100)
    found = look(tree)
    assert found["is_complete"] and found["bytes"] == du(tree, "-B1") and found["inodes"] == du(tree, "--inodes")
    top = {one["path"]: one["bytes"] for one in look(tree, limit=100)["folders"]}
    assert {path: du(path, "-B1") for path in top} == top and len(top) > 20


def test_what_there_was_no_time_for_is_said_and_the_rest_is_right(tree, monkeypatch):
    for number in range(30):
        fill(tree / f"{number}/x/file", 10 * KB)
    clocked(monkeypatch, 100)
    found = look(tree, seconds=1)
    monkeypatch.undo()
    assert not found["is_complete"] and set(found["unseen_count"]) == {"the time was over"}
    assert 0 < found["bytes"] < du(tree, "-B1")
    assert found["unseen"] and all(one["path"].startswith(str(tree)) for one in found["unseen"])
    # what is called complete is, and there is something that is not
    for one in look(tree, limit=100)["folders"]:
        assert one["is_complete"] and one["bytes"] == du(one["path"], "-B1")


def test_without_any_time_nothing_is_read_and_that_is_said(tree):
    fill(tree / "a/file", KB)
    found = look(tree, seconds=0)
    assert paths(found["unseen"]) == [str(tree)] and found["files"] == [] and not found["is_complete"]


def test_a_huge_folder_does_not_keep_the_others_from_being_seen(tree, monkeypatch):
    monkeypatch.setattr(disk_folder, "_CLOCK_EVERY", 1)
    monkeypatch.setattr(disk_walk, "_TURN_SECONDS", 0.01)
    for number in range(3000):
        fill(tree / f"huge/{number % 70}/{number}", 1)
    for name in ("before", "zafter"):
        fill(tree / name / "x/y/large", 200 * KB)
    clocked(monkeypatch, 1000)
    found = look(tree, seconds=1)
    monkeypatch.undo()
    assert {str(tree / "before/x/y/large"), str(tree / "zafter/x/y/large")} == set(paths(found["files"])[:2])
    assert [one["path"].startswith(str(tree / "huge")) for one in found["unseen"]] == [True]


def test_names_of_any_bytes_are_read(tree):
    names = [b"new\nline", b"\xff\xfe", b"\x1b[2J", b"-rf", b" ", "caf\u00e9".encode(), b"x" * 255]
    for name in names:
        os.mkdir(os.path.join(os.fsencode(tree), name))
        with open(os.path.join(os.fsencode(tree), name, name), "wb") as file:
            file.write(b"x" * 5000)
    found = look(tree)
    assert {os.fsencode(path) for path in paths(found["files"])} == {
        os.path.join(os.fsencode(tree), name, name) for name in names
    }


def test_a_folder_that_may_not_be_read_is_named(tree, monkeypatch):
    fill(tree / "secret/file", KB)
    fill(tree / "open/file", KB)
    real = disk_walk.open_folder

    def guarded(name, above):
        if name == "secret":
            raise PermissionError(13, "Permission denied")
        return real(name, above)

    monkeypatch.setattr(disk_walk, "open_folder", guarded)
    found = look(tree)
    assert found["unseen"] == [{"path": str(tree / "secret"), "why": "Permission denied"}]
    assert found["unseen_count"] == {"Permission denied": 1} and not found["is_complete"]
    assert paths(found["files"]) == [str(tree / "open/file")]


@pytest.mark.parametrize("change", ["gone", "file", "link", "loop"])
def test_a_folder_that_becomes_something_else_is_never_followed(tree, monkeypatch, change):
    victim = fill(tree.parent / f"{tree.name}-victim" / "inside", 500 * KB).parent
    fill(tree / "a/file", KB)
    real = disk_walk.open_folder

    def changed(name, above):
        if name == "a":
            os.rename(tree / "a", tree.parent / f"{tree.name}-moved")
            if change == "file":
                fill(tree / "a", KB)
            elif change != "gone":
                (tree / "a").symlink_to(victim if change == "link" else tree / "a")
        return real(name, above)

    monkeypatch.setattr(disk_walk, "open_folder", changed)
    found = look(tree)
    assert found["files"] == [] and found["bytes"] < 100 * KB
    assert not any("victim" in path for path in paths(found["folders"]))


def test_a_tree_that_is_renamed_and_deleted_while_it_is_read_is_read_to_its_end(tree, monkeypatch):
    for number in range(60):
        fill(tree / f"{number}/x/{number}", KB)
    real, calls = disk_walk.open_folder, iter(range(10**6))

    def busy(name, above):
        number = next(calls)
        if number < 60:
            (tree / f"{number}/x/{number}").unlink(missing_ok=True)
            fill(tree / f"new-{number}/y", KB)
            os.rename(tree / f"new-{number}", tree / f"other-{number}")
        return real(name, above)

    monkeypatch.setattr(disk_walk, "open_folder", busy)
    found = look(tree)
    assert found["is_complete"] or set(found["unseen_count"]) <= {"No such file or directory"}


def test_folders_in_each_other_deeper_than_descriptors_are_said_and_not_a_crash(tree, monkeypatch):
    monkeypatch.setattr(disk_walk, "descriptors", lambda: 40)
    fill(tree / "/".join("d" * 100) / "file", KB)
    fill(tree / "b/file", KB)
    found = look(tree)
    assert found["unseen_count"] == {"more folders in each other than a process may open": 1}
    assert paths(found["files"]) == [str(tree / "b/file")]


def test_a_path_longer_than_the_kernel_takes_is_no_limit(tree):
    name, here = "n" * 200, os.getcwd()
    os.chdir(tree)
    try:
        for _ in range(30):
            os.mkdir(name)
            os.chdir(name)
        with open("bottom", "wb") as file:
            file.write(b"x" * 300 * KB)
    finally:
        os.chdir(here)
    found = look(tree)
    assert found["is_complete"] and found["files"][0]["path"].endswith("/bottom") and found["folder_count"] == 31


def test_more_hard_links_than_it_remembers_are_said(tree, monkeypatch):
    monkeypatch.setattr(disk_walk, "_MAX_LINKS", 2)
    for number in range(4):
        fill(tree / f"{number}", KB)
        os.link(tree / f"{number}", tree / f"{number}-again")
    assert not look(tree)["links_told"]


def test_a_mount_point_is_not_even_looked_at_where_the_mounts_are_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_folder, "_open_tree", denied)
    fill(tmp_path / "a/dead/file", KB)
    fill(tmp_path / "a/dead-too", KB)
    fill(tmp_path / "a/fine", KB)
    touched, real = [], disk_walk.open_folder
    monkeypatch.setattr(disk_walk, "open_folder", lambda name, above: (touched.append(name), real(name, above))[1])
    found = look(tmp_path, points={"a": {"dead": {"": {}}, "dead-too": {"": {}}}})
    assert touched == ["a"] and paths(found["files"]) == [str(tmp_path / "a/fine")]


def test_times_of_access_stay_as_they_are(tree):
    fill(tree / "a/file", KB)
    places = [tree, tree / "a", tree / "a/file"]
    for place in places:
        # so old that even a mount with relatime would note a look
        os.utime(place, (10**9, 10**9))
    look(tree)
    assert [os.stat(place).st_atime for place in places] == [10**9] * 3


def test_it_says_what_it_has_seen_as_it_goes(tree, monkeypatch):
    monkeypatch.setattr(disk_walk, "_SNAPSHOT_SECONDS", 0)
    for number in range(20):
        fill(tree / f"{number}/file", KB)
    *before, last = walk(str(tree), {}, 60, 5)
    assert len(before) > 10 and not any(one["is_complete"] for one in before) and last["is_complete"]
    sizes = [one["bytes"] for one in (*before, last)]
    assert sizes == sorted(sizes) and len(before[-1]["files"]) == 5


def test_no_descriptor_is_left_open(tree):
    for number in range(200):
        fill(tree / f"{number % 9}/{number}/file", 1)

    def opened_and_closed():
        # what earlier tests have left to the collector would be closed by it at any time
        gc.freeze()
        before = len(os.listdir("/proc/self/fd"))
        look(tree)
        look(tree, seconds=0)
        started = time.monotonic()
        look(tree, seconds=0.001)
        return time.monotonic() - started < 30 and len(os.listdir("/proc/self/fd")) == before

    # without the threads that earlier tests have left behind, which open and close what they like
    assert forked(opened_and_closed)
