"""prune_backups against a real store: what goes, what stays and why, seen by an independent client."""

from __future__ import annotations

import json

import pytest

from bucket_lab import LATER, BucketLab, lab_of, notes, removed, rule, store_time, young

pytestmark = pytest.mark.e2e


@pytest.fixture
def lab(sandbox, s3_client, request) -> BucketLab:
    return lab_of(sandbox, s3_client, request.node.name)


@pytest.fixture
def prune(playbook, lab):
    """Run the playbook; the Played, and the result of the module."""

    def run(*arguments, **options):
        played = playbook("prune_backups", *arguments, variables=lab.variables("s3_backup_prune", **options))
        (result,) = played.of("mend_s3_backup_prune")
        return played, result

    return run


def with_manifests(*keys):
    return sorted(name for key in keys for name in (key, f"{key}.manifest.json"))


def test_plan_refusal_run_and_second_run(prune, lab):
    old = [lab.backup(day) for day in (45, 31)]
    stay = young(lab)
    lab.put(f"{lab.prefix}README.txt", b"not yours")
    before = lab.everything()

    played, planned = prune("--check")
    assert played.rc == 0 and planned["state"] == "planned" and planned["changed"]
    assert [change["object"] for change in planned["plan"]["changes"]] == old
    assert lab.everything() == before and not played.journal()
    sizes = {e["Key"]: e["Size"] for e in lab.s3.list_objects_v2(Bucket=lab.bucket, Prefix=lab.prefix)["Contents"]}
    assert planned["plan"]["totals"]["bytes"] == sum(sizes[key] for key in with_manifests(*old))
    assert planned["plan"]["remains"]["complete"] == 7
    assert "neither name nor manifest makes them backups: 1" in notes(planned)
    target = planned["plan"]["target"]["id"]
    endpoint = lab.options["s3_endpoint_url"].split("//")[1]
    assert target == f"s3@{endpoint}/{lab.bucket}/{lab.prefix}"

    played, refused = prune(confirm=target.replace(endpoint, "s3.example.com"))
    assert played.rc == 2 and rule(refused) == "confirm"
    assert f"-e s3_backup_prune_confirm={target}" in refused["msg"]
    assert lab.everything() == before

    played, result = prune(confirm=target)
    assert played.rc == 0 and result["state"] == "done"
    assert removed(result) == old
    assert result["read_back"]["removed"] == 2 and result["read_back"]["complete"] == 7
    assert lab.keys() == sorted([*with_manifests(*stay), f"{lab.prefix}README.txt"])
    ends = [line for line in played.journal() if line["event"] == "end"]
    assert [entry["object"] for entry in ends[-1]["done"]] == old

    after = lab.everything()
    played, again = prune(confirm=target)
    assert played.rc == 0 and not again["changed"] and again["state"] == "nothing to do"
    assert lab.everything() == after


def test_a_bucket_that_keeps_versions_gets_markers_or_is_freed(prune, lab):
    lab.bucket = lab.options["bucket"] = "prune-by-playbook"
    lab.s3.create_bucket(Bucket=lab.bucket)
    lab.s3.put_bucket_versioning(Bucket=lab.bucket, VersioningConfiguration={"Status": "Enabled"})
    old = lab.backup(45)
    stay = young(lab)
    target = f"s3@{lab.options['s3_endpoint_url'].split('//')[1]}/{lab.bucket}/{lab.prefix}"
    before = lab.everything()

    played, hidden = prune(confirm=target)
    assert played.rc == 0 and len(removed(hidden)) == 1
    assert hidden["plan"]["totals"]["bytes"] == 0 and "1 of these only get a delete marker" in notes(hidden)
    assert lab.keys() == with_manifests(*stay)
    assert len(lab.everything()) == len(before) + 2

    played, freed = prune(confirm=target, versions=True)
    assert played.rc == 0, freed["msg"]
    assert lab.keys() == with_manifests(*stay)
    assert not [entry for entry in lab.everything() if entry[0].startswith(old)]
    assert lab.plan(versions=True)["state"] == "nothing to do"


def test_each_database_keeps_its_last_ones_also_under_keys_without_a_date(lab):
    users = [lab.backup(day, key=f"{lab.prefix}users-{day}.gz", source="rs0@db1/users") for day in (45, 40)]
    shop = [lab.backup(day, key=f"{lab.prefix}shop-{day}.gz", source="rs0@db1/shop") for day in range(35, 26, -1)]
    result = lab.prune()
    assert removed(result) == shop[:2]
    assert lab.keys() == with_manifests(*users, *shop[2:])
    assert f"the 2 rows keeps its own minimum: {lab.prefix}* (shop), {lab.prefix}* (users)" in notes(result)


class TestWhatStays:
    def test_the_last_verified_one_and_one_that_latest_names(self, lab):
        verified, named, other = lab.backup(50), lab.backup(60), lab.backup(70)
        young(lab)
        lab.drill(verified)
        lab.drill(other, verified=False)
        lab.put(f"{lab.prefix}latest", json.dumps({"key": named, "version_id": None}).encode())
        result = lab.prune()
        assert removed(result)[0] == other
        assert f"{verified}, 50 d 0 h old: it is the last one that a drill has verified" in notes(result)
        assert f"{named}, 60 d 0 h old: latest names it" in notes(result)

    def test_one_that_a_latest_above_the_prefix_names(self, lab):
        named = lab.backup(60)
        young(lab)
        root = lab.prefix
        lab.put(f"{root}latest.json", json.dumps({"key": named}).encode())
        lab.prefix = lab.options["prefix"] = f"{root}estore-"
        assert lab.plan()["state"] == "nothing to do"

    def test_one_that_a_run_reads_until_its_mark_is_six_hours_old(self, lab):
        key = lab.backup(60)
        young(lab)
        mark = lab.mark(key)
        assert lab.prune()["state"] == "nothing to do"
        with store_time(days=0.26):
            result = lab.prune()
        assert removed(result) == [key]
        # the mark itself goes when it is a day old
        assert mark in lab.keys()
        with store_time(days=1.01):
            assert removed(lab.prune()) == [mark]

    def test_an_unfinished_one_of_less_than_a_day_and_one_without_a_later_complete_one(self, lab):
        young(lab)
        unfinished = lab.unfinished(40)
        assert lab.prune()["state"] == "nothing to do"
        with store_time(days=1.01):
            # the newest complete one must have been finished after it
            assert lab.prune()["state"] == "nothing to do"
            lab.backup(LATER)
            assert removed(lab.prune()) == [unfinished]
        assert unfinished not in lab.keys()

    def test_the_minimum_of_each_database(self, lab):
        young(lab)
        gone_shop = [lab.backup(day, name="shop") for day in range(109, 99, -1)][::-1]
        result = lab.prune()
        assert removed(result) == gone_shop[:6:-1]
        assert set(with_manifests(*gone_shop[:7])) <= set(lab.keys())

    def test_records_of_drills_that_proved_something_are_history(self, lab):
        old = lab.backup(60)
        young(lab)
        proof = lab.drill(old, days=59)
        miss = lab.drill(old, days=58, verified=False, run="20260102T000000Z-0a1b2c")
        lab.drill(lab.backup(0.2), days=0, run="20260103T000000Z-0a1b2c")
        with store_time(days=31):
            lab.backup(LATER)
            result = lab.prune(keep_complete=1, max_share=1)
        assert {old, miss} <= set(removed(result))
        assert proof in lab.keys() and miss not in lab.keys()

    def test_objects_of_others_whatever_their_age(self, lab):
        young(lab)
        foreign = [f"{lab.prefix}{name}" for name in ("estore.archive.gz", "dump-20200101.gz", "notes.json", "sub/x")]
        for key in foreign:
            lab.put(key)
        lab.put(f"{lab.prefix}empty-20200101T000000Z.gz", b"")
        with store_time(days=400):
            lab.backup(LATER)
            result = lab.prune(max_share=1, keep_complete=1)
        assert result["state"] == "done"
        assert set(foreign) <= set(lab.keys())

    def test_what_does_not_match_the_pattern(self, lab):
        old = [lab.backup(60, name=name) for name in ("estore", "shop")]
        young(lab)
        assert removed(lab.prune(pattern="estore-*", keep_complete=7)) == [old[0]]
        assert old[1] in lab.keys()
