"""The verdicts on one row of backups, at and around their limits."""

from __future__ import annotations

import datetime

import pytest
from ansible.module_utils.mendbook.s3_check_rules import Limits, check_row, make_row, worst
from backup_rows import NOW, RUN, backup, days_ago, lying, record
from hypothesis import given
from hypothesis import strategies as st

DAY = 86400
LIMITS = Limits(
    max_age=DAY,
    grace=7200,
    interval=DAY,
    gap_window=7 * DAY,
    min_size_share=0.5,
    max_size_share=2.0,
    drill_max_age=31 * DAY,
    without_drill="warning",
)


def verdict(name, backups, records=(), **changed):
    limits = Limits(**{**vars(LIMITS), **changed})
    (found,) = [v for v in check_row(make_row("row", backups, list(records)), limits, NOW) if v["name"] == name]
    return found


def after(seconds):
    moment = NOW - datetime.timedelta(seconds=seconds)
    return backup(0, finished=moment, last_modified=moment)


@pytest.mark.parametrize(
    ("seconds", "status"),
    [(0, "ok"), (-200, "ok"), (DAY, "ok"), (DAY + 1, "warning"), (DAY + 7200, "warning"), (DAY + 7201, "failed")],
)
def test_age_is_counted_from_the_last_finished_one(seconds, status):
    found = verdict("age", [after(seconds), backup(9), lying(0), backup(0, complete=None, key="daily/x.gz")])
    assert (found["status"], found["value"], found["limit"]) == (status, seconds, DAY)


@pytest.mark.parametrize(
    "backups", [[], [lying(0)], [backup(0, complete=None)], [backup(0, deleted=NOW)], [backup(0, current=False)]]
)
def test_without_a_complete_backup_that_can_be_restored_the_age_has_failed(backups):
    found = verdict("age", backups)
    assert (found["status"], found["value"]) == ("failed", None)


def test_without_grace_a_second_over_the_objective_fails():
    assert verdict("age", [after(DAY + 1)], grace=0)["status"] == "failed"


@pytest.mark.parametrize(
    ("size", "status", "share"),
    [
        (100, "ok", 1.0),
        (50, "ok", 0.5),
        (49, "failed", 0.49),
        (200, "ok", 2.0),
        (201, "warning", 2.01),
        (1, "failed", 0.01),
    ],
)
def test_size_is_compared_with_the_median_of_the_earlier_ones(size, status, share):
    earlier = [backup(1, size=90), backup(2, size=100), backup(3, size=10_000)]
    found = verdict("size", [*earlier, backup(0, size=size)])
    assert (found["status"], found["value"]) == (status, share)


@pytest.mark.parametrize("earlier", [0, 1, 2])
def test_a_median_of_few_says_nothing(earlier):
    backups = [backup(0, size=1), *(backup(day, size=1000) for day in range(1, earlier + 1))]
    found = verdict("size", backups)
    assert (found["status"], found["value"]) == ("ok", None)
    assert "fewer than 3 earlier" in found["words"]


@pytest.mark.parametrize(
    ("days", "missed"),
    [
        ((0, 1, 2, 3), 0),
        ((0, 1.4, 2), 0),
        ((0, 2), 1),
        ((0, 1, 4), 2),
        ((0, 2, 4), 2),
        # those at 3 to 6 days: what was due before the window is not counted
        ((0, 1, 2, 9, 20), 4),
        ((0, 1, 2, 8, 9, 20), 4),
        ((0, 6.9, 7.9), 6),
        ((0, 1, 2, 3, 4, 5, 6, 7, 30), 0),
        # the first one begins a row that is younger than the window
        ((0, 1), 0),
        # the run that is due has half an interval, too
        ((1.4,), 0),
        ((1.6,), 1),
        ((5,), 4),
        # a database that is no longer backed up: all of the window
        ((40, 41), 6),
    ],
)
def test_missed_runs_are_counted_from_the_beginning_of_the_window_until_now(days, missed):
    found = verdict("gaps", [backup(day) for day in days])
    assert (found["value"], found["status"]) == (missed, "warning" if missed else "ok")
    assert found["words"].startswith(f"{missed or 'no'} runs were missed within 7 d 0 h")


@pytest.mark.parametrize(
    ("hours", "interval", "grace", "missed"),
    [
        # the newest of many before the window: from its beginning until the first one within
        ((11, 24 * 19, 24 * 20), 3600, 0, 156 + 10),
        ((11, 24 * 19, 24 * 20), 3600, 7200, 156 + 8),
        ((23.5, 35.5, 47.5), 43200, 0, 1),
        ((17.9, 30), 43200, 0, 0),
        ((23.5, 35.5), 43200, 12 * 3600, 0),
        # longer than the window
        ((24 * 12,), 8 * DAY, 0, 0),
        ((24 * 13,), 8 * DAY, 0, 1),
        # a clock that is ahead
        ((-0.05, 1), 3600, 0, 0),
    ],
)
def test_the_run_that_is_due_is_missed_when_its_grace_is_over(hours, interval, grace, missed):
    backups = [after(hour * 3600) for hour in hours]
    assert verdict("gaps", backups, interval=interval, grace=grace)["value"] == missed


def test_one_that_is_only_due_is_told_and_no_warning():
    found = verdict("gaps", [backup(1.25), backup(2.25)])
    assert (found["status"], found["value"]) == ("ok", 0)
    assert found["words"] == "no runs were missed within 7 d 0 h, and one is due since 6 h 0 min"


def test_without_a_complete_backup_there_is_nothing_to_count_from():
    found = verdict("gaps", [lying(0)])
    assert (found["status"], found["value"]) == ("ok", None) and "no complete backup" in found["words"]


@given(st.lists(st.floats(0, 30), min_size=1, max_size=20), st.floats(0.5, 3))
def test_a_run_that_finishes_now_never_makes_runs_missed_that_were_not(ages, interval):
    backups = [after(age * DAY) for age in ages]
    seconds = round(interval * DAY)
    before, now = (
        verdict("gaps", some, interval=seconds, grace=0)["value"] for some in (backups, [*backups, after(0)])
    )
    assert before <= now


def test_gaps_follow_the_interval():
    backups = [backup(day) for day in (0, 0.25, 0.5, 1)]
    assert verdict("gaps", backups)["value"] == 0
    assert verdict("gaps", backups, interval=DAY // 4)["value"] == 1


@pytest.mark.parametrize(
    ("unfinished", "count"),
    [
        (lying(0), 1),
        (backup(0.5, complete=None), 1),
        # between its upload and its manifest
        (backup(0.01, complete=None), 0),
        (backup(0.5, complete=None, deleted=NOW), 0),
    ],
)
def test_what_is_not_complete_is_named(unfinished, count):
    found = verdict("unfinished", [backup(0.2), unfinished])
    assert found["value"] == count and found["status"] == ("warning" if count else "ok")
    assert not count or unfinished.key in found["words"]


class TestDrill:
    BACKUP = backup(1)

    @pytest.mark.parametrize(("days", "status"), [(0, "ok"), (31, "ok"), (31.01, "warning")])
    def test_it_may_be_so_old(self, days, status):
        assert verdict("drill", [self.BACKUP], [record(self.BACKUP, finished=days_ago(days))])["status"] == status

    def test_the_last_of_several_counts(self):
        records = [record(self.BACKUP, finished=days_ago(days)) for days in (50, 3, 40)]
        assert verdict("drill", [self.BACKUP], records)["value"] == 3 * DAY

    def test_the_proof_of_a_backup_that_is_gone_counts(self):
        assert verdict("drill", [self.BACKUP], [record(backup(40))])["status"] == "ok"

    @pytest.mark.parametrize("without_drill", ["warning", "failed"])
    def test_a_last_one_that_proved_nothing_is_told_however_new_the_proof_is(self, without_drill):
        records = [record(self.BACKUP, finished=days_ago(days), verified=days > 3) for days in (3.5, 3, 2, 1)]
        found = verdict("drill", [self.BACKUP], records, without_drill=without_drill)
        assert (found["status"], found["value"]) == (without_drill, 3.5 * DAY)
        last = f"the last one (run {RUN}, of {self.BACKUP.key}) ended 24 h 0 min ago"
        assert found["words"] == (
            f"the last drill that proved a backup ended 3 d 12 h ago; 3 later proved nothing, {last}"
        )
        assert found["words"].count("over") == 0

    def test_one_that_proves_a_backup_after_them_ends_the_warning(self):
        records = [record(self.BACKUP, finished=days_ago(days), verified=days < 1) for days in (3, 2, 0.5)]
        assert verdict("drill", [self.BACKUP], records)["status"] == "ok"

    @pytest.mark.parametrize("unknown", [{"sha256": None, "version_id": None}, {"sha256": "f" * 64}])
    def test_one_that_failed_without_knowing_the_bytes_is_told_too(self, unknown):
        records = [record(self.BACKUP, finished=days_ago(2)), record(self.BACKUP, verified=False, **unknown)]
        assert verdict("drill", [self.BACKUP], records)["status"] == "warning"

    def test_none_but_failed_ones_are_counted(self):
        records = [record(self.BACKUP, finished=days_ago(days), verified=False) for days in (2, 1)]
        found = verdict("drill", [self.BACKUP], records)
        assert found["value"] is None and "no drill has proven a backup, 2 proved nothing, the last" in found["words"]

    @pytest.mark.parametrize("changed", [{"verified": False}, {"sha256": "f" * 64}])
    def test_no_proof_and_a_proof_of_other_bytes_do_not_count(self, changed):
        found = verdict("drill", [self.BACKUP], [record(self.BACKUP, **changed)])
        assert (found["status"], found["value"]) == ("warning", None)

    def test_the_status_without_one_is_the_operators_choice(self):
        assert verdict("drill", [self.BACKUP], without_drill="failed")["status"] == "failed"
        old = [record(self.BACKUP, finished=days_ago(40))]
        assert verdict("drill", [self.BACKUP], old, without_drill="failed")["status"] == "failed"


def test_the_worst_verdict_is_the_status_of_all():
    status = [{"status": "ok"}, {"status": "failed"}, {"status": "warning"}]
    assert worst(status) == "failed" and worst(status[::2]) == "warning" and worst([]) == "ok"
