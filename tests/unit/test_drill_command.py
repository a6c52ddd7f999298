"""The command line of drills: what makes no sense is an error, and nothing is started."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from drill_records import record
from mendbook import cli, sandbox
from mendbook.drills import history

BACKUP = ["--backup", "s3://bucket/daily/", "--database", "estore"]


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch, tmp_path):
    """No server is started, and the state is this test's own."""

    def refuse(*arguments, **options):
        pytest.fail("a sandbox was started")

    monkeypatch.setattr(sandbox, "start", refuse)
    monkeypatch.setenv("MENDBOOK_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("MENDBOOK_CONTENT", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name one: there are drills of restore_mongo"),
        (["restore_mongos"], "did you mean restore_mongo?"),
        (["flush"], "there are drills of restore_mongo"),
        (["restore_mongo", "--sede", "1"], "No such option"),
        (["restore_mongo", "--rto", "soon"], "is not a time"),
        (["restore_mongo", "--rpo", "0"], "is not a time"),
        (["restore_mongo", "--scale", "0"], "must be a number above 0"),
        (["restore_mongo", "--scale", "nan"], "must be a number above 0"),
        (["restore_mongo", "--scale", "inf"], "must be a number above 0"),
        (["restore_mongo", "--database", "estore"], "--database belongs to --backup"),
        (["restore_mongo", "--key", "a"], "--key belongs to --backup"),
        (["restore_mongo", "--pattern", "estore-*"], "--pattern belongs to --backup"),
        (["restore_mongo", "--critical", "users"], "--critical belongs to --backup"),
        (["restore_mongo", "--s3-region", "eu"], "--s3-region belongs to --backup"),
        (["restore_mongo", "--s3-path-style"], "--s3-path-style belongs to --backup"),
        (["restore_mongo", "--svg", "a.svg"], "--svg belongs to --history"),
        (["restore_mongo", "--latest", "3"], "--latest belongs to --history"),
        (["restore_mongo", "--backup", "s3://bucket/"], "--backup needs --database"),
        (["restore_mongo", "--backup", "bucket/daily", "--database", "estore"], "--backup takes s3://bucket"),
        (["restore_mongo", "--backup", "s3://", "--database", "estore"], "--backup takes s3://bucket"),
        (["restore_mongo", *BACKUP, "--seed", "1"], "--seed has no meaning for a drill with --backup"),
        (["restore_mongo", *BACKUP, "--scale", "2"], "--scale has no meaning for a drill with --backup"),
        (["restore_mongo", *BACKUP, "--time-field", "orders"], "--time-field takes COLLECTION=FIELD"),
        (["restore_mongo", *BACKUP, "--s3-access-key", "AK"], "belong together"),
        (["restore_mongo", *BACKUP, "--s3-secret-key", "hunter22"], "would stand in the process list"),
        (["restore_mongo", "--junit", "none/a.xml"], "none/a.xml cannot be written: No such file"),
        (["restore_mongo", "--markdown", "none/a.md"], "none/a.md cannot be written"),
        (["restore_mongo", "--history-file", "none/a.jsonl"], "none/a.jsonl cannot be written"),
        (["--history", "--rto", "soon"], "is not a time"),
        (["--history", "--junit", "a.xml"], "--junit belongs to a drill"),
        (["--history", "--seed", "1"], "--seed belongs to a drill"),
        (["--history", "--pattern", "a*"], "--pattern belongs to a drill"),
        (["--history", "--latest", "0"], "is not in the range"),
        (["--history", *BACKUP], "--database belongs to a drill"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(capsys, words, said):
    assert cli.command_line(["drill", *words]) == 64
    error = capsys.readouterr().err
    assert said in error and "hunter22" not in error


def test_a_file_that_is_only_tried_is_not_left_behind(tmp_path, capsys):
    words = ["restore_mongo", "--junit", "a.xml", "--markdown", "none/a.md"]
    assert cli.command_line(["drill", *words]) == 64
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "state" / "drills.jsonl"
    for day in range(1, 6):
        history.append(path, record(day, drill="restore_mongo" if day < 5 else "other"))
    return path


def test_the_history_shows_the_newest_of_the_named_drill(kept, capsys):
    assert cli.command_line(["drill", "--history"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert cli.command_line(["drill", "restore_mongo", "--history", "--latest", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:10] for line in lines[1:]] == ["2026-11-03", "2026-11-04"]


def test_the_history_as_json_is_the_records(kept, capsys):
    assert cli.command_line(["drill", "--history", "--json", "--latest", "1"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out) == msgspec.to_builtins(record(5, drill="other"))


def test_a_line_that_is_no_record_is_named_on_stderr_and_the_rest_is_shown(kept, capsys):
    kept.write_bytes(b"{nonsense\n" + kept.read_bytes())
    assert cli.command_line(["drill", "--history", "--svg", "a.svg"]) == 0
    said = capsys.readouterr()
    assert f"{kept}, line 1 is not a drill's record" in said.err and len(said.out.splitlines()) == 6


def test_a_chart_that_cannot_be_written_is_an_error(kept, capsys):
    assert cli.command_line(["drill", "--history", "--svg", "none/a.svg"]) == 64
    assert "--svg none/a.svg: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"nonsense\n"])
def test_without_a_record_there_is_nothing_to_show(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "mine.jsonl").write_bytes(content)
    assert cli.command_line(["drill", "--history", "--history-file", "mine.jsonl"]) == 7
    assert "mine.jsonl" in capsys.readouterr().err


def test_the_command_itself_costs_no_driver():
    """`--help`, `list` and completion import it."""
    code = "import sys, mendbook.commands.drill; print([n for n in ('pymongo', 'boto3', 'rich', 'msgspec', 'ansible') "
    done = subprocess.run(
        [sys.executable, "-c", code + "if n in sys.modules])"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
