"""The command line parses, calls, and turns every error into its exit code."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from mendbook import cli
from mendbook.errors import Locked, MendError, StateUnknown

NOTES = Path(__file__).resolve().parents[1] / "e2e" / "content"


@pytest.fixture(autouse=True)
def notes(monkeypatch):
    monkeypatch.setenv("MENDBOOK_CONTENT", str(NOTES))
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)


def test_every_verb_has_its_file_with_a_command():
    context = click.Context(cli.main)
    for verb in cli.VERBS:
        assert isinstance(cli.main.get_command(context, verb), click.Command), verb


def test_help_names_every_verb(capsys):
    assert cli.command_line(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {verb} " in said for verb in cli.VERBS)


def test_list_gives_each_procedure_one_line_with_its_risk(capsys):
    assert cli.command_line(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["look_around", "reads"],
        ["undo_write_note", "changes"],
        ["write_note", "destroys"],
    ]


def test_show_tells_what_one_needs_before_a_run(capsys):
    assert cli.command_line(["show", "write_note"]) == 0
    said = capsys.readouterr().out
    for part in (
        "write_note: Write a note into a file",
        "Writes each text into the file",
        "risk      destroys",
        'note_write_mode (str; one of plain, loud; default "plain")',
        "note_write_texts (list of str",
        "mendbook run write_note -i INVENTORY --check",
        "--confirm TARGET",
        "undo      mendbook run undo_write_note",
        "ansible-playbook playbooks/write_note.yml",
    ):
        assert part in said


def test_show_tells_when_a_procedure_is_usually_run(capsys, monkeypatch):
    monkeypatch.delenv("MENDBOOK_CONTENT")
    assert cli.command_line(["show", "backup_mongo"]) == 0
    assert "usually   at *-*-* 00:00:00 UTC: mendbook schedule backup_mongo -i INVENTORY" in capsys.readouterr().out
    assert cli.command_line(["show", "restore_mongo"]) == 0
    assert "usually" not in capsys.readouterr().out


def test_path_is_the_content(capsys):
    assert cli.command_line(["path"]) == 0
    assert capsys.readouterr().out.strip() == str(NOTES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lst"], "did you mean list"),
        (["show", "wriet_note"], "did you mean write_note"),
        (["run", "write_note"], "Missing option '-i'"),
        (["run", "write_note", "-i", "/no/such"], "/no/such does not exist"),
        (["run", "write_nite", "-i", "a,"], "did you mean write_note"),
        (["run", "write_note", "-i", "a,", "-e", "note_write_second=1"], "did you mean note_write_seconds"),
        (["run", "write_note", "-i", "a,", "--limit", ""], "the limit is empty"),
        (["run", "write_note", "-i", "a,", "--limit", "@/no/such"], "does not exist"),
        (["run", "write_note", "-i", "a,", "--timeout", "soon"], "is not a time"),
        (["run", "write_note", "-i", "a,", "--timeout", "0"], "is not a time"),
        (["run", "look_around", "-i", "a,", "--confirm", "x"], "asks for no confirmation"),
        (["run", "write_note", "-i", "a,", "--no-such"], "No such option"),
        (["preflight"], "Missing option '-i'"),
        (["preflight", "-i", "/no/such"], "/no/such does not exist"),
        (["preflight", "-i", "a,", "wriet_note"], "did you mean write_note"),
        (["preflight", "-i", "a,", "--limit", ""], "the limit is empty"),
        (["preflight", "-i", "a,", "--timeout", "0"], "is not a time"),
        (["preflight", "-i", "a,", "--warn-free", "110"], "110 is not in the range"),
        (["--no-such"], "No such option"),
    ],
)
def test_a_request_that_cannot_be_run_is_64_with_words(capsys, arguments, said):
    assert cli.command_line(arguments) == 64
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MendError("plain"), 2, "mendbook: plain"),
        (Locked("held by cron"), 75, "mendbook: held by cron"),
        (StateUnknown("who knows"), 70, "mendbook: who knows"),
        (KeyboardInterrupt(), 130, "mendbook: cancelled"),
        (ValueError("a mistake"), 70, "ValueError: a mistake"),
    ],
)
def test_every_error_has_its_code_and_its_words(monkeypatch, capsys, error, code, said):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(cli.main, "main", fail)
    assert cli.command_line([]) == code
    assert said in capsys.readouterr().err


def test_the_inventory_may_come_from_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("ANSIBLE_INVENTORY", "/no/such")
    assert cli.command_line(["run", "write_note"]) == 64
    assert "/no/such does not exist" in capsys.readouterr().err


def test_list_loads_neither_ansible_nor_rich():
    code = (
        "import sys; from mendbook.cli import command_line; assert command_line(['list']) == 0; "
        "print([m for m in ('ansible', 'ansible_runner', 'rich', 'msgspec', 'importlib.metadata') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_loads_no_verb():
    code = (
        "import sys; from mendbook.cli import command_line; command_line(['--help']); "
        "print([m for m in sys.modules if m.startswith(('mendbook.commands.', 'yaml'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
