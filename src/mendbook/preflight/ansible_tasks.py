# SPDX-License-Identifier: MIT
"""For ``ansible_side``: what the tasks of a playbook would take from the control node, host by host, without a run.

Ansible itself loads the playbook and renders the arguments, so that roles' defaults, group_vars, ``-e`` and templates
count as they will in the run. Secrets are looked for where the gate looks: in options that a module marks no_log.
"""

from __future__ import annotations

import os
import re
import runpy
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from ansible.errors import AnsibleError  # type: ignore[import-untyped]
from ansible.playbook import Playbook  # type: ignore[import-untyped]
from ansible.plugins.action.validate_argument_spec import ArgumentSpecValidator  # type: ignore[import-untyped]
from ansible.plugins.loader import action_loader, module_loader  # type: ignore[import-untyped]
from ansible.template import Templar  # type: ignore[import-untyped]

_REFERENCE = re.compile(r"(?:env\??|file):.+", re.DOTALL)
_VALIDATES = re.compile(r"(?:ansible\.builtin\.)?validate_argument_spec")
_CLEANS = "mend_disk_reclaim"
_COPIES = re.compile(r"(?:ansible\.builtin\.)?(?:copy|template)")


class Tasks:
    """The tasks of the playbook; ``asked`` are variables to be told; the others are Ansible's."""

    def __init__(self, playbook: str, asked: Collection[str], inventory: Any, variables: Any, loader: Any) -> None:
        self._asked, self._variables, self._loader = asked, variables, loader
        self._tasks: dict[str, list[tuple[Any, Any]]] = {}
        self.hosts: list[Any] = []
        for play in Playbook.load(playbook, variable_manager=variables, loader=loader).get_plays():
            pattern = Templar(loader=loader, variables=variables.get_vars(play=play)).template(play.hosts)
            chosen = inventory.get_hosts(pattern)
            tasks = [(play, task) for block in play.compile() for task in _flat(block)]
            for host in chosen:
                self._tasks.setdefault(host.name, []).extend(tasks)
            self.hosts += [host for host in chosen if host not in self.hosts]

    def target(self, host: Any) -> dict[str, Any]:
        """What is told of a host beside its name and groups: ``Target`` has the words for each."""
        told: dict[str, Any] = {}
        references: dict[str, None] = {}
        writes: dict[str, None] = {}
        wrong: dict[str, None] = {}
        for play, task in self._tasks[host.name]:
            try:
                values = self._variables.get_vars(play=play, host=host, task=task)
                templar = Templar(loader=self._loader, variables=values)
                told |= templar.template({name: values[name] for name in self._asked if values.get(name) is not None})
                named, empty = _secrets(task, templar)
                references |= dict.fromkeys(named)
                writes |= dict.fromkeys(_writes(task, templar, values))
                wrong |= dict.fromkeys([*_wrong(task, templar, values), *empty])
            except AnsibleError as error:
                wrong[str(error)] = None
        groups = sorted(group.name for group in host.get_groups())
        known = {"host": host.name, "groups": groups, "values": told}
        return known | _lists(references=references, writes=writes, wrong=wrong)


def _lists(**found: Mapping[str, None]) -> dict[str, list[str]]:
    return {name: list(each) for name, each in found.items()}


def _flat(block: Any) -> Iterator[Any]:
    for each in (*block.block, *block.rescue, *block.always):
        yield from _flat(each) if hasattr(each, "block") else (each,)


def _secrets(task: Any, templar: Any) -> tuple[list[str], list[str]]:
    """The references to secrets in a module's options, and words for what it needs and does not get."""
    if not task.action.startswith("mend_"):
        return [], []
    spec = {name: entry for name, entry in _argument_spec(task.action).items() if entry.get("no_log")}
    # as a dict, in which Ansible leaves out what is omitted
    given = templar.template({name: task.args[name] for name in spec if name in task.args})
    texts = [text for value in given.values() for text in (value if isinstance(value, list) else [value])]
    references = [str(text) for text in texts if isinstance(text, str) and _REFERENCE.fullmatch(text)]
    needed = [name for name, entry in spec.items() if entry.get("required")]
    return references, [f"{task.action}: its {name} is empty" for name in needed if given.get(name, "") == ""]


def _writes(task: Any, templar: Any, values: Mapping[str, Any]) -> Iterator[str]:
    """What is written on this machine by tasks whose host it is: files, and folders with a dot at their end."""
    if templar.template(values.get("ansible_connection", "")) not in ("local", "ansible.builtin.local"):
        return
    if _COPIES.fullmatch(task.action) and (path := str(templar.template(task.args.get("dest", "")))):
        yield path
    # by sudo more may be written than can be asked for here
    if task.action == _CLEANS and os.geteuid() == 0:
        rules, backups = (templar.template(task.args[name]) for name in ("rules", "backups"))
        for rule in [*rules, *backups]:
            if os.path.isdir(rule["root"]):
                yield os.path.join(rule["root"], ".")


def _wrong(task: Any, templar: Any, values: Mapping[str, Any]) -> list[str]:
    """What the role's own specification says of its variables, as at the beginning of a run."""
    if not _VALIDATES.fullmatch(task.action):
        return []
    spec = task.args["argument_spec"]
    given = templar.template({name: values[name] for name in spec if name in values})
    given |= templar.template(task.args.get("provided_arguments") or {})
    return list(ArgumentSpecValidator(spec).validate(given, validate_role_argument_spec=True).error_messages)


@cache
def _argument_spec(action: str) -> Mapping[str, Any]:
    # the gate shows Python where the modules' own imports are
    action_loader.get("mend", class_only=True)
    found = module_loader.find_plugin_with_context(action)
    # not run as __main__, so nothing but its definitions is executed
    return dict(runpy.run_path(found.plugin_resolved_path)["ARGUMENT_SPEC"])
