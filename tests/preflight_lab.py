"""`mendbook preflight` as a program, and inventories whose hosts each have a fault of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SECONDS = 240


@dataclass
class Checked:
    """What a run of preflight left."""

    code: int
    stdout: str
    stderr: str

    @property
    def record(self) -> dict[str, Any]:
        return json.loads(self.stdout)

    @property
    def hosts(self) -> dict[str, dict[str, Any]]:
        return {host["host"]: host for host in self.record["hosts"]}

    def found(self, host: str) -> list[tuple[str, str]]:
        """(level, check) of each finding of a host."""
        return [(each["level"], each["check"]) for each in self.hosts[host]["findings"]]

    def words(self, host: str) -> str:
        """Everything that is said of a host."""
        return "\n".join(f"{each['text']} -> {each['advice']}" for each in self.hosts[host]["findings"])


def preflight(*arguments: object, **environment: str) -> Checked:
    """Run it to its end; one that hangs fails the test. A host has a minute, unless a test says otherwise."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MENDBOOK_"))}
    program = str(Path(sys.executable).with_name("mendbook"))
    patient = () if "--timeout" in arguments else ("--timeout", "60s")
    done = subprocess.run(
        [program, "preflight", *patient, *map(str, arguments)],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return Checked(done.returncode, done.stdout, done.stderr)


def with_host_variables(inventory: Path, variables: Mapping[str, Mapping[str, Any]]) -> Path:
    """The same inventory, with variables of single hosts of the group ``hosts``; names that are new are added."""
    tree = yaml.safe_load(inventory.read_text())
    for name, values in variables.items():
        tree["hosts"]["hosts"].setdefault(name, {}).update(values)
    inventory.write_text(yaml.safe_dump(tree))
    return inventory
