"""One range of a backup in S3: the same version, the same patience and the same words as the whole stream."""

from __future__ import annotations

import time

import pytest
from ansible.module_utils.mendbook import s3, s3_part
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.errors import MendError
from s3_proxy import Fault
from test_s3_stream import GET, MIB, SIZE, threads_end

from dump_writer import directory_files, made, tar_of

pytestmark = pytest.mark.faults


@pytest.fixture
def data(store, noise):
    content = noise(SIZE)
    store.put("stream/a.gz", content)
    return content


@pytest.mark.parametrize(
    ("start", "length"), [(0, 1), (7, 100), (MIB - 1, 2), (3, 3 * MIB), (SIZE - 4, 4), (0, SIZE), (MIB, 0)]
)
def test_gives_exactly_the_range(store, data, start, length):
    source = store.source()
    assert source.read_range(start, length) == data[start : start + length]
    assert source.bytes_read == 0
    threads_end(store)


@pytest.mark.parametrize("start", [SIZE - 10, SIZE, SIZE + 10])
def test_ends_where_the_object_ends(store, data, start):
    assert store.source().read_range(start, 1000) == data[start:]


def test_asks_for_nothing_but_the_range(store, data):
    source = store.source()
    source.read_range(SIZE - 4, 4)
    assert [(r.start, r.end) for r in store.proxy.requests if r.method == "GET"] == [(SIZE - 4, SIZE)]


def test_does_not_disturb_an_iteration(store, data):
    source = store.source()
    chunks = iter(source)
    first = next(chunks)
    assert source.read_range(10, 10) == data[10:20]
    assert first + b"".join(chunks) == data
    assert source.bytes_read == SIZE


def test_a_replaced_object_is_refused(store, noise, data):
    source = store.source()
    store.s3.put_object(Bucket=store.bucket, Key="stream/a.gz", Body=noise(SIZE + 1)[:SIZE])
    with pytest.raises(MendError, match="replaced while it was being read"):
        source.read_range(0, 4096)


def test_a_deleted_object_fails_in_words(store, data):
    source = store.source()
    store.s3.delete_object(Bucket=store.bucket, Key="stream/a.gz")
    with pytest.raises(MendError, match="deleted while it was being read"):
        source.read_range(0, 4096)


def test_busy_three_times_recovers(store, data):
    source = store.source()
    store.proxy.faults = [Fault(GET, times=3, status=503)]
    assert source.read_range(100, 200) == data[100:300]


def test_busy_for_ever_fails_in_words(store, data):
    source = store.source(patience_seconds=2)
    store.proxy.faults = [Fault(GET, status=503)]
    with pytest.raises(MendError, match=r"S3 answered 503 SlowDown to each of \d+ tries.*overloaded"):
        source.read_range(0, 4096)
    threads_end(store)


def test_a_reset_is_resumed_from_the_byte_where_it_stopped(store, data):
    source = store.source()
    store.proxy.faults = [Fault(GET, times=2, end_at=30_000)]
    assert source.read_range(0, 200_000) == data[:200_000]
    assert [r.start for r in store.proxy.requests if r.method == "GET"] == [0, 30_000, 60_000]


def test_a_lost_permission_fails_at_once_and_names_the_action(store, data):
    source = store.source()
    store.proxy.faults = [Fault(GET, status=403, code="AccessDenied")]
    with pytest.raises(MendError, match="credentials need s3:GetObject here"):
        source.read_range(0, 4096)


def test_a_store_that_ignores_ranges_is_refused(store, data):
    source = store.source()
    store.proxy.faults = [Fault(GET, drop_header="content-range")]
    with pytest.raises(MendError, match="does not answer ranges"):
        source.read_range(0, 4096)


def test_a_stall_is_noticed_and_resumed(store, data, monkeypatch):
    monkeypatch.setitem(s3._LIMITS, "read_timeout", 1)
    source = store.source(client=s3.client(store.params))
    store.proxy.faults = [Fault(GET, times=1, stall_at=2000)]
    began = time.monotonic()
    assert source.read_range(0, 4096) == data[:4096]
    assert time.monotonic() - began < s3.READ_SECONDS


def test_a_trickle_is_a_stall_and_is_cut(store, data, monkeypatch):
    monkeypatch.setattr(s3_part, "STALL_SECONDS", 2)
    source = store.source()
    store.proxy.faults = [Fault(GET, times=1, bytes_per_second=300)]
    assert source.read_range(0, 300_000) == data[:300_000]


def test_opening_a_tar_does_not_read_its_data(store):
    files = directory_files("shop", {"users": made(60_000)}, packed=False)
    store.put("stream/dump.tar", tar_of(files))
    source = store.source("stream/dump.tar")
    dump = open_dump(source)
    sent = sum(r.sent for r in store.proxy.requests if r.method == "GET")
    assert sent < source.size / 4
    assert sum(item.count for item in dump.iterate() if len(item) == 2) == 60_000
    assert source.bytes_read == source.size
