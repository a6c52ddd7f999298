# SPDX-License-Identifier: MIT
"""The inventory as Ansible reads it: a process of its own with the environment and settings of a run."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import msgspec

from mendbook import content, environment, variables
from mendbook.engine import private_folder
from mendbook.errors import InvalidInventory, NothingMatched, TimedOut
from mendbook.inventory_words import unreadable
from mendbook.preflight.reach import Deadline
from mendbook.preflight.target import Target
from mendbook.results import plain

_PROGRAM = Path(__file__).with_name("ansible_side.py")
_READ_SECONDS = 120
_NOTHING = 7


class AnsibleSide:
    """The process; ``targets`` are the hosts that it has told, and ``ask`` runs a command behind a plugin."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process, self._errors = process, errors
        self._lines: Queue[dict[str, Any] | None] = Queue()
        self._answers: dict[str, Queue[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()
        self.targets: list[Target] = []

    def begin(self, request: Mapping[str, Any]) -> None:
        """Send the request and take in every host of the answer."""
        self._send(request)
        deadline = Deadline.after(_READ_SECONDS)
        while True:
            try:
                line = self._lines.get(timeout=deadline.left())
            except Empty:
                raise TimedOut(f"the inventory was not read within {_READ_SECONDS} s") from None
            if line is None:
                self._explain()
            elif "told" in line:
                break
            else:
                self.targets.append(msgspec.convert(line, Target))
        self._answers |= {target.host: Queue() for target in self.targets}

    def ask(self, host: str, command: str, stdin: str, deadline: Deadline) -> dict[str, Any]:
        """The answer of ansible_side for this host; TimeoutError when the deadline is over."""
        self._send({"host": host, "command": command, "stdin": stdin})
        try:
            return self._answers[host].get(timeout=deadline.left())
        except Empty:
            raise TimeoutError from None

    def _send(self, line: Mapping[str, Any]) -> None:
        assert self._process.stdin  # noqa: S101 - a pipe
        # one that has ended says why by its end
        with self._lock, contextlib.suppress(BrokenPipeError):
            print(json.dumps(line), file=self._process.stdin, flush=True)

    def _listen(self) -> None:
        assert self._process.stdout  # noqa: S101 - a pipe
        for text in self._process.stdout:
            line = json.loads(text)
            queue = self._answers.get(line.get("host", ""))
            (queue or self._lines).put(line)
        self._lines.put(None)

    def _explain(self) -> None:
        if self._process.wait() == _NOTHING:
            raise NothingMatched("no host of the inventory matched; see: ansible-inventory -i INVENTORY --graph")
        raise InvalidInventory(unreadable(plain(self._errors.read_text(encoding="utf-8", errors="replace")).strip()))


@dataclass(frozen=True)
class Timer:
    """A run of another time: its ``variables``, ``environment`` and ``account``; None is who we are ourselves.

    ``asked`` are the variables whose values are wanted.
    """

    variables: Mapping[str, Any]
    environment: Mapping[str, str]
    account: pwd.struct_passwd | None
    asked: tuple[str, ...] = ()


@contextlib.contextmanager
def read(
    sources: Sequence[str], limit: str | None, procedure: content.Procedure | None, timer: Timer | None = None
) -> Iterator[AnsibleSide]:
    """The hosts of an inventory; with a procedure those of its plays. The process ends with the context.

    With a ``timer`` they are those of its run, and each tells what the procedure's tasks would take from this machine.
    """
    request: dict[str, Any] = {
        "inventory": list(sources),
        "limit": limit,
        "hosts": [] if procedure is None else plays_hosts(procedure),
        "become": {} if procedure is None else _becomes(procedure),
        "playbook": procedure.playbook if procedure is not None and timer else None,
        "variables": None,
        "asked": timer.asked if timer else (),
    }
    root = content.content_root()
    account = timer.account if timer else None
    who = {} if account is None else owned_by(account)
    with private_folder() as folder:
        errors = folder / "errors"
        if timer:
            request["variables"] = str(folder / "variables.json")
            variables.write(timer.variables, folder / "variables.json")
        if account is not None:
            for path in (folder, *folder.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
        own = {"ANSIBLE_LOCAL_TEMP": str(folder / "tmp")}
        with (
            errors.open("wb") as err,
            subprocess.Popen(  # noqa: S603 - this package's own program
                [sys.executable, "-P", str(_PROGRAM)],
                env=environment.for_run({}, root, own, timer.environment if timer else None),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                cwd=root,
                **who,
            ) as process,
        ):
            try:
                side = AnsibleSide(process, errors)
                side.begin(request)
                yield side
            finally:
                process.kill()


def owned_by(account: pwd.struct_passwd) -> dict[str, Any]:
    """The words with which subprocess starts a program as this account."""
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def plays_hosts(procedure: content.Procedure) -> list[str]:
    """The ``hosts`` of its plays, as they are written."""
    import yaml

    with open(procedure.playbook, "rb") as file:
        plays = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    return [str(play["hosts"]) for play in plays if "hosts" in play]


def with_engines(targets: Sequence[Target], modules: Sequence[str]) -> list[Target]:
    """The same hosts with the engines (mongo, postgres, redis, s3) whose modules run for them.

    Those of the procedure's modules, else those that a group of the host is named after (mongo, mongo_scratch).
    """

    def engines(names: Sequence[str]) -> tuple[str, ...]:
        found = [re.match(r"(?:mend_)?(mongo|postgres|redis|s3)(?:_|$)", name) for name in names]
        return tuple(sorted({match[1] for match in found if match}))

    return [msgspec.structs.replace(target, engines=engines(modules or target.groups)) for target in targets]


def modules_of(procedure: content.Procedure) -> tuple[str, ...]:
    """The mend_* modules in the tasks of its roles."""
    found = set()
    for role, entry in procedure.roles:
        tasks = os.path.join(procedure.root, "roles", role, "tasks", f"{entry}.yml")
        with open(tasks, encoding="utf-8") as file:
            found |= set(re.findall(r"^\s+(mend_\w+):\s*$", file.read(), re.MULTILINE))
    return tuple(sorted(found))


def _becomes(procedure: content.Procedure) -> dict[str, Any]:
    """The variables by which its roles decide whether they become another user, with their defaults."""
    options = procedure.options.items()
    return {name: option.spec.get("default") for name, option in options if name.endswith("_become")}
