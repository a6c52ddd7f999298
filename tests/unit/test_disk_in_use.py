"""Which files are open, as a real /proc tells, and one that was made up."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from ansible.module_utils.mendbook import disk_in_use
from ansible.module_utils.mendbook.disk_in_use import KERNEL, InUse

from requirement import missing


def key_of(path):
    seen = os.stat(path)
    return seen.st_dev, seen.st_ino


def in_use(*paths, **options):
    found = InUse({os.stat(path).st_dev for path in paths}, **options)
    found.look()
    return found


def test_an_open_file_is_found_with_its_process_and_a_closed_one_is_not(tmp_path):
    opened, closed = tmp_path / "open.log", tmp_path / "closed.log"
    closed.touch()
    with opened.open("a"):
        found = in_use(tmp_path)
        assert found.files[key_of(opened)] == os.getpid() and key_of(closed) not in found.files
        assert f"(pid {os.getpid()})" in found.who(*key_of(opened))
        assert found.who(*key_of(closed)) is None
    found.look()
    assert key_of(opened) not in found.files


def test_a_file_that_was_renamed_while_it_is_open_is_still_found(tmp_path):
    with (tmp_path / "a.log").open("a"):
        (tmp_path / "a.log").rename(tmp_path / "a.log.1")
        assert key_of(tmp_path / "a.log.1") in in_use(tmp_path).files


def test_an_answer_is_used_until_it_is_no_longer_fresh(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_in_use, "FRESH_SECONDS", 600)
    found = in_use(tmp_path)
    with (tmp_path / "a.log").open("a"):
        found.look_again()
        assert key_of(tmp_path / "a.log") not in found.files
        monkeypatch.setattr(disk_in_use, "FRESH_SECONDS", 0)
        found.look_again()
        assert key_of(tmp_path / "a.log") in found.files


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    """Say what is mounted: (device, place, type) of each."""

    def say(*lines):
        text = "".join(
            f"{30 + at} 20 {device} / {place} rw - {kind} x rw\n" for at, (device, place, kind) in enumerate(lines)
        )
        (tmp_path / "mountinfo").write_text(text)
        monkeypatch.setattr(disk_in_use, "MOUNTINFO", str(tmp_path / "mountinfo"))

    return say


def own_device(path):
    device = os.stat(path).st_dev
    return f"{os.major(device)}:{os.minor(device)}"


def test_what_lies_on_a_server_that_may_never_answer_is_not_looked_at(tmp_path, mounts):
    mounts(("0:40", tmp_path, "nfs4"))
    with (tmp_path / "a.log").open("a"):
        assert key_of(tmp_path / "a.log") not in in_use(tmp_path).files


def test_on_a_server_that_is_itself_looked_after_open_files_are_found(tmp_path, mounts):
    mounts((own_device(tmp_path), "/", "nfs4"))
    with (tmp_path / "a.log").open("a"):
        assert key_of(tmp_path / "a.log") in in_use(tmp_path).files


def test_a_disk_that_is_mounted_below_a_remote_root_is_looked_at(tmp_path, mounts):
    mounts(("0:40", "/", "nfs4"), ("0:40", tmp_path, "nfs4"), (own_device(tmp_path), tmp_path, "ext4"))
    with (tmp_path / "a.log").open("a"):
        assert key_of(tmp_path / "a.log") in in_use(tmp_path).files


def test_what_a_process_calls_its_files_counts_by_its_own_mounts(tmp_path, mounts):
    if os.geteuid():
        missing("only root can give a process mounts of its own")
    # here something remote has the name that there is a folder of the disk
    mounts(("0:40", tmp_path, "nfs4"))
    log = tmp_path / "a.log"
    command = ["unshare", "--mount", "sh", "-c", 'exec 3>> "$1"; echo ready; exec sleep 1000', "sh", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"ready\n"
            found = in_use(tmp_path)
        finally:
            holder.kill()
    assert found.files.get(key_of(log)) == holder.pid


@pytest.fixture
def kernel(tmp_path):
    """A /proc and a /sys that tell of a swap file and of what lies behind a loop device."""
    (tmp_path / "proc/self").mkdir(parents=True)
    for name in ("swap file", "image", "free"):
        (tmp_path / name).touch()
    header, swap = b"Filename\t\t\tType\t\tSize\tUsed\tPriority\n", os.fsencode(tmp_path) + rb"/swap\040file"
    (tmp_path / "proc/swaps").write_bytes(header + swap + b"   file\t\t100\t0\t-2\n/dev/gone partition\t1\t0\t-3\n")
    for number, path in enumerate([tmp_path / "image", tmp_path / "gone (deleted)"]):
        (tmp_path / f"sys/block/loop{number}/loop").mkdir(parents=True)
        (tmp_path / f"sys/block/loop{number}/loop/backing_file").write_text(f"{path}\n")
    # one that is free says nothing
    (tmp_path / "sys/block/loop7").mkdir()
    return {"proc": str(tmp_path / "proc"), "sys": str(tmp_path / "sys")}


def test_what_the_kernel_has_open_is_found_without_a_process(tmp_path, kernel):
    found = in_use(tmp_path, **kernel)
    assert found.files == {key_of(tmp_path / name): KERNEL for name in ("swap file", "image")}
    assert found.who(*key_of(tmp_path / "image")).startswith("the kernel")


def test_an_image_on_a_server_that_may_never_answer_is_not_looked_at(tmp_path, mounts, kernel):
    mounts(("0:40", tmp_path, "nfs4"))
    assert in_use(tmp_path, **kernel).files == {}


def test_a_loop_device_holds_its_file(tmp_path):
    if os.geteuid():
        missing("only root can make a loop device")
    image = tmp_path / "an image\\"
    image.write_bytes(bytes(1 << 20))
    device = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True).stdout.strip()
    try:
        assert in_use(tmp_path).files[key_of(image)] == KERNEL
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    # the kernel gives it up a moment later where somebody else looks at the device
    deadline = time.monotonic() + 30
    while key_of(image) in in_use(tmp_path).files and time.monotonic() < deadline:
        time.sleep(0.05)
    assert key_of(image) not in in_use(tmp_path).files


def test_processes_of_others_are_counted_and_those_that_end_are_not(tmp_path, monkeypatch):
    for pid in ("1", "2", "3"):
        (tmp_path / pid / "fd").mkdir(parents=True)
    (tmp_path / "self").mkdir()
    listdir = os.listdir

    def with_answers(path):
        if path.endswith("/1/fd/"):
            raise PermissionError(13, "Permission denied")
        if path.endswith("/2/fd/"):
            raise ProcessLookupError(3, "No such process")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", with_answers)
    found = in_use(tmp_path, proc=str(tmp_path))
    assert (found.unseen, found.files) == (1, {})


@pytest.mark.parametrize("comm", ["a\nb\x1b[31m\n", None])
def test_the_name_of_a_process_is_text_or_its_number(tmp_path, comm):
    (tmp_path / "7").mkdir()
    if comm is not None:
        (tmp_path / "7/comm").write_text(comm)
    found = InUse(set(), proc=str(tmp_path))
    found.files = {(1, 2): 7}
    assert found.who(1, 2) == (r"a\nb\x1b[31m (pid 7)" if comm else "pid 7")
