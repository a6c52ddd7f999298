# SPDX-License-Identifier: MIT
"""A drill from its first phase to its exit code: what is shown meanwhile, and what is written at its end."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import click
import msgspec

from mendbook import junit, live
from mendbook.drills import history, report
from mendbook.drills.phases import Drill
from mendbook.drills.record import DrillRecord, Phase
from mendbook.drills.store import Store
from mendbook.errors import Cancelled, Failed, MendError, NothingMatched, UsageError
from mendbook.events import Event, Progressed, Stopping
from mendbook.results import plain


@dataclass(frozen=True)
class Outputs:
    """Where a result goes; ``store`` is the bucket for its record, ``recorded`` whether the history gets one."""

    junit: Path | None
    markdown: Path | None
    store: Store | None
    history_file: Path | None
    recorded: bool
    as_json: bool

    def check(self) -> None:
        """Before anything is started: a file that was named must be one that can be written.

        The history has a place of its own; where that cannot be written a drill is still worth its result.
        """
        for path in (self.junit, self.markdown, self.history_file if self.recorded else None):
            if path is not None:
                _open_for_writing(path)
        if self.recorded and self.history_file is None:
            place = history.default_file()
            try:
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _open_for_writing(place)
            except (UsageError, OSError) as error:
                _warn(f"no history will be kept: {getattr(error, 'msg', error)}")

    def phase(self, phase: Phase) -> None:
        """A phase has ended well."""
        if self.as_json:
            said = {"phase": phase.name, "seconds": phase.seconds, "found": phase.found}
            click.echo(msgspec.json.encode(said))
        else:
            click.echo(report.phase_line(phase.name, phase.seconds, phase.found))

    def keep(self, record: DrillRecord) -> None:
        """Add the record to the history and put it beside the backup; what cannot be is a warning."""
        if not self.recorded:
            return
        path = self.history_file or history.default_file()
        try:
            history.append(path, record)
        except OSError as error:
            _warn(f"the history {path} has no record of this drill: {error.strerror or error}")
        if self.store is not None and record.backup is not None:
            try:
                self.store.put(record)
            except MendError as error:
                _warn(f"there is no record of this drill beside the backup: {error.msg}")

    def show(self, record: DrillRecord, seconds: float, current: str) -> None:
        """The result on stdout; a terminal gets the phases as bars, too."""
        if self.as_json:
            click.echo(msgspec.json.encode({**msgspec.to_builtins(record), "seconds": round(seconds, 3)}))
            return
        if sys.stdout.isatty() and record.phases:
            from rich.console import Console

            Console().print(report.timeline(record))
        click.echo(report.headline(record, seconds, current))
        for line in report.summary(record):
            click.echo(line)

    def write(self, record: DrillRecord, seconds: float, current: str) -> None:
        """The files that were asked for; Failed when one cannot be written after all."""
        try:
            if self.junit is not None:
                junit.write(self.junit, f"mendbook drill {record.drill}", _cases(record, current), seconds)
            if self.markdown is not None:
                with self.markdown.open("a", encoding="utf-8") as file:
                    file.write(report.markdown(record, seconds, current))
        except OSError as error:
            raise Failed(f"{error.filename}: {error.strerror}") from error


def perform(drilled: Drill, outputs: Outputs, phases: Callable[[], None]) -> int:
    """Run the phases, show and keep what came of them; the exit code."""
    began = time.monotonic()
    # in a log the lines of the phases are enough
    view = live.Bars(sys.stderr, transient=True) if sys.stderr.isatty() and not outputs.as_json else None

    def tell(phase: Phase) -> None:
        if view is not None:
            # a line between bars that move would be torn
            view.close()
        outputs.phase(phase)

    def draw(event: Event) -> None:
        # the phases' lines say the rest
        if view is not None and isinstance(event, (Progressed, Stopping)):
            view(event)

    drilled.tell, drilled.on_event = tell, draw
    error: MendError | None = None
    try:
        with _terminated_as_by_ctrl_c():
            phases()
    except Cancelled:
        # it says nothing about the backup
        raise
    except MendError as raised:
        error = raised
    finally:
        if view is not None:
            view.close()
    seconds, record = time.monotonic() - began, drilled.record(error)
    outputs.keep(record)
    outputs.show(record, seconds, drilled.current)
    if error is not None:
        click.echo(f"mendbook: {plain(error.msg)}", err=True)
    outputs.write(record, seconds, drilled.current)
    return error.exit_code if error else 0


def show_history(
    name: str | None, store: Store | None, file: Path | None, latest: int, svg: Path | None, as_json: bool
) -> int:
    """The newest drills as a table or JSON lines, and as a chart; what cannot be read is named and left out."""
    place = file or history.default_file()
    records, broken = history.read(store.records(latest) if store else history.lines(place))
    for words in broken:
        _warn(words)
    records = [record for record in records if name in (None, record.drill)][-latest:]
    if not records:
        where = f"s3://{store.bucket}/{store.prefix}" if store else str(place)
        raise NothingMatched(f"there is no record of a drill in {where}")
    if svg is not None:
        from mendbook.drills.chart import chart

        try:
            svg.write_text(chart(records), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--svg {svg}: {error.strerror}") from error
    if as_json:
        for record in records:
            click.echo(msgspec.json.encode(record))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(report.history_table(records))
    else:
        click.echo("\n".join(report.history_lines(records)))
    return 0


def _cases(record: DrillRecord, current: str) -> list[junit.Case]:
    """The phases that ended well, the one that did not, and each objective."""
    cases = [junit.Case(phase.name, phase.seconds, output=phase.found) for phase in record.phases]
    if record.result == "failed":
        cases.append(junit.Case(current, end="failure", words=record.error or ""))
    for name, measured, objective, word in report.figures(record):
        words = f"{measured}, the objective is {objective}"
        if word == "met":
            cases.append(junit.Case(name, output=words))
        else:
            cases.append(junit.Case(name, end="skipped" if record.result == "failed" else "failure", words=words))
    return cases


def _open_for_writing(path: Path) -> None:
    """Open and close; a file that was not there is not left behind."""
    there = path.exists()
    try:
        path.open("ab").close()
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    if not there:
        path.unlink()


@contextmanager
def _terminated_as_by_ctrl_c() -> Iterator[None]:
    """TERM and a hang-up end the sandbox as Ctrl-C does; runs inside have handlers of their own meanwhile."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _warn(words: str) -> None:
    click.echo(f"mendbook: warning: {plain(words)}", err=True)
