"""The script in real shells and interpreters, and its answer as facts, whatever a host makes of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mendbook.preflight import script, session
from mendbook.preflight.facts import Clock, Space, clock, read
from mendbook.preflight.reach import Deadline
from mendbook.preflight.session import here
from mendbook.preflight.target import Become, Target
from waiting import until

ANSWER = """Last login: yesterday
@@begin\t1
@@uid\t1000
@@user\tops
@@groups\tops sudo
@@os\tdebian
@@remote-tmp\t/home/user/.ansible/tmp
@@python-path\t/usr/bin/python3
@@become-begin\t1
[sudo via ansible, key=abcdef] password:
BECOME-SUCCESS-xyz
@@inside\t0
@@python\t3.11.2
@@driver\tpsycopg missing No module named 'psycopg'
@@driver\tredis found 5.0.1
@@python-end\t0
@@not-writable\t/var
@@space\tFilesystem 1024-blocks Used Available Capacity Mounted on
@@space\t/dev/sda1 1000 400 600 40% /
@@space\ttmpfs of mine 2000 0 2000 0% /mnt/a b
@@inodes\t/dev/sda1 - - - - /
@@inodes\ttmpfs 100 0 100 0% /mnt/a b
@@root\trw,relatime
@@become-end\t0
@@end\t1
"""


def test_a_whole_answer():
    facts = read(ANSWER)
    assert (facts.began, facts.complete, facts.noise) == (True, True, "")
    assert (facts.uid, facts.user, facts.groups, facts.inside_uid) == (1000, "ops", ("ops", "sudo"), 0)
    assert (facts.become_exit, facts.become_said) == (0, "")
    assert (facts.python, facts.python_exit) == ((3, 11, 2), 0)
    assert facts.drivers == {"psycopg": ("missing", "No module named 'psycopg'"), "redis": ("found", "5.0.1")}
    assert facts.space == {"/": Space("/", 1024000, 614400), "/mnt/a b": Space("/mnt/a b", 2048000, 2048000)}
    assert facts.inodes == {"/mnt/a b": Space("/mnt/a b", 100, 100)}
    assert (facts.not_writable, facts.root_read_only) == (("/var",), False)


@pytest.mark.parametrize("lines", range(1, len(ANSWER.splitlines())))
def test_an_answer_that_is_cut_off_anywhere_is_facts_and_says_so(lines):
    facts = read("\n".join(ANSWER.splitlines()[:lines]))
    assert not facts.complete


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "\0\x1b[2J\x07",
        "@@",
        "@@uid",
        "@@uid\t-1",
        "@@uid\t99999999999999999999",
        "@@uid\t¹²",
        "@@python\tthree.nine",
        "@@driver\t",
        "@@space\t/dev/sda1 9999999999999999999999 1 1 1% /",
        "@@space\t/dev/sda1 0 0 0 0% /",
        "@@become-end\tno",
        "@@no-such\tthing",
    ],
)
def test_nonsense_is_no_fact_and_no_error(answer):
    facts = read(answer)
    assert (facts.complete, facts.uid, facts.space) == (False, -1, {})
    assert all(part == -1 for part in facts.python)


def test_control_characters_of_a_host_reach_nobody():
    facts = read(
        "@@begin\t1\n@@user\t\x1b[31mops\x07\n@@driver\tredis broken \x1b]0;x\x07no\x00\n\x1b[5mbad\n@@python-end\t1"
    )
    assert (facts.user, facts.drivers, facts.python_said) == ("ops", {"redis": ("broken", "no")}, "bad")


def test_a_login_that_runs_no_command_is_heard():
    assert read("This account is currently\x1b[0m not available.\n").noise == "This account is currently not available."


@pytest.mark.parametrize(
    ("said", "offset", "uncertainty"),
    [
        ("1000.250000000", 0.15, 0.1),
        ("1000.2", 0.1, 0.1),
        # a date without fractions prints the second that has begun
        ("1000", 0.4, 0.6),
        ("1000.N", 0.4, 0.6),
        ("1000.%N", 0.4, 0.6),
        ("940.1", -60, 0.1),
    ],
)
def test_a_clock_is_known_as_well_as_the_round_trip_was_short(said, offset, uncertainty):
    found = clock([(1000.0, 1000.2, said)])
    assert found is not None
    assert (found.offset_seconds, found.uncertainty_seconds) == (pytest.approx(offset), pytest.approx(uncertainty))


def test_of_several_looks_the_shortest_counts():
    looks = [(1000.0, 1004.0, "1090.0"), (1010.0, 1010.2, "1100.1"), (1020.0, 1021.0, "nothing")]
    assert clock(looks) == Clock(pytest.approx(90.0), pytest.approx(0.1))
    assert clock([]) is None
    assert clock([(1.0, 2.0, "yesterday")]) is None


def target(**changes: object) -> Target:
    return Target(host="h", groups=(), connection="local", remote_tmp="~/.ansible/tmp", **changes)


def shells() -> list[str]:
    found = [path for name in ("dash", "bash", "busybox", "mksh", "zsh") if (path := shutil.which(name))]
    return found


@pytest.mark.parametrize("shell", shells())
def test_the_script_runs_in_every_shell_of_this_machine(shell):
    text = script.text(target(interpreter="/usr/bin/env python3"), ["no_such_driver"])
    words = [shell, "sh"] if shell.endswith("busybox") else [shell]
    done = subprocess.run([*words, "-c", text], input="\n" * 4, capture_output=True, text=True, timeout=60)
    facts = read(done.stdout)
    assert (facts.complete, facts.uid, done.stderr) == (True, os.getuid(), "")
    assert facts.drivers["no_such_driver"][0] == "missing"
    assert len([line for line in done.stdout.splitlines() if line.startswith("@@time\t")]) == script.CLOCK_ROUNDS


def interpreters() -> list[str]:
    return sorted(str(path) for path in Path("~/.pyenv/versions").expanduser().glob("*/bin/python"))


@pytest.mark.parametrize("interpreter", interpreters() or [shutil.which("python3")])
def test_the_probe_tells_the_version_of_every_python_of_this_machine(interpreter):
    facts = here(target(interpreter=interpreter), ["no_such_driver"], Deadline.after(60))
    words = [interpreter, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]
    said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    assert ".".join(map(str, facts.python)) == said
    assert (facts.python_exit, facts.no_standard, facts.drivers["no_such_driver"][0]) == (0, (), "missing")


def test_another_user_is_asked_and_the_way_back_is_the_login_user():
    behind = 'while IFS= read -r line; do [ "$line" = @@go ] && break; done; IFS= read -r mend_python; '
    behind += "IFS= read -r mend_tmp; export mend_python mend_tmp; exec /bin/sh"
    works = Become("env", "root", f"echo BECOME-SUCCESS-x; {behind}")
    facts = here(target(interpreter="/usr/bin/env python3", become=works), [], Deadline.after(60))
    assert (facts.complete, facts.become_exit, facts.become_said) == (True, 0, "")
    assert facts.python > (3,)
    refused = Become("sudo", "root", "echo 'sudo: no way' >&2; false")
    facts = here(target(interpreter="/usr/bin/env python3", become=refused), [], Deadline.after(60))
    assert (facts.complete, facts.become_exit, facts.become_said) == (True, 1, "sudo: no way")
    assert facts.python > (3,)


def test_a_wrong_password_is_tried_once_and_nothing_follows_it(tmp_path):
    heard = tmp_path / "heard"
    asks = Become("sudo", "root", f"cat > {heard}; echo 'Sorry, try again.' >&2; false", password="hunter2")
    facts = here(target(interpreter="/bin/false", become=asks), [], Deadline.after(60))
    assert heard.read_text() == "hunter2\n"
    assert (facts.complete, facts.become_exit, facts.become_said) == (True, 1, "Sorry, try again.")


def test_a_host_that_hangs_is_left_at_the_deadline_with_what_it_said():
    mark = f"sleep 60.{os.getpid()}"
    # a machine that is busy says less until then
    for seconds in (3, 20, 60):
        facts = here(target(interpreter="/bin/true", become=Become("sudo", "root", mark)), [], Deadline.after(seconds))
        if facts.python_path:
            break
    assert (facts.began, facts.complete, facts.python_path) == (True, False, "/bin/true")
    # what is killed is gone a moment later
    until(lambda: mark not in command_lines())


def command_lines() -> set[str]:
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        # a process of somebody else may end just now
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{name}/cmdline").read_bytes()
            found.add(line.decode(errors="replace").rstrip("\0").replace("\0", " "))
    return found


def test_the_last_words_of_a_shell_that_hears_nothing_are_kept(monkeypatch, tmp_path):
    nologin = tmp_path / "nologin"
    monkeypatch.setattr(script, "command", lambda _text: f"exec 0</dev/null; echo 'not available'; touch {nologin}")
    send = session._Process.send

    def after_its_end(process, data):
        until(nologin.exists)
        send(process, data)

    monkeypatch.setattr(session._Process, "send", after_its_end)
    facts = here(target(), [], Deadline.after(60))
    assert (facts.began, facts.noise) == (False, "not available")


def test_the_script_comes_over_stdin_and_no_word_of_it_stands_in_a_process_list():
    text = script.text(target(interpreter="/usr/bin/python3"), [])
    assert len(script.command(text)) < 80
    assert f"count={len(text.encode())} " in script.command(text)


def test_interpreters_are_looked_for_in_the_order_of_ansible(tmp_path):
    facts = here(target(candidates=("python9.9", "sh", "python3")), [], Deadline.after(60))
    assert facts.python_path == shutil.which("sh")
    facts = here(target(candidates=("python9.9",)), [], Deadline.after(60))
    assert facts.python_path == "/usr/bin/python3"
