"""backup_mongo's options against real servers: what each one changes, and what is refused before anything is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pymongo
import pytest

import backup_lab
import restore_lab
from backup_lab import BackupLab, fill
from mendbook.sandbox import Sandbox
from mendbook.sandbox.services.mongo import Service
from restore_lab import Lab

pytestmark = pytest.mark.e2e

PASSWORD = "canary-least"  # noqa: S105 (a server on loopback)


@pytest.fixture
def lab_of(sandbox: Sandbox, s3_client: Any) -> Iterator[Callable[..., BackupLab]]:
    """Give labs on a server, in the sandbox's S3; without a URI on the sandbox's replica set."""
    with ExitStack() as labs:

        def make(uri: str | None = None, name: str | None = None) -> BackupLab:
            facts = sandbox.status()
            return labs.enter_context(backup_lab.backup_lab(uri or facts["mongo"]["uri"], s3_client, facts["s3"], name))

        yield make


@pytest.fixture
def lab(lab_of: Callable[..., BackupLab]) -> BackupLab:
    lab = lab_of()
    lab.database["orders"].insert_many({"_id": n} for n in range(50))
    return lab


@pytest.fixture
def service(sandbox: Sandbox) -> Iterator[Callable[..., Service]]:
    """Start a mongod, or a set of them, for one test."""
    added: list[Service] = []

    def start(**options: Any) -> Service:
        made = Service(name=f"backup-{len(added)}", **options)
        sandbox.add(made)
        added.append(made)
        return made

    yield start
    for one in added:
        sandbox.remove(one.name)


def unchanged(lab: BackupLab, **options: Any) -> dict[str, Any]:
    """The result of a backup that must leave everything as it was."""
    before = lab.everything()
    planned = lab.plan(**options)
    assert lab.everything() == before
    result = planned if planned["rc"] else lab.act(planned, **options)
    assert (result["rc"], result["changed"], lab.keys(), lab.unfinished()) == (1, False, [], []), result.get("msg")
    return result


# -- what comes out


def test_encryption_and_a_key_of_ones_own_are_passed_through(lab) -> None:
    result = lab.backup(key=f"{lab.prefix}before-42.gz", server_side_encryption="AES256", storage_class="STANDARD")
    assert result["state"] == "done", result.get("msg")
    assert lab.whole() == ["before-42.gz"]
    for key in ("before-42.gz", "before-42.gz.manifest.json"):
        head = lab.s3.head_object(Bucket=lab.bucket, Key=lab.prefix + key)
        assert head["ServerSideEncryption"] == "AES256"


def test_a_storage_class_and_a_lock_reach_the_store_as_they_were_asked_for(lab, s3_client) -> None:
    bucket = f"locked-{uuid4().hex[:8]}"
    s3_client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    lab.bucket = bucket
    result = lab.backup(bucket=bucket, object_lock_mode="GOVERNANCE", object_lock_days=2)
    assert result["state"] == "done", result.get("msg")
    (key,) = lab.whole()
    versions = lab.s3.list_object_versions(Bucket=bucket, Prefix=lab.prefix)["Versions"]
    for version in versions:
        name = version["Key"][len(lab.prefix) :]
        head = s3_client.head_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
        assert head.get("ObjectLockMode") == (None if "lock.json" in name else "GOVERNANCE"), name
    assert lab.manifest(key)["object"]["version_id"] == result["read_back"]["version_id"] != None  # noqa: E711
    # a second one beside it: nothing of the first was in its way
    assert lab.backup(bucket=bucket, latest=True)["state"] == "done"
    assert len(lab.whole()) == 2
    for version in lab.s3.list_object_versions(Bucket=bucket, Prefix=lab.prefix)["Versions"]:
        s3_client.delete_object(
            Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"], BypassGovernanceRetention=True
        )


def test_a_customers_key_encrypts_and_reads_back(lab) -> None:
    key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    result = lab.backup(s3_sse_customer_key=key, verify=True)
    assert result["state"] == "done" and result["read_back"]["every_byte_read"] is True, result.get("msg")
    with pytest.raises(lab.s3.exceptions.ClientError):
        lab.body(lab.keys()[0])
    assert key not in json.dumps(result)


def test_time_fields_say_where_the_newest_time_is(lab) -> None:
    lab.database["events"].insert_one({"_id": 1, "on": backup_lab.START})
    assert lab.backup(time_fields={"events": "on"})["state"] == "done"
    entry = lab.manifest(lab.whole()[0])["collections"][f"{lab.database.name}.events"]
    assert (entry["newest"], entry["newest_field"]) == ("2026-01-01T00:00:00Z", "on")


@pytest.mark.parametrize("name", ["käse-brot", "a\nb", "latest", "100%", "it's\u202e", "x" * 63])
def test_a_hostile_name_is_backed_up_found_and_restored(lab_of, sandbox, monkeypatch, name) -> None:
    lab = lab_of(name=name)
    lab.database["a%2f b\n"].insert_many({"_id": n} for n in range(3))
    result = lab.backup(latest=True)
    assert result["state"] == "done", result.get("msg")
    assert lab.clean("latest")
    manifest = lab.manifest(lab.whole()[0])
    assert list(manifest["collections"]) == [f"{name}.a%2f b\n"]
    restore_lab.quick_writers(monkeypatch)
    back = Lab(lab.options["uri"], lab.database.client, f"estore_{uuid4().hex[:8]}")
    options = {option: value for option, value in lab.options.items() if option not in ("uri", "database")}
    restored = back.restore(**options, source_database=name)
    assert restored["state"] == "done", restored.get("msg")
    assert back.database["a%2f b\n"].count_documents({}) == 3
    lab.database.client.drop_database(back.database.name)


def test_a_name_that_no_restore_would_take_is_refused(lab_of) -> None:
    lab = lab_of(name="*[x]?")
    lab.database["orders"].insert_one({"_id": 1})
    result = unchanged(lab)
    assert result["mend"]["rule"] == "names" and "impossible database name" in result["msg"]


# -- where it is read from


def test_a_standalone_server_is_read_collection_by_collection_and_says_so(service, lab_of) -> None:
    lab = lab_of(service(replica_set=None).uri)
    fill(lab.database)
    result = lab.backup()
    assert result["state"] == "done", result.get("msg")
    assert any("standalone" in note for note in result["plan"]["notes"])
    manifest = lab.manifest(lab.whole()[0])
    assert (manifest["consistency"], manifest["cluster_time"]) == ("per_collection", None)
    assert any("standalone" in note for note in manifest["notes"])


def test_a_secondary_is_read_and_the_primary_when_asked_for(service, lab_of) -> None:
    three = service(members=3)
    lab = lab_of(three.uri)
    # the primary stays the primary, however long this machine stands still
    configuration = lab.database.client.admin.command("replSetGetConfig")["config"]
    configuration["settings"]["electionTimeoutMillis"] = 120_000
    lab.database.client.admin.command("replSetReconfig", {**configuration, "version": configuration["version"] + 1})
    fill(lab.database)
    lab.database["last"].with_options(write_concern=pymongo.WriteConcern(3)).insert_one({"_id": 1})
    primary = "{}:{}".format(*lab.database.client.primary)
    for preference, secondary in (("secondary_preferred", True), ("primary", False)):
        result = lab.backup(read_preference=preference)
        assert result["state"] == "done", result.get("msg")
        manifest = lab.manifest(result["read_back"]["key"][len(lab.prefix) :])
        assert (manifest["member"] != primary) is secondary
        assert manifest["collections"][f"{lab.database.name}.last"]["count"] == 1
        # the same source, whoever is read
        assert manifest["source"]["id"].endswith(f"/{lab.database.name}")


@pytest.mark.parametrize("roles", ["backup", "read"])
def test_the_least_roles_are_enough(lab_of, sandbox, roles) -> None:
    lab = lab_of()
    fill(lab.database)
    if roles == "read":
        lab.database.drop_collection("metrics")
    admin, name = lab.database.client.admin, lab.database.name
    granted = {"role": roles, "db": "admin" if roles == "backup" else name}
    admin.command("createUser", name, pwd=PASSWORD, roles=[granted])
    try:
        uri = f"mongodb://{name}:{PASSWORD}@{lab.options['uri'].rpartition('@')[2]}"
        result = lab.backup(uri=uri, users_and_roles=roles == "backup")
        assert result["state"] == "done", result.get("msg")
        if roles == "read":
            refused = lab.plan(uri=uri, users_and_roles=True)
            assert refused["mend"]["rule"] == "privileges" and "backup" in refused["msg"]
            assert PASSWORD not in json.dumps(refused)
    finally:
        admin.command("dropUser", name)


# -- what is refused


@pytest.mark.parametrize(
    ("options", "reason", "rule"),
    [
        ({"database": "no_such_estore"}, "nothing", "database"),
        ({"database": "admin"}, "refused", "database"),
        ({"bucket": "no-such-bucket"}, "nothing", "bucket"),
        ({"bucket": ""}, "refused", "options"),
        ({"key": "elsewhere/a.gz"}, "refused", "key"),
        ({"prefix": "s3://backups/daily/"}, "refused", "options"),
        ({"prefix": "/daily/"}, "refused", "options"),
        ({"prefix": "daily//x/"}, "refused", "options"),
        # the key that is made of it would be taken for a pointer
        ({"prefix": "latest."}, "refused", "key"),
        ({"prefix": "d" * 960}, "refused", "key"),
        ({"readers": 0}, "refused", "options"),
        ({"max_bytes_per_second": -1}, "refused", "options"),
        ({"object_lock_days": 3}, "refused", "options"),
        ({"max_bytes_per_second": 1}, "refused", "window"),
        ({"s3_endpoint_url": "http://127.0.0.1:9"}, None, "s3"),
        ({"s3_secret_key": "wrong" * 8}, None, "s3"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_rule(lab, options, reason, rule) -> None:
    result = unchanged(lab, **options)
    assert (result["mend"]["reason"], result["mend"]["rule"]) == (reason, rule), result["msg"]
    assert "wrongwrong" not in json.dumps(result)


def test_an_emptied_database_is_no_backup_that_anybody_should_take_for_one(lab) -> None:
    lab.database.drop_collection("orders")
    assert unchanged(lab)["mend"]["reason"] == "nothing"


def test_the_window_can_be_made_longer_or_waived(lab) -> None:
    slow = {"max_bytes_per_second": 2}
    assert unchanged(lab, **slow)["mend"]["rule"] == "window"
    planned = lab.plan(**slow, consistency="per_collection")
    assert planned["plan"]["refusals"] == [] and planned["plan"]["source"]["consistency"] == "per_collection"
    admin = lab.database.client.admin
    before = admin.command("getParameter", 1, minSnapshotHistoryWindowInSeconds=1)["minSnapshotHistoryWindowInSeconds"]
    try:
        admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=3600)
        assert lab.plan(**slow)["plan"]["refusals"] == []
    finally:
        admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=before)


def test_a_key_that_is_taken_is_never_written_over(lab) -> None:
    key = f"{lab.prefix}mine.gz"
    lab.s3.put_object(Bucket=lab.bucket, Key=key, Body=b"somebody's")
    planned = lab.plan(key=key)
    assert [one["rule"] for one in planned["plan"]["refusals"]] == ["key"]
    result = lab.act(planned, key=key)
    assert (result["rc"], result["mend"]["rule"], lab.keys()) == (1, "key", ["mine.gz"])
    assert lab.body("mine.gz") == b"somebody's"


def test_a_dump_that_is_named_latest_is_not_taken_for_a_pointer(lab) -> None:
    for body in (b"\x6d\xe2\x99\x81\0\0 a dump", b"x" * 5000, b"two\nlines"):
        lab.s3.put_object(Bucket=lab.bucket, Key=f"{lab.prefix}latest", Body=body)
        planned = lab.plan(latest=True)
        assert [one["rule"] for one in planned["plan"]["refusals"]] == ["latest"]
        assert lab.act(planned, latest=True)["rc"] == 1
        assert lab.body("latest") == body


def test_a_missing_role_is_named_before_anything_is_written(lab_of) -> None:
    lab = lab_of()
    fill(lab.database)
    admin, name = lab.database.client.admin, lab.database.name
    admin.command("createUser", name, pwd=PASSWORD, roles=[{"role": "read", "db": name}])
    try:
        uri = f"mongodb://{name}:{PASSWORD}@{lab.options['uri'].rpartition('@')[2]}"
        result = unchanged(lab, uri=uri)
    finally:
        admin.command("dropUser", name)
    assert result["mend"]["rule"] == "privileges" and "metrics" in result["msg"] and "backup" in result["msg"]
