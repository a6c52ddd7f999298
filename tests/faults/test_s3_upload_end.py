"""The moment when parts become an object: it is made once, never over another, and a lost answer is no failure."""

from __future__ import annotations

import pytest
from ansible.module_utils.mendbook import s3
from ansible.module_utils.mendbook.errors import MendError, Refused, Unknown
from s3_proxy import Fault
from upload_target import PART_BYTES

pytestmark = pytest.mark.faults

SIZE = PART_BYTES + 12345
COMPLETE = "POST .*uploadId="


def test_a_key_that_exists_is_refused_before_a_byte_is_taken(target, store):
    store.s3.put_object(Bucket=store.bucket, Key=target.key, Body=b"precious")
    with pytest.raises(Refused, match="exists already, and a backup is never written over another"), target.upload():
        pytest.fail("it was entered")
    assert target.content() == b"precious"


@pytest.mark.parametrize("size", [10, SIZE])
def test_a_key_that_comes_to_exist_meanwhile_is_left_as_it_is(target, store, noise, size):
    with pytest.raises(Refused, match="exists already"), target.upload() as upload:
        upload.write(noise(size))
        store.s3.put_object(Bucket=store.bucket, Key=target.key, Body=b"precious")
        upload.finish()
    assert target.content() == b"precious" and target.unfinished() == []


@pytest.mark.parametrize("status", [200, 500, 503])
def test_a_completion_that_answers_with_an_error_is_asked_again(target, store, noise, status):
    store.proxy.faults = [Fault(COMPLETE, times=2, status=status, code="InternalError")]
    target.write(noise(SIZE))
    assert target.content() == noise(SIZE) and store.proxy.faults[0].times == 0


def test_a_completion_that_always_answers_200_with_an_error_fails(target, store, noise, impatient):
    store.proxy.faults = [Fault(COMPLETE, status=200, code="InternalError")]
    assert "500 InternalError" in target.failure(noise(SIZE)).msg


@pytest.mark.parametrize(("size", "line"), [(SIZE, COMPLETE), (1000, "PUT ")], ids=["parts", "small"])
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
def test_an_object_whose_answer_got_lost_is_found_by_its_mark(target, store, noise, impatient, size, line, times):
    store.proxy.faults = [Fault(line, times=times, lose_answer=True)]
    result = target.write(noise(size))
    assert target.content() == noise(size)
    assert result.size == size


def test_a_store_that_goes_away_while_it_completes_is_unknown(target, store, noise, impatient):
    store.proxy.faults = [Fault(COMPLETE, times=1, lose_answer=True)]

    def away():
        store.proxy.faults = [Fault(".", reset_at=0, status=503)]

    store.proxy.faults[0].before = away
    with pytest.raises(Unknown, match="Whether the object is there now, S3 does not say"):
        target.write(noise(SIZE))
    assert target.content() == noise(SIZE)


@pytest.mark.parametrize(("size", "line"), [(SIZE, COMPLETE), (1000, "PUT ")], ids=["parts", "small"])
def test_a_key_that_comes_to_exist_at_the_last_moment_is_left_as_it_is(target, store, noise, size, line):
    def appears():
        store.s3.put_object(Bucket=store.bucket, Key=target.key, Body=b"precious")

    store.proxy.faults = [Fault(line, times=1, before=appears)]
    with pytest.raises(Refused, match="exists already"):
        target.write(noise(size))
    assert target.content() == b"precious" and target.unfinished() == []


def test_a_store_that_ignores_conditions_does_not_write_over_another(target, store, noise):
    client = s3.client(store.params)
    for operation in ("PutObject", "CompleteMultipartUpload"):
        forget = lambda params, **_kwargs: params["headers"].pop("If-None-Match", None)  # noqa: E731
        client.meta.events.register(f"before-call.s3.{operation}", forget)
    with pytest.raises(Refused, match="exists already"), target.upload(client=client) as upload:
        upload.write(noise(SIZE))
        store.s3.put_object(Bucket=store.bucket, Key=target.key, Body=b"precious")
        upload.finish()
    assert target.content() == b"precious" and target.unfinished() == []


def test_a_store_without_conditions_is_looked_at_once_more(target, store, noise):
    store.proxy.faults = [Fault(COMPLETE, times=1, status=501, code="NotImplemented")]
    target.write(noise(SIZE))
    assert target.content() == noise(SIZE)


def test_a_store_without_conditions_does_not_write_over_another_either(target, store, noise):
    def appears():
        store.s3.put_object(Bucket=store.bucket, Key=target.key, Body=b"precious")

    store.proxy.faults = [Fault(COMPLETE, times=1, status=501, code="NotImplemented", before=appears)]
    with pytest.raises(Refused, match="exists already"):
        target.write(noise(SIZE))
    assert target.content() == b"precious" and target.unfinished() == []


def test_an_object_that_is_replaced_at_once_is_no_success(target, store, noise):
    def replace():
        store.s3.put_object(Bucket=store.bucket, Key=target.key, Body=b"foreign")

    with pytest.raises(MendError, match="something else was written over it") as caught, target.upload() as upload:
        upload.write(noise(SIZE))
        # the first HEAD is the look right before the completion
        store.proxy.faults = [Fault("HEAD ", times=1), Fault("HEAD ", before=replace)]
        upload.finish()
    assert caught.value.reason == "verify"
