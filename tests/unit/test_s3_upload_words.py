"""What an upload decides by itself; what it does at a store is in tests/faults/test_s3_upload*.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.module_utils.mendbook import s3_upload, s3_upload_part
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_upload_part import PartSender, Stopped, _Body
from botocore.exceptions import ClientError

MIB = 1 << 20
PARAMS = {"s3_access_key": "a", "s3_secret_key": "b"}


def client(**calls):
    return SimpleNamespace(meta=SimpleNamespace(endpoint_url="https://s3.example.com"), **calls)


def refusal(status, code, message="made up"):
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutObject")


@pytest.mark.parametrize(
    ("expected", "wanted_mib"),
    [(None, 8), (0, 8), (1, 8), (72_000 * MIB, 8), (72_001 * MIB, 9), (1 << 40, 117), (5 << 40, 583)],
)
def test_parts_are_as_small_as_their_number_allows(expected, wanted_mib):
    assert s3_upload.part_bytes(expected) == wanted_mib * MIB
    assert s3_upload.part_bytes(expected) * s3_upload.MAX_PARTS >= (expected or 0) * 1.05


@pytest.mark.parametrize(
    "options",
    [
        {"server_side_encryption": "AES256", "s3_sse_customer_key": "x"},
        {"sse_kms_key_id": "k"},
        {"sse_kms_key_id": "k", "server_side_encryption": "AES256"},
        {"object_lock_mode": "GOVERNANCE"},
        {"object_lock_days": 3},
        {"object_lock_mode": "GOVERNANCE", "object_lock_days": 0},
    ],
)
def test_options_that_contradict_each_other_are_refused_before_anything_is_asked(options):
    with pytest.raises(MendError) as caught:
        s3_upload.Upload(client(), "b", "k", {**PARAMS, **options})
    assert caught.value.rule == "options"
    with pytest.raises(MendError):
        s3_upload.put_small(client(), "b", "k", b"", {**PARAMS, **options})


def test_everything_is_sent_with_its_md5_which_every_store_compares():
    sent = []

    def take(**arguments):
        sent.append(arguments["ContentMD5"])
        return {"ETag": '"1"'}

    fake = client(put_object=take, upload_part=take)
    s3_upload.put_small(fake, "b", "k", b"hello", PARAMS)
    assert PartSender(fake, {}, None).send("id", 7, bytearray(b"hello")) == {"PartNumber": 7, "ETag": '"1"'}
    assert sent == ["XUFAKrxLKna5cZ2REBfFkg=="] * 2


def test_what_the_bucket_refuses_of_the_options_is_told_in_its_own_words():
    def put_object(**arguments):
        raise refusal(400, "InvalidRequest", "Bucket is missing\x1b[31m Object Lock Configuration")

    with pytest.raises(MendError, match="Bucket is missing.*Check the storage class") as caught:
        s3_upload.put_small(client(put_object=put_object), "b", "k", b"", PARAMS)
    assert "\x1b" not in caught.value.msg


def test_the_permissions_that_the_options_need_are_named():
    def put_object(**arguments):
        raise refusal(403, "AccessDenied")

    options = {"server_side_encryption": "aws:kms", "object_lock_mode": "COMPLIANCE", "object_lock_days": 1}
    with pytest.raises(MendError, match="s3:PutObject, s3:PutObjectRetention, kms:GenerateDataKey"):
        s3_upload.put_small(client(put_object=put_object), "b", "k", b"", {**PARAMS, **options})


def test_unfinished_uploads_are_found_on_every_page():
    pages = {
        None: {"Uploads": [one("a"), one("x")], "IsTruncated": True, "NextKeyMarker": "x", "NextUploadIdMarker": "1"},
        "x": {"Uploads": [one("b")], "IsTruncated": False},
    }
    fake = client(list_multipart_uploads=lambda Prefix, Bucket, KeyMarker=None, UploadIdMarker=None: pages[KeyMarker])
    assert s3_upload.unfinished(fake, "b", "", lambda key: key != "x") == ([one("a"), one("b")], [])


def test_a_bucket_that_is_not_there_is_no_note():
    def listing(**_arguments):
        raise refusal(404, "NoSuchBucket")

    with pytest.raises(MendError, match="there is no bucket"):
        s3_upload.unfinished(client(list_multipart_uploads=listing), "b", "", lambda key: True)


def one(key):
    return {"Key": key, "UploadId": "1"}


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(s3_upload_part.time, "monotonic", lambda: now.seconds)
    return now


def test_a_body_reads_like_a_file():
    body = _Body(b"0123456789", PartSender(client(), {}, None))
    assert (body.seek(0, 2), body.seek(0), body.read(4), body.tell(), body.read(), body.read()) == (
        10,
        0,
        b"0123",
        4,
        b"456789",
        b"",
    )
    assert (body.seek(0, 2), body.seek(-3, 1), body.read()) == (10, 7, b"789")


def test_a_trickle_is_a_stall(clock):
    body = _Body(bytes(MIB), PartSender(client(), {}, None))
    with pytest.raises(ConnectionError, match="slower than a stall"):
        while body.read(1024):
            clock.seconds += 1


def test_a_slow_line_is_none(clock):
    body = _Body(bytes(MIB), PartSender(client(), {}, None))
    while body.read(16 << 10):
        clock.seconds += 5
    assert body.tell() == MIB


def test_a_body_that_is_sent_again_begins_its_time_anew(clock):
    body = _Body(bytes(MIB), PartSender(client(), {}, None))
    body.read(10)
    clock.seconds += 1000
    body.seek(0)
    assert body.read(10)


def test_a_body_of_an_upload_that_was_left_is_read_no_more():
    sender = PartSender(client(), {}, None)
    body = _Body(b"123", sender)
    sender.stop()
    with pytest.raises(Stopped):
        body.read(1)
