"""Deleted files that processes hold: counted once each, whoever holds them, and nothing that only looks like one."""

import os
import shutil
import subprocess
import sys

import pytest
from ansible.module_utils.mendbook import disk_open
from ansible.module_utils.mendbook.disk_open import deleted_open, home_of

ID = "f" * 64
HOLD = """
import mmap, os, sys
files = [open(path, "wb") for path in sys.argv[1:]]
for file in files:
    file.write(b"x" * 200000)
    file.flush()
    os.unlink(file.name)
memory = os.memfd_create("memory")
os.write(memory, b"x" * 300000)
shared = mmap.mmap(-1, 300000)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder():
    """Start a program that writes files, deletes them and keeps them; several may hold at once."""
    started = []

    def hold(*paths, **options):
        command = [sys.executable, "-c", HOLD, *map(str, paths)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


# others on this machine hold deleted files, too, and larger ones
def look(limit=10_000, **options):
    *_, found = deleted_open(limit, **options)
    return found


def held(found, folder):
    return {one["path"]: one for one in found["largest"] if one["path"].startswith(str(folder))}


def test_a_deleted_file_is_told_with_who_holds_it(tmp_path, holder):
    process = holder(tmp_path / "app.log")
    found = held(look(), tmp_path)
    assert list(found) == [str(tmp_path / "app.log")]
    one = found[str(tmp_path / "app.log")]
    (who,) = one["holders"]
    assert one["bytes"] >= 200000 and one["device"] == os.stat(tmp_path).st_dev
    assert (who["pid"], who["user_id"]) == (process.pid, os.getuid()) and who["command"].startswith("python")
    # its link is where the file can still be read, or emptied
    assert os.stat(f"/proc/{process.pid}/fd/{who['fd']}").st_size == 200000
    process.kill()
    process.wait()
    assert held(look(), tmp_path) == {}


def test_one_file_counts_once_however_many_hold_it(tmp_path, holder):
    process = holder(tmp_path / "shared")
    number = next(
        name for name in os.listdir(f"/proc/{process.pid}/fd")
        if os.readlink(f"/proc/{process.pid}/fd/{name}").startswith(str(tmp_path))
    )  # fmt: skip
    kept = [os.open(f"/proc/{process.pid}/fd/{number}", os.O_RDONLY) for _ in range(3)]
    try:
        (one,) = held(look(), tmp_path).values()
        assert {holder["pid"] for holder in one["holders"]} == {process.pid, os.getpid()}
        assert one["bytes"] == os.fstat(kept[0]).st_blocks * 512
    finally:
        for descriptor in kept:
            os.close(descriptor)


def test_what_only_looks_deleted_is_left_out(tmp_path, holder):
    (tmp_path / "report (deleted)").write_bytes(b"x" * 5000)
    with open(tmp_path / "report (deleted)") as kept, open(tmp_path / "named", "w+") as other:
        os.link(other.name, tmp_path / "other name")
        os.unlink(other.name)
        holder()
        found = look()
        assert kept.readable() and held(found, tmp_path) == {}
        assert not any(one["path"].startswith(("/memfd:", "/dev/zero")) for one in found["largest"])


def test_a_program_that_was_replaced_while_it_runs_holds_its_old_file(tmp_path):
    program = tmp_path / "service"
    shutil.copy("/usr/bin/sleep", program)
    process = subprocess.Popen([program, "600"])
    try:
        program.unlink()
        (one,) = held(look(), tmp_path).values()
        assert [(who["pid"], who["fd"]) for who in one["holders"]] == [(process.pid, "exe")]
    finally:
        process.kill()
        process.wait()


def test_names_are_data(tmp_path, holder):
    name = os.fsdecode(b"\x1b[31m new\nline \xff (deleted)")
    holder(tmp_path / name)
    assert list(held(look(), tmp_path)) == [str(tmp_path / name)]


def test_the_largest_are_listed_and_all_are_counted(tmp_path, holder):
    holder(*(tmp_path / f"{number}" for number in range(6)))
    found = look(limit=2)
    assert len(found["largest"]) == 2 and found["files"] >= 6 and found["bytes"] >= 6 * 200000
    assert found["by_device"][os.stat(tmp_path).st_dev] >= 6 * 200000


def test_of_too_many_files_the_largest_are_remembered(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(disk_open, "_MAX_FILES", 3)
    holder(*(tmp_path / f"{number}" for number in range(6)))
    assert look()["files"] == 3


def test_processes_that_may_not_be_seen_are_counted_and_those_that_end_are_not(tmp_path, monkeypatch):
    proc = tmp_path / "proc"
    for name in ("1", "2", "3", "self", "meminfo"):
        (proc / name / "fd").mkdir(parents=True)
    real = os.listdir

    def listdir(path):
        if path == f"{proc}/2/fd":
            raise PermissionError(13, "Permission denied")
        if path == f"{proc}/3/fd":
            raise ProcessLookupError(3, "No such process")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    found = look(proc=str(proc))
    assert (found["processes"], found["unseen_processes"], found["files"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("cgroup", "unit", "container"),
    [
        ("0::/system.slice/nginx.service\n", "nginx.service", None),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope", None),
        ("0::/\n", None, None),
        ("", None, None),
        ("nonsense\n", None, None),
        (f"0::/system.slice/docker-{ID}.scope\n", f"docker-{ID}.scope", ID),
        (f"12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/containerd.service\n",
         "containerd.service", ID),
        (f"0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-{ID}.scope\n", f"cri-containerd-{ID}.scope", ID),
        (f"0::/system.slice/a:b:{ID}x.service\n", f"a:b:{ID}x.service", None),
    ],
)  # fmt: skip
def test_the_unit_and_the_container_of_a_process(cgroup, unit, container):
    assert home_of(cgroup) == {"unit": unit, "container": container}
