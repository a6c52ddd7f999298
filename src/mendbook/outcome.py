# SPDX-License-Identifier: MIT
"""What a run ended with: one word and one exit code, and for each host what was planned, done and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mendbook import errors
from mendbook.records import Plan

# A host that the plays match, and that the run ended before; it decides nothing, and is no success.
NOT_BEGUN = "not begun"

# The worst first: what decides when several targets end differently.
WORST_FIRST = (70, 5, 3, 75, 6, 4, 2, 7)

CODE_OF_REASON: Mapping[str | None, int] = {
    "refused": 6,
    "drift": 6,
    "nothing": 7,
    "locked": 75,
    "verify": 5,
    "partial": 3,
    "unknown": 70,
    None: 2,
}

WORD_OF_CODE: Mapping[int, str] = {
    2: "failed",
    3: "partial",
    4: "unreachable",
    5: "verify failed",
    6: "refused",
    7: "nothing matched",
    70: "UNKNOWN",
    75: "locked",
}

_ERROR_OF_CODE: Mapping[int, type[errors.MendError]] = {
    2: errors.Failed,
    3: errors.Partial,
    4: errors.Unreachable,
    5: errors.VerifyFailed,
    6: errors.Refused,
    7: errors.NothingMatched,
    70: errors.StateUnknown,
    75: errors.Locked,
}


@dataclass(frozen=True)
class HostResult:
    """The deciding step on one host: the one that failed, else the last that planned, else the last.

    ``done`` and ``skipped`` are the module's own entries, ``figures`` carry their units in their names, ``reason`` and
    ``rule`` say why a guard refused; ``facts`` is what a reading module answered.
    """

    host: str
    word: str
    exit_code: int = 0
    changed: bool = False
    module: str | None = None
    plan: Plan | None = None
    done: tuple[Mapping[str, Any], ...] = ()
    skipped: tuple[Mapping[str, Any], ...] = ()
    read_back: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    msg: str | None = None
    reason: str | None = None
    rule: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    diff: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The end of one run. ``journal`` is where the record is, if something was changed or refused."""

    procedure: str
    run: str
    check: bool
    word: str
    exit_code: int
    hosts: Mapping[str, HostResult]
    seconds: float
    journal: Path
    msg: str | None = None

    @property
    def changed(self) -> bool:
        """Whether anything was changed, or in check mode would be."""
        return any(host.changed for host in self.hosts.values())

    def raise_if_failed(self) -> Outcome:
        """Return self, or raise the error that belongs to the exit code, with this outcome in it."""
        if self.exit_code == 0:
            return self
        worst = [host for host in self.hosts.values() if host.exit_code == self.exit_code]
        said = [f"{host.host}: {host.msg or host.word}" for host in worst] or [self.msg or self.word]
        raise _ERROR_OF_CODE.get(self.exit_code, errors.Failed)("; ".join(said), outcome=self)


def worst(codes: list[int]) -> int:
    """The exit code that decides: 70, 5, 3, 75, 6, 4, 2, 7 in this order, 0 when all are 0."""
    failed = [code for code in codes if code]
    return min(failed, key=lambda code: WORST_FIRST.index(code) if code in WORST_FIRST else -1, default=0)
