# SPDX-License-Identifier: MIT
"""One thing that is not as it should be, with one line of advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The worst first. A warning and what was not checked do not change the exit code.
LEVELS = ("unreachable", "problem", "warning", "not checked")
_CODES = {"unreachable": 4, "problem": 2}


@dataclass(frozen=True)
class Finding:
    """``check`` is what was looked at (dns, tcp, host_key, login, become, python, driver, clock, space, ...)."""

    level: str
    check: str
    text: str
    advice: str = ""


def worst(findings: Sequence[Finding]) -> int:
    """The place of the worst level in LEVELS, behind all of them when there is nothing."""
    return min((LEVELS.index(finding.level) for finding in findings), default=len(LEVELS))


def exit_code(findings: Sequence[Finding]) -> int:
    """4 when something is unreachable, 2 for another problem, 0 else."""
    return max((_CODES.get(finding.level, 0) for finding in findings), default=0)
