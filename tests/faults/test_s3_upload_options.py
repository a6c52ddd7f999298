"""How a new object is kept: encryption, storage class, object lock, in buckets that have it and that do not."""

from __future__ import annotations

import base64
import datetime as dt

import pytest
from ansible.module_utils.mendbook import s3_upload
from ansible.module_utils.mendbook.errors import MendError, Refused
from ansible.module_utils.mendbook.s3 import get_small
from ansible.module_utils.mendbook.s3_upload import Upload, put_small
from upload_target import PART_BYTES

pytestmark = pytest.mark.faults

KEY = b"k" * 32
CUSTOMER_KEY = {"s3_sse_customer_key": base64.b64encode(KEY).decode()}
LOCK = {"object_lock_mode": "GOVERNANCE", "object_lock_days": 3}


@pytest.fixture(params=[10, PART_BYTES + 10], ids=["small", "parts"])
def written(request, store, noise, monkeypatch):
    """Write a new object into a bucket with options; (Uploaded, its key)."""
    monkeypatch.setattr(s3_upload, "PART_BYTES", PART_BYTES)

    def write(bucket, **options):
        key = f"options/{request.node.name}-{bucket}"
        with Upload(store.client, bucket, key, {**store.params, **options}) as upload:
            upload.write(noise(request.param))
            return upload.finish(), key

    return write


@pytest.fixture(scope="module")
def locked_bucket(s3_store):
    s3_store.s3.create_bucket(Bucket="worm", ObjectLockEnabledForBucket=True)
    return "worm"


def test_class_and_encryption_are_passed_on(store, written):
    result, key = written(store.bucket, storage_class="STANDARD_IA", server_side_encryption="AES256")
    head = store.s3.head_object(Bucket=store.bucket, Key=key)
    assert (head["StorageClass"], head["ServerSideEncryption"]) == ("STANDARD_IA", "AES256")
    assert head["ContentLength"] == result.size


def test_an_object_with_the_customers_key_can_be_read_with_it_only(store, written, noise):
    result, key = written(store.bucket, **CUSTOMER_KEY)
    with pytest.raises(Exception, match="must provide|400"):
        store.s3.get_object(Bucket=store.bucket, Key=key)
    answer = store.s3.get_object(Bucket=store.bucket, Key=key, SSECustomerAlgorithm="AES256", SSECustomerKey=KEY)
    assert answer["Body"].read() == noise(result.size)


def test_object_lock_holds_the_version_that_is_told(store, written, locked_bucket):
    result, key = written(locked_bucket, **LOCK)
    head = store.s3.head_object(Bucket=locked_bucket, Key=key)
    assert head["VersionId"] == result.version_id and head["ObjectLockMode"] == "GOVERNANCE"
    days = (head["ObjectLockRetainUntilDate"] - dt.datetime.now(dt.UTC)).total_seconds() / 86400
    assert 2.9 < days <= 3.01
    with pytest.raises(Exception, match="AccessDenied|object lock|WORM"):
        store.s3.delete_object(Bucket=locked_bucket, Key=key, VersionId=result.version_id)


def test_what_the_bucket_does_not_have_fails_in_words(store, written):
    with pytest.raises(MendError, match="Check the storage class, the encryption and the object lock"):
        written(store.bucket, **LOCK)


def test_a_deleted_key_of_a_bucket_with_versions_is_free(store, written, locked_bucket):
    _result, key = written(locked_bucket)
    with pytest.raises(Refused):
        written(locked_bucket)
    store.s3.delete_object(Bucket=locked_bucket, Key=key)
    assert written(locked_bucket)[0].version_id


def test_small_objects_are_written_once_or_over_as_asked(store):
    key = "options/pointer"
    first = put_small(store.client, store.bucket, key, b"{}", store.params, only_new=True)
    with pytest.raises(Refused, match="exists already"):
        put_small(store.client, store.bucket, key, b"[]", store.params, only_new=True)
    second = put_small(store.client, store.bucket, key, b"[1]", store.params)
    assert (first.size, second.size) == (2, 3)
    answer = store.s3.get_object(Bucket=store.bucket, Key=key)
    assert answer["Body"].read() == b"[1]" and answer["ContentType"] == "application/json"
    assert answer["ETag"].strip('"') == second.etag


def test_small_objects_are_locked_only_when_asked_and_never_archived(store, locked_bucket):
    params = {**store.params, **LOCK, "storage_class": "GLACIER"}
    put_small(store.client, locked_bucket, "mark", b"{}", params)
    put_small(store.client, locked_bucket, "manifest", b"{}", params, retain=True)
    mark, manifest = (store.s3.head_object(Bucket=locked_bucket, Key=key) for key in ("mark", "manifest"))
    assert "ObjectLockMode" not in mark and manifest["ObjectLockMode"] == "GOVERNANCE"
    assert {mark.get("StorageClass", "STANDARD"), manifest.get("StorageClass", "STANDARD")} == {"STANDARD"}


def test_a_small_object_has_the_customers_key_like_its_backup(store):
    params = {**store.params, **CUSTOMER_KEY}
    put_small(store.client, store.bucket, "options/secret", b"{}", params, only_new=True)
    assert get_small(store.client, store.bucket, "options/secret", 10, params) == b"{}"
    with pytest.raises(MendError, match="s3_sse_customer_key"):
        get_small(store.client, store.bucket, "options/secret", 10, store.params)
