# SPDX-License-Identifier: MIT
"""Which backups may go (pure): by age, and a minimum stays, and nothing that somebody still needs.

Every rule errs on the side of keeping. What is not certainly a backup, or not certainly unfinished, is kept.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter

from ansible.module_utils.mendbook.plan_text import age_text
from ansible.module_utils.mendbook.s3_errors import shown
from ansible.module_utils.mendbook.s3_series import is_ours, rows, source_of

COMPLETE = "backups"
UNFINISHED = "unfinished backups"
OLDER = "older versions of backups"


@dataclasses.dataclass(frozen=True)
class Rules:
    """How long and how many: seconds and a number; ``versions`` when older and deleted versions are removed, too."""

    max_age: int
    min_complete: int
    unfinished_age: int
    versions: bool


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What speaks for keeping a backup.

    ``in_use`` is {key: run}, ``records`` the DrillRecords, ``named`` {(key, version_id or None for the current one)}
    of what a pointer ``latest`` may mean, ``locked`` {(key, version_id): why}.
    """

    now: datetime.datetime
    in_use: dict
    records: tuple = ()
    named: frozenset = frozenset()
    locked: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What becomes of one Backup: ``due`` says why it would go (or None), ``held`` why it stays although it is due."""

    backup: object
    group: str
    due: str | None
    held: str | None = None

    @property
    def goes(self):
        return self.due is not None and self.held is None


def judge(backups, rules, evidence):
    """Return a Verdict on each of the Backups, newest first, that are certainly backups."""
    backups = [backup for backup in backups if is_backup(backup)]
    if not rules.versions:
        backups = [backup for backup in backups if is_live(backup)]
    verdicts = [verdict for row in rows(backups).values() for verdict in _judge_row(row, rules, evidence)]
    return _keep_what_lies_above(verdicts) if rules.versions else verdicts


def is_backup(backup):
    """Whether the object is certainly a backup: a manifest lies beside it, or backup_mongo gave it its name."""
    return backup.manifest_entry is not None or is_ours(backup.key)


def is_live(backup):
    """Whether it is what a reader of its key gets now: no older version, not below a delete marker."""
    return backup.current and not backup.deleted


def _judge_row(row, rules, evidence):
    live = sorted((b for b in row if b.complete and is_live(b)), key=lambda b: b.finished, reverse=True)
    held = _holds(row, live, evidence)
    enough = {_id(backup) for backup in live[: rules.min_complete]}
    newest = live[0].finished if live else None
    verdicts = []
    for backup in row:
        group, due = _due(backup, rules, evidence.now, newest)
        if _id(backup) in enough:
            due = None
        verdicts.append(Verdict(backup, group, due, held.get(_id(backup)) if due else None))
    return verdicts


def _due(backup, rules, now, newest):
    """Return (group, why the backup is to go by its age alone or None)."""
    if backup.complete:
        age = (now - backup.finished).total_seconds()
        group = COMPLETE if is_live(backup) else OLDER
        return group, f"{age_text(age)} old" if age > rules.max_age else None
    age = (now - backup.last_modified).total_seconds()
    why = _unfinished(backup)
    # before the first complete one it may be the best that there is
    due = why and age > rules.unfinished_age and newest is not None and newest > backup.last_modified
    return UNFINISHED, f"{why}, for {age_text(age)}" if due else None


def _unfinished(backup):
    """Return why a backup is certainly no whole one, or None when that is not certain.

    A manifest that cannot be read, or that was written by a clock that is wrong, is no proof against the bytes.
    """
    if backup.etag is None or backup.size == 0:
        return backup.reason
    if backup.complete is None:
        return "it has no manifest"
    if backup.manifest and backup.manifest["object"]["size"] != backup.size:
        return backup.reason
    return None


def _holds(row, live, evidence):
    """Return {id of a backup: why it stays although it is due}; the first reason that is found is the one given."""
    held = {}

    def hold(backup, why):
        held.setdefault(_id(backup), why)

    if live:
        hold(live[0], "it is the newest complete one")
        # the clock of the host that made it may be wrong, that of the store dates them all alike
        hold(max(live, key=lambda b: b.last_modified), "it is the complete one that was written last")
    newest_of = {}
    for backup in live:
        newest_of.setdefault(source_of(backup), backup)
    for source, backup in newest_of.items():
        # two deployments may have databases of one name
        if source:
            hold(backup, f"it is the newest complete one of {shown(source)}")
    proven = [b for b in row if b.complete is not False and any(r.verified and r.is_about(b) for r in evidence.records)]
    for among in (proven, [b for b in proven if is_live(b)]):
        if among:
            hold(max(among, key=lambda b: b.finished), "it is the last one that a drill has verified")
    for backup in row:
        if backup.key in evidence.in_use:
            hold(backup, f"run {evidence.in_use[backup.key]} reads it now")
        if _id(backup) in evidence.named or (is_live(backup) and (backup.key, None) in evidence.named):
            hold(backup, "latest names it")
        if (backup.key, backup.version_id) in evidence.locked:
            hold(backup, evidence.locked[backup.key, backup.version_id])
    return held


def _keep_what_lies_above(verdicts):
    """Hold a version that is what its key means while an older version of the key stays: that would take its place."""
    staying = Counter(v.backup.key for v in verdicts if not v.goes)
    return [
        dataclasses.replace(v, held="an older version of its key stays and would take its place")
        if v.goes and is_live(v.backup) and staying[v.backup.key]
        else v
        for v in verdicts
    ]


def _id(backup):
    return backup.key, backup.version_id
