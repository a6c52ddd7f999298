# SPDX-License-Identifier: MIT
"""The records of schema 1 as typed structs: what modules, the gate and backups write as plain dicts.

Unknown fields are ignored, so that an older mendbook reads what a newer one wrote. Sizes are bytes, times ISO 8601 text
unless a name says otherwise.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Risk = Literal["reads", "changes", "destroys"]


class Target(msgspec.Struct, frozen=True):
    """What is repaired; ``id`` was read from the target and is what a confirmation must say."""

    kind: str
    id: str
    address: str | None = None
    facts: dict[str, Any] = {}


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One object of a plan: ``+`` appears, ``~`` changes, ``-`` goes.

    In a long plan the last entries stand for several ``objects`` each; one that sums up several kinds has no ``op``.
    """

    object: str
    op: Literal["+", "~", "-"] | None = None
    before: Any = None
    after: Any = None
    count: int | None = None
    bytes: int | None = None
    group: str | None = None
    objects: int | None = None


class Cap(msgspec.Struct, frozen=True):
    """The most a procedure may touch, or the least that must remain, and what the plan uses of it."""

    name: str
    limit: float | None = None
    used: float | None = None
    override: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    """What the guard says now; ``override`` is the lawful way around it, in words."""

    rule: str
    msg: str
    value: Any = None
    limit: Any = None
    override: str | None = None


class Undo(msgspec.Struct, frozen=True, omit_defaults=True):
    """The procedure and variables that reverse the change until a moment, or ``none``: why there is no way back."""

    procedure: str | None = None
    variables: dict[str, Any] = {}
    until: str | None = None
    none: str | None = None


class Plan(msgspec.Struct, frozen=True):
    """What a procedure would do to a target, and the state that it was computed from.

    ``totals`` (objects, count, bytes, share and what else is summed) and ``sha256`` are of the whole plan;
    ``changes`` has at most 1,000 entries.
    """

    schema: Literal[1]
    module: str
    target: Target
    risk: Risk
    changes: list[Change]
    fingerprint: str
    totals: dict[str, Any] = {}
    remains: Any = None
    caps: list[Cap] = []
    tolerance: dict[str, Any] | None = None
    expected_seconds: float | None = None
    undo: Undo | None = None
    source: dict[str, Any] | None = None
    notes: list[str] = []
    refusals: list[Refusal] = []
    sha256: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """Why a module did not succeed; ``reason`` decides the exit code, ``rule`` names the guard."""

    reason: str | None = None
    rule: str | None = None
    details: dict[str, Any] = {}


class JournalLine(msgspec.Struct, frozen=True):
    """One event of a run; ``prev`` is the sha256 of the line before."""

    schema: Literal[1]
    run: str
    seq: int
    at: str
    event: Literal["run_begin", "refused", "begin", "end", "unreachable", "run_end"]
    procedure: str | None = None
    host: str | None = None
    target: Any = None
    plan_sha256: str | None = None
    plan: dict[str, Any] | None = None
    done: list[Any] | None = None
    who: dict[str, Any] = {}
    prev: str | None = None


class BackupObject(msgspec.Struct, frozen=True):
    """The stored object that a manifest describes."""

    key: str
    size: int
    sha256: str
    version_id: str | None = None
    format: str | None = None


class BackupSource(msgspec.Struct, frozen=True):
    """The deployment that was backed up."""

    id: str | None = None
    address: str | None = None
    version: str | None = None


class BackupCollection(msgspec.Struct, frozen=True):
    """One namespace of a backup; ``sum`` is the order-free sum of its documents, ``newest`` the latest time in them."""

    type: str | None = None
    options: dict[str, Any] | None = None
    indexes: list[Any] | None = None
    count: int | None = None
    sum: str | None = None
    newest: str | None = None


class BackupManifest(msgspec.Struct, frozen=True):
    """``KEY.manifest.json``, written beside a backup after it is complete; what is None was not stated."""

    schema: Literal[1]
    object: BackupObject
    finished: str
    tool: str | None = None
    source: BackupSource | None = None
    cluster_time: Any = None
    started: str | None = None
    consistency: str | None = None
    collections: dict[str, BackupCollection] | None = None
