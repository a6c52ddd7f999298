"""`mendbook schedule` in the test's own process, away from this machine's settings, systemd and cron."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from types import SimpleNamespace

from mendbook import cli
from mendbook.commands import schedule
from mendbook.preflight import inventory
from mendbook.preflight.target import Target
from mendbook.schedule import night, systemctl, systemd

NOTES = Path(__file__).resolve().parents[1] / "e2e" / "content"
WRITE = ("write_note", "-i", "a,", "--on-calendar", "daily", "--confirm", "note:a.txt")
LOOK = ("look_around", "-i", "a,", "--on-calendar", "daily")


def scheduler(monkeypatch, tmp_path, capsys, reads=False):
    """A function that runs `mendbook schedule ...` and gives its exit code, stdout and stderr.

    Ansible `reads` the inventory, which takes a second, or one host is taken for granted.
    """
    if not reads:
        monkeypatch.setattr(inventory, "read", _one_host)
    for name in ("ANSIBLE_INVENTORY", "MENDBOOK_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MENDBOOK_CONTENT", str(NOTES))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    # a checkout in /tmp would be refused: a unit does not find it there
    monkeypatch.setattr(schedule, "_program", lambda: ("/opt/mendbook/bin/python", "-m", "mendbook"))
    monkeypatch.setattr(night, "_start", lambda *_: None)
    elsewhere = re.compile(f"(?!{re.escape(str(NOTES))}){systemd._UNSEEN.pattern}", re.DOTALL)
    monkeypatch.setattr(systemd, "_UNSEEN", elsewhere)
    monkeypatch.setattr(systemctl, "_BOOTED", tmp_path / "no systemd here")

    def run(*words):
        code = cli.command_line(["schedule", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@contextlib.contextmanager
def _one_host(*_):
    yield SimpleNamespace(targets=[Target("a", ())])
