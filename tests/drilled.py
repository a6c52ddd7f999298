"""`mendbook drill` in a process of its own, with a home, a state and a temporary folder that nobody else uses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import junitparser

from mendbook.drills import history
from mendbook.drills.record import DrillRecord

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Drilled:
    """A drill that has ended, or was ended: its exit code, what it printed, what it wrote."""

    folder: Path
    code: int
    out: str
    err: str
    seconds: float

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What --json printed."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def cases(self) -> dict[str, junitparser.TestCase]:
        """The cases of --junit drill.xml, read by another program's reader."""
        (suite,) = junitparser.JUnitXml.fromfile(str(self.folder / "drill.xml"))
        return {case.name: case for case in suite}

    @property
    def history(self) -> list[DrillRecord]:
        return history.read(history.lines(self.folder / "state" / "drills.jsonl"))[0]


class Place:
    """A folder to drill in; its temporary folder has a short name, because a socket's path cannot be long."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "home").mkdir()

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """The command, with its output piped."""
        dropped = ("ANSIBLE_", "MENDBOOK_", "AWS_", "XDG_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        places = {"HOME": "home", "MENDBOOK_STATE": "state", "TMPDIR": ""}
        own = {name: str(self.folder / place) for name, place in places.items()}
        return subprocess.Popen(
            [sys.executable, "-m", "mendbook", "drill", *arguments],
            env={**kept, **own, "PYTHONPATH": str(ROOT / "src"), **environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> Drilled:
        """The command to its end."""
        began = time.monotonic()
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=240)
        return Drilled(self.folder, process.returncode, out, err, time.monotonic() - began)

    def running(self) -> list[str]:
        """Command lines of processes that work in this folder, whoever their parents are."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                where = (entry / "environ").read_bytes()
            except OSError:
                continue
            # a zombie has neither
            if str(self.folder) in line or f"TMPDIR={self.folder}".encode() in where:
                found.append(line)
        return found

    def servers(self) -> list[Path]:
        """Folders of sandboxes that are still there."""
        return [path for path in self.folder.iterdir() if (path / ".mendbook-sandbox").exists()]


@contextmanager
def place() -> Iterator[Place]:
    """A place that is removed at the end, whatever lies in it."""
    folder = Path(tempfile.mkdtemp(prefix="drill-"))
    try:
        yield Place(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def gone(drills: Place, seconds: float = 60) -> bool:
    """Whether nothing of any drill runs in the place, now or within so many seconds."""
    deadline = time.monotonic() + seconds
    while drills.running() or drills.servers():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
