# SPDX-License-Identifier: MIT
"""Byte sources and gzip: multi-member streams, bombs, garbage, files that change."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest
from ansible.module_utils.mendbook import dump_source
from ansible.module_utils.mendbook.dump_source import FileSource, beginning, gunzip, head
from ansible.module_utils.mendbook.errors import MendError

from dump_writer import MemorySource

TEXT = random.Random(1).randbytes(5000) + b"some text " * 2000


def inflated(*chunks, **options):
    return b"".join(gunzip(chunks, "latest.dump", **options))


def pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.fixture(params=["isal", "zlib"])
def either_library(request, monkeypatch):
    if request.param == "zlib":
        monkeypatch.setattr(dump_source, "inflater", zlib)


@pytest.mark.usefixtures("either_library")
class TestGunzip:
    @pytest.mark.parametrize("size", [1, 100, 1 << 20])
    def test_any_number_of_members_in_chunks_of_any_size(self, size):
        packed = gzip.compress(TEXT) + gzip.compress(b"") + gzip.compress(b"more")
        assert inflated(*pieces(packed, size)) == TEXT + b"more"

    def test_blocks_have_a_largest_size(self):
        blocks = list(gunzip([gzip.compress(bytes(100_000))], "x", block_bytes=1000))
        assert max(map(len, blocks)) == 1000
        assert sum(map(len, blocks)) == 100_000

    def test_zeros_after_the_end_are_filling(self):
        packed = gzip.compress(TEXT)
        assert inflated(packed + bytes(600), bytes(100)) == TEXT

    @pytest.mark.parametrize("garbage", [b"x", b"\0\0garbage", b"\0" * 600 + b"\x1f\x8b"])
    def test_anything_else_after_the_end_is_refused_with_its_place(self, garbage):
        packed = gzip.compress(TEXT)
        place = len(packed) + len(garbage) - len(garbage.lstrip(b"\0"))
        with pytest.raises(MendError, match=f"that are not gzip follow the end of the gzip data, at byte {place}"):
            inflated(packed, garbage)

    @pytest.mark.parametrize("missing", [1, 4, 8, 9, 100])
    def test_a_truncated_stream_is_named(self, missing):
        packed = gzip.compress(TEXT)
        with pytest.raises(MendError, match=f"truncated: the gzip stream stops after {len(packed) - missing} bytes"):
            inflated(packed[:-missing])

    def test_nothing_is_truncated_too(self):
        with pytest.raises(MendError, match="truncated"):
            inflated()

    def test_a_truncated_second_member_is_named(self):
        with pytest.raises(MendError, match="truncated"):
            inflated(gzip.compress(TEXT), gzip.compress(TEXT)[:-3])

    @pytest.mark.parametrize("place", [-1, -8, 40])
    def test_damage_names_the_place_within_a_chunk(self, place):
        packed = bytearray(gzip.compress(TEXT))
        packed[place] ^= 4
        with pytest.raises(MendError, match=f"damaged between byte 0 and {len(packed)}") as caught:
            inflated(bytes(packed))
        assert caught.value.rule == "archive"

    def test_a_bomb_is_stopped_while_it_goes_off(self, monkeypatch):
        monkeypatch.setattr(dump_source, "RATIO_FREE_BYTES", 1 << 20)
        packed = gzip.compress(bytes(64 << 20))
        seen = 0
        with pytest.raises(MendError, match="more than 200 times as many") as caught:
            for block in gunzip([packed], "latest.dump"):
                seen += len(block)
        assert caught.value.rule == "ratio"
        assert seen < 20 << 20

    def test_the_ratio_can_be_raised(self, monkeypatch):
        monkeypatch.setattr(dump_source, "RATIO_FREE_BYTES", 1 << 20)
        assert len(inflated(gzip.compress(bytes(16 << 20)), max_ratio=2000)) == 16 << 20


def test_a_small_output_is_no_bomb_whatever_its_ratio():
    assert len(inflated(gzip.compress(bytes(16 << 20)))) == 16 << 20


# files


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "dump"
    path.write_bytes(TEXT)
    return path


def test_a_file_can_be_read_again_and_in_ranges(file):
    source = FileSource(str(file))
    for _ in range(2):
        assert b"".join(source) == TEXT
        assert source.bytes_read == source.size == len(TEXT)
    assert source.read_range(10, 20) == TEXT[10:30]
    assert source.read_range(len(TEXT) - 3, 20) == TEXT[-3:]
    assert source.read_range(len(TEXT) + 5, 20) == b""


def test_a_file_that_grows_while_it_is_read_is_noticed(file, monkeypatch):
    monkeypatch.setattr(dump_source, "CHUNK_BYTES", 1000)
    chunks = iter(FileSource(str(file)))
    next(chunks)
    with file.open("ab") as more:
        more.write(b"more")
    with pytest.raises(MendError, match="was changed while it was being read"):
        list(chunks)


def test_a_file_that_is_replaced_between_plan_and_act_is_noticed(file, tmp_path):
    source = FileSource(str(file))
    other = tmp_path / "other"
    other.write_bytes(TEXT)
    other.rename(file)
    with pytest.raises(MendError, match="was changed"):
        list(source)


def test_a_file_that_shrinks_is_noticed(file):
    source = FileSource(str(file))
    file.write_bytes(TEXT[:100])
    with pytest.raises(MendError, match="was changed"):
        list(source)


def test_a_file_that_disappears_is_noticed(file):
    source = FileSource(str(file))
    file.unlink()
    with pytest.raises(MendError, match="No such file"):
        list(source)
    with pytest.raises(MendError, match="No such file"):
        source.read_range(0, 1)


@pytest.mark.parametrize("ranges", [True, False])
def test_the_head_and_the_beginning_of_a_source(ranges):
    source = MemorySource(TEXT, chunk_bytes=700, ranges=ranges)
    assert head(source, 1500) == TEXT[:1500]
    assert head(MemorySource(b"ab", ranges=ranges), 1500) == b"ab"
    assert b"".join(beginning(source)) == TEXT
    assert b"".join(beginning(MemorySource(b"", ranges=ranges))) == b""
