"""Facts become findings: the level, the cause in words, and one line of advice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mendbook.preflight import finding, judge_host
from mendbook.preflight.endpoint import Answer
from mendbook.preflight.facts import Clock, Facts, Space
from mendbook.preflight.finding import Finding
from mendbook.preflight.judge_host import Limits, judge, span, spread
from mendbook.preflight.judge_reach import judge as judge_reach
from mendbook.preflight.judge_reach import judge_endpoint, judge_plugin
from mendbook.preflight.reach import Stopped
from mendbook.preflight.target import Become, Target

GIB = 1 << 30
HOST = Target(host="web1", groups=("all",), connection="ssh")
SUDO = Become("sudo", "root", "sudo ...")
GOOD = Facts(
    began=True,
    complete=True,
    uid=1000,
    user="ops",
    os=("debian",),
    clock=Clock(0.01, 0.02),
    remote_tmp="/home/user/.ansible/tmp",
    python_path="/usr/bin/python3",
    python=(3, 11, 2),
    python_exit=0,
    inside_uid=1000,
    space={"/": Space("/", 100 * GIB, 50 * GIB)},
    inodes={"/": Space("/", 1_000_000, 900_000)},
)


def found(target: Target = HOST, limits: Limits = Limits(), **changes: object) -> list[Finding]:  # noqa: B008
    return judge(target, replace(GOOD, **changes), limits)


def test_a_good_host_has_no_finding():
    assert found() == []
    assert finding.exit_code([]) == 0


@pytest.mark.parametrize(
    ("exit_code", "said", "words"),
    [
        (1, "sudo: a password is required", "needs a password, or is not allowed at all"),
        (1, "ops is not in the sudoers file.  This incident will be reported.", "ops is not allowed"),
        (1, "Sorry, user ops is not allowed to execute '/bin/sh' as root on web1.", "ops is not allowed"),
        (1, "Sorry, user ops may not run sudo on web1.", "ops is not allowed"),
        (1, "sudo: 1 incorrect password attempt", "the password is wrong"),
        (1, "Sorry, try again.", "the password is wrong"),
        (1, "sudo: unknown user: postgres", "there is no user root"),
        (1, "su: user nobody9 does not exist", "there is no user root"),
        (1, "sudo: sorry, you must have a tty to run sudo", "wants a terminal"),
        (127, "sh: 1: sudo: not found", "sudo is not installed"),
        (1, "sudo: /etc/sudoers is world writable", "failed with 1 (sudo: /etc/sudoers is world writable)"),
        (-1, "", "failed with -1"),
    ],
)
def test_each_way_in_which_become_fails_has_its_words(exit_code, said, words):
    (one,) = found(replace_target(become=SUDO), become_exit=exit_code, become_said=said)
    assert (one.level, one.check) == ("problem", "become")
    assert words in one.text + one.advice
    assert one.advice


def replace_target(**changes: object) -> Target:
    import msgspec

    return msgspec.structs.replace(HOST, **changes)


@pytest.mark.parametrize("group", ["sudo", "wheel", "admin"])
def test_who_is_in_the_group_of_those_who_may_only_lacks_the_password(group):
    changes = {"become_exit": 1, "become_said": "sudo: a password is required", "groups": ("ops", group)}
    (one,) = found(replace_target(become=SUDO), **changes)
    assert one.text == "sudo to root needs a password"


def test_a_way_that_wants_a_terminal_is_not_said_to_have_been_tried():
    su = Become("su", "root", "su ...", needs_terminal=True)
    (one,) = found(replace_target(become=su), become_exit=1, become_said="su: must be run from a terminal")
    assert one.level == "not checked"
    (one,) = found(replace_target(become=su), uid=0, become_exit=1, become_said="su: must be run from a terminal")
    assert one.level == "problem"


@pytest.mark.parametrize(
    ("given", "changes", "words"),
    [
        (None, {"python": (), "python_exit": 127}, "nor any other that Ansible looks for"),
        ("/opt/p", {"python": (), "python_exit": 127, "python_path": "/opt/p"}, "/opt/p is not there"),
        (None, {"python": (), "python_exit": 126}, "no Python"),
        (
            None,
            {"python": (), "python_exit": 127, "python_path": "/opt/shims/python3.9"},
            "does not run",
        ),
        (None, {"python": (), "python_exit": 139}, "does not run"),
        (None, {"python": (2, 7, 18)}, "is Python 2.7.18, too old"),
        (None, {"python": (3, 8, 20)}, "is Python 3.8.20, too old"),
        (None, {"no_standard": ("json", "zipfile")}, "lacks parts of the standard library: json, zipfile"),
    ],
)
def test_each_python_that_will_not_do_is_told_apart(given, changes, words):
    (one,) = found(replace_target(interpreter=given), **changes)
    assert (one.level, one.check) == ("problem", "python")
    assert words in one.text and one.advice


@pytest.mark.parametrize("version", [(3, 9, 0), (3, 14, 0), (4, 0, 0)])
def test_every_newer_python_will_do(version):
    assert found(python=version) == []


@pytest.mark.parametrize(
    ("os", "advice"),
    [
        (("debian",), "apt-get install python3-psycopg"),
        (("ubuntu", "debian"), "apt-get install python3-psycopg"),
        (("rocky", "rhel", "centos", "fedora"), "dnf install python3-psycopg3 (EPEL)"),
        (("alpine",), "pip install 'psycopg"),
        ((), "pip install 'psycopg"),
    ],
)
def test_a_missing_driver_comes_with_the_package_of_the_system(os, advice):
    (one,) = found(replace_target(engines=("postgres",)), os=os, drivers={"psycopg": ("missing", "no module")})
    assert (one.level, one.check) == ("problem", "driver")
    assert advice in one.advice


def test_an_interpreter_that_is_not_the_systems_wants_pip():
    changes = {"python_path": "/opt/venv/bin/python", "drivers": {"redis": ("missing", "no module")}}
    (one,) = found(replace_target(engines=("redis",)), **changes)
    assert "pip install 'redis" in one.advice


def test_what_only_backups_need_is_a_warning():
    drivers = {"pymongo": ("found", "4.20.1"), **dict.fromkeys(("boto3", "isal", "fastcrc", "xxhash"), ("missing", ""))}
    assert {one.level for one in found(replace_target(engines=("mongo",)), drivers=drivers)} == {"warning"}
    drivers["pymongo"] = ("broken", "undefined symbol")
    assert found(replace_target(engines=("mongo",)), drivers=drivers)[0].level == "problem"


def test_a_driver_that_is_older_than_what_mendbook_is_tested_with_is_a_warning():
    (one,) = found(replace_target(engines=("postgres",)), drivers={"psycopg": ("found", "3.1.7")})
    assert (one.level, "psycopg 3.1.7 is not" in one.text) == ("warning", True)
    assert found(replace_target(engines=("postgres",)), drivers={"psycopg": ("found", "3.2.9")}) == []
    assert found(replace_target(engines=("postgres",)), drivers={"psycopg": ("found", "?")}) == []


@pytest.mark.parametrize(
    ("offset", "uncertainty", "words"),
    [
        (2.5, 0.1, "2.5 s ahead of"),
        (-600, 1, "10 min behind"),
        (90000, 1, "25 h ahead of"),
        (2.5, 0.6, None),
        (1.9, 0.0, None),
        (-30, 29, None),
    ],
)
def test_a_clock_is_wrong_only_beyond_doubt(offset, uncertainty, words):
    texts = [one.text for one in found(clock=Clock(offset, uncertainty))]
    assert texts == [] if words is None else words in texts[0]


def test_a_clock_that_was_not_told_is_no_finding():
    assert found(clock=None) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"space": {"/": Space("/", GIB, GIB // 10)}}, ("warning", "space")),
        ({"space": {"/": Space("/", GIB, 0)}}, ("problem", "space")),
        ({"space": {"/": Space("/", GIB, 4096)}}, ("problem", "space")),
        ({"inodes": {"/var": Space("/var", 1000, 50)}}, ("warning", "inodes")),
        ({"inodes": {"/var": Space("/var", 1000, 0)}}, ("problem", "inodes")),
        ({"inodes": {"/var": Space("/var", 10, 0)}}, ("problem", "inodes")),
        ({"not_writable": ("/tmp",)}, ("warning", "writable")),
        ({"not_writable": ("/home/user",)}, ("warning", "writable")),
        ({"root_read_only": True}, ("warning", "read_only")),
        ({"root_read_only": True, "not_writable": ("/", "/var")}, ("warning", "read_only")),
        ({"root_read_only": True, "not_writable": ("/", "/tmp", "/var")}, ("problem", "read_only")),
        ({"complete": False}, ("problem", "answer")),
        ({"began": False, "noise": "no shell"}, ("problem", "shell")),
    ],
)
def test_each_trouble_of_a_disk_has_its_level(changes, expected):
    (one,) = found(**changes)
    assert (one.level, one.check) == expected
    assert one.advice


def test_folders_that_nobody_but_root_may_write_are_as_they_should_be():
    assert found(not_writable=("/", "/var")) == []


@pytest.mark.parametrize(
    ("share", "levels"), [(0.0, []), (0.5, []), (0.51, ["warning", "warning"]), (1.0, ["warning"] * 2)]
)
def test_the_share_that_warns_is_the_operators(share, levels):
    changes = {"space": {"/": Space("/", 100 * GIB, 50 * GIB)}, "inodes": {"/": Space("/", 100, 50)}}
    assert [one.level for one in found(limits=Limits(free_share=share), **changes)] == levels


@pytest.mark.parametrize(
    ("stage", "level", "check"),
    [
        ("dns", "unreachable", "dns"),
        ("port closed", "unreachable", "tcp"),
        ("no answer", "unreachable", "tcp"),
        ("network", "unreachable", "tcp"),
        ("key unknown", "problem", "host_key"),
        ("key changed", "problem", "host_key"),
        ("key revoked", "problem", "host_key"),
        ("key not checked", "not checked", "host_key"),
        ("login", "problem", "login"),
        ("session", "problem", "session"),
        ("settings", "problem", "settings"),
    ],
)
@pytest.mark.parametrize("command", ["", "ssh-keygen -l -F web1 -f known"])
def test_each_end_of_the_way_has_its_level_and_whole_sentences(stage, level, check, command):
    one = judge_reach(Stopped(stage, "ops@web1:22", "why", command=command))
    assert (one.level, one.check, one.text) == (level, check, "why")
    assert one.advice and "{" not in one.advice and not one.advice.endswith((":", " "))
    bastion = judge_reach(Stopped(stage, "ops@jump:22", "why", command=command, at_bastion=True))
    assert (bastion.level, bastion.check, bastion.text) == (level, "bastion", "at the bastion ops@jump:22: why")
    # the inventory's variables are of no use there
    assert bastion.advice and "{" not in bastion.advice and "ansible_" not in bastion.advice


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ('Could not find container "x" (404 Client Error: Not Found ("No such container: x"))', "no container"),
        ("Error response from daemon: No such container: x", "no container"),
        ('has been paused (409 Client Error: Conflict ("Container 1e6 is not running"))', "does not run"),
        ("Container paused is paused, unpause the container before exec", "is paused"),
        ("permission denied while trying to connect to the Docker daemon socket", "may not talk to"),
        ('exec: "/bin/sh": stat /bin/sh: no such file or directory: unknown', "holds no shell"),
        ("Error while fetching server API version: ('Connection aborted.', FileNotFoundError(2, 'No such", "no Docker"),
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "no Docker engine"),
        ("the connection plugin 'community.docker.docker_api' was not found", "is not installed"),
        ("something else", "something else"),
    ],
)
def test_what_plugins_say_of_containers_is_put_into_words(words, text):
    one = judge_plugin(words)
    assert one.level == "unreachable" and text in one.text and one.advice


def test_an_address_that_answers_is_no_finding_and_one_that_was_not_tried_is_no_problem():
    assert judge_endpoint(Answer("mongo_uri", "db:1", ""), "") is None
    unchecked = judge_endpoint(Answer("mongo_uri", "", "unchecked", "MONGO_URI is not set here"), "")
    assert unchecked is not None and finding.exit_code([unchecked]) == 0
    closed = judge_endpoint(Answer("mongo_uri", "db:1", "no answer", "no answer from db"), "")
    assert closed is not None and finding.exit_code([closed]) == 4
    assert "mend_via" in closed.advice


def test_the_spread_is_between_the_earliest_and_the_latest_clock():
    clocks = {"a": Clock(-1.0, 0.1), "b": Clock(0.5, 0.2), "c": Clock(2.0, 0.4)}
    assert spread(clocks) == (pytest.approx(3.0), pytest.approx(0.5))
    assert spread({"a": Clock(1, 0)}) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0034, "3 ms"), (1.0, "1.0 s"), (119, "119.0 s"), (600, "10 min"), (86400, "24 h")]
)
def test_a_span_of_time_in_words(seconds, text):
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("levels", "code"),
    [
        ([], 0),
        (["warning", "not checked"], 0),
        (["problem", "warning"], 2),
        (["problem", "unreachable"], 4),
    ],
)
def test_the_worst_finding_decides_the_exit_code(levels, code):
    assert finding.exit_code([Finding(level, "x", "y") for level in levels]) == code


def test_the_oldest_python_is_that_of_the_modules():
    assert judge_host.OLDEST == (3, 9)
