"""Which backups may go: tables of single rules, and what must hold for every bucket that can be thought of."""

from __future__ import annotations

import datetime

import pytest
from ansible.module_utils.mendbook.s3_prune_rules import is_backup, is_live
from ansible.module_utils.mendbook.s3_series import rows as rows_of
from backup_rows import NOW, backup, days_ago, goes, lying, of_source, record, rules, verdicts, why_kept
from hypothesis import given
from hypothesis import strategies as st


def daily(*days, **more):
    return [backup(day, **more) for day in days]


def test_what_is_older_than_the_limit_goes_and_the_rest_stays():
    backups = daily(0, 1, 29, 30, 31, 400)
    assert goes(backups) == daily(31, 400)


def test_the_moment_of_the_limit_itself_is_not_over_it():
    second = datetime.timedelta(seconds=1)
    on_it = backup(30, finished=days_ago(30))
    over = backup(30, key="daily/estore-20261021T115959Z.archive.gz", finished=days_ago(30) - second)
    assert goes([*daily(0, 1), on_it, over]) == [over]


@pytest.mark.parametrize(("least", "going"), [(1, [50, 60, 70]), (2, [60, 70]), (3, [70]), (4, []), (9, [])])
def test_the_minimum_stays_however_old(least, going):
    assert goes(daily(40, 50, 60, 70), rules(min_complete=least)) == daily(*going)


def test_unfinished_ones_do_not_count_towards_the_minimum():
    backups = [*daily(40, 50, 60), lying(1), backup(2, complete=None), backup(0, deleted=NOW), backup(0, current=False)]
    assert goes(backups) == [backup(60)]


def test_each_row_keeps_its_own():
    old = [backup(day, key=f"daily/shop-202601{day - 300:02}T000000Z.archive.gz") for day in (310, 320, 330)]
    assert goes([*daily(0, 1, 2), *old]) == [old[2]]


def test_each_database_keeps_its_own_also_under_keys_without_a_date():
    users = [backup(45, key="p1/users-full.gz", **of_source("rs0@db1/users"))]
    users.append(backup(40, key="p1/users-before-7.gz", **of_source("rs0@db1/users")))
    shop = [backup(day, key=f"p1/shop-{day}.gz", **of_source("rs0@db1/shop")) for day in range(27, 36)]
    assert goes([*users, *shop], rules(min_complete=7)) == shop[-2:]
    nobodys = [backup(day, key=f"p1/dump-{day}.gz") for day in (50, 60)]
    assert goes([*users, *shop, *nobodys], rules(min_complete=7)) == shop[-2:]


def test_the_newest_of_another_deployment_stays_also_where_its_database_has_the_same_name():
    ours = [backup(day, **of_source("rs0@db1/estore")) for day in (0, 1, 2)]
    theirs = [backup(day, **of_source("rs1@db2/estore")) for day in (50, 60)]
    backups = [*ours, *theirs]
    assert goes(backups) == [theirs[1]]
    assert why_kept(theirs[0], backups) == "it is the newest complete one of rs1@db2/estore"


def test_a_folder_for_each_day_is_no_row_of_its_own():
    backups = [backup(day, key=f"p5/{days_ago(day):%Y-%m-%d}/{backup(day).key[6:]}") for day in range(40)]
    assert goes(backups) == backups[31:]


def test_of_which_nobody_knows_whose_it_is_stays_although_others_are_newer():
    theirs = [backup(day, **of_source(f"rs0@db1/{name}")) for day, name in ((0, "a"), (1, "b"))]
    assert goes([*theirs, backup(20, complete=None, manifest=None)]) == []
    assert goes([theirs[0], backup(20, complete=None, manifest=None)]) == [backup(20, complete=None, manifest=None)]


def test_the_time_that_counts_is_when_it_was_finished_and_not_when_it_was_copied():
    copied = backup(50, written=0)
    assert goes([*daily(0, 1), copied, backup(60, written=1)]) == [copied, backup(60, written=1)]


def test_a_host_whose_clock_stands_still_does_not_lose_what_it_made_last():
    dead_clock = backup(20000, written=0)
    backups = [*daily(2, 3), dead_clock]
    assert goes(backups) == []
    assert why_kept(dead_clock, backups) == "it is the complete one that was written last"


class TestHolds:
    """What stays although it is old."""

    OLD = 45

    def test_the_last_that_a_drill_has_verified(self):
        backups = daily(0, 1, self.OLD, 50)
        proofs = (record(backups[2]), record(backups[3]))
        assert goes(backups, records=proofs) == [backups[3]]
        assert why_kept(backups[2], backups, records=proofs) == "it is the last one that a drill has verified"

    def test_a_later_one_that_is_verified_lets_it_go(self):
        backups = daily(0, 1, self.OLD)
        assert goes(backups, records=(record(backups[2]), record(backups[1]))) == [backups[2]]

    @pytest.mark.parametrize(
        "changed", [{"verified": False}, {"sha256": "f" * 64}, {"key": "daily/other.gz"}, {"sha256": None}]
    )
    def test_a_drill_of_other_bytes_or_without_proof_keeps_nothing(self, changed):
        backups = daily(0, 1, self.OLD)
        assert goes(backups, records=(record(backups[2], **changed),)) == [backups[2]]

    def test_a_verified_one_that_has_been_damaged_since_is_no_longer_the_one_to_keep(self):
        backups = [*daily(0, 1, 50), lying(self.OLD)]
        proofs = (record(backups[2]), record(backups[3]))
        assert goes(backups, records=proofs) == [backups[3]]

    def test_one_that_a_run_reads(self):
        backups = daily(0, 1, self.OLD)
        assert goes(backups, in_use={backups[2].key: "r1"}) == []
        assert why_kept(backups[2], backups, in_use={backups[2].key: "r1"}) == "run r1 reads it now"

    def test_one_that_latest_names(self):
        backups = daily(0, 1, self.OLD)
        assert goes(backups, named={(backups[2].key, None)}) == []

    def test_one_that_the_store_keeps(self):
        backups = daily(0, 1, self.OLD)
        locked = {(backups[2].key, None): "it is under legal hold"}
        assert why_kept(backups[2], backups, locked=locked) == "it is under legal hold"


class TestUnfinished:
    @pytest.mark.parametrize(
        "unfinished",
        [
            lying(2),
            backup(2, complete=None),
            backup(2, complete=False, size=0),
            backup(2, complete=False, etag=None, size=None),
        ],
    )
    def test_it_goes_after_a_day_once_a_later_one_is_complete(self, unfinished):
        assert goes([*daily(0, 3), unfinished]) == [unfinished]

    @pytest.mark.parametrize("later", [[], [3, 4], [lying(0)], [backup(0, deleted=NOW)]])
    def test_it_stays_as_long_as_no_later_one_is_complete(self, later):
        later = [backup(one) if isinstance(one, int) else one for one in later]
        assert goes([*later, backup(2, complete=None)]) == []

    @pytest.mark.parametrize("days", [0, 0.5, 0.999, -2])
    def test_one_that_is_younger_than_a_day_stays(self, days):
        assert goes([*daily(-3, 3), backup(3, written=days, complete=None), lying(4, written=days)]) == []

    @pytest.mark.parametrize(
        "odd",
        [
            # the manifest could not be read: no permission, another key, no JSON
            backup(90, complete=False, manifest=None),
            # the clock of the writer was wrong
            backup(90, complete=False, reason="its manifest says it was finished at ..."),
            # without a manifest and with a name of the operator's own: a backup or not, nobody knows
            backup(90, complete=None, key="daily/dump.gz"),
        ],
    )
    def test_what_is_not_certainly_unfinished_stays_for_ever(self, odd):
        assert goes([*daily(0, 1), odd]) == []

    def test_that_every_manifest_was_lost_removes_nothing(self):
        assert goes([backup(day, complete=None) for day in (0, 1, 40, 50)]) == []


class TestVersions:
    """A bucket that keeps versions, looked at with ``versions``."""

    RULES = rules(versions=True)

    def test_older_and_deleted_ones_go_by_the_same_age(self):
        key = "daily/latest.dump"
        versions = [backup(day, key=key, version_id=f"v{day}", current=day == 0) for day in (0, 10, 40, 50)]
        deleted = [backup(day, version_id=f"d{day}", deleted=NOW, current=False) for day in (20, 60)]
        assert goes([*versions, *deleted], self.RULES) == [versions[2], versions[3], deleted[1]]
        assert goes([*versions, *deleted]) == []

    def test_they_do_not_count_towards_the_minimum(self):
        deleted = [backup(day, version_id="d", deleted=NOW, current=False) for day in (1, 2, 3)]
        live = [backup(day, version_id="v") for day in (40, 50, 60)]
        assert goes([*deleted, *live], self.RULES) == [live[2]]

    def test_the_current_one_stays_while_an_older_one_of_its_key_does(self):
        key = "daily/dump.gz"
        current = backup(40, key=key, version_id="new")
        older = backup(50, key=key, version_id="old", current=False)
        neighbours = [backup(day, key=f"daily/{day}.gz", version_id="v") for day in (0, 1)]
        backups = [*neighbours, current, older]
        assert goes(backups, self.RULES) == [current, older]
        held = {"records": (record(older),)}
        assert goes(backups, self.RULES, **held) == []
        assert "would take its place" in why_kept(current, backups, self.RULES, **held)

    def test_the_last_verified_one_that_is_live_stays_beside_one_that_is_deleted(self):
        live = backup(50, version_id="v50")
        deleted = backup(40, version_id="v40", deleted=NOW, current=False)
        backups = [backup(0, version_id="a"), backup(1, version_id="b"), live, deleted]
        assert goes(backups, self.RULES) == [live, deleted]
        assert goes(backups, self.RULES, records=(record(live), record(deleted))) == []

    def test_a_pointer_without_a_version_means_the_current_one(self):
        key = "daily/dump.gz"
        versions = [backup(40, key=key, version_id="n"), backup(50, key=key, version_id="o", current=False)]
        neighbours = [backup(day, key=f"daily/{day}.gz", version_id="v") for day in (0, 1)]
        assert goes([*neighbours, *versions], self.RULES, named={(key, None)}) == [versions[1]]
        assert goes([*neighbours, *versions], self.RULES, named={(key, "o")}) == []


KINDS = st.sampled_from([True, True, True, False, None])
DAYS = st.floats(-3, 500, allow_nan=False)


@st.composite
def buckets(draw):
    """Backups of some rows and two databases, of any state, with or without versions; and what speaks for some."""
    found, versioned = [], draw(st.booleans())
    for number in range(draw(st.integers(0, 12))):
        name = draw(st.sampled_from(["estore", "shop"]))
        number_of = draw(st.integers(0, 5)) if versioned else number
        key = draw(st.sampled_from([f"daily/{name}-20260101T{number_of:06}Z.archive.gz", f"daily/{number_of}.gz"]))
        more = {"version_id": f"v{number}"} if versioned else {}
        lives = key not in {one.key for one in found}
        if versioned:
            more["current"] = lives
            more["deleted"] = NOW if any(o.key == key and o.deleted for o in found) or draw(st.booleans()) else None
        sha256 = f"{number:064}"
        days, written = draw(DAYS), draw(st.none() | DAYS)
        if draw(st.booleans()):
            more |= of_source(f"rs0@db1/{draw(st.sampled_from(['estore', 'shop']))}")
        found.append(backup(days, key=key, complete=draw(KINDS), written=written, sha256=sha256, **more))
    some = st.lists(st.sampled_from(found), unique_by=id) if found else st.just([])
    says = {
        "in_use": {one.key: "r" for one in draw(some)},
        "records": tuple(record(one, verified=draw(st.booleans())) for one in draw(some)),
        "named": {(one.key, None) for one in draw(some)},
        "locked": {(one.key, one.version_id): "locked" for one in draw(some)},
    }
    return found, rules(min_complete=draw(st.integers(1, 5)), versions=versioned), says


@given(buckets())
def test_whatever_lies_there_what_is_needed_stays(bucket):
    backups, wanted, says = bucket
    judged = verdicts(backups, wanted, **says)
    gone = {(v.backup.key, v.backup.version_id) for v in judged if v.goes}
    stays = [one for one in backups if (one.key, one.version_id) not in gone]
    for row in rows_of([one for one in backups if is_backup(one)]).values():
        complete = [one for one in row if one.complete and is_live(one)]
        left = [one for one in complete if one in stays]
        assert len(left) >= min(len(complete), wanted.min_complete)
        if complete:
            newest = max(one.finished for one in complete)
            assert newest in {one.finished for one in left}
        proven = [
            o for o in row if o.complete is not False and any(r.verified and r.is_about(o) for r in says["records"])
        ]
        if proven and (wanted.versions or all(is_live(o) for o in proven)):
            assert max(o.finished for o in proven) in {o.finished for o in proven if o in stays}
    for one in backups:
        if (one.key, one.version_id) not in gone:
            continue
        assert one.key not in says["in_use"] and (one.key, one.version_id) not in says["locked"]
        assert not (is_live(one) and (one.key, None) in says["named"])
        assert NOW - (one.finished if one.complete else one.last_modified) > datetime.timedelta(days=1)
        assert not one.complete or NOW - one.finished > datetime.timedelta(days=30)
        # nothing that was replaced comes to life again
        assert not is_live(one) or all(o in [b for b in backups if b not in stays] for o in backups if o.key == one.key)


@given(buckets())
def test_a_second_look_at_what_is_left_finds_nothing_more(bucket):
    backups, wanted, says = bucket
    stays = [one for one in backups if one not in goes(backups, wanted, **says)]
    assert goes(stays, wanted, **says) == []
