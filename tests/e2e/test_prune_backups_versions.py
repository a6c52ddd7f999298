"""prune_backups in buckets that keep versions, delete markers and locked objects."""

from __future__ import annotations

import datetime
from uuid import uuid4

import pytest

from bucket_lab import YOUNG, BucketLab, notes, removed, store_time

pytestmark = pytest.mark.e2e


@pytest.fixture
def lab(sandbox, s3_client, request) -> BucketLab:
    """A bucket of its own that keeps versions. Its young backups are there before a test's, so each puts one more last:
    the complete one that was written last stays, however old it is."""
    bucket = f"versions-{uuid4().hex}"
    s3_client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket="lock" in request.node.name)
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    lab = BucketLab(s3_client, sandbox.status()["s3"], bucket, "daily/")
    for day in YOUNG:
        lab.backup(day)
    return lab


def one_more(lab):
    return lab.backup(0.01)


def versions(lab, key):
    """{version id or "marker"} of everything under a key, the manifest's included."""
    names = {key: "", f"{key}.manifest.json": "m "}
    return [names[e[0]] + (e[2] if e[2] == "marker" else e[1]) for e in lab.everything() if e[0] in names]


def test_a_marker_hides_and_can_be_taken_away(lab):
    key = lab.backup(60, data=b"x" * 5000)
    one_more(lab)
    before = lab.everything()
    planned = lab.plan()
    assert planned["plan"]["totals"]["bytes"] == 0
    assert "a delete marker that is removed brings back what it hides" in planned["plan"]["undo"]["none"]
    removed(lab.act(planned))
    assert key not in lab.keys() and len(lab.everything()) == len(before) + 2
    assert lab.plan()["state"] == "nothing to do"
    for name, version, etag, _latest in lab.everything():
        if etag == "marker":
            lab.s3.delete_object(Bucket=lab.bucket, Key=name, VersionId=version)
    assert lab.everything() == before


def test_a_key_that_is_written_over_loses_its_old_versions_with_their_manifests(lab):
    key = f"{lab.prefix}estore.archive.gz"
    for day in (50, 40, 10):
        lab.backup(day, key=key)
    kept = versions(lab, key)
    assert len(kept) == 6
    result = lab.prune(versions=True)
    left = versions(lab, key)
    assert len(removed(result)) == 2 and len(left) == 2
    newest = lab.s3.head_object(Bucket=lab.bucket, Key=key)["VersionId"]
    assert newest in left
    assert lab.prune(versions=True)["state"] == "nothing to do"


def test_an_older_version_that_is_needed_keeps_the_one_above_it(lab):
    key = lab.key(40)
    lab.backup(50, key=key)
    lab.drill(key)
    lab.backup(40, key=key)
    one_more(lab)
    before = versions(lab, key)
    result = lab.plan(versions=True)
    assert result["state"] == "nothing to do" and versions(lab, key) == before
    assert "would take its place" in notes(result)


def test_what_somebody_deleted_goes_with_its_markers_and_nothing_comes_back_to_life(lab):
    old, recent = lab.backup(60), lab.backup(10)
    one_more(lab)
    for key in (recent, old):
        for name in (key, f"{key}.manifest.json"):
            lab.s3.delete_object(Bucket=lab.bucket, Key=name)
    result = lab.prune(versions=True)
    assert [name.split(" ")[0] for name in removed(result)] == [old]
    assert versions(lab, old) == []
    assert [name for name in versions(lab, recent) if "marker" in name] == ["marker", "m marker"]
    assert len(versions(lab, recent)) == 4, "a recent one can still be brought back"


def test_markers_that_hide_nothing_go_and_those_of_others_stay(lab):
    ours, foreign = lab.unfinished(60), f"{lab.prefix}README.txt"
    lab.put(foreign)
    for name, version, _etag, _latest in lab.everything():
        if name in (ours, foreign):
            lab.s3.delete_object(Bucket=lab.bucket, Key=name)
            lab.s3.delete_object(Bucket=lab.bucket, Key=name, VersionId=version)
    assert [entry[0] for entry in lab.everything() if entry[2] == "marker"] == sorted([ours, foreign])
    assert removed(lab.prune(versions=True)) == [ours]
    assert [entry[0] for entry in lab.everything() if entry[2] == "marker"] == [foreign]


def test_a_manifest_whose_object_alone_was_deleted(lab):
    key = lab.backup(60)
    one_more(lab)
    lab.s3.delete_object(Bucket=lab.bucket, Key=key)
    with store_time(days=1.1):
        assert removed(lab.prune()) == [f"{key}.manifest.json"]
        assert f"{key}.manifest.json" not in lab.keys()


def test_what_was_there_before_versions_were_kept(sandbox, s3_client):
    s3_client.create_bucket(Bucket="versions-later")
    lab = BucketLab(s3_client, sandbox.status()["s3"], "versions-later", "daily/")
    for day in (60, 70, *YOUNG):
        lab.backup(day)
    s3_client.put_bucket_versioning(Bucket=lab.bucket, VersioningConfiguration={"Status": "Enabled"})
    planned = lab.plan(versions=True)
    assert planned["plan"]["totals"]["bytes"] > 0
    assert len(removed(lab.act(planned, versions=True))) == 2
    assert len(lab.everything()) == 14


def test_where_versions_are_suspended_the_old_ones_are_seen_and_the_rest_is_freed(lab):
    lab.s3.put_bucket_versioning(Bucket=lab.bucket, VersioningConfiguration={"Status": "Suspended"})
    key = lab.backup(60)
    one_more(lab)
    planned = lab.plan()
    assert planned["plan"]["target"]["facts"]["versioning"] == "suspended"
    assert planned["plan"]["totals"]["bytes"] > 0
    removed(lab.act(planned))
    assert key not in lab.keys()
    # the bytes are gone: the marker has taken the place of the version "null"
    assert {entry[2] for entry in lab.everything() if entry[0] == key} == {"marker"}


@pytest.mark.parametrize("wanted", [True, False])
def test_a_lock_of_the_store_is_named_and_respected(lab, wanted):
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    retained = lab.backup(60, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    held = lab.backup(70)
    version = lab.s3.head_object(Bucket=lab.bucket, Key=held)["VersionId"]
    lab.s3.put_object_legal_hold(Bucket=lab.bucket, Key=held, VersionId=version, LegalHold={"Status": "ON"})
    free = lab.backup(80)
    one_more(lab)
    before = [entry for entry in lab.everything() if not entry[0].startswith(free)]

    result = lab.prune(versions=wanted)

    assert [name.split(" ")[0] for name in removed(result)] == [free]
    assert "its retention (GOVERNANCE) ends" in notes(result) and "it is under legal hold" in notes(result)
    assert [entry for entry in lab.everything() if not entry[0].startswith(free)] == before
    assert {retained, held} <= set(lab.keys())
