"""Playbooks of test modules behind the real gate, on each ansible-core: what the tests of the gate share."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONTENT = ROOT / "tests" / "gate_content"
HOSTS = ("a", "b", "c")
# drops the options that ansible gives to sudo; no privileges are needed to see that the module went through it
FAKE_SUDO = """#!/bin/sh
while [ "$1" != /bin/sh ]; do shift; done
TRIAL_BECAME=yes exec "$@"
"""


@dataclass
class Seen:
    """What a run left: exit code, output, results by task name, and the journal as an independent reader finds it."""

    rc: int
    output: str
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_host: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    journal: list[dict[str, Any]] = field(default_factory=list)
    journals: int = 0

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The journal's events of these kinds."""
        return [event for event in self.journal if event["event"] in names]


class Gate:
    """Hosts a, b and c, a folder for each, and a state folder; ``tmp`` is the TMPDIR of the runs."""

    def __init__(self, bins: Path, folder: Path, tmp: Path) -> None:
        self.bins, self.folder, self.tmp, self.state = bins, folder, tmp, folder / "state"
        self.inventory = folder / "inventory.ini"
        self.inventory.write_text(
            "[app]\n" + "\n".join(HOSTS) + "\n[app:vars]\nansible_connection=local\n"
            'ansible_python_interpreter="{{ ansible_playbook_python }}"\n'
        )
        for host in HOSTS:
            self.of(host).mkdir(parents=True)
        self._count = 0

    def of(self, host: str = "a") -> Path:
        """The folder that the host's tasks change."""
        return self.folder / "hosts" / host

    def files(self, host: str = "a") -> list[str]:
        """What is in it now, without the lock of mend_touch."""
        return sorted(path.name for path in self.of(host).iterdir() if path.name != ".lock")

    def environment(self, results: Path | None = None, **changed: str | None) -> dict[str, str]:
        """The environment of a bare run; a variable that is None is left out."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MENDBOOK_"))}
        wanted: dict[str, str | None] = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LIBRARY": f"{ROOT / 'library'}{os.pathsep}{CONTENT / 'library'}",
            "ANSIBLE_ROLES_PATH": str(CONTENT / "roles"),
            "ANSIBLE_CALLBACK_PLUGINS": f"{ROOT / 'plugins/callback'}{os.pathsep}{ROOT / 'tests/e2e/callback_plugins'}",
            "ANSIBLE_CALLBACKS_ENABLED": "mend_journal,json_lines",
            "ANSIBLE_NOCOLOR": "1",
            "PATH": f"{self.bins}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_HOME": str(self.folder / "ansible_home"),
            "MENDBOOK_STATE": str(self.state),
            "TMPDIR": str(self.tmp),
            "MENDBOOK_TEST_RESULTS": str(results) if results else None,
            **changed,
        }
        return kept | {name: value for name, value in wanted.items() if value is not None}

    def playbook(self, tasks: Sequence[Mapping[str, Any]], hosts: str = "a", **play: Any) -> Path:
        """Write a play to a file of its own; ``play`` are its other keys."""
        self._count += 1
        path = self.folder / f"trial_{self._count}.yml"
        plays = [{"name": "Trial", "hosts": hosts, "gather_facts": False, "tasks": list(tasks), **play}]
        path.write_text(json.dumps(plays))
        return path

    def play(
        self,
        tasks: Sequence[Mapping[str, Any]],
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        prefix: Sequence[str] = (),
        **play: Any,
    ) -> Seen:
        """Run the tasks with ansible-playbook, to the end."""
        path = self.playbook(tasks, **play)
        command = [str(self.bins / "ansible-playbook"), str(path), "-i", str(self.inventory)]
        return self.run([*prefix, *command, *arguments], env)

    def variables(self, **values: Any) -> list[str]:
        """Arguments that set variables whose texts are data: ansible does not look for templates in them."""
        self._count += 1
        path = self.folder / f"variables-{self._count}.json"
        path.write_text(json.dumps(_as_data(values)))
        return ["-e", f"@{path}"]

    def run(self, command: Sequence[str], env: Mapping[str, str | None] | None = None) -> Seen:
        """Run a program of ansible."""
        results = self.folder / f"results-{self._count}.jsonl"
        done = subprocess.run(
            command,
            env=self.environment(results, **(env or {})),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=240,
            check=False,
        )
        return self.seen(done.returncode, done.stdout.decode("utf-8", "replace"), results)

    def seen(self, rc: int, output: str, results: Path | None = None) -> Seen:
        """What is known after a run."""
        seen = Seen(rc, output)
        lines = results.read_text().splitlines() if results and results.exists() else []
        for entry in map(json.loads, lines):
            seen.results[entry["task"]] = {**entry["result"], "_status": entry["status"]}
            seen.by_host[entry["task"], entry["host"]] = entry["result"]
        for path in sorted(self.state.glob("journal/*.jsonl")) if self.state.is_dir() else []:
            seen.journal += chain(path)
            seen.journals += 1
        return seen


def _as_data(value: Any) -> Any:
    if isinstance(value, str):
        return {"__ansible_unsafe": value}
    if isinstance(value, list):
        return [_as_data(part) for part in value]
    return {name: _as_data(part) for name, part in value.items()} if isinstance(value, dict) else value


def chain(path: Path) -> list[dict[str, Any]]:
    """The events of a journal; this reader knows JSON, newlines and SHA-256, and none of our code."""
    events, prev = [], None
    # after the last newline stands what is being written just now
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        event = json.loads(line)
        assert (event["prev"], event["seq"]) == (prev, number)
        events.append(event)
        prev = hashlib.sha256(line).hexdigest()
    for event in events:
        assert {"schema", "run", "at", "procedure", "who"} <= set(event)
        assert set(event["who"]) == {"user", "sudo_user", "host", "pid", "via"}
    return events


def command_lines() -> Iterator[tuple[int, bytes]]:
    """Every process and its command line, without those that end meanwhile."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            yield int(name), Path(f"/proc/{name}/cmdline").read_bytes()


def trial(name: str, folder: Path | str, **options: Any) -> dict[str, Any]:
    """A task with the test module that misbehaves on request; ``task_...`` options are the task's own keys."""
    keys = {key[5:]: options.pop(key) for key in list(options) if key.startswith("task_")}
    return {"name": name, "mend_trial": {"folder": str(folder), **options}, **keys}
