# SPDX-License-Identifier: MIT
"""Whether the backups of a row are as they should be (pure): age, size, gaps, unfinished ones, the last proof."""

from __future__ import annotations

import dataclasses
import datetime
import math
import statistics

from ansible.module_utils.mendbook.plan_text import age_text, bytes_text
from ansible.module_utils.mendbook.s3_backup import iso
from ansible.module_utils.mendbook.s3_errors import shown
from ansible.module_utils.mendbook.s3_prune_rules import is_live

OK, WARNING, FAILED = "ok", "warning", "failed"
STATUSES = (OK, WARNING, FAILED)
# a median of fewer says nothing
LEAST_FOR_MEDIAN = 3
# between an upload and its manifest there is a moment
IN_THE_MAKING = datetime.timedelta(hours=1)
# runs do not begin to the second, and do not all take the same time
LATE_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds, and shares of the median size."""

    max_age: int
    grace: int
    interval: int
    gap_window: int
    min_size_share: float
    max_size_share: float
    drill_max_age: int
    without_drill: str


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of one row of backups: ``complete`` newest first, ``unfinished`` ones, and its DrillRecords."""

    name: str
    complete: list
    unfinished: list
    records: list

    @property
    def newest(self):
        return self.complete[0] if self.complete else None

    @property
    def proof(self):
        """The last drill that has proven a backup, or None.

        A drill of a backup that is gone counts; one of other bytes than those that are there now does not.
        """
        there = {backup.key: backup for backup in (*self.complete, *self.unfinished)}
        proven = [r for r in self.records if r.verified and (r.key not in there or r.is_about(there[r.key]))]
        return max(proven, key=lambda record: record.finished) if proven else None

    @property
    def unproven(self):
        """The drills since the proof that have proven nothing.

        Of whatever bytes: one that could not read its backup does not know which they were.
        """
        return [r for r in self.records if not r.verified and (not self.proof or r.finished > self.proof.finished)]

    @property
    def median_bytes(self):
        """The median size of the earlier ones, or None when there are too few."""
        earlier = [backup.size for backup in self.complete[1:]]
        return statistics.median(earlier) if len(earlier) >= LEAST_FOR_MEDIAN else None

    def missed(self, limits, now):
        """Return how many runs that were due within the window have not finished, or None without any to count from.

        Counted from the first backup there is, also one before the window, until now. A run is late for a share of
        the interval before it counts as missed, and the last one that is due for the grace, too.
        """
        moments = [backup.finished for backup in reversed(self.complete)]
        late = LATE_SHARE * limits.interval
        lates = [late] * (len(moments) - 1) + [max(late, limits.grace)]
        count = 0
        for begin, end, late in zip(moments, [*moments[1:], now], lates):
            missed = math.ceil(((end - begin).total_seconds() - late) / limits.interval) - 1
            before_window = ((now - begin).total_seconds() - limits.gap_window) // limits.interval
            count += max(0, missed - max(0, int(before_window)))
        return count if moments else None


def make_row(name, backups, records):
    """Return the Row of these Backups; deleted ones and older versions are nothing that one could restore at once."""
    live = [backup for backup in backups if is_live(backup)]
    complete = sorted((b for b in live if b.complete), key=lambda b: b.finished, reverse=True)
    return Row(name, complete, [b for b in live if not b.complete], records)


def check_row(row, limits, now):
    """Return the verdicts on one row, each {name, series, status, value, limit, words}."""
    return [
        _age(row, limits, now),
        _size(row, limits),
        _gaps(row, limits, now),
        _unfinished(row, now),
        _drill(row, limits, now),
    ]


def verdict(name, row, status, value, limit, words):
    """One verdict; ``row`` is None when it is about all of them."""
    return {
        "name": name,
        "series": row.name if row else None,
        "status": status,
        "value": value,
        "limit": limit,
        "words": words,
    }


def worst(verdicts):
    """Return the worst status of these verdicts."""
    return max((entry["status"] for entry in verdicts), key=STATUSES.index, default=OK)


def _age(row, limits, now):
    if not row.newest:
        return verdict("age", row, FAILED, None, limits.max_age, "there is no complete backup")
    age = int((now - row.newest.finished).total_seconds())
    words = f"the last backup was finished {age_text(age)} ago, at {iso(row.newest.finished)}"
    if age <= limits.max_age:
        return verdict("age", row, OK, age, limits.max_age, words)
    if age <= limits.max_age + limits.grace:
        words += f": over {age_text(limits.max_age)}, within the grace of {age_text(limits.grace)}"
        return verdict("age", row, WARNING, age, limits.max_age, words)
    return verdict("age", row, FAILED, age, limits.max_age, f"{words}: over {age_text(limits.max_age)}")


def _size(row, limits):
    bounds = [limits.min_size_share, limits.max_size_share]
    median = row.median_bytes
    if median is None:
        words = f"fewer than {LEAST_FOR_MEDIAN} earlier backups to compare the size with"
        return verdict("size", row, OK, None, bounds, words)
    share = round(row.newest.size / median, 3)
    words = f"the last backup has {bytes_text(row.newest.size)}, {share:g} of the median {bytes_text(median)}"
    if share < limits.min_size_share:
        # data may be missing
        return verdict("size", row, FAILED, share, bounds, f"{words}: under {limits.min_size_share:g}")
    if share > limits.max_size_share:
        return verdict("size", row, WARNING, share, bounds, f"{words}: over {limits.max_size_share:g}")
    return verdict("size", row, OK, share, bounds, words)


def _gaps(row, limits, now):
    missed = row.missed(limits, now)
    if missed is None:
        return verdict("gaps", row, OK, None, 0, "there is no complete backup to count from")
    words = f"{missed or 'no'} runs were missed within {age_text(limits.gap_window)}"
    overdue = (now - row.newest.finished).total_seconds() - limits.interval
    if overdue > 0 and not missed:
        words += f", and one is due since {age_text(overdue)}"
    return verdict("gaps", row, WARNING if missed else OK, missed, 0, words)


def _unfinished(row, now):
    unfinished = [b for b in row.unfinished if b.complete is False or now - b.last_modified > IN_THE_MAKING]
    if not unfinished:
        return verdict("unfinished", row, OK, 0, 0, "no backup is unfinished")
    newest = max(unfinished, key=lambda backup: backup.last_modified)
    words = f"{len(unfinished)} are not complete, such as {shown(newest.key)}: {newest.reason}"
    return verdict("unfinished", row, WARNING, len(unfinished), 0, words)


def _drill(row, limits, now):
    words, age, status = "no drill has proven a backup", None, limits.without_drill
    if row.proof:
        age = int((now - row.proof.finished).total_seconds())
        words = f"the last drill that proved a backup ended {age_text(age)} ago"
        if age > limits.drill_max_age:
            words += f": over {age_text(limits.drill_max_age)}"
        elif not row.unproven:
            status = OK
    if row.unproven:
        last = max(row.unproven, key=lambda record: record.finished)
        ended = age_text((now - last.finished).total_seconds())
        words += f"; {len(row.unproven)} later proved nothing" if row.proof else f", {len(row.unproven)} proved nothing"
        words += f", the last one (run {last.run}, of {shown(last.key)}) ended {ended} ago"
    return verdict("drill", row, status, age, limits.drill_max_age, words)
