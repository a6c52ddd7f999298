# SPDX-License-Identifier: MIT
"""What a host has answered, as facts: pure, and without a control character."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from mendbook.results import plain

# An answer has about 2 kB; a host that goes on talking is not listened to.
MAX_ANSWER_BYTES = 200_000
_PROMPT = re.compile(r"\[sudo via ansible, key=\w+\] password:\s*|BECOME-SUCCESS-\w+")
_DRIVER_WORDS = 3


@dataclass(frozen=True)
class Space:
    """One file system, in bytes or in inodes."""

    mount: str
    total: int
    available: int


@dataclass(frozen=True)
class Clock:
    """How far a clock is ahead of the one here; the truth lies within ``uncertainty_seconds`` of ``offset_seconds``."""

    offset_seconds: float
    uncertainty_seconds: float


@dataclass
class Facts:
    """Numbers are -1 and texts empty where the host did not say.

    ``python_said`` and ``become_said`` are the words of a program that failed. ``drivers`` maps a library to
    (found | missing | broken, its version or the error). ``complete``: the script came to its end.
    """

    began: bool = False
    complete: bool = False
    uid: int = -1
    user: str = ""
    groups: tuple[str, ...] = ()
    os: tuple[str, ...] = ()
    clock: Clock | None = None
    remote_tmp: str = ""
    python_path: str = ""
    python: tuple[int, ...] = ()
    python_exit: int = -1
    python_said: str = ""
    no_standard: tuple[str, ...] = ()
    drivers: dict[str, tuple[str, str]] = field(default_factory=dict)
    become_exit: int | None = None
    become_said: str = ""
    inside_uid: int = -1
    space: dict[str, Space] = field(default_factory=dict)
    inodes: dict[str, Space] = field(default_factory=dict)
    not_writable: tuple[str, ...] = ()
    root_read_only: bool = False
    noise: str = ""


def clock(rounds: Iterable[tuple[float, float, str]]) -> Clock | None:
    """The best of several looks: (sent, received, what date printed), in seconds since 1970 by the clock here."""
    looks = []
    for sent, received, said in rounds:
        found = re.fullmatch(r"(\d{1,12})(?:\.(\d{1,9}))?\D*", said.strip(), re.ASCII)
        if not found:
            continue
        # some dates know no fraction: then the truth is anywhere in the second that was printed
        unknown = 0.0 if found[2] else 0.5
        theirs = float(f"{found[1]}.{found[2] or '5'}")
        looks.append(Clock(theirs - (sent + received) / 2, (received - sent) / 2 + unknown))
    return min(looks, key=lambda look: look.uncertainty_seconds, default=None)


def read(answer: str) -> Facts:
    """The facts in the script's answer, as far as it came."""
    facts, words = Facts(), _Words()
    for line in answer.splitlines():
        if not line.startswith("@@"):
            words.hear(_PROMPT.sub("", plain(line)).strip())
            continue
        name, _, value = line[2:].partition("\t")
        _take(facts, name, plain(value).strip(), words)
    facts.noise = "" if facts.began else words.said()
    return facts


class _Words:
    """What was said between two facts: the first and the last line, one of which holds the error."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def hear(self, line: str) -> None:
        self._lines += [line] if line else []

    def said(self) -> str:
        lines, self._lines = self._lines, []
        return " ".join(dict.fromkeys([*lines[:1], *lines[-1:]]))[:300]


def _take(facts: Facts, name: str, value: str, words: _Words) -> None:
    match name:
        case "begin":
            facts.began = True
            words.said()
        case "uid":
            facts.uid = _int(value)
        case "user":
            facts.user = value
        case "groups":
            facts.groups = tuple(value.split())
        case "os":
            facts.os = tuple(value.lower().split())
        case "remote-tmp":
            facts.remote_tmp = value
        case "python-path":
            facts.python_path = value
        case "become-begin":
            words.said()
        case "become-end":
            facts.become_exit, facts.become_said = _int(value), words.said()
        case "inside":
            facts.inside_uid = _int(value)
            words.said()
        case "python":
            facts.python = tuple(_int(part) for part in value.split("."))
        case "no-standard":
            facts.no_standard += (value,)
        case "driver":
            library, state, text = (*value.split(" ", _DRIVER_WORDS - 1), "", "")[:_DRIVER_WORDS]
            facts.drivers[library] = (state, text)
        case "python-end":
            facts.python_exit, facts.python_said = _int(value), words.said()
        case "space":
            _measure(facts.space, value, 1024)
        case "inodes":
            _measure(facts.inodes, value, 1)
        case "not-writable":
            facts.not_writable += (value,)
        case "root":
            facts.root_read_only = "ro" in value.split(",")
        case "end":
            facts.complete = True


def _measure(known: dict[str, Space], line: str, unit: int) -> None:
    """``device total used available 7% /mount``, as df -P says it; one without such numbers has ``-`` or 0."""
    found = re.fullmatch(r".*?\s(\d{1,18})\s+\d+\s+(\d{1,18})\s+\S+\s+(/.*)", line)
    if found and int(found[1]):
        known[found[3]] = Space(found[3], int(found[1]) * unit, int(found[2]) * unit)


def _int(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,10}", text, re.ASCII) else -1
