"""`mendbook completion`: a bash that has read it offers procedures, variables and files, or nothing."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mendbook import cli
from waiting import until

NOTES = Path(__file__).resolve().parents[1] / "e2e" / "content"
_ASK = """
eval "$(mendbook completion bash)"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_mendbook_completion mendbook 2>&1
printf '%s\\n' "${COMPREPLY[@]}"
"""


def ask(*words, content=NOTES):
    """What bash offers after these words; the last is the one that is being typed."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": "/", "MENDBOOK_CONTENT": str(content)}
    done = subprocess.run(
        ["bash", "--norc", "-c", _ASK, "bash", "mendbook", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["sch"], ["schedule"]),
        (["run", "w"], ["write_note"]),
        (["preflight", "-i", "a,", "w"], ["write_note"]),
        (["show", ""], ["look_around", "undo_write_note", "write_note"]),
        (["schedule", "lo"], ["look_around"]),
        (["schedule", "dr"], ["drill:restore_mongo"]),
        # as bash itself cuts them
        (["schedule", "drill", ":"], ["restore_mongo"]),
        (["schedule", "drill", ":", "re"], ["restore_mongo"]),
        (["run", "write_note", "-e", "note_write_mode", "=", "l"], ["loud"]),
        (["completion", "z"], ["zsh"]),
        (["drill", ""], ["restore_mongo"]),
        (["schedule", "write_note", "--format", "k"], ["kubernetes"]),
        (["run", "write_note", "--conf"], ["--confirm"]),
        (["run", "write_note", "-e", "note_write_se"], ["note_write_seconds="]),
        (["run", "-i", "a,", "write_note", "--check", "-e", "note_write_mo"], ["note_write_mode="]),
        (["run", "write_note", "-e", "note_write_mode=l"], ["note_write_mode=loud"]),
        (["run", "write_note", "-e", "note_write_ignores=t"], ["note_write_ignores=true"]),
    ],
)
def test_bash_offers_what_could_come_next(words, offered):
    assert ask(*words) == offered


@pytest.mark.parametrize(
    "words",
    [
        ["rnu", "x"],
        ["run", "wirte"],
        ["run", "wirte_note", "-e", "note"],
        ["run", "-e", "note"],
        ["run", "write_note", "-e", "note_write_none=x"],
        ["run", "write_note", "-e", "note_write_texts="],
        ["schedule", "write_note", ":"],
    ],
)
def test_bash_offers_nothing_where_nothing_fits_and_says_nothing(words):
    assert ask(*words) == []


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("mendbook schedule drill:", "drill:restore_mongo "),
        ("mendbook run write_note --limit= -e note_write_mode=l", "--limit= -e note_write_mode=loud "),
    ],
)
def test_what_is_typed_becomes_whole_words_in_a_bash_with_a_terminal(typed, becomes):
    """bash cuts words at colons and equals signs, and says so only to a terminal."""
    here, there = pty.openpty()
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": "/", "MENDBOOK_CONTENT": str(NOTES)}
    bash = ["bash", "--norc", "--noprofile", "-i"]
    said = bytearray()

    def heard(text):
        while select.select([here], [], [], 0)[0]:
            said.extend(os.read(here, 4096))
        return text in said

    shell = subprocess.Popen(
        bash, env=environment | {"TERM": "dumb"}, stdin=there, stdout=there, stderr=there, start_new_session=True
    )
    try:
        os.write(here, b'eval "$(mendbook completion bash)"; echo rea""dy\n')
        until(lambda: heard(b"ready\r\n"), "bash has read the completion")
        os.write(here, typed.encode() + b"\t")
        until(lambda: heard(becomes.encode()), becomes)
    finally:
        shell.kill()
        shell.wait()
        os.close(here)
        os.close(there)


def test_a_content_that_cannot_be_read_does_not_write_into_the_command_line(tmp_path):
    assert ask("run", "w", content=tmp_path) == ask("run", "w", "-e", "n", content=tmp_path) == []


@pytest.mark.parametrize("words", [["run", "write_note", "-i", "in"], ["run", "write_note", "-e", "@va"]])
def test_files_are_left_to_the_shell(words):
    # outside of a real completion bash says so; the option that it was to set is the shell's own completion
    assert "compopt:" in ask(*words)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_its_lines(capsys, shell):
    assert cli.command_line(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert "_MENDBOOK_COMPLETE" in said and f"{shell}_complete" in said
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=said, text=True, check=True)


def test_no_blank_is_put_behind_the_equals_sign(capsys):
    cli.command_line(["completion", "bash"])
    assert "compopt -o nospace" in capsys.readouterr().out


def test_an_unknown_shell_is_a_usage_error(capsys):
    assert cli.command_line(["completion", "tcsh"]) == 64
    assert "bash" in capsys.readouterr().err
