"""`mendbook sandbox` as it is typed: start, status, stop, Ctrl-C, owners, and what it says when it refuses."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pymongo
import pytest
from sandbox_probes import running

from mendbook.sandbox import kinds
from mendbook.sandbox.ports import is_free
from waiting import until

pytestmark = pytest.mark.e2e


@pytest.fixture
def sandbox_command(tmp_path):
    """Run `mendbook sandbox ...` with a state folder of this test; whatever runs at the end is stopped."""
    environment = os.environ | {"MENDBOOK_STATE": str(tmp_path / "state")}
    names = set()

    def command(*arguments, wait=True):
        names.update(value for option, value in zip(arguments, arguments[1:], strict=False) if option == "--name")
        argv = [sys.executable, "-m", "mendbook", "sandbox", *arguments]
        if wait:
            return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=180)
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)

    yield command
    for name in {"default", *names}:
        command("stop", "--name", name)


def assert_gone(facts):
    until(lambda: not running(facts["keeper"]) and not running(facts["mongo"]["pid"]))
    until(lambda: not Path(facts["directory"]).exists())
    assert is_free(facts["mongo"]["port"])


def test_start_status_and_stop(sandbox_command):
    started = sandbox_command("start", "--json")
    assert started.returncode == 0, started.stderr
    assert "mongo: ready after" in started.stderr and "s3: ready after" in started.stderr
    facts = json.loads(started.stdout)
    with pymongo.MongoClient(facts["mongo"]["uri"]) as client:
        assert client.admin.command("ping")["ok"]
    assert json.loads(sandbox_command("status", "--json").stdout) == facts
    stopped = sandbox_command("stop")
    assert stopped.returncode == 0 and "everything removed" in stopped.stderr
    assert_gone(facts)


def test_text_shows_no_credentials(sandbox_command):
    facts = json.loads(sandbox_command("start", "--json").stdout)
    shown = sandbox_command("status")
    assert f"127.0.0.1:{facts['mongo']['port']}" in shown.stdout and facts["s3"]["endpoint_url"] in shown.stdout
    for secret in (facts["mongo"]["password"], facts["s3"]["secret_key"]):
        assert secret not in shown.stdout + shown.stderr


def test_services_join_and_leave(sandbox_command):
    facts = json.loads(sandbox_command("start", "mongo", "--json").stdout)
    assert "s3" not in facts
    assert sandbox_command("status", "s3").returncode == 7
    both = json.loads(sandbox_command("start", "s3", "--json").stdout)
    assert both["mongo"] == facts["mongo"] and both["s3"]["running"]
    again = sandbox_command("start", "s3")
    assert again.returncode == 2 and "'s3' in this sandbox already" in again.stderr
    assert sandbox_command("stop", "mongo").returncode == 0
    assert not running(facts["mongo"]["pid"])
    left = json.loads(sandbox_command("status", "--json").stdout)
    assert "mongo" not in left and left["s3"] == both["s3"]
    sandbox_command("stop", "s3")
    assert_gone(facts)


def test_a_second_start_is_refused_and_the_first_lives_on(sandbox_command):
    facts = json.loads(sandbox_command("start", "mongo", "--json").stdout)
    second = sandbox_command("start")
    assert second.returncode == 2
    assert "a sandbox is running in" in second.stderr and "sandbox stop" in second.stderr
    assert json.loads(sandbox_command("status", "--json").stdout) == facts


def test_two_names_are_two_sandboxes(sandbox_command):
    first = json.loads(sandbox_command("start", "mongo", "--json", "--name", "a").stdout)
    second = json.loads(sandbox_command("start", "mongo", "--json", "--name", "b").stdout)
    assert first["mongo"]["port"] != second["mongo"]["port"] and first["directory"] != second["directory"]
    sandbox_command("stop", "--name", "a")
    assert_gone(first)
    assert running(second["mongo"]["pid"])


def test_a_folder_of_somebody_else_is_refused(sandbox_command, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for verb, code in (("start", 2), ("status", 7), ("stop", 0)):
        assert sandbox_command(verb, "--directory", str(tmp_path / "mine")).returncode == code
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_status_says_when_a_server_has_died(sandbox_command):
    facts = json.loads(sandbox_command("start", "mongo", "--json").stdout)
    os.kill(facts["mongo"]["pid"], signal.SIGKILL)
    # not before it is collected, too
    until(lambda: not Path(f"/proc/{facts['mongo']['pid']}").exists())
    shown = sandbox_command("status")
    assert "DEAD" in shown.stdout
    assert sandbox_command("status", "mongo").returncode == 7


def test_status_and_stop_without_a_sandbox(sandbox_command):
    shown = sandbox_command("status", "--json")
    assert shown.returncode == 7 and json.loads(shown.stdout)["running"] is False
    assert "mendbook sandbox start" in shown.stderr
    stopped = sandbox_command("stop")
    assert stopped.returncode == 0 and "no sandbox runs" in stopped.stderr


def test_a_program_that_is_not_there_starts_nothing(sandbox_command):
    started = sandbox_command("start", "--mongod", "/nowhere/mongod")
    assert started.returncode == 2 and "/nowhere/mongod" in started.stderr and "Traceback" not in started.stderr
    assert sandbox_command("status").returncode == 7


def test_an_unknown_service_is_a_usage_error(sandbox_command):
    started = sandbox_command("start", "oracle")
    assert started.returncode == 64 and ", ".join(map(repr, kinds())) in started.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_foreground_ends_on_ctrl_c_and_removes_everything(sandbox_command, number):
    with sandbox_command("start", "mongo", "--json", "--foreground", wait=False) as command:
        facts = json.loads("".join(iter(command.stdout.readline, "}\n")) + "}")
        assert running(facts["mongo"]["pid"])
        # what a terminal does: the whole group gets it
        os.killpg(command.pid, number)
        _, said = command.communicate(timeout=60)
        assert command.returncode == 0 and "everything removed" in said
    assert_gone(facts)


def test_ctrl_c_while_it_starts_leaves_nothing(sandbox_command, tmp_path):
    with sandbox_command("start", wait=False) as command:
        assert "starting" in command.stderr.readline()
        os.killpg(command.pid, signal.SIGINT)
        command.communicate(timeout=60)
        assert command.returncode == 130
    until(lambda: not (tmp_path / "state" / "sandbox" / "default").exists())
    assert sandbox_command("status").returncode == 7


def test_a_foreground_sandbox_ends_when_another_command_stops_it(sandbox_command):
    with sandbox_command("start", "mongo", "--foreground", wait=False) as command:
        assert "127.0.0.1" in command.stdout.readline()
        assert sandbox_command("stop").returncode == 0
        _, said = command.communicate(timeout=60)
        assert command.returncode == 0 and "stopped by another command" in said


def test_a_detached_sandbox_follows_its_owner(sandbox_command):
    with subprocess.Popen(["sleep", "200"]) as owner:
        facts = json.loads(sandbox_command("start", "mongo", "--json", "--owner-pid", str(owner.pid)).stdout)
        assert running(facts["mongo"]["pid"])
        owner.kill()
    assert_gone(facts)


def test_an_owner_that_is_gone_starts_nothing(sandbox_command):
    with subprocess.Popen(["true"]) as owner:
        pass
    started = sandbox_command("start", "mongo", "--owner-pid", str(owner.pid))
    assert started.returncode == 2 and f"there is no process {owner.pid}" in started.stderr
    assert sandbox_command("status").returncode == 7
