"""`mendbook preflight` on real hosts, each with a fault of its own: causes are told apart, nothing is written there."""

from __future__ import annotations

import json
import socket

import pytest

from preflight_lab import Checked, preflight, with_host_variables
from ssh_lab import SshHosts

pytestmark = pytest.mark.e2e
pytest_plugins = ["ssh_lab"]
# who hangs costs all of the time, the others have plenty of it
HANGING, SHORT, LONG = "stuck,mute", "20s", "90s"
BECOME = {"ansible_become": True}
_OLD_PYTHON = """#!/usr/bin/python3
import sys
sys.version_info = (3, 6, 15, "final", 0)
code, sys.argv = sys.argv[3], ["-c", *sys.argv[4:]]
exec(code)
"""
_ALL_BUT_PYTHON = """
mkdir /opt/upper /opt/work
mount -t overlay -o lowerdir=/usr/bin,upperdir=/opt/upper,workdir=/opt/work bin /usr/bin
rm /usr/bin/python3*
"""
_NOISE = """printf 'Welcome\\n\\033]0;title\\007\\033[31mred\\n@@python-path\\t/evil\\n'
export PATH=/opt/bin:$PATH
"""


def _program(lab: SshHosts, host: str, name: str, text: str) -> None:
    """A program that comes before the system's own for the user who logs in."""
    path = lab[host].root / "opt" / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    (lab[host].root / "home" / lab.user / ".bashrc").write_text("export PATH=/opt/bin:$PATH\n")


def _sudoers(lab: SshHosts, host: str, line: str) -> None:
    path = lab[host].root / "etc" / "sudoers"
    path.write_text(f"root ALL=(ALL:ALL) ALL\n{line}\n")


def _faults(lab: SshHosts) -> dict[str, dict]:
    """Break every host in its own way; the variables that belong to it."""
    lab["nopython"].run("sh", "-c", _ALL_BUT_PYTHON)
    _program(lab, "oldpython", "python3", _OLD_PYTHON)
    _sudoers(lab, "nosudo", "")
    _sudoers(lab, "stranger", "")
    for name in ("asks", "knows", "wrong"):
        _sudoers(lab, name, f"{lab.user} ALL=(ALL) ALL")
    (lab["wrong"].root / "etc/pam.d/sudo").write_text("auth required pam_deny.so\naccount required pam_permit.so\n")
    lines = lab.known_hosts.read_text().splitlines(keepends=True)
    lab.known_hosts.write_text("".join(line for line in lines if not line.startswith("unknown,")))
    lab.new_host_key("changed")
    (lab["refused"].root / "home" / lab.user / ".ssh/authorized_keys").write_text("")
    lab.cut("cut")
    lab["full"].run("sh", "-c", "mount -t tmpfs -o size=1m var /var; cat /dev/zero > /var/big || true")
    lab["fullinodes"].run("sh", "-c", "mount -t tmpfs -o nr_inodes=20 var /var; touch $(seq -f /var/%g 30) || true")
    _program(lab, "late", "date", "#!/bin/sh\nexec /usr/bin/date -d '-10 minutes' \"$@\"\n")
    _program(lab, "stuck", "df", "#!/bin/sh\nexec sleep 300\n")
    lab["frozen"].run("mount", "-o", "remount,ro", "/")
    (lab["noisy"].root / "home" / lab.user / ".bashrc").write_text(_NOISE)
    passwd = lab["noshell"].root / "etc/passwd"
    passwd.write_text(passwd.read_text().replace(f"/home/{lab.user}:/bin/bash", f"/home/{lab.user}:/usr/sbin/nologin"))
    discovered = {"ansible_python_interpreter": "auto"}
    return {
        "good": BECOME,
        "nopython": discovered,
        "oldpython": {"ansible_python_interpreter": "/opt/bin/python3"},
        "wrongpath": {"ansible_python_interpreter": "/opt/none/bin/python"},
        "nosudo": BECOME,
        "stranger": BECOME | {"ansible_become_password": "hunter2-stranger"},
        "asks": BECOME,
        "knows": BECOME | {"ansible_become_password": "hunter2-knows"},
        "wrong": BECOME | {"ansible_become_password": "hunter2-wrong"},
        "nobody": BECOME | {"ansible_become_user": "postgres"},
        "noway": BECOME | {"ansible_become_method": "ansible.builtin.sudo", "ansible_become_exe": "/opt/sudo"},
        "refused": {"ansible_password": "hunter2-refused"},
        "closed": {"ansible_port": 2},
        "noname": {"ansible_host": "x" * 70 + ".invalid"},
        "template": {"ansible_host": "{{ no_such_variable }}"},
        "telnet": {"ansible_connection": "telnet"},
    }


ON_LAB = """good nopython oldpython wrongpath nosudo stranger asks knows wrong nobody noway unknown changed refused
cut full fullinodes late stuck frozen noisy noshell closed""".split()


@pytest.fixture(scope="module")
def checked(can_host, tmp_path_factory) -> Checked:
    """One run over all of them, and a server that takes connections and says nothing."""
    with SshHosts(tmp_path_factory.mktemp("hosts"), ON_LAB) as lab, socket.create_server(("127.0.0.1", 0)) as mute:
        variables = _faults(lab) | {
            "mute": {"ansible_host": "127.0.0.1", "ansible_port": mute.getsockname()[1]},
        }
        inventory = with_host_variables(lab.inventory(), variables)
        before = tree(lab)
        done = preflight("-i", inventory, "--limit", f"all:!{HANGING.replace(',', ':!')}", "--timeout", LONG, "--json")
        assert done.stderr == ""
        assert tree(lab) == before
        hanging = preflight("-i", inventory, "--limit", HANGING, "--timeout", SHORT, "--json")
        assert all(host["seconds"] < 60 for host in hanging.hosts.values())
        both = done.record | {"hosts": [*done.record["hosts"], *hanging.record["hosts"]]}
        return Checked(done.code, json.dumps(both), "")


def tree(lab: SshHosts) -> str:
    """Every file of the good host with its size and time, but what the kernel makes."""
    return lab["good"].run("find", "/", "-xdev", "-not", "-path", "/run/*", "-printf", "%p %s %T@ %m\n")


def test_a_good_host_is_fine_and_nothing_was_written_there(checked):
    facts = checked.hosts["good"]["facts"]
    assert checked.found("good") == []
    assert checked.hosts["good"]["word"] == "fine"
    assert (facts["user"], facts["uid"], facts["runs_as_uid"]) == ("ops", 1000, 0)
    assert facts["python"]["path"] == "/usr/bin/python3"
    assert facts["space_bytes"]["/"]["total"] == 512 << 20
    assert abs(facts["clock"]["offset_seconds"]) <= facts["clock"]["uncertainty_seconds"] + 0.5


@pytest.mark.parametrize(
    ("host", "level", "check", "words"),
    [
        ("nopython", "problem", "python", "no Python: /usr/bin/python3 is not there, nor any other"),
        ("oldpython", "problem", "python", "/opt/bin/python3 is Python 3.6.15, too old: 3.9"),
        ("wrongpath", "problem", "python", "/opt/none/bin/python is not there or cannot be run"),
        ("nosudo", "problem", "become", "needs a password, or is not allowed at all"),
        ("stranger", "problem", "become", "ops is not allowed sudo to root"),
        ("asks", "problem", "become", "sudo to root needs a password"),
        ("wrong", "problem", "become", "sudo to root: the password is wrong"),
        ("nobody", "problem", "become", "there is no user postgres"),
        ("noway", "problem", "become", "sudo is not installed"),
        ("unknown", "problem", "host_key", "the host key is not known: SHA256:"),
        ("changed", "problem", "host_key", "another host key than the known one: SHA256:"),
        ("refused", "problem", "login", "login refused: the server takes publickey; tried key"),
        ("closed", "unreachable", "tcp", "nothing listens on port 2"),
        ("cut", "unreachable", "tcp", "198."),
        ("mute", "unreachable", "tcp", "the port is open, and no ssh server answers"),
        ("noname", "unreachable", "dns", "is not known"),
        ("full", "problem", "space", "/var is full: 0 bytes left"),
        ("fullinodes", "problem", "inodes", "/var is full: 0 inodes left"),
        ("late", "warning", "clock", "the clock is 10 min behind this machine's"),
        ("stuck", "problem", "answer", "it stopped answering after looking at /usr/bin/python3"),
        ("frozen", "problem", "read_only", "the root file system is read-only, and uid 1000 cannot write /tmp"),
        ("noshell", "problem", "shell", "the login runs no command: This account is currently not available."),
        ("template", "problem", "settings", "no_such_variable"),
        ("telnet", "unreachable", "container", "the connection plugin is not installed"),
    ],
)
def test_each_fault_has_its_own_name_and_advice(checked, host, level, check, words):
    assert checked.found(host) == [(level, check)]
    assert words in checked.words(host)
    assert all(found["advice"] for found in checked.hosts[host]["findings"])


def test_a_password_that_is_right_is_used(checked):
    assert checked.found("knows") == []
    assert checked.hosts["knows"]["facts"]["runs_as_uid"] == 0


def test_no_secret_is_told(checked):
    assert "hunter2" not in checked.stdout


def test_what_a_login_shell_prints_is_neither_taken_for_facts_nor_shown(checked):
    assert checked.found("noisy") == []
    assert checked.hosts["noisy"]["facts"]["python"]["path"] == "/usr/bin/python3"
    assert "\\u001b" not in checked.stdout and "\\u0007" not in checked.stdout


def test_an_unknown_key_comes_with_the_command_that_shows_what_is_known(checked):
    assert "ssh-keygen -l -F" in checked.words("unknown")
    assert "ssh-keygen -l -F" in checked.words("changed")


def test_the_worst_hosts_come_first_and_decide_the_exit_code(checked):
    levels = [host["word"] for host in checked.record["hosts"] if host["host"] not in HANGING]
    order = ["unreachable", "problem", "warning", "not checked", "fine"]
    assert levels == sorted(levels, key=order.index)
    assert checked.code == checked.record["exit_code"] == 4


def test_the_spread_of_the_clocks_is_told_with_its_uncertainty(checked):
    spread = checked.record["clock_spread"]
    assert abs(spread["seconds"] - 600) <= spread["uncertainty_seconds"] + 0.5
