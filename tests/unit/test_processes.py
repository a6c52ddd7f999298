"""Finding the processes of a run by what they inherited."""

import os
import signal
import subprocess
import sys
import uuid

import pytest

from mendbook import processes
from waiting import until

pytestmark = pytest.mark.skipif(not processes.can_look(), reason="this system has no /proc")


# every process of the machine is looked at, and a neighbour may run a test of this file at the same time
RUN = f"r-{uuid.uuid4().hex}"


@pytest.fixture
def start():
    started = []

    def start(*command, run=RUN):
        child = subprocess.Popen(command, env=os.environ | {"MENDBOOK_RUN": run})
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()


def pids(run=RUN):
    return [process.pid for process in processes.of_run(run)]


def test_a_process_of_the_run_is_found_until_it_ends(start):
    child = start("sleep", "60")
    until(lambda: child.pid in pids())
    found = processes.read(child.pid)
    assert processes.alive(found)
    processes.terminate(child.pid)
    # not yet waited for: a zombie is not alive
    until(lambda: not processes.alive(found))
    assert pids() == []
    assert child.poll() == -signal.SIGTERM


def test_a_run_whose_name_begins_alike_is_another_run(start):
    child = start("sleep", "60", run=f"{RUN}-2")
    until(lambda: child.pid in pids(f"{RUN}-2"))
    assert pids() == []


def test_a_process_that_only_names_the_run_is_not_of_it():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"MENDBOOK_RUN={RUN}"])
    try:
        until(lambda: processes.read(child.pid))
        assert child.pid not in pids()
    finally:
        child.kill()
        child.wait()


def test_a_process_that_left_the_environment_is_found_by_its_parent(start):
    child = start("sh", "-c", "env -i sleep 60 & wait")

    def below():
        return {
            process.name: process.pid for process in processes.with_descendants([child.pid]) if process.pid != child.pid
        }

    # the shell's fork, then env, then sleep: one process under three names
    until(lambda: "sleep" in below())
    left = below()["sleep"]
    try:
        assert left not in pids()
    finally:
        os.kill(left, signal.SIGKILL)


def test_another_process_with_the_same_pid_is_not_the_same():
    me = processes.read(os.getpid())
    assert processes.alive(me)
    assert not processes.alive(processes.Process(me.pid, me.started - 1, me.name, me.parent))


def test_a_name_with_brackets_and_spaces_does_not_confuse(start, tmp_path):
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/sleep")
    child = start(str(program), "60")
    until(lambda: child.pid in pids())
    assert processes.read(child.pid).parent == os.getpid()


def test_an_ssh_master_does_not_count(start, tmp_path):
    program = tmp_path / "ssh"
    program.symlink_to("/bin/sleep")
    child = start(str(program), "60")
    until(lambda: (found := processes.read(child.pid)) and found.name == "ssh")
    assert pids() == []


def test_ending_a_process_that_is_gone_is_no_error():
    # above the kernel's highest pid: that of a process that has ended may be somebody else's by now
    processes.terminate(2**22 + 1)
