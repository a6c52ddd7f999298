# SPDX-License-Identifier: MIT
"""A run while it goes on, on stderr: moving bars on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from mendbook.events import Event, Planned, Progressed, Started, Stopping, TaskEnded, TaskStarted
from mendbook.report import duration
from mendbook.results import is_mend, plain

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Between two lines about the same phase in a log.
LINE_SECONDS = 10.0


class Lines:
    """For logs and pipes: each phase when it begins, every LINE_SECONDS when it has moved, and at its end."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._said: dict[tuple[str, str], tuple[str, float]] = {}

    def __call__(self, event: Event) -> None:
        text = _sentence(event)
        if text is not None:
            self._say(text)
        elif isinstance(event, Progressed):
            # phases run side by side, so each has its own clock
            key, amount, now = (event.host, event.phase), _amount(event), time.monotonic()
            before, at = self._said.get(key, ("", 0.0))
            ended = event.total is not None and event.done >= event.total
            if amount != before and (not before or ended or now - at >= LINE_SECONDS):
                self._said[key] = (amount, now)
                self._say(f"{event.host}: {amount}")

    def close(self) -> None:
        """Nothing is open."""

    def _say(self, text: str) -> None:
        print(plain(text), file=self._out, flush=True)


class Bars:
    """For a terminal: one bar for each host and phase. rich is loaded when there is something to draw.

    ``transient`` bars are gone from the screen when they are closed.
    """

    def __init__(self, out: TextIO, transient: bool = False) -> None:
        self._out = out
        self._transient = transient
        self._progress: Progress | None = None
        self._bars: dict[tuple[str, str], TaskID] = {}

    def __call__(self, event: Event) -> None:
        text = _sentence(event)
        if text is not None:
            if self._progress is None:
                print(plain(text), file=self._out, flush=True)
            else:
                self._progress.console.print(plain(text), markup=False, highlight=False)
        elif isinstance(event, Progressed):
            self._draw(event)

    def close(self) -> None:
        """Leave the terminal as it was found, also after an error; what is told afterwards begins anew."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._bars.clear()

    def _draw(self, event: Progressed) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        if self._progress is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[amount]}", markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            console = Console(file=self._out)
            self._progress = Progress(*columns, console=console, auto_refresh=False, transient=self._transient)
            self._progress.start()
        key = (event.host, event.phase)
        if key not in self._bars:
            label = escape(plain(f"{event.host} {event.phase}"))
            self._bars[key] = self._progress.add_task(label, total=event.total, amount="")
        self._progress.update(
            self._bars[key], completed=event.done, total=event.total, amount=plain(_count(event)), refresh=True
        )


def view(out: TextIO | None = None) -> Lines | Bars:
    """What fits where stderr goes."""
    out = out or sys.stderr
    return Bars(out) if out.isatty() else Lines(out)


def _sentence(event: Event) -> str | None:
    if isinstance(event, Started):
        return f"{event.procedure}: run {event.run}{' (check)' if event.check else ''}"
    if isinstance(event, TaskStarted) and is_mend(event.module):
        return f"{event.host}: {event.task}"
    if isinstance(event, Planned):
        takes = event.plan.expected_seconds
        expected = f", about {duration(takes)}" if takes is not None else ""
        return f"{event.host}: acting on {event.plan.target.id}, {len(event.plan.changes):,} changes{expected}"
    if isinstance(event, TaskEnded) and event.result.exit_code:
        msg = event.result.msg or event.task
        word = "" if msg.startswith(f"{event.result.word}: ") else f"{event.result.word}: "
        return f"{event.host}: {word}{msg}"
    if isinstance(event, Stopping):
        return f"stopping ({event.why}): waiting up to {event.grace_seconds:g} s for the run's processes to end"
    return None


def _amount(event: Progressed) -> str:
    return f"{event.phase} {_count(event)}".strip()


def _count(event: Progressed) -> str:
    if event.total:
        return f"{event.done:,.0f} of {event.total:,.0f} {event.unit} ({event.done / event.total:.0%})"
    return f"{event.done:,.0f} {event.unit}" if event.done else ""
