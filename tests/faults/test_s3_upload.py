"""A new object in S3 against every way in which a store or a network fails while it is written."""

from __future__ import annotations

import hashlib
import signal
import threading
import time
import tracemalloc

import pytest
from ansible.module_utils.mendbook import s3, s3_upload, s3_upload_part
from ansible.module_utils.mendbook.errors import Cancelled, MendError
from s3_proxy import Fault
from upload_target import PART_BYTES

from waiting import until

pytestmark = pytest.mark.faults

SIZE = 2 * PART_BYTES + 12345
# of which the third part must wait for another
BLOCKING = 3 * PART_BYTES
PART = "PUT .*partNumber="
LAST = f"{PART}3"
COMPLETE = "POST .*uploadId="


def upload_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("mend-s3-upload")]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, SIZE])
def test_a_stream_becomes_one_object_of_its_size_and_sum(target, noise, size):
    told = []
    result = target.write(noise(size), progress=told.append)
    assert target.content() == noise(size)
    assert (result.key, result.size, result.version_id) == (target.key, size, None)
    assert result.sha256 == hashlib.sha256(noise(size)).hexdigest()
    assert result.etag == target.head()["ETag"].strip('"')
    assert told == sorted(told) and told[-1] == size
    assert target.unfinished() == [] and target.resent == 0


def test_only_two_parts_are_on_their_way_and_writing_waits_for_them(target, store, noise):
    gate = threading.Event()
    store.proxy.faults = [Fault(PART, before=lambda: gate.wait(60))]
    with target.upload() as upload:

        def write():
            upload.write(noise(BLOCKING))

        writer = threading.Thread(target=write)
        writer.start()
        parts = lambda: [r for r in store.proxy.requests if "partNumber" in r.path and r.taken == PART_BYTES]  # noqa: E731
        until(lambda: len(parts()) == 2)
        time.sleep(0.3)
        assert writer.is_alive() and len(parts()) == 2
        gate.set()
        writer.join(30)
        assert not writer.is_alive()
        upload.finish()
    assert target.content() == noise(BLOCKING)


def test_leaving_without_finish_leaves_nothing(target, noise):
    with target.upload() as upload:
        upload.write(noise(SIZE))
    assert target.content() is None and target.unfinished() == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(f"{PART}2", times=1, sent_reset_at=500_000),
        Fault(f"{PART}2", times=3, status=503),
        Fault(f"{PART}2", times=1, lose_answer=True),
        Fault(f"{PART}2", times=1, sent_flip_at=777_777),
        Fault(f"{PART}2", times=1, sent_stall_at=500_000),
        Fault(f"{PART}2", times=1, stall_at=-1),
        Fault(f"{PART}2", times=1, status=400, code="RequestTimeout"),
        Fault("POST .*uploads", times=1, status=503),
        Fault("POST .*uploads", times=1, lose_answer=True),
    ],
    ids=[
        "reset",
        "busy",
        "lost answer",
        "flipped bit",
        "stall",
        "no answer",
        "timeout",
        "busy at first",
        "lost at first",
    ],
)
def test_what_did_not_arrive_whole_is_sent_again(target, store, noise, fault, record_fault, request):
    store.proxy.faults = [fault]
    times = fault.times
    stalls = fault.sent_stall_at or fault.stall_at
    target.write(noise(SIZE), **({"client": request.getfixturevalue("hasty_client")} if stalls else {}))
    assert target.content() == noise(SIZE)
    assert fault.times == 0
    expected = times if PART in fault.match else 0
    # a deadline of a second may end what is only slow, too
    assert target.resent >= expected if stalls else target.resent == expected
    record_fault(f"upload to S3: {request.node.callspec.id}", rounds=times, held="sent again, all bytes right")


def test_a_flipped_bit_never_becomes_part_of_an_object(target, store, noise, fault_rounds, record_fault):
    places = range(0, SIZE, SIZE // fault_rounds(3, 60))
    for place in places:
        store.proxy.faults = [Fault(f"{PART}{1 + place // PART_BYTES} ", times=1, sent_flip_at=place % PART_BYTES)]
        target.write(noise(SIZE))
        assert target.resent == 1
        assert target.content() == noise(SIZE)
        store.s3.delete_object(Bucket=store.bucket, Key=target.key)
    record_fault("one bit flipped on the way to S3", rounds=len(places), held="refused by the store and sent again")


def test_a_small_object_with_a_flipped_bit_is_sent_again(target, store, noise):
    store.proxy.faults = [Fault("PUT ", times=1, sent_flip_at=5)]
    target.write(noise(1000))
    assert target.content() == noise(1000)


def test_a_wire_that_always_flips_a_bit_is_named(target, store, noise, impatient):
    store.proxy.faults = [Fault(f"{PART}1 ", sent_flip_at=7)]
    assert "Something on the way changes or cuts it" in target.failure(noise(SIZE)).msg


def test_a_store_that_stays_busy_fails_in_words(target, store, noise, impatient):
    store.proxy.faults = [Fault(LAST, status=503)]
    error = target.failure(noise(SIZE))
    assert "Cannot write part 3 of" in error.msg and "overloaded or broken" in error.msg
    assert upload_threads() == []


def test_the_last_part_refused_fails_and_names_the_permission(target, store, noise):
    store.proxy.faults = [Fault(LAST, status=403, code="AccessDenied")]
    error = target.failure(noise(SIZE))
    assert "Cannot write part 3 of" in error.msg and "The credentials need s3:PutObject here" in error.msg


def test_credentials_that_expire_at_half_are_named_and_what_is_left_is_told(target, store, noise):
    store.proxy.faults = [Fault(LAST, status=400, code="ExpiredToken")]
    assert "the temporary credentials have expired. Get new ones" in target.failure(noise(SIZE)).msg
    store.proxy.faults += [Fault("DELETE ", status=400, code="ExpiredToken")]
    with pytest.raises(MendError, match="have expired.* could not be removed: Cannot abort the upload"):
        target.write(noise(SIZE))
    assert target.content() is None and target.unfinished() == [target.key]
    store.proxy.reset()
    target.abort_unfinished()
    assert target.unfinished() == []


def test_an_upload_that_somebody_else_removed_is_named(target, store, noise):
    store.proxy.faults = [Fault(LAST, times=1, before=target.abort_unfinished)]
    assert "Another run or a rule of the bucket" in target.failure(noise(SIZE)).msg


def test_a_failure_is_told_by_the_next_write(target, store, noise):
    store.proxy.faults = [Fault(f"{PART}1 ", status=403, code="AccessDenied")]
    with pytest.raises(MendError, match="part 1"), target.upload() as upload:
        upload.write(noise(PART_BYTES))
        until(lambda: upload._failure is not None)
        upload.write(b"one byte more")


def test_a_signal_inside_write_ends_the_upload_at_once_and_leaves_nothing(target, store, noise):
    store.proxy.faults = [Fault(PART, sent_stall_at=1000)]

    def cancel(number, frame):
        raise Cancelled("cancelled by a signal")

    def kill_when_blocked():
        until(lambda: len([r for r in store.proxy.requests if r.taken == 1000]) == 2)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, cancel)
    killer = threading.Thread(target=kill_when_blocked)
    try:
        with pytest.raises(Cancelled), target.upload() as upload:
            killer.start()
            upload.write(noise(BLOCKING))
            pytest.fail("it did not wait for the two parts on their way")
    finally:
        killer.join()
        signal.signal(signal.SIGUSR1, before)
    assert upload.left_behind is None
    assert target.content() is None and target.unfinished() == []


def test_leaving_does_not_wait_for_the_deadline_of_a_stuck_connection(target, store, noise):
    store.proxy.faults = [Fault(PART, sent_stall_at=1000)]
    with target.upload() as upload:
        upload.write(noise(2 * PART_BYTES))
        until(lambda: len([r for r in store.proxy.requests if r.taken == 1000]) == 2)
        began = time.monotonic()
    assert time.monotonic() - began < s3.READ_SECONDS / 2
    assert target.unfinished() == []


def test_a_slow_line_is_no_stall(target, store, noise, monkeypatch):
    # the part takes longer than a stall, and each of its steps takes much less
    monkeypatch.setattr(s3_upload_part, "STALL_SECONDS", 4)
    store.proxy.faults = [Fault(f"{PART}1 ", sent_per_second=1_000_000)]
    target.write(noise(PART_BYTES + 5))
    assert target.resent == 0
    assert target.content() == noise(PART_BYTES + 5)


def test_an_answer_that_never_ends_is_given_up(target, store, noise, monkeypatch):
    monkeypatch.setattr(s3_upload, "LONGEST_WAIT_SECONDS", 1)
    store.proxy.faults = [Fault(PART, stall_at=-1)]
    assert "S3 took nothing for" in target.failure(noise(SIZE)).msg


def test_more_parts_than_s3_allows_fail_in_words(target, noise, monkeypatch):
    monkeypatch.setattr(s3_upload, "MAX_PARTS", 2)
    assert "grown beyond 2 parts" in target.failure(noise(SIZE)).msg


def test_memory_stays_flat_whatever_passes(target, store, noise, monkeypatch):
    monkeypatch.undo()
    # the proxy would hold what passes in the same memory
    client = s3.client({**store.params, "s3_endpoint_url": store.facts["endpoint_url"]})
    piece, count = noise(1 << 20), 300
    tracemalloc.start()
    try:
        with target.upload(client=client) as upload:
            for _ in range(count):
                upload.write(piece)
            size = upload.finish().size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        store.s3.delete_object(Bucket=store.bucket, Key=target.key)
    assert size == count << 20
    # two parts on their way, one that is being filled and may be moved once while it grows
    assert peak < 5 * (8 << 20)
