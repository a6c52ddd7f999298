# SPDX-License-Identifier: MIT
"""The recovery inside every drill: the playbook drill_restore_mongo, with its tasks as the drill's phases."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mendbook.drills.phases import Drill
from mendbook.drills.record import BackupTaken
from mendbook.events import Event, TaskEnded, TaskStarted
from mendbook.outcome import HostResult
from mendbook.report import duration, size

_PHASES = {
    "mend_s3_backup_info": "find",
    "mend_mongo_restore": "restore",
    "mend_mongo_verify": "verify",
    "mend_mongo_recovery_info": "measure",
}
_MISSED = "objectives"


def recover(drilled: Drill, variables: Mapping[str, Any]) -> str | None:
    """Restore, verify and measure; returns in what way the objectives were missed, raises whatever else went wrong.

    ``variables`` are those of the role mongo_drill without its prefix and its objectives.
    """
    values = {
        **variables,
        "rto_seconds": drilled.objectives.rto_seconds,
        "rpo_seconds": drilled.objectives.rpo_seconds,
    }
    steps = _Steps(drilled)
    outcome = drilled.play(
        "drill_restore_mongo", {f"mongo_drill_{name}": value for name, value in values.items()}, steps
    )
    measured = steps.results.get("measure")
    if measured is not None and measured.rule == _MISSED:
        return measured.msg
    outcome.raise_if_failed()
    return None


class _Steps:
    """Hears the run's events and makes phases of them: each ends with its task, and begins where the last one ended."""

    def __init__(self, drilled: Drill) -> None:
        self.results: dict[str, HostResult] = {}
        self._drilled = drilled
        self._mark = time.monotonic()
        drilled.current = "find"

    def __call__(self, event: Event) -> None:
        if isinstance(event, TaskStarted):
            self._drilled.current = _phase(event.module) or self._drilled.current
        elif isinstance(event, TaskEnded) and (name := _phase(event.result.module or "")):
            result = self.results[name] = event.result
            if not result.exit_code or result.rule == _MISSED:
                now = time.monotonic()
                self._drilled.end(name, now - self._mark, getattr(self, f"_{name}")(result))
                self._mark = now
        self._drilled.on_event(event)

    def _find(self, result: HostResult) -> str:
        chosen = result.facts["chosen"]
        self._drilled.backup = BackupTaken(
            bucket=chosen["bucket"],
            key=chosen["key"],
            version_id=chosen["version_id"],
            size=chosen["size_bytes"],
            sha256=chosen["sha256"],
            finished=chosen["finished"],
        )
        for later in result.facts["passed_over"]:
            self._drilled.notes.append(f"passed over the newer {later['key']}: {later['reason']}")
        if not chosen["collections"]:
            self._drilled.notes.append(
                "no manifest says what the backup should hold: it was loaded whole and every document was read back, "
                "but that nothing is missing from it cannot be known"
            )
        parts = [chosen["key"], size(chosen["size_bytes"]), f"{duration(max(0, chosen['age_seconds']))} old"]
        return ", ".join(parts)

    def _restore(self, result: HostResult) -> str:
        self._drilled.documents = result.figures.get("documents")
        self._drilled.bytes = result.figures.get("document_bytes")
        # without a manifest this is all the proof there can be: the restore has read every document back
        self._drilled.verified = result.word == "done"
        if self._drilled.documents is None:
            return result.word
        return f"{self._drilled.documents:,} documents, {size(self._drilled.bytes or 0)}, all read back"

    def _verify(self, result: HostResult) -> str:
        summary = result.facts["summary"]
        return f"{summary['checks']} checks of {summary['collections']} collections, {summary['documents']:,} documents"

    def _measure(self, result: HostResult) -> str:
        facts = result.facts if not result.exit_code else result.details
        self._drilled.rto_seconds = facts["rto_seconds"]
        self._drilled.rpo_seconds = facts["rpo_seconds"]
        self._drilled.notes += facts["notes"]
        newest = facts["newest"]
        words = {
            "data": "the newest record, {}".format(newest and f"{newest['collection']}.{newest['field']}"),
            "manifest": "the newest record in the manifest, of {}".format(newest and newest["collection"]),
            "finished": "the time when the backup was finished: no record has a time",
            None: None,
        }
        self._drilled.rpo_from = words[facts["rpo_from"]]
        shown = {name: "unknown" if facts[name] is None else duration(facts[name]) for name in facts["objectives"]}
        return f"RTO {shown['rto_seconds']}, RPO {shown['rpo_seconds']} by {self._drilled.rpo_from}"


def _phase(module: str) -> str | None:
    return _PHASES.get(module.rpartition(".")[2])
