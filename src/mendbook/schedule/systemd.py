# SPDX-License-Identifier: MIT
"""A job as a systemd service and its timer, quoted by systemd's own rules (systemd.service(5), systemd.syntax(7))."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mendbook.errors import UsageError
from mendbook.schedule.files import File, marked
from mendbook.schedule.job import Job
from mendbook.schedule.night import Night
from mendbook.schedule.text import render

# mendbook stops its run at the time limit by itself, in order; systemd is there for the case that it does not
_GRACE_SECONDS = 120
_PLAIN = re.compile(r"[A-Za-z0-9_@:/=.,+-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# PrivateTmp= gives a unit folders of its own there
_UNSEEN = re.compile(r"(?:@|[a-z0-9_]+=)?(/(?:var/)?tmp/.*)", re.DOTALL)
_SECRET_FILE = re.compile(r"([a-z][a-z0-9_]*)=file:(/.+)", re.DOTALL)


@dataclass(frozen=True)
class Unit:
    """Where a unit runs.

    ``program`` are the words that start mendbook. ``account`` is None in a user's own manager, which allows less
    hardening. ``variables`` are set for the run; ``state`` is a state folder of one's own choice, ``writable`` are more
    folders that the run may write to.
    """

    program: tuple[str, ...]
    folder: Path
    account: str | None
    variables: Mapping[str, str] = field(default_factory=dict)
    state: str | None = None
    environment_file: Path | None = None
    on_failure: str | None = None
    writable: tuple[str, ...] = ()


def paths(unit: str, folder: Path) -> list[Path]:
    return [folder / f"{unit}.service", folder / f"{unit}.timer"]


def units(job: Job, where: Unit) -> list[File]:
    """The service and the timer."""
    if where.on_failure and not re.fullmatch(r"[A-Za-z0-9:_.\\@%-]+\.[a-z]+", where.on_failure):
        raise UsageError(f"{where.on_failure!r} is no name of a unit: write for example notify@%n.service")
    if where.account:
        _refuse_unseen([*where.program, *where.variables.values(), where.state or "", *job.arguments])
    arguments, loaded = credentials(job.arguments) if where.account else (job.arguments, {})
    words = [quoted(where.program[0], dollars=False), *map(quoted, where.program[1:])]
    words += [word if _loaded(word, loaded) else quoted(word) for word in arguments]
    state = where.state or state_folder(where.account)
    variables = dict(where.variables) | ({"MENDBOOK_STATE": state} if state else {})
    service = render(
        "service.j2",
        summary=_line(job.summary),
        command=" ".join(words),
        timeout_seconds=job.timeout_seconds + _GRACE_SECONDS,
        environment=[quoted(f"{name}={value}", dollars=False) for name, value in variables.items()],
        environment_file=_path(where.environment_file) if where.environment_file else None,
        credentials={name: _path(path) for name, path in loaded.items()},
        account=where.account,
        state_directory=Path(state).name if state and not where.state else None,
        writable=[quoted(path, dollars=False) for path in (where.state, *where.writable) if path],
        on_failure=where.on_failure,
    )
    timer = render("timer.j2", unit=job.unit, calendar=job.calendar, catches_up=job.catches_up)
    texts = zip(paths(job.unit, where.folder), (service, timer), strict=True)
    return [marked(path, text, job.asked) for path, text in texts]


def state_folder(account: str | None) -> str | None:
    """The state folder that systemd makes for a unit of this account; a user's own manager makes none."""
    if account is None:
        return None
    return "/var/lib/mendbook" + ("" if account == "root" else f"-{account}")


def hardened(night: Night, job: Job, where: Unit) -> Night:
    """The same run inside what service.j2 makes of the system: read-only, but for its state and what is named."""
    made = [] if where.state else [state_folder(where.account)]
    return replace(
        night,
        writable=tuple(path for path in (where.state, *made, *where.writable) if path),
        makes=tuple(filter(None, made)),
        credentials=frozenset(credentials(job.arguments)[1].values()),
        own_tmp=True,
    )


def quoted(text: str, dollars: bool = True) -> str:
    """One word of a unit file that systemd reads as just this text: no specifier, no variable, no second word.

    ``dollars``: a word of a command line, where ``$`` begins a variable; elsewhere it is a sign like others.
    """
    escaped = "".join(_ESCAPES.get(sign) or (f"\\x{ord(sign):02x}" if _CONTROL.match(sign) else sign) for sign in text)
    escaped = escaped.replace("%", "%%")
    if dollars:
        escaped = escaped.replace("$", "$$")
    return text if _PLAIN.fullmatch(text) else f'"{escaped}"'


def _refuse_unseen(words: list[str]) -> None:
    for word in words:
        if match := _UNSEEN.fullmatch(word):
            raise UsageError(f"{match[1]}: a unit has a /tmp of its own and would not find it; it must lie elsewhere")


def credentials(arguments: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Files of secrets as credentials: systemd reads them as root, and the run sees them and nothing else does."""
    found: dict[str, str] = {}
    words = []
    for before, word in zip(("", *arguments), arguments, strict=False):
        match = _SECRET_FILE.fullmatch(word) if before == "-e" else None
        if match:
            found[match[1]] = match[2]
            word = f"{match[1]}=file:%d/{match[1]}"
        words.append(word)
    return words, found


def _loaded(word: str, credentials: Mapping[str, str]) -> bool:
    """Whether this word names a credential; ``%d`` in it is meant as systemd's folder of credentials."""
    name = word.partition("=")[0]
    return name in credentials and word == f"{name}=file:%d/{name}"


def _path(path: str | Path) -> str:
    """A path that stands alone behind the equals sign, where systemd reads no quotes."""
    text = str(path)
    if text != text.strip() or not text.isprintable() or text.endswith("\\"):
        raise UsageError(f"{text!r} cannot stand in a unit file: give the file another name")
    return text.replace("%", "%%")


def _line(text: str) -> str:
    return " ".join(text.split()).replace("%", "%%")
