"""clean_disk on disks without a byte or an inode, read-only ones, and files that nobody may remove."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from ansible.module_utils.mendbook import disk_reclaim_act, host_lock

from disk_lab import Disk
from disk_places import filled, mounted
from module_memory import measured
from ordinary_user import as_nobody
from requirement import missing

pytestmark = pytest.mark.faults
pytest_plugins = ["disk_lab"]


@pytest.fixture
def small(disk):
    """A disk of 1 MB and 60 inodes."""
    with mounted(disk.root, "size=1m,nr_inodes=60"):
        yield disk


def test_without_a_free_byte_it_works_and_so_does_the_lock_on_that_disk(small, monkeypatch):
    monkeypatch.setattr(host_lock, "_places", lambda: (str(small.root / "locks"),))
    for number in range(10):
        small.file(f"f{number}.log", size=40_000)
    filled(small.root)
    assert os.statvfs(small.root).f_bavail == 0
    result = small.reclaim(target_free_bytes=100_000)
    assert (result["state"], small.gone(result)) == ("done", 3)
    assert os.statvfs(small.root).f_bavail * 4096 >= 100_000 and result["read_back"]["file_systems"][0]["reached"]


def test_without_a_free_inode_it_works(small):
    with pytest.raises(OSError, match="space"):
        for number in range(100):
            small.file(f"f{number}.log", size=0)
    before = os.statvfs(small.root)
    assert before.f_favail == 0
    result = small.reclaim(target_free_share=0.5)
    assert (result["state"], result["plan"]["totals"]["bytes"]) == ("done", 0)
    assert os.statvfs(small.root).f_favail == 30


def test_a_read_only_file_system_is_refused_before_anything_is_tried(small):
    small.file("a.log")
    subprocess.run(["mount", "-o", "remount,ro", str(small.root)], check=True)
    result = small.reclaim()
    assert (result["state"], result["mend"]["rule"]) == ("refused", "read_only") and "dmesg" in result["msg"]
    assert small.names() == ["a.log"]


def test_a_file_system_that_becomes_read_only_in_the_middle_is_told(small, monkeypatch):
    for number in range(4):
        small.file(f"f{number}.log", size=5000)
    monkeypatch.setattr(disk_reclaim_act, "_PORTION", 2)
    real, calls = disk_reclaim_act.Act._remove, []

    def then_read_only(self, *args):
        calls.append(args)
        if len(calls) == 2:
            subprocess.run(["mount", "-o", "remount,ro", str(small.root)], check=True)
        return real(self, *args)

    monkeypatch.setattr(disk_reclaim_act.Act, "_remove", then_read_only)
    result = small.reclaim()
    assert (result["state"], result["mend"]["rule"], small.gone(result)) == ("partial", "blocked", 2)
    assert len(small.names()) == 2 and set(small.reasons(result).values()) == {"Read-only file system"}
    assert "removed 2 files" in result["msg"] and "2 because read-only file system" in result["msg"]


@pytest.fixture
def immutable(disk):
    """Make a file immutable; it is an ordinary one again at the end."""
    made = []

    def make(path, flag="i"):
        if not shutil.which("chattr") or subprocess.run(["chattr", f"+{flag}", str(path)]).returncode:
            missing("chattr does not work on this file system, or is not allowed")
        made.append((path, flag))

    yield make
    for path, flag in made:
        subprocess.run(["chattr", f"-{flag}", str(path)], check=True)


@pytest.mark.parametrize("flag", ["i", "a"])
def test_an_immutable_file_stays_and_is_told(disk, immutable, flag):
    immutable(disk.file("kept.log"), flag)
    result = disk.reclaim()
    assert (result["state"], result["mend"]["rule"]) == ("failed (nothing changed)", "blocked")
    disk.file("a.log")
    result = disk.reclaim()
    assert (result["state"], disk.names(), disk.gone(result)) == ("partial", ["kept.log"], 1)
    assert disk.reasons(result) == {"kept.log": "it is immutable or append-only (lsattr shows it)"}


@pytest.fixture
def public(monkeypatch):
    """A disk to which the way is open to anybody, and locks of an ordinary user."""
    with tempfile.TemporaryDirectory(prefix="public-disk-") as made:
        disk = Disk(Path(made, "root"), Path(made, "victims"))
        locks = Path(made, "of-nobody")
        locks.mkdir()
        locks.chmod(0o777)
        for folder in (Path(made), disk.root):
            folder.chmod(0o755)
        monkeypatch.setattr(host_lock, "_places", lambda: (str(locks / "locks"),))
        yield disk


def test_without_the_right_to_remove_nothing_is_removed_and_that_is_a_failure(public):
    public.file("a.log")
    result = as_nobody(public.reclaim)
    assert (result["state"], result["mend"]["rule"]) == ("failed (nothing changed)", "blocked")
    assert "permission denied" in result["msg"] and public.names() == ["a.log"]
    assert any("processes of other users" in note for note in result["plan"]["notes"])


def test_a_folder_that_may_not_be_read_is_told(public):
    public.file("shut/a.log")
    public.file("b.log")
    (public.root / "shut").chmod(0o700)
    public.root.chmod(0o777)
    result = as_nobody(public.reclaim)
    assert (result["state"], public.names()) == ("done", ["shut/a.log"])
    assert f"not seen: 1 folders in {public.root}: Permission denied" in result["plan"]["notes"]


def test_a_root_that_may_not_be_opened_is_a_failure(public):
    public.root.chmod(0o700)
    result = as_nobody(public.reclaim)
    assert result["mend"]["rule"] == "permission" and "cannot be opened" in result["msg"]


def peak(disk, count, name):
    for number in range(count):
        (disk.root / name.format(number)).touch()
    ended, peak = measured("mend_disk_reclaim", _ansible_check_mode=True, **disk.options(max_share=1))
    assert ended["state"] in ("planned", "nothing to do")
    return ended, peak


def test_memory_grows_little_with_what_goes_and_not_with_what_stays(disk, record_fault):
    _, nothing = peak(disk, 0, "")
    _, stays = peak(disk, 20_000, "young-{}.log")
    assert stays - nothing < 4 << 20, (nothing, stays)
    for number in range(20_000):
        os.utime(disk.root / f"young-{number}.log", (1e9, 1e9))
    ended, goes = peak(disk, 0, "")
    assert ended["plan"]["totals"]["objects"] == 20_000 and len(ended["plan"]["changes"]) <= 1000
    each = (goes - stays) // 20_000
    assert each < 1000, (stays, goes)
    record_fault("20,000 files to plan for", rounds=1, held=f"{goes >> 20} MB at most, {max(0, each)} bytes for a file")
