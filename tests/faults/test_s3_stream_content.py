"""The stream of a backup whose bytes are not what they were: replaced, deleted, flipped, cut, another range."""

from __future__ import annotations

import boto3
import pytest
from ansible.module_utils.mendbook import s3, s3_stream
from ansible.module_utils.mendbook.errors import MendError, Refused, VerifyFailed
from ansible.module_utils.mendbook.s3_catalogue import catalogue
from ansible.module_utils.mendbook.s3_choice import choose
from botocore.config import Config
from s3_proxy import Fault

pytestmark = pytest.mark.faults

MIB = 1 << 20
SIZE = 5 * MIB + 12345
GET = "GET .*stream"


@pytest.fixture
def data(store, noise):
    content = noise(SIZE)
    store.put("stream/a.gz", content)
    return content


def test_a_replaced_object_is_never_mixed(store, noise):
    old, new = noise(SIZE), noise(SIZE + 1)[:SIZE]
    store.put("stream/r.gz", old, manifest=False)
    source = store.source("stream/r.gz", window=1)
    chunks = iter(source)
    first = next(chunks)
    store.s3.put_object(Bucket=store.bucket, Key="stream/r.gz", Body=new)
    with pytest.raises(MendError, match="replaced while it was being read"):
        first + b"".join(chunks)


def test_a_version_is_read_to_its_end_although_it_was_overwritten(store, noise):
    store.s3.create_bucket(Bucket="with-versions")
    store.s3.put_bucket_versioning(Bucket="with-versions", VersioningConfiguration={"Status": "Enabled"})
    old = noise(SIZE)
    store.s3.put_object(Bucket="with-versions", Key="v.gz", Body=old)
    backup = choose(catalogue(store.client, "with-versions", params=store.params), key="v.gz")
    chunks = iter(s3_stream.object_source(store.client, backup, store.params, part_bytes=MIB, window=1))
    first = next(chunks)
    store.s3.put_object(Bucket="with-versions", Key="v.gz", Body=b"new")
    store.s3.delete_object(Bucket="with-versions", Key="v.gz")
    assert first + b"".join(chunks) == old


def test_a_store_that_ignores_if_match_is_caught_by_the_etag(store, noise):
    old, new = noise(SIZE), noise(SIZE + 1)[:SIZE]
    store.put("stream/i.gz", old, manifest=False)
    client = s3.client(store.params)
    client.meta.events.register(
        "before-sign.s3.GetObject", lambda request, **_: request.headers.__delitem__("If-Match")
    )
    chunks = iter(store.source("stream/i.gz", window=1, client=client))
    next(chunks)
    store.s3.put_object(Bucket=store.bucket, Key="stream/i.gz", Body=new)
    with pytest.raises(MendError, match="replaced while it was being read"):
        list(chunks)


def test_a_deleted_object_fails_in_words(store, data):
    chunks = iter(store.source(window=1))
    next(chunks)
    store.s3.delete_object(Bucket=store.bucket, Key="stream/a.gz")
    with pytest.raises(MendError, match="deleted while it was being read"):
        list(chunks)


def test_a_store_that_ignores_ranges_is_refused(store, data):
    source = store.source()
    store.proxy.faults = [Fault(GET, drop_header="content-range")]
    with pytest.raises(MendError, match="does not answer ranges"):
        list(source)


def test_a_store_that_sends_another_range_is_refused(store, data):
    client = s3.client(store.params)

    def shift(request, **_):
        if "Range" in request.headers:
            request.headers.replace_header("Range", "bytes=5-1048580")

    client.meta.events.register("before-sign.s3.GetObject", shift)
    with pytest.raises(MendError, match="another range"):
        list(store.source(client=client))


def test_one_flipped_bit_anywhere_is_found_at_the_end(store, noise, record_fault, fault_rounds):
    content = noise(50_000)
    store.put("stream/flip.gz", content)
    rounds = fault_rounds(25, 1000)
    for number in range(rounds):
        source = store.source("stream/flip.gz", part_bytes=20_000)
        store.proxy.faults = [Fault(GET, flip_at=number * 50_000 // rounds)]
        with pytest.raises(VerifyFailed, match="damaged or was changed"):
            for _chunk in source:
                pass
        store.proxy.reset()
    record_fault("one bit flipped on the way from S3", rounds=rounds, held="every one refused at the end")


def test_a_flipped_bit_is_found_without_a_manifest_by_the_stores_own_checksum(store, noise):
    store.put("stream/plain.gz", noise(50_000), manifest=False)
    source = store.source("stream/plain.gz")
    store.proxy.faults = [Fault(GET, flip_at=31_000)]
    with pytest.raises(VerifyFailed, match="S3's checksum CRC32 says"):
        list(source)


def test_a_flipped_bit_is_found_without_any_checksum_by_the_etag(store, noise):
    keys = {
        "aws_access_key_id": store.facts["access_key"],
        "aws_secret_access_key": store.facts["secret_key"],
        "region_name": store.facts["region"],
    }
    config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
    old = boto3.client("s3", endpoint_url=store.facts["endpoint_url"], config=config, **keys)
    old.put_object(Bucket=store.bucket, Key="stream/etag.gz", Body=noise(50_000))
    source = store.source("stream/etag.gz")
    assert source.compared_with == "the ETag (MD5)"
    store.proxy.faults = [Fault(GET, flip_at=31_000)]
    with pytest.raises(VerifyFailed, match=r"the ETag \(MD5\) says"):
        list(source)


def test_bytes_that_are_not_those_of_the_manifest_are_refused(store, noise):
    store.put("stream/lie.gz", noise(70_000), sha256="0" * 64)
    with pytest.raises(VerifyFailed, match=r"the manifest's SHA-256 says 0{64}") as failure:
        list(store.source("stream/lie.gz"))
    assert failure.value.reason == "verify"


def test_a_truncated_object_is_never_chosen(store, noise):
    content = noise(60_000)
    store.put("stream/cut.gz", content)
    store.s3.put_object(Bucket=store.bucket, Key="stream/cut.gz", Body=content[:-1])
    with pytest.raises(Refused, match="it has 59999 bytes, its manifest says 60000"):
        store.source("stream/cut.gz")
