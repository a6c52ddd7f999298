"""The lock of a host under many at once, deaths, a full disk and files that somebody has made ready."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import pytest
from ansible.module_utils.mendbook import host_lock
from ansible.module_utils.mendbook.errors import Locked
from ansible.module_utils.mendbook.host_lock import HostLock, holder

from requirement import missing

pytestmark = pytest.mark.faults
TESTS = Path(__file__).resolve().parent.parent
OPERATORS = 20


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder of the locks, which nobody has made yet."""
    monkeypatch.setattr(host_lock, "_places", lambda: (str(tmp_path / "locks"),))
    return tmp_path / "locks"


def in_fork(work):
    """Run ``work(write)`` in a child; its pid, and the end of the pipe from which one reads what it writes."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            work(lambda text: os.write(writing, text.encode()))
        finally:
            os._exit(0)
    os.close(writing)
    return pid, os.fdopen(reading)


def holding(run):
    """A child that holds the lock until it is killed."""

    def work(write):
        with HostLock("disk", run):
            write("held\n")
            # for as long as there is a test to end it
            signal.alarm(300)
            signal.pause()

    pid, told = in_fork(work)
    assert told.readline() == "held\n"
    return pid


def killed(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_of_twenty_operators_exactly_one_wins_and_the_others_are_told_who(
    place, fault_rounds, record_fault, monkeypatch
):
    # a winner that the machine holds up before it has said its name is waited for
    monkeypatch.setattr(host_lock, "_PATIENCE_SECONDS", 60)
    rounds = fault_rounds(20, 200)
    context = get_context("fork")
    start, end, answers = context.Barrier(OPERATORS), context.Barrier(OPERATORS), context.Queue()
    everybody = [
        context.Process(target=_compete, args=(n, rounds, start, end, answers), daemon=True) for n in range(OPERATORS)
    ]
    for one in everybody:
        one.start()
    got = [answers.get(timeout=120) for _ in range(OPERATORS * rounds)]
    for one in everybody:
        one.join()
    assert Counter(number for number, won, *_ in got if won) == dict.fromkeys(range(rounds), 1)
    winners = {number: run for number, won, run, _ in got if won}
    assert {(number, run) for number, _, run, _ in got} == set(winners.items()), "a loser was told another holder"
    # the machine may stand still in a round, and not in all of them
    slowest = [max(seconds for current, *_, seconds in got if current == number) for number in range(rounds)]
    assert min(slowest) < 2
    record_fault("twenty operators at once at one host", rounds=rounds, held="one winner each time, told in 2 s")


def _compete(number, rounds, start, end, answers):
    for current in range(rounds):
        run = f"run-{current}-{number}"
        start.wait(60)
        began = time.monotonic()
        try:
            with HostLock("disk", run):
                answers.put((current, True, run, time.monotonic() - began))
                # held until everybody else has been answered
                end.wait(60)
        except Locked as error:
            answers.put((current, False, error.details["run"], time.monotonic() - began))
            end.wait(60)


def test_a_holder_that_is_killed_leaves_a_free_lock(place, fault_rounds, record_fault):
    rounds, taken = fault_rounds(20, 500), []
    for number in range(rounds):
        pid = holding(f"run-{number}")
        with pytest.raises(Locked) as caught, HostLock("disk", "second"):
            pass
        assert caught.value.details["run"] == f"run-{number}" and caught.value.details["pid"] == pid
        assert holder("disk") == caught.value.details
        killed(pid)
        assert holder("disk") is None
        began = time.monotonic()
        with HostLock("disk", "third"):
            taken.append(time.monotonic() - began)
        assert holder("disk") is None
    assert sorted(taken)[rounds // 2] < 1
    record_fault("kill -9 of the holder of a host's lock", rounds=rounds, held="free at once")


def test_looking_takes_nothing_and_makes_nothing(place):
    assert holder("disk") is None and not place.exists()
    with HostLock("disk", "one"):
        with HostLock("docker", "two"):
            assert (holder("disk")["run"], holder("docker")["run"]) == ("one", "two")
        assert holder("docker") is None
    assert sorted(path.name for path in place.iterdir()) == ["disk.lock", "docker.lock"]
    assert (place.stat().st_mode & 0o777, (place / "disk.lock").stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_name_is_never_a_path(place):
    with HostLock("unix:///run/docker.sock", "one"):
        assert holder("unix:///run/docker.sock")["run"] == "one"
    assert [path.name for path in place.iterdir()] == ["unix%3A%2F%2F%2Frun%2Fdocker.sock.lock"]


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 5000, b'{"run": 1}', b"[]", b"null", b"\xff\x00", b"1" * 5000])
def test_what_somebody_wrote_into_the_file_misleads_nobody(place, text, monkeypatch):
    monkeypatch.setattr(host_lock, "_PATIENCE_SECONDS", 0)
    place.mkdir(0o700)
    (place / "disk.lock").write_bytes(text)
    (place / "disk.lock").chmod(0o600)
    assert holder("disk") is None
    with HostLock("disk", "one"):
        assert holder("disk")["run"] == "one"
        (place / "disk.lock").write_bytes(text)
        with pytest.raises(Locked), HostLock("disk", "two"):
            pass


ON_FULL_DISK = """
import json, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
import conftest
from ansible.module_utils.mendbook import host_lock
from ansible.module_utils.mendbook.errors import Locked
disk, used_before, size = sys.argv[2], sys.argv[3] == "used before", sys.argv[4]
subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=True)
host_lock._places = lambda: (disk + "/locks",)
host_lock._PATIENCE_SECONDS = 0
if used_before:
    with host_lock.HostLock("disk", "before"):
        pass
with open(disk + "/filler", "ab", buffering=0) as file:
    try:
        while file.write(b"x" * 4096):
            pass
    except OSError:
        pass
seen = {"free": os.statvfs(disk).f_bavail}
with host_lock.HostLock("disk", "one"):
    seen["holder"] = host_lock.holder("disk")
    try:
        host_lock.HostLock("disk", "two").__enter__()
    except Locked as error:
        seen["told"] = str(error)
with host_lock.HostLock("disk", "three"):
    seen["again"] = True
print(json.dumps(seen))
"""


@pytest.mark.parametrize("before", ["used before", "new"])
def test_without_a_free_byte_the_lock_holds_and_says_less(tmp_path, before):
    command = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        missing("this machine gives no mount namespace, so no full disk can be made")
    child = [sys.executable, "-c", ON_FULL_DISK, str(TESTS), str(tmp_path), before, "size=64k"]
    done = subprocess.run([*command, *child], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["free"] == 0 and seen["again"]
    if before == "new":
        assert seen["holder"] is None and "no room to say who it is" in seen["told"]
    else:
        # the place that was there already is used again
        assert seen["holder"]["run"] == "one" and "run one of" in seen["told"]
