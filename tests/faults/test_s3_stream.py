"""The stream of a backup against every way in which a store or a network fails while it is read."""

from __future__ import annotations

import hashlib
import threading
import time
import tracemalloc

import pytest
from ansible.module_utils.mendbook import s3, s3_part
from ansible.module_utils.mendbook.errors import MendError
from s3_proxy import Fault, S3Proxy

from waiting import until

pytestmark = pytest.mark.faults

MIB = 1 << 20
SIZE = 5 * MIB + 12345
GET = "GET .*stream"


@pytest.fixture
def data(store, noise):
    content = noise(SIZE)
    store.put("stream/a.gz", content)
    return content


def threads_end(store):
    """Wait until no thread reads a part; none goes on when its connection was broken."""
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("mend-s3-part")])


def test_reads_every_byte_in_order_and_sums_it(store, data):
    source = store.source()
    assert b"".join(source) == data
    assert source.sha256 == hashlib.sha256(data).hexdigest()
    assert (source.size, source.bytes_read, source.resumed) == (SIZE, SIZE, 0)
    assert source.name == f"s3://{store.bucket}/stream/a.gz"
    assert source.compared_with == "the manifest's SHA-256"


def test_reads_again_from_the_beginning(store, data):
    source = store.source()
    next(iter(source))
    assert b"".join(source) == data


@pytest.mark.parametrize("size", [1, MIB - 1, MIB, MIB + 1])
def test_reads_objects_around_the_size_of_a_part(store, noise, size):
    store.put("stream/edge.gz", noise(size))
    assert b"".join(store.source("stream/edge.gz")) == noise(size)


def test_never_holds_more_parts_than_the_window(store, data):
    source = store.source(window=2)
    chunks = iter(source)
    next(chunks)
    asked = lambda: sorted(r.start for r in store.proxy.requests if r.method == "GET")  # noqa: E731
    until(lambda: len(asked()) >= 2)
    time.sleep(0.5)
    assert asked() == [0, MIB]
    chunks.close()


def test_leaving_early_ends_the_threads_at_once(store, data):
    source = store.source()
    chunks = iter(source)
    store.proxy.faults = [Fault(f"{GET}.* bytes=(?!0-)", stall_at=2000)]
    next(chunks)
    until(lambda: [r.sent for r in store.proxy.requests if r.method == "GET"].count(2000) == 2)
    began = time.monotonic()
    chunks.close()
    threads_end(store)
    # and not with the deadline of a connection that is stuck
    assert time.monotonic() - began < s3.READ_SECONDS / 2


def test_busy_three_times_recovers(store, data):
    source = store.source()
    store.proxy.faults = [Fault(GET, times=3, status=503)]
    assert b"".join(source) == data
    assert source.resumed == 3


def test_busy_for_ever_fails_in_words(store, data):
    source = store.source(patience_seconds=2)
    store.proxy.faults = [Fault(GET, status=503)]
    with pytest.raises(MendError, match=r"S3 answered 503 SlowDown to each of \d+ tries.*overloaded") as failure:
        b"".join(source)
    assert "stream/a.gz" in failure.value.msg
    threads_end(store)


def test_a_reset_at_every_place_is_resumed_from_the_byte_where_it_stopped(store, data, record_fault, fault_rounds):
    places = range(0, MIB, MIB // fault_rounds(8, 64))
    for place in places:
        source = store.source()
        store.proxy.faults = [Fault(GET, times=4, reset_at=place)]
        assert b"".join(source) == data
        gets = [r for r in store.proxy.requests if r.method == "GET"]
        assert sum(r.sent for r in gets) <= SIZE + 4 * 64 * 1024, "resumed too far back"
    record_fault("S3 connection reset", rounds=len(places), held="every one resumed, all bytes right")


def test_an_answer_that_ends_early_is_resumed(store, data):
    source = store.source()
    store.proxy.faults = [Fault(GET, times=5, end_at=300_000)]
    assert b"".join(source) == data
    gets = [r for r in store.proxy.requests if r.method == "GET"]
    assert sum(r.sent for r in gets) == SIZE


def test_a_reset_every_few_bytes_never_reads_from_the_start(store, noise):
    store.put("stream/small.gz", noise(200_000))
    source = store.source("stream/small.gz")
    store.proxy.faults = [Fault(GET, end_at=20_000)]
    assert b"".join(source) == noise(200_000)
    starts = [r.start for r in store.proxy.requests if r.method == "GET"]
    assert starts == list(range(0, 200_000, 20_000))


def test_resets_that_bring_nothing_fail_in_words(store, data):
    source = store.source(patience_seconds=2)
    store.proxy.faults = [Fault(GET, reset_at=0)]
    with pytest.raises(MendError, match="broke the connection"):
        b"".join(source)


def test_a_stall_is_noticed_and_resumed(store, data, hasty_client):
    source = store.source(client=hasty_client)
    store.proxy.faults = [Fault(GET, times=2, stall_at=MIB // 2)]
    began = time.monotonic()
    assert b"".join(source) == data
    assert 0.9 < time.monotonic() - began < s3.READ_SECONDS
    # a machine that stands still for a second is a stall, too
    assert source.resumed >= 2


def test_a_stall_before_the_answer_is_resumed(store, data, hasty_client):
    source = store.source(client=hasty_client)
    store.proxy.faults = [Fault(GET, times=1, stall_at=-1)]
    assert b"".join(source) == data


def test_the_real_deadline_notices_a_stall_within_thirty_seconds(store, data):
    source = store.source(patience_seconds=s3.PATIENCE_SECONDS)
    store.proxy.faults = [Fault(GET, times=1, stall_at=MIB // 2)]
    began = time.monotonic()
    assert b"".join(source) == data
    assert 19 < time.monotonic() - began < 30


def test_a_stall_for_ever_fails_in_words(store, data, hasty_client):
    source = store.source(patience_seconds=3, client=hasty_client)
    store.proxy.faults = [Fault(GET, stall_at=5000)]
    with pytest.raises(MendError, match="sent nothing for"):
        b"".join(source)


def test_a_trickle_is_a_stall_and_is_cut(store, data, monkeypatch):
    monkeypatch.setattr(s3_part, "STALL_SECONDS", 2)
    source = store.source()
    store.proxy.faults = [Fault(GET, times=1, bytes_per_second=300)]
    began = time.monotonic()
    assert b"".join(source) == data
    assert time.monotonic() - began < s3_part.STALL_SECONDS + s3.READ_SECONDS
    assert source.resumed >= 1


def test_a_slow_line_is_no_stall(store, noise):
    content = noise(300_000)
    store.put("stream/slow.gz", content)
    source = store.source("stream/slow.gz", part_bytes=100_000)
    store.proxy.faults = [Fault(GET, bytes_per_second=125_000)]
    assert b"".join(source) == content
    assert source.resumed == 0


def test_a_lost_permission_fails_at_once_and_names_the_action(store, data):
    source = store.source()
    store.proxy.faults = [Fault(GET, status=403, code="AccessDenied")]
    with pytest.raises(MendError, match="credentials need s3:GetObject here"):
        list(source)
    asked = [r.start for r in store.proxy.requests if r.method == "GET"]
    assert len(asked) == len(set(asked)), "no part is asked for again"


def test_credentials_that_expire_meanwhile_are_named(store, data):
    chunks = iter(store.source(window=1))
    next(chunks)
    store.proxy.faults = [Fault(GET, status=400, code="ExpiredToken")]
    with pytest.raises(MendError, match="temporary credentials have expired"):
        list(chunks)


def test_a_store_that_goes_away_fails_in_words(store, data):
    proxy = S3Proxy(store.facts["endpoint_url"])
    client = s3.client(dict(store.params, s3_endpoint_url=proxy.endpoint_url))
    chunks = iter(store.source(window=1, client=client))
    next(chunks)
    proxy.close()
    with pytest.raises(MendError, match="nobody listens at"):
        list(chunks)


def test_an_error_of_the_consumer_ends_the_threads(store, data):
    with pytest.raises(ZeroDivisionError):
        for _chunk in store.source():
            1 / 0  # noqa: B018
    threads_end(store)


def test_memory_stays_flat_whatever_the_size(store, noise):
    store.put("stream/big.gz", noise(32 * MIB))
    source = store.source("stream/big.gz", part_bytes=MIB, window=3)
    tracemalloc.start()
    try:
        for _chunk in source:
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * MIB
