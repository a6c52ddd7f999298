# SPDX-License-Identifier: MIT
"""Where the Ansible content is, and what its playbooks and roles say of themselves. Read as plain YAML: no ansible."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mendbook.errors import MendError, UnknownProcedure

if TYPE_CHECKING:
    from pathlib import Path

RISKS = ("reads", "changes", "destroys")


def content_root() -> Path:
    """Folder of ansible.cfg, playbooks/ and roles/: ``MENDBOOK_CONTENT``, else inside the wheel, else the checkout."""
    from pathlib import Path

    return Path(_root())


def _root() -> str:
    # text and not a Path wherever `list` comes by: importing pathlib would cost it a quarter of its time
    if chosen := os.environ.get("MENDBOOK_CONTENT"):
        root = os.path.abspath(chosen)
        if not os.path.isfile(os.path.join(root, "ansible.cfg")):
            raise MendError(f"MENDBOOK_CONTENT={chosen} holds no ansible.cfg")
        return root
    package = os.path.dirname(os.path.realpath(__file__))
    installed = os.path.join(package, "_content")
    return installed if os.path.isdir(installed) else os.path.dirname(os.path.dirname(package))


@dataclass(frozen=True)
class Option:
    """One variable of a role, as its argument_specs say; ``spec`` is that entry as it is."""

    name: str
    role: str
    spec: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.spec.get("type", "str"))

    @property
    def required(self) -> bool:
        return bool(self.spec.get("required", False))

    @property
    def description(self) -> str:
        said = self.spec.get("description", "")
        return " ".join(said) if isinstance(said, list) else str(said)


@dataclass(frozen=True)
class Procedure:
    """One playbook of the content in ``root``; ``risk`` is one of RISKS, ``roles`` are (role, entry point)."""

    name: str
    root: str
    title: str
    risk: str
    summary: str
    runbooks: tuple[str, ...]
    repeats: bool
    roles: tuple[tuple[str, str], ...]
    header: dict[str, Any] = field(repr=False)

    @property
    def playbook(self) -> str:
        """The path of the playbook."""
        return os.path.join(self.root, "playbooks", f"{self.name}.yml")

    @cached_property
    def specs(self) -> dict[str, dict[str, Any]]:
        """Per role the entry point's argument_specs (description, options)."""
        return {role: _entry_point(self.root, role, entry) for role, entry in self.roles}

    @cached_property
    def options(self) -> dict[str, Option]:
        """Every declared variable by name."""
        return {
            name: Option(name, role, option or {})
            for role, spec in self.specs.items()
            for name, option in (spec.get("options") or {}).items()
        }

    @cached_property
    def borrowed(self) -> frozenset[str]:
        """Variables that the defaults take their value from, such as mongo_uri for mongo_restore_uri."""
        names: set[str] = set()
        for role, _ in self.roles:
            defaults = os.path.join(self.root, "roles", role, "defaults", "main.yml")
            texts = [option.spec.get("default") for option in self.options.values() if option.role == role]
            texts += list((_load(defaults) or {}).values()) if os.path.isfile(defaults) else []
            for text in texts:
                if isinstance(text, str) and "{{" in text:
                    names |= _referenced(text)
        return frozenset(names - set(self.options))

    @property
    def examples(self) -> tuple[str, ...]:
        """The command lines in the comment that heads the playbook."""
        with open(self.playbook, encoding="utf-8") as file:
            head = file.read().split("\n- ", 1)[0]
        return tuple(
            line.strip() for line in re.findall(r"^#\s*(ansible-playbook .*|mendbook .*)$", head, re.MULTILINE)
        )


def procedures(root: str | os.PathLike[str] | None = None) -> Iterator[Procedure]:
    """Every procedure of the content in the order of names; a playbook without a play header is not one."""
    folder = os.fspath(root or _root())
    for file in sorted(os.listdir(os.path.join(folder, "playbooks"))):
        name, ending = os.path.splitext(file)
        if ending == ".yml" and (found := _read(folder, name)) is not None:
            yield found


def procedure(name: str, root: str | os.PathLike[str] | None = None) -> Procedure:
    """The procedure of this name; UnknownProcedure names the nearest ones."""
    folder = os.fspath(root or _root())
    # names come from people and jobs: only a plain file name may choose what is run
    if re.fullmatch(r"[a-z][a-z0-9_]*", name) and os.path.isfile(os.path.join(folder, "playbooks", f"{name}.yml")):
        found = _read(folder, name)
        if found is not None:
            return found
    known = [each.name for each in procedures(folder)]
    raise UnknownProcedure(f"no procedure is called {name!r}" + did_you_mean(name, known, "see: mendbook list"))


def did_you_mean(word: str, known: list[str], otherwise: str = "") -> str:
    """`` - did you mean a or b?``, or the other advice, or nothing: to be put behind an error message."""
    import difflib

    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if near:
        # names of one role begin alike: beside a clear winner the others only distract
        best = difflib.SequenceMatcher(None, word, near[0]).ratio()
        near = [each for each in near if difflib.SequenceMatcher(None, word, each).ratio() > best - 0.1]
        return f" - did you mean {' or '.join(near)}?"
    return f" - {otherwise}" if otherwise else ""


def _load(path: str) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        with open(path, "rb") as file:
            return yaml.load(file, Loader=loader)  # noqa: S506 - a safe loader, in C where there is one
    except (yaml.YAMLError, OSError) as error:
        raise MendError(f"{path} cannot be read: {error}") from error


def _read(root: str, name: str) -> Procedure | None:
    playbook = os.path.join(root, "playbooks", f"{name}.yml")
    plays = [play for play in _load(playbook) or [] if isinstance(play, dict)]
    header = next((h for play in plays if isinstance(h := (play.get("vars") or {}).get("mend_procedure"), dict)), None)
    if header is None:
        return None
    risk = str(header.get("risk"))
    if risk not in RISKS:
        raise MendError(f"{playbook}: mend_procedure.risk is {risk!r}, not one of {', '.join(RISKS)}")
    return Procedure(
        name=name,
        root=root,
        title=str(plays[0].get("name", name)),
        risk=risk,
        summary=str(header.get("summary", "")),
        runbooks=tuple(str(number) for number in header.get("runbooks", ())),
        repeats=bool(header.get("repeats", False)),
        roles=tuple(_role(entry) for play in plays for entry in play.get("roles") or ()),
        header=header,
    )


def _role(entry: Any) -> tuple[str, str]:
    if isinstance(entry, str):
        return entry, "main"
    return str(entry.get("role") or entry.get("name")), str(entry.get("tasks_from", "main")).removesuffix(".yml")


def _entry_point(root: str, role: str, entry: str) -> dict[str, Any]:
    path = os.path.join(root, "roles", role, "meta", "argument_specs.yml")
    if not os.path.isfile(path):
        return {}
    return dict(((_load(path) or {}).get("argument_specs") or {}).get(entry) or {})


def _referenced(text: str) -> set[str]:
    from jinja2 import Environment, TemplateSyntaxError, meta

    try:
        # only parsed, never rendered
        return meta.find_undeclared_variables(Environment().parse(text))  # noqa: S701
    except TemplateSyntaxError:
        return set()
