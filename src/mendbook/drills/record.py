# SPDX-License-Identifier: MIT
"""What a drill leaves: the record of schema 1 that stands in the history and beside the backup."""

from __future__ import annotations

from typing import Literal

import msgspec

Result = Literal["passed", "missed", "failed"]


class Objectives(msgspec.Struct, frozen=True):
    """How long a recovery may take, and how much time of writes may be lost."""

    rto_seconds: float = 4 * 3600.0
    rpo_seconds: float = 24 * 3600.0


class Phase(msgspec.Struct, frozen=True):
    """One step of a drill that went well, how long it took, and what it found."""

    name: str
    seconds: float
    found: str


class BackupTaken(msgspec.Struct, frozen=True):
    """The backup that was restored; what is None was not stated."""

    bucket: str
    key: str
    version_id: str | None = None
    size: int | None = None
    sha256: str | None = None
    finished: str | None = None


class DrillRecord(msgspec.Struct, frozen=True):
    """One drill. ``verified``: the data was proven, whatever the objectives; figures that are None are not known.

    ``subject`` says in words what was restored, ``rpo_from`` by what the RPO was measured, ``notes`` what could not be
    proven or was passed over.
    """

    schema: Literal[1]
    drill: str
    run: str
    started: str
    finished: str
    result: Result
    verified: bool
    objectives: Objectives
    backup: BackupTaken | None = None
    phases: list[Phase] = []
    rto_seconds: float | None = None
    rpo_seconds: float | None = None
    documents: int | None = None
    bytes: int | None = None
    version: str | None = None
    error: str | None = None
    subject: str = ""
    rpo_from: str | None = None
    notes: list[str] = []
