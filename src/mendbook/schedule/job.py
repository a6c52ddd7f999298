# SPDX-License-Identifier: MIT
"""What a timer runs: one command line of mendbook that works without anybody's shell, or a refusal that says why."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mendbook import content, runs
from mendbook import variables as declared
from mendbook.content import Procedure
from mendbook.errors import InvalidInventory, InvalidVariable, Refused, UsageError

DRILL = "drill:"
# A drill of a procedure whose playbook does not say another time: at night, when the day's backup is there.
_DRILL_CALENDAR = "*-*-* 04:00:00 UTC"


@dataclass(frozen=True)
class Order:
    """What a run of a procedure is made of, to be looked at before: ``variables`` are those of all ``-e``."""

    procedure: Procedure
    sources: tuple[str, ...]
    limit: str | None
    variables: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """One command line with its time.

    ``unit`` is the name of its files, ``arguments`` follow the program, ``calendar`` is a systemd calendar expression.
    ``catches_up``: what was missed while the machine was off is done when it is on again. ``timeout_seconds`` is when
    it has to be over. ``asked`` are the words that made it, for the head of its files.

    What can be known of its run here: its ``order``, and of a drill the ``references`` to secrets in its options
    (``env:NAME``, ``file:/path``) and the files that it ``writes``.
    """

    unit: str
    summary: str
    arguments: tuple[str, ...]
    calendar: str
    catches_up: bool
    timeout_seconds: int
    asked: str
    order: Order | None = None
    references: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def unit_name(name: str, label: str | None) -> str:
    """``mendbook-backup_mongo``, or ``mendbook-backup_mongo-orders`` with a label; also right for /etc/cron.d."""
    if label is not None and not re.fullmatch(r"[a-z0-9]([a-z0-9_-]{0,28}[a-z0-9])?", label):
        raise UsageError(f"the label {label!r} is not 1 to 30 of a-z, 0-9, - and _, with a letter or digit at its ends")
    return "-".join(["mendbook", name.replace(":", "-"), *([label] if label else [])])


def of_procedure(
    name: str,
    *,
    inventory: Sequence[str],
    words: Iterable[str],
    confirm: str | None,
    limit: str | None,
    calendar: str | None,
    timeout_seconds: int,
    label: str | None,
    here: bool,
) -> Job:
    """``mendbook run NAME`` with everything that ``run`` would refuse refused now.

    ``here`` is False for a job that runs in a container: its paths are not those of this machine.
    """
    procedure = content.procedure(name)
    words = tuple(_settled(word, procedure, here) for word in words)
    sources = runs.inventory_sources(inventory) if here else _contained(inventory)
    limit = runs.checked_limit(limit)
    variables = _variables((word for word in words if here or not word.startswith("@")), procedure, confirm)
    if not here:
        refuse_unconfirmed(procedure, variables)
    arguments = ["run", name]
    arguments += [part for source in sources for part in ("-i", source)]
    arguments += [part for word in words for part in ("-e", word)]
    arguments += ["--confirm", confirm] if confirm is not None else []
    arguments += ["--limit", limit] if limit is not None else []
    hours, rest = divmod(timeout_seconds, 3600)
    arguments += ["--timeout", f"{timeout_seconds}s" if rest else f"{hours}h"]
    return Job(
        unit=unit_name(name, label),
        summary=procedure.summary,
        arguments=tuple(arguments),
        calendar=calendar or _usual(procedure),
        # what was missed is not destroyed at a time of day that nobody has chosen
        catches_up=procedure.risk != "destroys",
        timeout_seconds=timeout_seconds,
        asked=f"mendbook schedule {name}",
        order=Order(procedure, sources, limit, variables) if here else None,
    )


def of_drill(
    name: str, *, options: Sequence[str], calendar: str | None, timeout_seconds: int, label: str | None
) -> Job:
    """``mendbook drill NAME`` with its own options, read by the drill's own command."""
    from mendbook.drills import NAMES

    drilled = name.removeprefix(DRILL)
    if drilled not in NAMES:
        there = "there are drills of " + ", ".join(NAMES)
        raise UsageError(f"there is no drill of {drilled!r}" + content.did_you_mean(drilled, list(NAMES), there))
    params = _read_options(drilled, options)
    strings = [value for value in params.values() if isinstance(value, str)]
    playbook = next((each for each in content.procedures() if each.name == f"drill_{drilled}"), None)
    return Job(
        unit=unit_name(name, label),
        summary=f"Drill of {drilled}",
        arguments=("drill", drilled, *options),
        calendar=calendar or (playbook and playbook.header.get("on_calendar")) or _DRILL_CALENDAR,
        catches_up=True,
        timeout_seconds=timeout_seconds,
        asked=f"mendbook schedule {name}",
        references=tuple(value for value in strings if declared.REFERENCE.match(value)),
        writes=tuple(str(value) for value in params.values() if isinstance(value, Path)),
    )


def _read_options(drilled: str, options: Sequence[str]) -> dict[str, Any]:
    """The options of a drill as its own command reads and checks them, and as a timer can use them."""
    from mendbook.commands import drill

    # without --help, which would be shown now, and at every run
    params = drill.command.make_context("mendbook drill", [drilled, *options], help_option_names=[]).params
    for option, value in params.items():
        if declared.is_secret(option, value, None):
            raise InvalidVariable(
                f"{option} is a secret and would stand in a file for all; give env:NAME or file:/path"
            )
    if params["history"]:
        raise UsageError("--history only shows the drills before, and nobody looks at night: leave it out")
    drill.check(params)
    for option, value in params.items():
        given = str(value or "")
        is_path = isinstance(value, Path) or option == "s3_ca_file" or given.startswith("file:")
        if given and is_path and not os.path.isabs(given.removeprefix("file:")):
            flag = f"--{option.replace('_', '-')} {given}"
            raise UsageError(f"{flag}: a timer starts in another folder: give an absolute path")
    return params


def _variables(words: Iterable[str], procedure: Procedure, confirm: str | None) -> dict[str, Any]:
    given = declared.from_words(words, procedure)
    return declared.check({**given, **runs.confirmation(procedure, confirm)}, procedure)


def _usual(procedure: Procedure) -> str:
    calendar = procedure.header.get("on_calendar")
    if calendar is None:
        raise UsageError(
            f"{procedure.name} has no usual time: give --on-calendar, for example --on-calendar '*-*-* 02:00:00 UTC'"
        )
    return str(calendar)


def _settled(word: str, procedure: Procedure, here: bool) -> str:
    """A word of ``-e``, checked as ``run`` would, with the paths of this folder made absolute."""
    if word.startswith("@"):
        if not here:
            return "@" + _absolute(word[1:])
        declared.check(declared.from_words([word], procedure), procedure)
        return f"@{Path(word[1:]).expanduser().absolute()}"
    given = declared.from_words([word], procedure)
    checked = declared.check(given, procedure)
    if not here or checked == given:
        return word
    ((name, value),) = checked.items()
    return f"{name}={value if isinstance(value, str) else json.dumps(value)}"


def _contained(inventory: Sequence[str]) -> tuple[str, ...]:
    if not inventory:
        raise InvalidInventory("no inventory is given: the path that it has inside the container")
    return tuple(source if "," in source else _absolute(source) for source in inventory)


def _absolute(path: str) -> str:
    if not os.path.isabs(path):
        raise InvalidVariable(f"{path} is a path inside the container and must begin with /")
    return path


def confirming(procedure: Procedure) -> tuple[str, ...]:
    """The variables that decide whether a run of this procedure is refused for want of a confirmation."""
    return (*_confirms(procedure), *_harmless(procedure)) if procedure.risk == "destroys" else ()


def refuse_unconfirmed(procedure: Procedure, given: Mapping[str, Any]) -> None:
    """Refused when the procedure destroys and these values neither confirm that nor leave nothing to be confirmed."""
    names, harmless = _confirms(procedure), _harmless(procedure)
    if procedure.risk != "destroys" or not names or any(given.get(name) for name in names):
        return
    options = procedure.options
    # null stands for a variable that is not given
    usual = {name: options[name].spec.get("default") if value is None else value for name, value in harmless.items()}
    if harmless and all(given.get(name) in (value, harmless[name]) for name, value in usual.items()):
        return
    unless = [f"without {name}" if value is None else f"with {name}={value}" for name, value in harmless.items()]
    raise Refused(
        f"{procedure.name} destroys, and nobody is there at night to confirm it: every run would be refused. Give "
        "--confirm TARGET as the plan prints it (mendbook run ... --check): then it destroys without anybody looking"
        + (f". It needs none only {' and '.join(unless)}" if harmless else "")
    )


def _confirms(procedure: Procedure) -> tuple[str, ...]:
    return tuple(name for role, _ in procedure.roles if (name := f"{role}_confirm") in procedure.options)


def _harmless(procedure: Procedure) -> dict[str, Any]:
    return dict(procedure.header.get("unconfirmed") or {})
