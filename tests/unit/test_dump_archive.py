# SPDX-License-Identifier: MIT
"""The archive's structure: each wrong piece is refused with its namespace and its place."""

from __future__ import annotations

import gzip
import struct

import bson
import pytest
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.errors import MendError

from dump_writer import (
    MAGIC,
    TERMINATOR,
    MemorySource,
    archive,
    block,
    end,
    entry,
    header,
    made,
    metadata,
    prelude,
)

DOCUMENTS = made(5)
START = MAGIC + prelude() + entry("shop", "users") + entry("shop", "carts") + TERMINATOR
CARTS = end("shop", "carts", [])
USERS = block("shop", "users", DOCUMENTS) + end("shop", "users", DOCUMENTS)


def read(data, **options):
    return list(open_dump(MemorySource(data, name="latest.dump"), **options).iterate())


def failure(data, **options):
    with pytest.raises(MendError) as caught:
        read(data, **options)
    assert caught.value.rule == "archive"
    return caught.value.msg


def test_blocks_may_interleave_and_be_empty():
    data = START + block("shop", "users", DOCUMENTS[:2]) + block("shop", "carts", []) + CARTS
    data += block("shop", "users", []) + block("shop", "users", DOCUMENTS[2:]) + end("shop", "users", DOCUMENTS)
    assert sum(item.count for item in read(data) if len(item) == 3) == 5


def test_a_wrong_crc_names_collection_and_place():
    data = START + CARTS + block("shop", "users", DOCUMENTS)
    message = failure(data + end("shop", "users", DOCUMENTS, crc=1))
    assert "the 5 documents of shop.users do not have the CRC-64" in message
    assert f"byte {len(data)}" in message


def test_a_missing_document_shows_in_the_crc():
    data = START + CARTS + block("shop", "users", DOCUMENTS[1:]) + end("shop", "users", DOCUMENTS)
    assert "CRC-64" in failure(data)


def test_documents_in_another_order_show_in_the_crc():
    data = START + CARTS + block("shop", "users", DOCUMENTS[::-1]) + end("shop", "users", DOCUMENTS)
    assert "CRC-64" in failure(data)


def test_a_namespace_that_never_ended_is_named_with_its_count():
    message = failure(START + CARTS + block("shop", "users", DOCUMENTS))
    assert "truncated" in message
    assert "before the end of shop.users (5 documents so far)" in message


def test_a_namespace_that_never_began_is_named():
    assert "before the end of shop.carts (0 documents so far)" in failure(START + USERS)


def test_a_block_of_a_namespace_that_is_not_listed_is_refused():
    message = failure(START + USERS + CARTS + block("shop", "other", DOCUMENTS))
    assert "it belongs to shop.other, which the archive does not list" in message
    assert f"block at byte {len(START + USERS + CARTS)}" in message


def test_more_documents_after_the_end_are_refused():
    assert "more of shop.users comes after its end" in failure(START + USERS + USERS)


def test_an_end_that_holds_documents_is_refused():
    data = START + CARTS + header("shop", "users", True, 0) + b"".join(DOCUMENTS) + TERMINATOR
    assert "the end of shop.users has documents in it" in failure(data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"db": "shop", "collection": "users", "EOF": False},
        {"db": "shop", "collection": "users", "EOF": 0, "CRC": 0},
        {"db": "shop", "collection": "users", "EOF": False, "CRC": 5},
        {"db": "shop", "collection": "users", "EOF": True, "CRC": 5.0},
        {"db": "shop", "collection": "users", "EOF": True, "CRC": True},
        {"db": "shop", "collection": 7, "EOF": True, "CRC": 5},
        {"collection": "users", "db": "shop", "EOF": False, "CRC": 0},
        {"db": "shop", "collection": "users", "EOF": False, "CRC": 0, "more": 1},
        {"_id": 1},
    ],
)
def test_a_header_with_other_fields_is_damage(wrong):
    assert f"damaged at byte {len(START)}: no block's header" in failure(START + bson.encode(wrong) + TERMINATOR)


def test_a_terminator_in_place_of_a_header_is_damage():
    assert "no block's header where one must be" in failure(START + TERMINATOR)


@pytest.mark.parametrize("tail", [b"\0", b"garbage after the end", b"\xff\xff\xff\xff", bytes(100)])
def test_garbage_after_the_end_is_refused(tail):
    failure(START + USERS + CARTS + tail)


@pytest.mark.parametrize("length", [-2, 0, 4, 0x7FFFFFFF, (16 << 20) + (16 << 10) + 1])
def test_an_impossible_length_names_namespace_and_place(length):
    place = len(START) + len(header("shop", "users")) + len(DOCUMENTS[0])
    broken = struct.pack("<i", length) + DOCUMENTS[1][4:]
    message = failure(START + header("shop", "users") + DOCUMENTS[0] + broken + TERMINATOR)
    assert f"damaged at byte {place}: the length of a document of shop.users is" in message
    assert ("larger than a MongoDB document can be" if length > 16 << 20 else "impossible") in message


def test_the_largest_document_of_the_server_is_let_through():
    large = bson.encode({"_id": 1, "data": b"\0" * ((16 << 20) - 40)})
    data = START + CARTS + block("shop", "users", [large]) + end("shop", "users", [large])
    assert [len(item.data) for item in read(data) if len(item) == 3] == [len(large)]


@pytest.mark.parametrize("chunk_bytes", [1 << 20, 50])
def test_a_document_without_its_last_zero_is_named(chunk_bytes):
    broken = DOCUMENTS[1][:-1] + b"\x01"
    data = START + CARTS + block("shop", "users", [DOCUMENTS[0], broken]) + end("shop", "users", DOCUMENTS)
    place = len(START + CARTS) + len(header("shop", "users")) + len(DOCUMENTS[0])
    with pytest.raises(MendError, match=f"shop.users at byte {place} does not end with a zero byte"):
        list(open_dump(MemorySource(data, chunk_bytes)).iterate())


def test_a_cut_inside_a_document_names_it():
    data = START + CARTS + block("shop", "users", DOCUMENTS)
    message = failure(data[:-30])
    assert f"truncated: it ends after {len(data) - 30} bytes, in the middle of a document of shop.users" in message


@pytest.mark.parametrize("chunk_bytes", [1, 3, 7, 64, 999])
def test_the_size_of_the_chunks_does_not_matter(chunk_bytes):
    source = MemorySource(START + USERS + CARTS, chunk_bytes)
    assert sum(item.count for item in open_dump(source).iterate() if len(item) == 3) == 5


# what the list of collections can have wrong


def listed(*entries):
    return failure(MAGIC + prelude() + b"".join(entries) + TERMINATOR)


def test_a_collection_listed_twice_is_refused():
    assert "shop.users: listed twice" in listed(entry("shop", "users"), entry("shop", "users"))


def test_a_collection_without_metadata_is_refused():
    assert "shop.users: the archive has no metadata" in listed(entry("shop", "users", ""))


def test_metadata_of_another_collection_is_refused():
    message = listed(entry("shop", "users", metadata("orders")))
    assert "the metadata belongs to 'orders', not to 'users'" in message


def test_a_type_that_contradicts_the_options_is_refused():
    assert "but its options describe a collection" in listed(entry("shop", "users", kind="view"))


def test_a_list_without_its_end_is_truncated():
    assert "truncated" in failure(MAGIC + prelude() + entry("shop", "users"))


def test_a_prelude_that_is_no_document_is_damage():
    assert "the prelude" in failure(MAGIC + b"\x10\0\0\0" + b"\xee" * 12)
    assert "the prelude has no version" in failure(MAGIC + bson.encode({"a": 1}) + TERMINATOR)


def test_an_archive_of_another_version_is_refused_by_its_version():
    assert "format '0.2'; this reader knows 0.1" in failure(MAGIC + prelude("0.2") + TERMINATOR)


def test_an_unknown_field_in_unchecked_metadata_is_refused_and_in_gzip_a_warning():
    odd = metadata("users").replace('"indexes"', '"optionr": {"capped": true}, "indexes"')
    data = archive({}, entries=[entry("shop", "users", odd)]) + end("shop", "users", [])
    assert "unknown fields in the metadata: optionr" in failure(data)
    dump = open_dump(MemorySource(gzip.compress(data)))
    assert dump.warnings == ["dump, shop.users: unknown fields in the metadata: optionr"]


def test_an_archive_that_is_replaced_after_it_was_opened_is_noticed():
    source = MemorySource(archive({("shop", "users"): DOCUMENTS}))
    dump = open_dump(source)
    source.data = archive({("shop", "users"): DOCUMENTS, ("shop", "more"): []})
    with pytest.raises(MendError, match="replaced after it was opened"):
        list(dump.iterate())


def test_a_prelude_that_was_opened_from_other_bytes_than_the_stream_has_is_noticed():
    right = archive({("shop", "users"): DOCUMENTS})
    source = MemorySource(right)
    source.read_range = lambda start, length: right.replace(b'"v": 2', b'"v": 1', 1)[start : start + length]
    dump = open_dump(source)
    with pytest.raises(MendError, match="replaced after it was opened"):
        list(dump.iterate())


def test_an_error_of_the_source_comes_through_unchanged():
    class Failing(MemorySource):
        def __iter__(self):
            yield self.data[:100]
            raise MendError("the store does not answer", rule="s3_stall")

    dump = open_dump(Failing(archive({("shop", "users"): DOCUMENTS})))
    with pytest.raises(MendError, match="the store does not answer") as caught:
        list(dump.iterate())
    assert caught.value.rule == "s3_stall"
