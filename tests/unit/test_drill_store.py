"""The bucket as a drill sees it: how it is named, whose keys are used, and what is said when S3 says no."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import boto3
import msgspec
import pytest
from ansible.module_utils.mendbook import s3_drill_record
from ansible.module_utils.mendbook.s3_backup import Entry
from botocore.exceptions import ClientError, EndpointConnectionError

from drill_records import record
from mendbook.drills.record import BackupTaken
from mendbook.drills.store import Store, resolved
from mendbook.errors import Failed, UsageError

AWS = ("s3_access_key", "s3_secret_key", "s3_session_token")


@pytest.mark.parametrize(
    ("place", "bucket", "prefix"),
    [
        ("s3://estore-backups", "estore-backups", ""),
        ("s3://estore-backups/", "estore-backups", ""),
        ("s3://estore-backups/daily/", "estore-backups", "daily/"),
        ("s3://estore-backups/a b/ü", "estore-backups", "a b/ü"),
    ],
)
def test_a_place_has_a_bucket_and_a_prefix(place, bucket, prefix):
    store = Store.at(place, {})
    assert (store.bucket, store.prefix) == (bucket, prefix)


@pytest.mark.parametrize(
    "place", ["", "estore", "https://s3/estore", "s3:/estore", "s3://", "s3:///a", "s3://-x/", "S3://a/"]
)
def test_what_is_no_place_is_an_error_with_an_example(place):
    with pytest.raises(UsageError, match="takes s3://bucket or s3://bucket/prefix/"):
        Store.at(place, {})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, ["env?:AWS_ACCESS_KEY_ID", "env?:AWS_SECRET_ACCESS_KEY", "env?:AWS_SESSION_TOKEN"]),
        ({"s3_profile": "prod"}, [None, None, None]),
        ({"s3_access_key": "env:A", "s3_secret_key": "env:B"}, ["env:A", "env:B", None]),
    ],
)
def test_keys_of_the_environment_are_used_where_no_other_credentials_are_named(options, named):
    assert [Store.at("s3://estore/", options).options.get(name) for name in AWS] == named


def test_secrets_are_read_from_where_they_are_named(tmp_path, monkeypatch):
    (tmp_path / "key").write_text("from a file\n")
    monkeypatch.setenv("MINE", "from here")
    monkeypatch.delenv("NOT_MINE", raising=False)
    assert resolved(f"file:{tmp_path}/key") == "from a file"
    assert (resolved("env:MINE"), resolved("env?:NOT_MINE"), resolved("eu-central-1")) == (
        "from here",
        None,
        "eu-central-1",
    )
    for missing in ("env:NOT_MINE", f"file:{tmp_path}/none"):
        with pytest.raises(UsageError, match=missing):
            resolved(missing)


class Bucket:
    """Just enough of boto3's client: objects, and the error that it answers with."""

    def __init__(self, error=None):
        self.objects, self.error, self.read = {}, error, []

    def put_object(self, Bucket, Key, Body, ContentType):
        if self.error:
            raise self.error
        self.objects[Key] = Body

    def get_paginator(self, name):
        return self

    def paginate(self, Bucket, Prefix):
        if self.error:
            raise self.error
        return [{"Contents": [{"Key": key} for key in sorted(self.objects) if key.startswith(Prefix)]}, {}]

    def get_object(self, Bucket, Key):
        self.read.append(Key)
        return {"Body": io.BytesIO(self.objects[Key])}


@pytest.fixture
def bucket(monkeypatch):
    made = Bucket()
    monkeypatch.setattr(boto3.Session, "client", lambda self, *names, **options: made)
    return made


def test_a_record_is_written_beside_its_backup_and_found_again(bucket):
    store = Store.at("s3://estore-backups/daily/", {})
    for day in (2, 1, 3):
        store.put(record(day))
    bucket.objects |= {"daily/estore.archive.gz": b"data", "daily/estore.archive.gz.drill.json": b"not ours"}
    keys = [f"daily/estore.archive.gz.drill.{record(day).run}.json" for day in (2, 3)]
    assert [(key, msgspec.json.decode(data, type=type(record()))) for key, data in store.records(2)] == [
        (keys[0], record(2)),
        (keys[1], record(3)),
    ]
    # the rest of a long history is not even read
    assert bucket.read == keys


@pytest.mark.parametrize("verified", [True, False])
def test_checks_of_backups_read_the_record_as_it_was_written(bucket, verified):
    written = record(
        verified=verified, backup=BackupTaken("estore-backups", "daily/estore.archive.gz", "v1", 9, "0" * 64)
    )
    key = Store.at("s3://estore-backups/daily/", {}).put(written)
    entry = Entry(key, None, "", 1, datetime(2026, 12, 1, tzinfo=UTC))
    read = s3_drill_record.parse(bucket.objects[key], entry)
    assert s3_drill_record.is_record(entry)
    assert (read.key, read.run, read.verified) == ("daily/estore.archive.gz", written.run, verified)
    assert (read.sha256, read.version_id) == ("0" * 64, "v1") and read.finished.isoformat()[:19] == written.finished[
        :19
    ]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject"), "AccessDenied, no"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), "Could not connect"),
    ],
)
def test_what_s3_says_no_to_is_told_in_one_sentence(bucket, error, words):
    bucket.error = error
    store = Store.at("s3://estore-backups/daily/", {})
    with pytest.raises(Failed, match=f"estore.archive.gz.drill.*cannot be written: .*{words}"):
        store.put(record())
    with pytest.raises(Failed, match=f"s3://estore-backups/daily/ cannot be read: .*{words}"):
        list(store.records(5))


def test_a_profile_that_does_not_exist_is_told_too(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(Failed, match="the S3 options cannot be used: .*prod"):
        Store.at("s3://estore/", {"s3_profile": "prod"}).put(record())
