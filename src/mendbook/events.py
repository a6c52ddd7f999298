# SPDX-License-Identifier: MIT
"""What a run tells while it goes on: typed for ``on_event``, one JSON line each for ``--json``."""

from __future__ import annotations

from typing import Any

import msgspec

from mendbook.outcome import HostResult, Outcome
from mendbook.records import Plan


class Started(msgspec.Struct, frozen=True, tag_field="event", tag="started"):
    """The run has a name and ansible is being started."""

    run: str
    procedure: str
    check: bool
    at: str


class TaskStarted(msgspec.Struct, frozen=True, tag_field="event", tag="task"):
    """A task begins on a host."""

    host: str
    task: str
    module: str


class Planned(msgspec.Struct, frozen=True, tag_field="event", tag="plan"):
    """The gate let this plan pass and recorded it; the change begins now."""

    host: str
    plan: Plan


class Progressed(msgspec.Struct, frozen=True, tag_field="event", tag="progress"):
    """How far a long step is; ``total`` is None when nobody knows it yet."""

    host: str
    phase: str
    done: float
    total: float | None
    unit: str


class TaskEnded(msgspec.Struct, frozen=True, tag_field="event", tag="result"):
    """What a task said on a host."""

    host: str
    task: str
    result: HostResult


class Stopping(msgspec.Struct, frozen=True, tag_field="event", tag="stopping"):
    """The run was asked to stop, why, and how long its end is waited for."""

    why: str
    grace_seconds: float


class Ended(msgspec.Struct, frozen=True, tag_field="event", tag="outcome", omit_defaults=True):
    """The last event. ``error`` is set when there is no proper outcome: a usage error, a cancelled run."""

    word: str
    exit_code: int
    outcome: Outcome | None = None
    error: str | None = None


Event = Started | TaskStarted | Planned | Progressed | TaskEnded | Stopping | Ended


def as_json(event: Event) -> bytes:
    """One line of JSON without its newline; ``event`` names the kind."""
    return msgspec.json.encode(event, enc_hook=_plain)


def _plain(value: Any) -> Any:
    return str(value)
