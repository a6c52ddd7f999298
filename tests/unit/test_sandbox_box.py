"""The core with a service that is not ours: a Python server of a few lines, as any new service would join."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

import mendbook.sandbox
import mendbook.sandbox.process
from mendbook.commands import sandbox as sandbox_command
from mendbook.sandbox import BaseService, SandboxError, ServerDied
from mendbook.sandbox.ports import free_ports, is_free
from waiting import until

LISTEN = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
time.sleep(200)
"""
FAIL = "import sys; sys.exit('cannot read my configuration')"
DEAF = "import time; time.sleep(200)"


class Echo(BaseService):
    """Listens on one port and does nothing else."""

    kind = "echo"
    program = "python"
    variable = "MENDBOOK_PYTHON"
    packaged = "python"
    package = "none"

    def __init__(self, name="echo", script=LISTEN, ports=()):
        super().__init__(name=name, binary=sys.executable)
        self.script = script
        self.tried = list(ports)

    def launch(self):
        self.port = self.tried.pop(0) if self.tried else free_ports(1)[0]
        self.spawn([str(self.found), "-c", self.script, str(self.port)], env={"TOKEN": "secret"}, log="echo.log")

    def wait_ready(self, deadline):
        while "listening" not in self.processes[0].written():
            self.pause(self.processes[0], deadline)

    def describe(self):
        return {"host": "127.0.0.1", "port": self.port, "pid": self.pid}


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def port_of_ours():
    """A free port below those that sandboxes choose: nobody else takes it when its server is gone."""
    return next(port for port in random.sample(range(10000, 15000), 5000) if is_free(port))


def test_a_service_starts_is_described_and_is_gone_after_the_block():
    with mendbook.sandbox.start([Echo(ports=[port_of_ours()])]) as box:
        facts = box.status()["echo"]
        assert facts["running"] and not is_free(facts["port"])
        assert mendbook.sandbox.status_in(box.directory) == box.status()
    assert gone(facts["pid"]) and is_free(facts["port"]) and not box.directory.exists()
    assert box.status() == {"directory": str(box.directory), "running": False}
    box.stop()


def test_another_port_is_tried_when_one_is_taken_in_between():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = []
        with mendbook.sandbox.start([Echo(ports=[taken.getsockname()[1]])], progress=said.append) as box:
            assert box.status()["echo"]["port"] != taken.getsockname()[1]
        assert any("trying others" in line for line in said)


def test_ports_that_are_always_taken_end_in_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(ServerDied, match="in use"):
            mendbook.sandbox.start([Echo(ports=[taken.getsockname()[1]] * 9)])


def test_a_server_that_dies_is_reported_with_its_last_words_and_nothing_stays(tmp_path):
    with pytest.raises(ServerDied, match="ended with code 1: cannot read my configuration"):
        mendbook.sandbox.start([Echo("good"), Echo("bad", FAIL)], directory=tmp_path / "box")
    assert not (tmp_path / "box").exists()


def test_a_server_that_never_gets_ready_is_ended_after_the_deadline(monkeypatch, tmp_path):
    monkeypatch.setattr("mendbook.sandbox.box.READY_SECONDS", 0.3)
    with pytest.raises(SandboxError, match="was not ready in time"):
        mendbook.sandbox.start([Echo(script=DEAF)], directory=tmp_path / "box")
    assert not (tmp_path / "box").exists()


def test_a_failed_addition_leaves_the_others_running():
    with mendbook.sandbox.start([Echo()]) as box:
        with pytest.raises(ServerDied):
            box.add(Echo("second", FAIL))
        assert box.names == ["echo"] and box.status()["echo"]["running"]
        assert not (box.directory / "second").exists()


@pytest.mark.parametrize("name", ["echo", "../x", "", ".x", "running", "directory"])
def test_a_name_that_is_taken_or_no_name_is_refused(name):
    with mendbook.sandbox.start([Echo()]) as box:
        second = Echo()
        second.name = name
        with pytest.raises(SandboxError, match=r"already|no name for a service"):
            box.add(second)


def test_no_service_at_all_is_refused():
    with pytest.raises(SandboxError, match="at least one"):
        mendbook.sandbox.start([])


def test_a_killed_server_is_reported_and_starts_again_on_the_same_port():
    with mendbook.sandbox.start([Echo(ports=[port_of_ours()])]) as box:
        echo = box.services["echo"]
        port, pid = echo.port, echo.pid
        echo.kill()
        assert gone(pid) and not box.status()["echo"]["running"]
        echo.restart()
        assert echo.port == port and echo.pid != pid
        assert box.status()["echo"]["pid"] == echo.pid and box.status()["echo"]["running"]


def test_removing_a_service_takes_its_process_and_data():
    with mendbook.sandbox.start([Echo(), Echo("second")]) as box:
        pid = box.services["second"].pid
        box.remove("second")
        assert gone(pid) and not (box.directory / "second").exists() and box.names == ["echo"]
        with pytest.raises(SandboxError, match="no 'second' in this sandbox"):
            box.remove("second")


def test_another_process_may_add_and_remove_services_of_a_detached_sandbox(tmp_path):
    box = mendbook.sandbox.start([Echo()], directory=tmp_path / "box")
    try:
        box.detach()
        with mendbook.sandbox.attached(tmp_path / "box") as again:
            again.add(Echo("second"))
        assert mendbook.sandbox.status_in(tmp_path / "box")["second"]["running"]
        with mendbook.sandbox.attached(tmp_path / "box") as again:
            again.remove("echo")
            assert again.names == ["second"]
    finally:
        assert mendbook.sandbox.stop_in(tmp_path / "box")
    assert not (tmp_path / "box").exists()


def test_attaching_to_nothing_is_an_error(tmp_path):
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(SandboxError, match="no sandbox runs in"), mendbook.sandbox.attached(place):
            pass


def test_a_keeper_that_was_killed_takes_its_servers_along_and_is_named(tmp_path):
    # not a temporary folder of its own: a sandbox that starts beside this test would sweep the dead one away
    with mendbook.sandbox.start([Echo()], directory=tmp_path / "box") as box:
        facts = box.status()
        os.kill(facts["keeper"], 9)
        until(lambda: gone(facts["echo"]["pid"]))
        with pytest.raises(SandboxError, match="keeper .* is gone"):
            box.services["echo"].restart()
    assert mendbook.sandbox.stop_in(box.directory)
    assert not box.directory.exists()


def test_a_path_that_is_too_long_for_a_socket_and_has_blanks_works(tmp_path):
    place = tmp_path / ("long name " * 12) / "böx"
    with mendbook.sandbox.start([Echo()], directory=place) as box:
        box.detach()
        assert mendbook.sandbox.stop_in(place)
    assert not place.exists()


def test_of_many_starts_in_one_folder_exactly_one_wins(tmp_path):
    won, lost = [], []

    def attempt():
        try:
            won.append(mendbook.sandbox.start([Echo()], directory=tmp_path / "box"))
        except SandboxError as error:
            lost.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len(won) == 1 and len(lost) == 4
        assert won[0].status()["echo"]["running"]
    finally:
        for box in won:
            box.stop()
    # a loser may have made the folder: then the winner found it empty, and leaves it empty
    assert not (tmp_path / "box").exists() or not any((tmp_path / "box").iterdir())


def test_servers_get_no_settings_from_our_environment(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the user")
    monkeypatch.setenv("LD_PRELOAD", "")
    with mendbook.sandbox.start([Echo()]) as box:
        with open(f"/proc/{box.services['echo'].pid}/environ", "rb") as file:
            names = {entry.split(b"=")[0].decode() for entry in file.read().split(b"\0") if entry}
    assert names <= {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "HOME", "TMPDIR", "TOKEN"}


def test_an_owner_is_followed_where_the_kernel_does_not_tell_of_its_death(monkeypatch, tmp_path):
    old_kernel = tmp_path / "keeper.py"
    real = mendbook.sandbox.process.keeper_file.__file__
    old_kernel.write_text(f"import os, runpy\ndel os.pidfd_open\nrunpy.run_path({real!r}, run_name='__main__')\n")
    monkeypatch.setattr(mendbook.sandbox.process.keeper_file, "__file__", str(old_kernel))
    with subprocess.Popen(["sleep", "60"]) as owner:
        box = mendbook.sandbox.start([Echo()], directory=tmp_path / "box")
        facts = box.status()["echo"]
        box.detach(owner.pid)
        time.sleep(0.7)
        assert not gone(facts["pid"])
        owner.kill()
    until(lambda: not box.directory.exists())
    assert gone(facts["pid"])


def test_a_process_that_forked_and_lives_on_does_not_keep_the_sandbox(tmp_path):
    owner = f"""
import os, sys, time
import mendbook.sandbox
import mendbook.sandbox.process
from mendbook.commands import sandbox as sandbox_command
sys.path[:0] = {sys.path!r}
from test_sandbox_box import Echo
box = mendbook.sandbox.start([Echo()], directory={str(tmp_path / "box")!r})
print(box.status()["echo"]["pid"], flush=True)
forked = os.fork()
if forked:
    print(forked, flush=True)
    os._exit(1)
os.close(1)
time.sleep(100)
"""
    ended = subprocess.run([sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True, timeout=120)
    pid, forked = map(int, ended.stdout.split())
    try:
        until(lambda: not (tmp_path / "box").exists())
        assert gone(pid) and not gone(forked)
    finally:
        os.kill(forked, signal.SIGKILL)


@pytest.mark.parametrize(
    ("name", "said"), [("default", "status --json"), ("mine", "status --directory '{place}' --json")]
)
def test_the_command_for_the_credentials_names_the_sandbox_that_is_meant(name, said, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MENDBOOK_STATE", str(tmp_path / "a b"))
    place = str(mendbook.sandbox.named_folder(name))
    sandbox_command._print({"directory": place, "running": True}, as_json=False)
    assert f"(credentials: mendbook sandbox {said.format(place=place)})" in capsys.readouterr().out
