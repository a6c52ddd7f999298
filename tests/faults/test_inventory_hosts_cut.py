"""Five hosts, and four ways to lose one: each has its own answer, and the others are done."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from notes import Ran, notes_in
from waiting import until

pytestmark = pytest.mark.faults
pytest_plugins = ["ssh_lab"]
ROOT = Path(__file__).resolve().parents[2]
NAMES = ("well", "half", "gone", "other", "stranger")


@pytest.fixture
def lab(ssh_hosts):
    return ssh_hosts(NAMES)


@pytest.fixture
def notes(lab, tmp_path, short_folder):
    shipped = configparser.ConfigParser(interpolation=None)
    shipped.read(ROOT / "ansible.cfg")
    ssh = {
        "ansible_connection": "ssh",
        "ansible_user": lab.user,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_args": shipped["ssh_connection"]["ssh_args"],
        "ansible_ssh_common_args": f"-F {lab.ssh_config}",
        # a socket's path cannot be long
        "ansible_control_path_dir": str(short_folder),
    }
    hosts = {
        name: ssh | {"ansible_host": lab[name].address, "note_path": f"/tmp/{name}.txt"} | confirmed(name)
        for name in NAMES
    }
    hosts["half"]["note_write_seconds"] = 3600
    yield from notes_in(tmp_path, hosts=hosts)


def confirmed(name):
    return {"note_write_confirm": f"note:{name}.txt"}


def test_a_host_that_is_cut_off_half_way_ends_by_itself_and_nobody_else_is_held_up(lab, notes):
    lab.kill("gone")
    lab.new_host_key("stranger")
    run = notes.start("--json")
    until(lambda: [line for line in notes.journal() if (line["event"], line.get("host")) == ("begin", "half")])
    until(lambda: lab["half"].run("pgrep", "-u", "ops", "python3", check=False))
    lab.cut("half")
    ran = Ran.of(run)
    outcome = ran.events()[-1]["outcome"]["hosts"]
    assert {name: outcome[name]["word"] for name in NAMES} == {
        "well": "done",
        "half": "UNKNOWN",
        "gone": "unreachable",
        "other": "done",
        "stranger": "unreachable",
    }, ran.stdout
    assert ran.code == 70
    assert lab["well"].run("cat", "/tmp/well.txt") == "hello"
    assert "look at the target before anything is run again" in outcome["half"]["msg"]
    # the second, where ssh has ended before Ansible could write to it
    said = outcome["gone"]["msg"]
    assert "No route to host" in said or "could not be sent to remote host" in said
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in outcome["stranger"]["msg"]
    (end,) = [line for line in notes.journal() if (line["event"], line.get("host")) == ("end", "half")]
    assert (end["state"], end["reason"]) == ("UNKNOWN", "unknown")
    # what was begun there goes on, as the answer says
    assert lab["half"].run("pgrep", "-u", "ops", "python3")
