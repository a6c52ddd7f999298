# SPDX-License-Identifier: MIT
"""A drill, and the drills before it, for people: text, a table with bars on a terminal, Markdown for CI. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mendbook.drills.record import DrillRecord
from mendbook.report import duration, size
from mendbook.results import plain

if TYPE_CHECKING:
    from rich.console import RenderableType

_WORDS = {"passed": "passed", "missed": "MISSED its objectives", "failed": "FAILED"}
_COLUMNS = ("started", "result", "RTO", "RPO", "size", "documents", "backup")


def phase_line(name: str, seconds: float, found: str) -> str:
    """One line about a phase that has ended."""
    return f"  {name:10} {duration(seconds):>8}  {plain(found)}"


def headline(record: DrillRecord, seconds: float, current: str) -> str:
    """What came of it, in one line; ``current`` is the phase in which a failed one stopped."""
    where = f" in the phase {current!r} after" if record.result == "failed" else " in"
    return f"drill of {record.drill}: {_WORDS[record.result]}{where} {duration(seconds)}"


def span(seconds: float) -> str:
    """A round span without its zero: 4 h, 1 d."""
    # people say 24 h for the objective of a day
    if seconds % 3600 == 0 and seconds <= 2 * 86400:
        return f"{seconds / 3600:g} h"
    return duration(seconds).removesuffix(" 0 s").removesuffix(" 0 min").removesuffix(" 0 h")


def figures(record: DrillRecord) -> list[tuple[str, str, str, str]]:
    """(RTO or RPO, measured, objective, met or missed) with what it means, where anything was measured."""
    found = []
    for name, value, objective in (
        ("RTO", record.rto_seconds, record.objectives.rto_seconds),
        ("RPO", record.rpo_seconds, record.objectives.rpo_seconds),
    ):
        word = "not known" if value is None else "met" if value <= objective else "missed"
        found.append((name, "unknown" if value is None else duration(value), span(objective), word))
    return found


def summary(record: DrillRecord) -> Iterator[str]:
    """Lines under the headline: the figures against their objectives, and what is to be known beside them."""
    for name, measured, objective, word in figures(record):
        yield f"  {name}        {measured:>8}  {word}: the objective is {objective}"
    for note in record.notes:
        yield f"  note       {plain(note)}"


def timeline(record: DrillRecord) -> RenderableType:
    """Each phase as a bar at its place in the whole, for a terminal."""
    from rich.bar import Bar
    from rich.table import Table

    total = sum(phase.seconds for phase in record.phases) or 1.0
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("phase", "time", "share"):
        table.add_column(name, justify="right" if name == "time" else "left")
    began = 0.0
    for phase in record.phases:
        table.add_row(
            phase.name, duration(phase.seconds), Bar(total, began, began + phase.seconds, width=50, color="cyan")
        )
        began += phase.seconds
    return table


def markdown(record: DrillRecord, seconds: float, current: str) -> str:
    """A summary for the page of a CI job."""
    lines = [f"### {_cell(headline(record, seconds, current))}", "", _cell(record.subject), ""]
    if record.error:
        lines += [f"> {_cell(record.error)}", ""]
    lines += _table(("", "measured", "objective", ""), figures(record))
    if record.phases:
        rows = [(phase.name, duration(phase.seconds), phase.found) for phase in record.phases]
        lines += ["", *_table(("phase", "time", "found"), rows)]
    lines += ["", *(f"- {_cell(note)}" for note in record.notes)]
    return "\n".join(lines).rstrip() + "\n\n"


def rows(records: Sequence[DrillRecord]) -> list[tuple[str, ...]]:
    """One row of text for each drill, in the columns of `_COLUMNS`."""
    return [
        (
            record.started[:16].replace("T", " "),
            record.result,
            "unknown" if record.rto_seconds is None else duration(record.rto_seconds),
            "unknown" if record.rpo_seconds is None else duration(record.rpo_seconds),
            "" if record.bytes is None else size(record.bytes),
            "" if record.documents is None else f"{record.documents:,}",
            plain(_drilled(record)),
        )
        for record in records
    ]


def _drilled(record: DrillRecord) -> str:
    """The backup; of a shop that was made on the spot its bucket is gone, and would pass for one's own."""
    made = record.subject and not record.subject.startswith("s3://")
    return record.subject if made or not record.backup else f"s3://{record.backup.bucket}/{record.backup.key}"


def history_lines(records: Sequence[DrillRecord]) -> list[str]:
    """The table of a history as aligned text."""
    table = [_COLUMNS, *rows(records)]
    widths = [max(len(row[column]) for row in table) for column in range(len(_COLUMNS))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in table]


def history_table(records: Sequence[DrillRecord]) -> RenderableType:
    """The same for a terminal, where a result that is not a success stands out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in ("RTO", "RPO", "size", "documents") else "left")
    for record, row in zip(records, rows(records), strict=True):
        style = {"missed": "yellow", "failed": "red"}.get(record.result, "")
        table.add_row(*(Text(text, style=style) for text in row))
    return table


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(_cell(text) for text in row)} |" for row in body]


def _cell(text: str) -> str:
    """Text from outside on one line of Markdown: no table, tag or link can be made with it."""
    return re.sub(r"([\\`|<>\[\]*_])", r"\\\1", " ".join(plain(text).split()))
