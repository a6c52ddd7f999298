# SPDX-License-Identifier: MIT
"""The archive that is written: byte for byte what the real mongodump wrote, and what its reader takes."""

from __future__ import annotations

import gzip
import random

import bson
import pytest
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.dump_archive_writer import ArchiveWriter, entry, metadata_text
from ansible.module_utils.mendbook.dump_metadata import Batch, End
from bson import DatetimeMS, Int64, Regex, json_util

from dump_writer import DATA, MAGIC, TERMINATOR, MemorySource, made, metadata

REAL = gzip.decompress((DATA / "estore.archive.gz").read_bytes())
VERSIONS = {"server_version": "6.0.5", "tool_version": "100.18.0"}


def until_terminator(data, start):
    """([raw documents], the place behind the terminator)."""
    found = []
    while (length := int.from_bytes(data[start : start + 4], "little", signed=True)) != -1:
        found.append(data[start : start + length])
        start += length
    return found, start + 4


def taken_apart(data):
    """(prelude, [entries of the list], [(header, [documents])]) of an archive."""
    assert data[:4] == MAGIC
    (prelude, *entries), place = until_terminator(data, 4)
    blocks = []
    while place < len(data):
        (header, *documents), place = until_terminator(data, place)
        blocks.append((bson.decode(header), documents))
    return bson.decode(prelude), [bson.decode(one) for one in entries], blocks


def described(text):
    """Metadata in BSON values, as a server has it; canonical text has one reading only."""
    return json_util.loads(text, json_options=json_util.CANONICAL_JSON_OPTIONS)


class Archive:
    """An ArchiveWriter into memory."""

    def __init__(self, *names, **options):
        self.pieces = []
        collections = [
            {"db": "shop", "collection": name, "metadata": {"indexes": []}, "type": "collection"} for name in names
        ]
        self.writer = ArchiveWriter(self.pieces.append, options.pop("collections", collections), **VERSIONS, **options)

    @property
    def packed(self):
        return b"".join(self.pieces)

    def closed(self):
        """The bytes inside the gzip."""
        self.writer.close()
        return gzip.decompress(self.packed)


def test_the_real_archive_comes_out_byte_for_byte():
    _prelude, entries, blocks = taken_apart(REAL)
    collections = [{**one, "metadata": described(one["metadata"])} for one in entries]
    for one in collections:
        del one["size"]
    again = Archive(collections=collections)
    for header, documents in blocks:
        namespace = (header["db"], header["collection"])
        if header["EOF"]:
            again.writer.end(namespace)
        else:
            again.writer.block(namespace, b"".join(documents))
    written = again.closed()
    assert taken_apart(written)[:2] == taken_apart(REAL)[:2]
    assert written == REAL


def test_an_entry_has_the_fields_of_mongodump_in_their_order_and_types():
    (real, *_others) = taken_apart(REAL)[1]
    ours = bson.decode(bson.encode(entry("shop", "users", {"indexes": [], "collectionName": "users"}, "collection")))
    assert [(name, type(value)) for name, value in ours.items()] == [(name, type(v)) for name, v in real.items()]


def test_users_and_roles_are_listed_without_metadata():
    assert entry("shop", "$admin.system.users", None, "")["metadata"] == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"options": {}, "indexes": [], "uuid": None}, '{"indexes":[]}'),
        ({"options": {"size": 5}, "indexes": []}, '{"options":{"size":{"$numberInt":"5"}},"indexes":[]}'),
        ({"a": 1.0, "b": Int64(1), "c": True}, '{"a":{"$numberDouble":"1.0"},"b":{"$numberLong":"1"},"c":true}'),
        ({"a": bson.Binary(b"\0" * 16, 4)}, '{"a":{"$binary":{"base64":"AAAAAAAAAAAAAAAAAAAAAA==","subType":"04"}}}'),
        ({"a": DatetimeMS(1 << 60)}, '{"a":{"$date":{"$numberLong":"1152921504606846976"}}}'),
        ({"a": Regex("x", "i")}, '{"a":{"$regularExpression":{"pattern":"x","options":"i"}}}'),
    ],
)
def test_metadata_is_canonical_extended_json_without_what_is_empty(value, text):
    assert metadata_text(value) == text


def test_blocks_of_several_namespaces_alternate_and_each_has_its_own_crc():
    users, carts = made(10), made(7, 100)
    archive = Archive("users", "carts", "empty")
    writer = archive.writer
    writer.block(("shop", "users"), b"".join(users[:4]))
    writer.block(("shop", "carts"), *carts)
    writer.block(("shop", "users"), *(memoryview(one) for one in users[4:]))
    for name in ("users", "carts", "empty"):
        writer.end(("shop", name))
    writer.close()
    found, ended = {}, {}
    for item in open_dump(MemorySource(archive.packed)).iterate():
        if isinstance(item, Batch):
            found[item.namespace[1]] = found.get(item.namespace[1], b"") + bytes(item.data)
        elif isinstance(item, End):
            ended[item.namespace[1]] = item.count
    assert found == {"users": b"".join(users), "carts": b"".join(carts)}
    assert ended == {"users": 10, "carts": 7, "empty": 0}


def test_a_namespace_without_documents_has_one_empty_block_before_its_end():
    archive = Archive("view")
    archive.writer.end(("shop", "view"))
    _prelude, _entries, blocks = taken_apart(archive.closed())
    assert [(header["EOF"], header["CRC"], documents) for header, documents in blocks] == [
        (False, 0, []),
        (True, 0, []),
    ]


def test_an_archive_that_lacks_an_end_cannot_be_closed():
    archive = Archive("users", "carts")
    archive.writer.block(("shop", "users"), *made(1))
    with pytest.raises(ValueError, match="users"):
        archive.writer.close()


def test_a_namespace_that_was_never_begun_cannot_be_left_out():
    archive = Archive("users", "carts")
    archive.writer.end(("shop", "users"))
    with pytest.raises(ValueError, match="carts"):
        archive.writer.close()


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_every_level_gives_the_same_documents(level):
    archive = Archive("users", level=level)
    documents = made(1000)
    archive.writer.block(("shop", "users"), *documents)
    archive.writer.end(("shop", "users"))
    assert taken_apart(archive.closed())[2][0][1] == documents


def test_the_largest_document_leaves_in_small_pieces():
    noise = bson.encode({"_id": 1, "noise": random.Random(1).randbytes((16 << 20) - 50)})
    archive = Archive("users")
    archive.writer.block(("shop", "users"), noise)
    archive.writer.end(("shop", "users"))
    assert archive.closed().count(noise[-1000:]) == 1
    assert max(map(len, archive.pieces)) < 3 << 20


def test_what_was_written_before_a_failure_is_no_archive():
    archive = Archive("users")
    archive.writer.block(("shop", "users"), *made(100_000))
    whole = archive.packed
    with pytest.raises(EOFError):
        gzip.decompress(whole)


def test_a_failing_sink_is_not_written_past():
    pieces = []

    def full(data):
        pieces.append(data)
        raise OSError(28, "No space left on device")

    noise = random.Random(2).randbytes
    with pytest.raises(OSError, match="No space"):
        writer = ArchiveWriter(full, [], **VERSIONS)
        for number in range(100):
            writer.block(("shop", "users"), bson.encode({"_id": number, "noise": noise(1 << 20)}))
    assert len(pieces) == 1


def test_as_many_namespaces_as_alternate_are_announced():
    archive = Archive(concurrent_collections=9)
    assert taken_apart(archive.closed())[0]["concurrent_collections"] == 9
    assert TERMINATOR in gzip.decompress(archive.packed)


def test_names_of_any_characters_come_back():
    names = ["ünïcode ☃", 'quote"\\', "line\nbreak", "💥" * 20]
    archive = Archive(
        collections=[
            {"db": "shop", "collection": name, "metadata": described(metadata(name)), "type": "collection"}
            for name in names
        ]
    )
    for name in names:
        archive.writer.end(("shop", name))
    archive.writer.close()
    assert [name for _db, name in open_dump(MemorySource(archive.packed)).collections] == names
