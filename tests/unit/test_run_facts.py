"""Which run this is: one name for all of its workers, with and without the callback."""

import os
import re
import subprocess
import sys
from datetime import datetime, timedelta

import pytest
from ansible.module_utils.mendbook import run_facts

RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


@pytest.fixture(autouse=True)
def unnamed(monkeypatch):
    monkeypatch.delenv("MENDBOOK_RUN", raising=False)
    monkeypatch.delenv("MENDBOOK_PROCEDURE", raising=False)


def test_a_run_is_named_once(monkeypatch):
    monkeypatch.setenv("MENDBOOK_RUN", "given-by-the-wrapper")
    assert run_facts.name_run() == run_facts.run_id() == "given-by-the-wrapper"
    monkeypatch.delenv("MENDBOOK_RUN")
    named = run_facts.name_run()
    assert RUN.fullmatch(named)
    assert run_facts.name_run() == run_facts.run_id() == named
    monkeypatch.delenv("MENDBOOK_RUN")


def test_without_a_name_it_is_made_of_the_start_of_the_main_process():
    first, other = run_facts.run_id(os.getpid()), run_facts.run_id(os.getppid())
    assert RUN.fullmatch(first)
    assert first == run_facts.run_id(os.getpid())
    assert first != other


def test_all_workers_of_a_main_process_find_the_same_name():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import conftest\n"
        "from ansible.module_utils.mendbook import run_facts; print(run_facts.run_id())"
    )
    command = [sys.executable, "-c", code, os.path.dirname(os.path.dirname(__file__))]
    names = {subprocess.check_output(command, text=True) for _ in range(2)}
    assert names == {run_facts.run_id(os.getpid()) + "\n"}


def test_where_there_is_no_proc_ps_is_asked(monkeypatch):
    by_proc = run_facts.run_id(os.getpid())

    def no_proc(*args, **kwargs):
        raise FileNotFoundError

    monkeypatch.setattr(run_facts, "open", no_proc, raising=False)
    by_ps = run_facts.run_id(os.getpid())
    assert RUN.fullmatch(by_ps)
    # ps rounds as it likes, also over midnight
    assert abs(started(by_ps) - started(by_proc)) <= timedelta(seconds=2)


def started(run):
    return datetime.strptime(run[:16], "%Y%m%dT%H%M%SZ")


@pytest.mark.parametrize(
    "arguments, name",
    [
        ({"args": ("/srv/playbooks/restore_mongo.yml",)}, "restore_mongo"),
        ({"args": ("a.yml", "b.yaml")}, "a+b"),
        ({"args": "mongo", "module_name": "mend_x"}, "ad hoc"),
        ({}, None),
    ],
)
def test_the_procedure_is_the_playbook(arguments, name):
    assert run_facts.procedure(arguments) == name


def test_who_names_the_person_behind_sudo(monkeypatch):
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setenv("MENDBOOK_VIA", "mendbook")
    who = run_facts.who(7)
    assert (who["sudo_user"], who["via"], who["pid"]) == ("alice", "mendbook", 7)
    assert who["user"] and who["host"]


def test_a_user_without_a_name_is_a_number(monkeypatch):
    def nobody():
        raise OSError

    monkeypatch.setattr(run_facts.getpass, "getuser", nobody)
    assert run_facts.who()["user"] == str(os.getuid())
