# SPDX-License-Identifier: MIT
"""What was found, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

from mendbook.preflight import finding, judge_host
from mendbook.preflight.facts import Facts, Space
from mendbook.preflight.fleet import Seen

SCHEMA = 1
# wide enough for a line of advice where no terminal says how wide it is
_WIDTH = 160
_STYLES = {"unreachable": "bold red", "problem": "red", "warning": "yellow", "not checked": "dim"}


def worst_first(seen: Sequence[Seen]) -> list[Seen]:
    """The hosts with the worst findings first, and each kind in the order of the inventory."""
    return sorted(seen, key=lambda each: finding.worst(each.findings))


def exit_code(seen: Sequence[Seen]) -> int:
    """4 when a host or an endpoint is unreachable, 2 for another problem, 0 else."""
    return max(finding.exit_code(each.findings) for each in seen)


def spread(seen: Sequence[Seen]) -> tuple[float, float] | None:
    """Between the clocks of the hosts, with its uncertainty, in seconds."""
    return judge_host.spread({each.target.host: each.facts.clock for each in seen if each.facts and each.facts.clock})


def as_json(seen: Sequence[Seen], seconds: float) -> dict[str, Any]:
    """The record of schema 1."""
    clocks = spread(seen)
    return {
        "schema": SCHEMA,
        "hosts": [_host(each) for each in worst_first(seen)],
        "clock_spread": clocks and {"seconds": round(clocks[0], 4), "uncertainty_seconds": round(clocks[1], 4)},
        "seconds": round(seconds, 2),
        "exit_code": exit_code(seen),
    }


def draw(seen: Sequence[Seen], seconds: float, out: TextIO) -> None:
    """The table: a row for each finding, its advice below it; then what is fine, and the clocks."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=out, width=None if out.isatty() else _WIDTH, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("host", "", "what, and what to do"):
        table.add_column(name, overflow="fold", no_wrap=False)
    troubled = [each for each in worst_first(seen) if each.findings]
    for each in troubled:
        name = each.target.host
        for found in each.findings:
            what = Text(f"{found.check}: {found.text}")
            if found.advice:
                what.append(f"\n  {found.advice}", style="dim")
            table.add_row(Text(name), Text(found.level, style=_STYLES[found.level]), what)
            name = ""
    if troubled:
        console.print(table)
    levels = [finding.worst(each.findings) for each in seen]
    partly, wholly = (levels.count(level) for level in (finding.LEVELS.index("not checked"), len(finding.LEVELS)))
    said = f", {partly} of them as far as they were checked" if partly else ""
    console.print(f"{partly + wholly} of {len(seen)} hosts are fine{said}; looked at in {seconds:.1f} s")
    if clocks := spread(seen):
        console.print(f"clocks: {judge_host.span(clocks[0])} apart, give or take {judge_host.span(clocks[1])}")


def _host(seen: Seen) -> dict[str, Any]:
    target = seen.target
    return {
        "host": target.host,
        "groups": list(target.groups),
        "connection": target.connection,
        "address": target.address or None,
        "word": seen.findings[0].level if seen.findings else "fine",
        "findings": [asdict(each) for each in seen.findings],
        "facts": seen.facts and _facts(seen.facts),
        "seconds": round(seen.seconds, 2),
    }


def _facts(facts: Facts) -> dict[str, Any]:
    return {
        "user": facts.user or None,
        "uid": facts.uid if facts.uid >= 0 else None,
        "runs_as_uid": facts.inside_uid if facts.inside_uid >= 0 else None,
        "python": {"path": facts.python_path, "version": ".".join(map(str, facts.python)) or None},
        "drivers": {name: {"state": state, "version": text} for name, (state, text) in facts.drivers.items()},
        "clock": facts.clock
        and {
            "offset_seconds": round(facts.clock.offset_seconds, 4),
            "uncertainty_seconds": round(facts.clock.uncertainty_seconds, 4),
        },
        "space_bytes": {name: _space(space) for name, space in facts.space.items()},
        "inodes": {name: _space(space) for name, space in facts.inodes.items()},
        "not_writable": list(facts.not_writable),
        "root_read_only": facts.root_read_only,
    }


def _space(space: Space) -> dict[str, Any]:
    return {"total": space.total, "available": space.available}
