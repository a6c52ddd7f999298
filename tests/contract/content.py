"""Read the content (modules, roles, playbooks) as data, so that the rules can look at it.

The readers take the folder to look in, so that the rules can be tried on content that breaks them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(sys.executable).parent
BLOCK_KEYS = ("block", "rescue", "always")


def no_violation(found: list[str]) -> None:
    """Fail a test with every violation on a line of its own, which an assert would cut short."""
    __tracebackhide__ = True
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def load_yaml(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def environment(root: Path = ROOT) -> dict[str, str]:
    """The environment of a program of ansible that works on the content of ``root``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MENDBOOK_"))}
    path = f"{PROGRAMS}{os.pathsep}{kept['PATH']}"
    return {**kept, "ANSIBLE_CONFIG": str(root / "ansible.cfg"), "NO_COLOR": "1", "PATH": path}


def command(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run one of this environment's programs on the content of ``root``, from a folder that is not it."""
    program = [str(PROGRAMS / arguments[0]), *arguments[1:]]
    return subprocess.run(program, cwd="/", env=environment(root), capture_output=True, text=True, timeout=280)


@dataclass(frozen=True)
class Module:
    """A module as its file says: ``documentation``, ``examples`` and ``returns`` as ansible-doc reads them."""

    name: str
    source: str
    spec: dict[str, Any]
    documentation: dict[str, Any]
    examples: str
    returns: dict[str, Any]


@dataclass(frozen=True)
class Role:
    name: str
    specs: dict[str, Any]
    defaults: dict[str, Any]
    tasks: dict[str, list[dict[str, Any]]]

    @property
    def options(self) -> dict[str, Any]:
        """Every variable that any entry point declares."""
        return {name: option for entry in self.specs.values() for name, option in (entry.get("options") or {}).items()}


def module_names(root: Path = ROOT) -> list[str]:
    return sorted(path.stem for path in (root / "library").glob("*.py"))


def role_names(root: Path = ROOT) -> list[str]:
    return (
        sorted(path.name for path in (root / "roles").iterdir() if path.is_dir()) if (root / "roles").is_dir() else []
    )


def playbook_names(root: Path = ROOT) -> list[str]:
    return sorted(path.stem for path in (root / "playbooks").glob("*.y*ml"))


def argument_spec(path: Path) -> dict[str, Any]:
    """The module-level ARGUMENT_SPEC of a module's file."""
    loader = importlib.util.spec_from_file_location(f"contract_{path.stem}", path)
    assert loader and loader.loader
    module = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(module)
    return dict(module.ARGUMENT_SPEC)


def modules(root: Path = ROOT) -> dict[str, Module]:
    """Every module of library/, its documentation with the shared fragments as ansible-doc puts it together."""
    names = module_names(root)
    if not names:
        return {}
    shown = command("ansible-doc", "--type", "module", "--json", *names, root=root)
    assert shown.returncode == 0, shown.stderr
    answers = json.loads(shown.stdout)
    found = {}
    for name in names:
        answer = answers.get(name) or {}
        path = root / "library" / f"{name}.py"
        found[name] = Module(
            name=name,
            source=path.read_text(encoding="utf-8"),
            spec=argument_spec(path),
            documentation=answer.get("doc") or {},
            examples=answer.get("examples") or "",
            returns=answer.get("return") or {},
        )
    return found


def role(name: str, root: Path = ROOT) -> Role:
    folder = root / "roles" / name
    specs, defaults = folder / "meta" / "argument_specs.yml", folder / "defaults" / "main.yml"
    return Role(
        name=name,
        specs=(load_yaml(specs) or {}).get("argument_specs", {}) if specs.exists() else {},
        defaults=(load_yaml(defaults) or {}) if defaults.exists() else {},
        tasks={path.name: load_yaml(path) or [] for path in sorted((folder / "tasks").glob("*.yml"))},
    )


def roles(root: Path = ROOT) -> dict[str, Role]:
    return {name: role(name, root) for name in role_names(root)}


def playbooks(root: Path = ROOT) -> dict[str, list[dict[str, Any]]]:
    return {name: load_yaml(root / "playbooks" / f"{name}.yml") for name in playbook_names(root)}


def flat_tasks(tasks: list[dict[str, Any]], inherited: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Each task of a list, with the keywords of the blocks around it as its own."""
    for task in tasks:
        keywords = {key: value for key, value in task.items() if key not in BLOCK_KEYS}
        if any(key in task for key in BLOCK_KEYS):
            for key in BLOCK_KEYS:
                yield from flat_tasks(task.get(key) or [], {**(inherited or {}), **keywords})
        else:
            yield {**(inherited or {}), **keywords}


def action(task: dict[str, Any]) -> tuple[str, Any]:
    """The ``mend_*`` module of a task and its arguments, or ("", None)."""
    for key, value in task.items():
        name = key.removeprefix("ansible.legacy.")
        if name.startswith("mend_"):
            return name, value
    return "", None


def tracked_files(root: Path = ROOT) -> list[str]:
    """The files that are or would be committed, as paths below ``root``."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True, timeout=60).stdout
    return sorted(name for name in names.splitlines() if (root / name).is_file())
