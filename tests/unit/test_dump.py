# SPDX-License-Identifier: MIT
"""open_dump: every form is found by its bytes and gives the same content; everything else is named."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile

import bson
import pytest
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.dump_metadata import Batch, End
from ansible.module_utils.mendbook.dump_sums import DocumentSum
from ansible.module_utils.mendbook.errors import MendError

from dump_writer import (
    DATA,
    MAGIC,
    MemorySource,
    archive,
    block,
    directory_files,
    end,
    entry,
    made,
    tar_of,
)

SHOP = {("shop", "users"): made(30), ("shop", "orders"): made(7, start=100), ("shop", "empty"): []}


def sums_of(dump, **selection):
    sums = {}
    for item in dump.iterate(**selection):
        total = sums.setdefault(item.namespace, DocumentSum())
        if isinstance(item, Batch):
            total.add(item.data)
        else:
            assert item.count == total.count
    return {key: (total.count, total.hex()) for key, total in sums.items()}


def expected(collections):
    sums = {}
    for key, documents in collections.items():
        total = DocumentSum()
        total.add(b"".join(documents))
        sums[key] = (total.count, total.hex())
    return sums


def forms():
    plain = archive(SHOP)
    files = directory_files("shop", {name: documents for (_db, name), documents in SHOP.items()})
    loose = directory_files("shop", {name: documents for (_db, name), documents in SHOP.items()}, packed=False)
    tar = tar_of(files)
    return {
        "archive": plain,
        "archive+gzip": gzip.compress(plain),
        "tar": tar,
        "tar+gzip": gzip.compress(tar_of(loose)),
    }


@pytest.mark.parametrize("form", list(forms()))
@pytest.mark.parametrize("ranges", [True, False])
def test_every_form_gives_the_same_documents_and_definitions(form, ranges):
    dump = open_dump(MemorySource(forms()[form], chunk_bytes=700, ranges=ranges))
    assert dump.format == form
    assert sums_of(dump) == expected(SHOP)
    assert sums_of(dump) == expected(SHOP), "a dump can be read twice"
    assert set(dump.collections) == set(SHOP)
    assert dump.databases == ["shop"]
    assert all(c.indexes[0]["name"] == "_id_" and c.has_metadata for c in dump.collections.values())
    assert dump.bytes_read == dump.size
    assert dump.has_oplog is False


def test_the_name_of_the_file_does_not_matter(tmp_path):
    for number, (form, data) in enumerate(forms().items()):
        path = tmp_path / f"latest{number}.dump"
        path.write_bytes(data)
        assert open_dump(path).format == form


@pytest.fixture(scope="module")
def manifest():
    return json.loads((DATA / "estore.manifest.json").read_text())["collections"]


@pytest.fixture
def unpacked(tmp_path):
    with tarfile.open(DATA / "estore-dump.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.mark.parametrize("where", ["archive", "tar", "folder", "database"])
def test_the_real_dumps_agree_with_the_servers_own_statement(where, manifest, request):
    if where in ("folder", "database"):
        source = request.getfixturevalue("unpacked") / ("" if where == "folder" else "estore")
    else:
        source = DATA / {"archive": "estore.archive.gz", "tar": "estore-dump.tar"}[where]
    dump = open_dump(source)
    assert dump.tool_version == "100.18.0"
    assert dump.server_version == "6.0.5"
    assert {name for _db, name in dump.collections} == set(manifest)
    counts = {name: count for (_db, name), (count, _sum) in sums_of(dump).items()}
    for (_db, name), collection in dump.collections.items():
        stated = manifest[name]
        assert collection.type == stated["type"]
        assert collection.options == stated["options"]
        assert collection.indexes == stated.get("indexes", [])
        if stated["type"] == "collection":
            assert counts[name] == stated["count"]
    assert dump.collections["estore", "metrics"].data_name == "system.buckets.metrics"
    assert counts["system.buckets.metrics"] == 10


def test_both_real_dumps_hold_the_same_documents():
    one, other = (sums_of(open_dump(DATA / name)) for name in ("estore.archive.gz", "estore-dump.tar"))
    one.pop(("estore", "open_orders"))  # an archive also ends its views
    assert one == other


def test_a_selection_gives_only_what_was_asked_for():
    for data in forms().values():
        assert set(sums_of(open_dump(MemorySource(data)), include={("shop", "orders")})) == {("shop", "orders")}


def test_batches_keep_their_limits_and_hold_whole_documents():
    documents = made(1000)
    for data in (archive({("shop", "a"): documents}), tar_of(directory_files("shop", {"a": documents}))):
        source = MemorySource(data, chunk_bytes=5000)
        batches = [
            b for b in open_dump(source, max_batch_docs=10, max_batch_bytes=900).iterate() if isinstance(b, Batch)
        ]
        assert all(b.count <= 10 and len(b.data) <= 900 for b in batches)
        assert b"".join(b.data for b in batches) == b"".join(documents)


def test_a_document_larger_than_a_batch_comes_alone():
    large = bson.encode({"_id": 1, "text": "x" * 300_000})
    for chunk_bytes in (1 << 20, 1000):
        source = MemorySource(archive({("shop", "a"): [*made(3, start=10), large, *made(3)]}), chunk_bytes)
        batches = [b for b in open_dump(source, max_batch_bytes=1000).iterate() if isinstance(b, Batch)]
        assert [b.count for b in batches if len(b.data) == len(large)] == [1]


def test_an_oplog_is_never_silent():
    entries = [bson.encode({"op": "i", "n": number}) for number in range(5)]
    packed = archive(SHOP, block("", "oplog", entries), end("", "oplog", entries))
    dump = open_dump(MemorySource(packed))
    assert dump.has_oplog is None, "an archive tells only at its end"
    assert sums_of(dump, include={("shop", "users")}).keys() == {("shop", "users")}
    assert (dump.has_oplog, dump.oplog_entries) == (True, 5)
    files = directory_files("shop", {"users": made(3)}) | {"oplog.bson": b"".join(entries)}
    dump = open_dump(MemorySource(tar_of(files)))
    assert dump.has_oplog is True
    assert sums_of(dump)["", "oplog"][0] == 5
    assert dump.oplog_entries == 5
    assert ("", "oplog") not in dump.collections


def test_an_oplog_that_the_archive_lists_is_known_before_it_is_read():
    entries = made(2)
    data = archive(SHOP, block("", "oplog", entries), end("", "oplog", entries), entries=[entry("", "oplog", "")])
    assert open_dump(MemorySource(data)).has_oplog is True


def test_users_and_roles_are_told_from_the_databases_own_collections():
    access = {("shop", "$admin.system.users"): made(2), ("shop", "users"): made(3)}
    parts = archive({("shop", "users"): made(3)})
    listed = parts.replace(
        entry("shop", "users"), entry("shop", "users") + entry("shop", "$admin.system.users", "", ""), 1
    )
    users = access["shop", "$admin.system.users"]
    data = listed + block("shop", "$admin.system.users", users) + end("shop", "$admin.system.users", users)
    dump = open_dump(MemorySource(data))
    assert dump.collections["shop", "$admin.system.users"].system
    assert not dump.collections["shop", "users"].system
    assert sums_of(dump) == expected(access)
    admin = open_dump(MemorySource(archive({("admin", "system.users"): made(1)})))
    assert admin.collections["admin", "system.users"].system


NOT_DUMPS = {
    b"": "is empty (0 bytes)",
    b"\0" * 5000: "zero bytes only",
    b'{"schema": 1}': "JSON",
    b"[1, 2]": "JSON",
    b"hello world, this is text\n": "text",
    b"PGDMP\x01\x0e": "PostgreSQL custom dump",
    b"--\n-- PostgreSQL database dump\n": "PostgreSQL SQL dump",
    b"REDIS0009\xfa": "Redis RDB",
    b"\x28\xb5\x2f\xfd\x04": "zstd",
    b"\xfd7zXZ\x00\x00": "xz",
    b"BZh91AY": "bzip2",
    b"PK\x03\x04\x14": "zip",
    b"Salted__abcdefgh": "encrypted by openssl",
    b"age-encryption.org/v1\n": "encrypted by age",
    b"-----BEGIN PGP MESSAGE-----\n": "encrypted by PGP",
    b"\x85\x02\x0c\x03": "encrypted by PGP",
    b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>": "XML",
    b"<!DOCTYPE html>": "HTML",
    bson.encode({"_id": 1}) * 3: "one collection's .bson",
    bytes(range(128, 228)): "unknown or encrypted",
}


@pytest.mark.parametrize("data", list(NOT_DUMPS), ids=lambda data: repr(data[:12]))
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_dump_is_named(data, packed):
    if packed and not data:
        words = "nothing (0 bytes)"
    else:
        words = NOT_DUMPS[data]
    with pytest.raises(MendError) as caught:
        open_dump(MemorySource(gzip.compress(data) if packed else data, name="latest.dump"))
    assert words in caught.value.msg
    assert "latest.dump" in caught.value.msg
    assert caught.value.rule == "archive"


@pytest.mark.parametrize("stamp", [0, 3, 1_700_000_000])
def test_gzip_in_gzip_is_named(stamp):
    with pytest.raises(MendError, match="gzip inside gzip"):
        open_dump(MemorySource(gzip.compress(gzip.compress(MAGIC, mtime=stamp))))


@pytest.mark.parametrize("data", [b"\x1f\x8b\x08", b"\x1f\x8b\x08\x00broken and short", b"\x1f\x8b\x08" + bytes(9000)])
def test_broken_gzip_is_named(data):
    with pytest.raises(MendError, match="damaged|truncated"):
        open_dump(MemorySource(data))


def test_a_path_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(MendError, match="No such file"):
        open_dump(tmp_path / "missing")
    with pytest.raises(MendError, match="not a regular file"):
        open_dump("/dev/null")


def test_an_empty_folder_is_no_dump(tmp_path):
    with pytest.raises(MendError, match="holds no dump"):
        open_dump(tmp_path)


def test_a_folder_is_read_without_unpacking(unpacked):
    before = sorted(path.relative_to(unpacked) for path in unpacked.rglob("*"))
    shutil.copy(DATA / "estore.manifest.json", unpacked / "README.txt")
    dump = open_dump(unpacked)
    assert len(sums_of(dump)) == 9
    assert dump.warnings == ["README.txt is not a part of a dump and was ignored"]
    (unpacked / "README.txt").unlink()
    assert sorted(path.relative_to(unpacked) for path in unpacked.rglob("*")) == before


def test_closing_a_dump_early_leaves_no_thread_behind():
    import threading

    before = threading.enumerate()
    items = open_dump(DATA / "estore.archive.gz").iterate()
    assert isinstance(next(items), (Batch, End))
    items.close()
    started = [thread for thread in threading.enumerate() if thread not in before and "mendbook" in thread.name]
    for thread in started:
        # it has been told to end and does so when it is its turn
        thread.join(60)
    assert not any(thread.is_alive() for thread in started)
