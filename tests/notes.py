"""The wrapper's own small content (e2e/content): notes, written slowly or stubbornly, behind the real gate."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_inventory import LOCAL
from mendbook import processes
from waiting import until

ROOT = Path(__file__).resolve().parents[1]
CONTENT = Path(__file__).resolve().parent / "e2e" / "content"


@dataclass
class Notes:
    """A folder with an inventory of hosts, each with a note of its own; everything a run writes is below it."""

    folder: Path
    # with a short name: longer ones are not used, because a socket's path cannot be long
    tmp: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="notes-")))
    hosts: dict[str, dict[str, Any]] = field(default_factory=lambda: {"a": {}})

    def __post_init__(self) -> None:
        for name in ("home", "notes"):
            (self.folder / name).mkdir()
        for name, variables in self.hosts.items():
            variables.setdefault("note_path", str(self.note(name)))
        self.inventory.write_text(yaml.safe_dump({"notes": {"hosts": self.hosts, "vars": LOCAL}}))

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def note(self, host: str = "a") -> Path:
        return self.folder / "notes" / f"{host}.txt"

    @property
    def environment(self) -> dict[str, str]:
        """A home, a TMPDIR and a state folder of its own."""
        mine = {"HOME": "home", "MENDBOOK_STATE": "state", "TMPDIR": self.tmp}
        dropped = ("ANSIBLE_", "MENDBOOK_", "AWS_", "XDG_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        paths = {name: str(self.folder / folder) for name, folder in mine.items()}
        return kept | paths | {"MENDBOOK_CONTENT": str(CONTENT), "PYTHONPATH": str(ROOT / "src")}

    def start(self, *arguments: str, procedure: str = "write_note", **environment: str) -> subprocess.Popen[str]:
        """`mendbook run` as a process of its own, with stdout and stderr piped."""
        command = [sys.executable, "-m", "mendbook", "run", procedure, "-i", str(self.inventory), *arguments]
        return subprocess.Popen(
            command,
            env=self.environment | environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, procedure: str = "write_note", **environment: str) -> Ran:
        """`mendbook run` to its end."""
        return Ran.of(self.start(*arguments, procedure=procedure, **environment))

    def left(self) -> list[Path]:
        """Private folders of runs that are still there."""
        return list(self.tmp.glob("mendbook-*"))

    def journal(self) -> list[dict[str, Any]]:
        """Every journal line, run by run."""
        return journal_in(self.state)

    def run_id(self) -> str:
        """The run that was journalled last; waits for one to begin."""
        return until(lambda: [line["run"] for line in self.journal() if line["event"] == "begin"])[-1]


def journal_in(state: Path) -> list[dict[str, Any]]:
    """Every journal line of a state folder, run by run, but not one that is just being written."""
    files = sorted((state / "journal").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]


@dataclass
class Ran:
    code: int
    stdout: str
    stderr: str

    @classmethod
    def of(cls, process: subprocess.Popen[str], timeout: float = 240) -> Ran:
        """Wait for its end; a process that hangs is killed and fails the test."""
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail(f"mendbook hung: {process.communicate()}")
        return cls(process.returncode, stdout, stderr)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]


def notes_in(folder: Path, **facts: Any) -> Iterator[Notes]:
    """For a fixture: one host `a`, or `hosts`; what a test leaves running is killed."""
    made = Notes(folder, **facts)
    yield made
    for run in {line["run"] for line in made.journal()}:
        for process in processes.of_run(run):
            # it may come to its end meanwhile
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, 9)
    shutil.rmtree(made.tmp, ignore_errors=True)
