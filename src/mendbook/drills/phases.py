# SPDX-License-Identifier: MIT
"""A drill under way: its phases in order, what they found, and the runs inside them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from mendbook.drills.record import BackupTaken, DrillRecord, Objectives, Phase, Result
from mendbook.errors import MendError, VerifyFailed
from mendbook.events import Event
from mendbook.outcome import Outcome
from mendbook.runs import new_run_id, run
from mendbook.times import iso

HOST = "drill"


class ObjectivesMissed(VerifyFailed):
    """The data came back and was proven, but too late, or too much of it was lost."""


@dataclass
class Drill:
    """Runs the phases in order; ``tell`` hears of each at its end, ``on_event`` what the runs inside say.

    ``current`` is the phase that was begun last; the rest is what the phases have found so far.
    """

    name: str
    objectives: Objectives
    tell: Callable[[Phase], None] = lambda phase: None
    on_event: Callable[[Event], None] = lambda event: None
    subject: str = ""
    current: str = "start"
    run: str = field(default_factory=new_run_id)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    phases: list[Phase] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    backup: BackupTaken | None = None
    verified: bool = False
    rto_seconds: float | None = None
    rpo_seconds: float | None = None
    rpo_from: str | None = None
    documents: int | None = None
    bytes: int | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[list[str]]:
        """Time a step; what is put into the list is what it found."""
        self.current = name
        began, found = time.monotonic(), list[str]()
        yield found
        self.end(name, time.monotonic() - began, ", ".join(found))

    def end(self, name: str, seconds: float, found: str) -> None:
        """A step has ended well."""
        self.phases.append(Phase(name, round(seconds, 3), found))
        self.tell(self.phases[-1])

    def play(
        self, procedure: str, variables: Mapping[str, Any], on_event: Callable[[Event], None] | None = None
    ) -> Outcome:
        """Run a procedure on a host of this machine's own; needs no inventory file, so none can be left behind."""
        reached = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "mend_hosts": HOST}
        return run(
            procedure, inventory=f"{HOST},", variables={**reached, **variables}, on_event=on_event or self.on_event
        )

    def record(self, error: MendError | None) -> DrillRecord:
        """What is known now, as the record of a drill that ended with ``error``."""
        result: Result = "failed" if error else "passed"
        if isinstance(error, ObjectivesMissed):
            result = "missed"
        return DrillRecord(
            schema=1,
            drill=self.name,
            run=self.run,
            started=iso(self.started),
            finished=iso(datetime.now(UTC)),
            result=result,
            verified=self.verified and result != "failed",
            objectives=self.objectives,
            backup=self.backup,
            phases=list(self.phases),
            rto_seconds=self.rto_seconds,
            rpo_seconds=self.rpo_seconds,
            documents=self.documents,
            bytes=self.bytes,
            version=version("mendbook"),
            error=error.msg if error else None,
            subject=self.subject,
            rpo_from=self.rpo_from,
            notes=list(self.notes),
        )
