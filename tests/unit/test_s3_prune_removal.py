"""What is deleted for each backup, in which order, and what dead runs have left."""

from __future__ import annotations

import dataclasses

import pytest
from ansible.module_utils.mendbook.s3_backup import DeleteMarker, Entry
from ansible.module_utils.mendbook.s3_prune_removal import Listed, backup_removals, leftover_removals
from backup_rows import NOW, RUN, backup, days_ago, evidence, judge, key_of, live, record, rules

OLD = key_of(60)


def entry(key, days=60, version_id=None, **more):
    return Entry(key, version_id, "etag", 10, days_ago(days), **more)


def marker(key, days=1, version_id="x", current=True):
    return DeleteMarker(key, version_id, days_ago(days), current)


def removals(backups, entries, markers=(), versions=False, records=(), **says):
    """(those of backups, those of leftovers), each as {object: [pieces' keys and versions]}."""
    wanted = rules(versions=versions)
    verdicts = judge(backups, wanted, evidence(records=tuple(records), **says))
    listed = Listed(entries, markers, versions)
    going = backup_removals(verdicts, listed)
    rest = leftover_removals(verdicts, going, listed, records, wanted, NOW)
    shown = lambda found: {r.object: [(p.key, p.version_id) for p in r.pieces] for r in found}  # noqa: E731
    return shown(going), shown(rest)


YOUNG = [backup(0), backup(1)]


def test_the_object_goes_before_its_manifest_and_the_oldest_before_the_newer():
    old = [backup(day) for day in (40, 60, 50)]
    going, rest = removals([*YOUNG, *old], live(*YOUNG, *old))
    assert list(going) == [key_of(60), key_of(50), key_of(40)]
    assert going[key_of(50)] == [(key_of(50), None), (f"{key_of(50)}.manifest.json", None)]
    assert rest == {}


def test_a_manifest_without_its_object_goes_alone():
    orphan = backup(60, complete=False, etag=None, size=None)
    going, _rest = removals([*YOUNG, orphan], [*live(*YOUNG), orphan.manifest_entry])
    assert going == {OLD: [(f"{OLD}.manifest.json", None)]}


def test_older_versions_go_before_the_newer_and_markers_before_the_manifests_that_name_them():
    versions = [backup(day, key=OLD, version_id=f"v{day}", current=False, deleted=days_ago(35)) for day in (40, 50)]
    beside = f"{OLD}.manifest.json"
    entries = [entry(OLD, 40, "v40", current=False, deleted=days_ago(35)), entry(OLD, 50, "v50", current=False)]
    entries += [dataclasses.replace(v.manifest_entry, deleted=days_ago(35)) for v in versions]
    versions = [dataclasses.replace(v, manifest_entry=m) for v, m in zip(versions, entries[2:], strict=True)]
    young = [backup(day, version_id="y") for day in (0, 1)]
    markers = [marker(OLD, 35, "d1"), marker(beside, 35, "d2")]
    going, rest = removals([*young, *versions], [*live(*young), *entries], markers, versions=True)
    assert list(going.values()) == [
        [(OLD, "v50"), (beside, "m-v50")],
        [(OLD, "v40"), (OLD, "d1"), (beside, "m-v40"), (beside, "d2")],
    ]
    assert rest == {}


def test_while_one_version_stays_nothing_is_unhidden():
    versions = [backup(day, key=OLD, version_id=f"v{day}", current=False, deleted=days_ago(5)) for day in (10, 50)]
    entries = [entry(OLD, day, f"v{day}", current=False, deleted=days_ago(5)) for day in (10, 50)]
    entries += [v.manifest_entry for v in versions]
    young = [backup(day, version_id="y") for day in (0, 1)]
    going, rest = removals([*young, *versions], [*live(*young), *entries], [marker(OLD)], versions=True)
    assert list(going.values()) == [[(OLD, "v50"), (f"{OLD}.manifest.json", "m-v50")]]
    assert rest == {}


class TestLeftovers:
    @pytest.mark.parametrize(("days", "goes"), [(0.1, False), (0.9, False), (1.1, True), (60, True)])
    def test_the_mark_of_a_dead_run_goes_after_a_day(self, days, goes):
        mark = f"{YOUNG[0].key}.inuse.{RUN}.json"
        _going, rest = removals(YOUNG, [*live(*YOUNG), entry(mark, days)])
        assert list(rest) == ([mark] if goes else [])

    @pytest.mark.parametrize(
        ("days", "verified", "there", "goes"),
        [(60, False, False, True), (60, True, False, False), (10, False, False, False), (60, False, True, False)],
    )
    def test_the_record_of_a_drill_goes_without_proof_and_without_its_backup(self, days, verified, there, goes):
        about = YOUNG[1] if there else backup(60)
        key = f"{about.key}.drill.{RUN}.json"
        _going, rest = removals(YOUNG, [*live(*YOUNG), entry(key, days)], records=[record(about, verified)])
        assert list(rest) == ([key] if goes else [])

    def test_the_record_goes_together_with_its_backup(self):
        old = backup(60)
        key = f"{OLD}.drill.{RUN}.json"
        going, rest = removals([*YOUNG, old], [*live(*YOUNG, old), entry(key, 59)], records=[record(old, False)])
        assert list(going) == [OLD] and list(rest) == [key]

    def test_a_marker_goes_when_it_hides_nothing_and_is_ours(self):
        names = [OLD, f"{OLD}.manifest.json", f"{OLD}.inuse.{RUN}.json", "daily/README.txt", "daily/own.gz"]
        entries = live(*YOUNG)
        markers = [marker(name) for name in names]
        _going, rest = removals(YOUNG, entries, markers, versions=True)
        assert sorted(rest) == sorted(names[:3])
        _going, rest = removals(YOUNG, entries, markers)
        assert rest == {}

    def test_the_marker_of_a_key_of_ones_own_is_known_by_its_manifests(self):
        own = ["daily/own.gz", "daily/own.gz.manifest.json"]
        _going, rest = removals(YOUNG, live(*YOUNG), [marker(name) for name in own], versions=True)
        assert list(rest) == own

    def test_a_live_manifest_of_a_deleted_object_goes(self):
        beside = entry(f"{OLD}.manifest.json", 60)
        _going, rest = removals(YOUNG, [*live(*YOUNG), beside, entry(OLD, 60, deleted=days_ago(1), current=False)])
        assert list(rest) == [beside.key]

    def test_the_versions_that_renewals_of_a_lock_have_left_go_after_a_day(self):
        lock = "daily/.mendbook-lock.json"
        entries = [entry(lock, 0, "now"), entry(lock, 0.5, "young", current=False)]
        entries += [entry(lock, day, f"v{day}", current=False) for day in (2, 3)]
        _going, rest = removals(YOUNG, [*live(*YOUNG), *entries], versions=True)
        assert rest == {lock: [(lock, "v3"), (lock, "v2")]}

    def test_objects_of_others_are_no_leftovers(self):
        names = ["daily/README.txt", "daily/", "daily/latest", "daily/.mendbook-lock.json", "daily/x.drill.json"]
        _going, rest = removals(YOUNG, [*live(*YOUNG), *(entry(name, 400) for name in names)])
        assert rest == {}
