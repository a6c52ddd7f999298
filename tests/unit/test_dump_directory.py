# SPDX-License-Identifier: MIT
"""The directory form: names, missing files, links, and what a copy can have lost."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os

import bson
import pytest
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.dump_files import layout
from ansible.module_utils.mendbook.errors import MendError

from dump_writer import MemorySource, directory_files, made, metadata, tar_of


@pytest.fixture
def folder(tmp_path):
    """Write these files into a folder and return it."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / "dump" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / "dump"

    return write


def counts(dump):
    found = {}
    for item in dump.iterate():
        if len(item) == 2:
            found[item.namespace] = item.count
    return found


@pytest.mark.parametrize("packed", [True, False])
def test_several_databases_in_one_folder(folder, packed):
    files = directory_files("shop", {"users": made(3)}, packed) | directory_files("blog", {"users": made(4)}, packed)
    dump = open_dump(folder(files))
    assert dump.databases == ["blog", "shop"]
    assert counts(dump) == {("shop", "users"): 3, ("blog", "users"): 4}
    assert ("gzip" in dump.integrity) is packed
    assert ("only the manifest" in dump.integrity) is not packed


def test_a_folder_that_is_one_database_is_named_after_it(folder):
    root = folder(directory_files("shop", {"users": made(3)}))
    assert open_dump(root / "shop").databases == ["shop"]
    assert open_dump(f"{root}/shop/").databases == ["shop"]


def test_a_tar_of_one_database_without_its_folder_is_named_after_the_tar_or_as_told():
    files = {name.partition("/")[2]: content for name, content in directory_files("x", {"users": made(3)}).items()}
    assert open_dump(MemorySource(tar_of(files), name="backups/shop.2026-01-02.tar")).databases == ["shop"]
    assert open_dump(MemorySource(tar_of(files), name="x.tar"), database="blog").databases == ["blog"]
    assert open_dump(MemorySource(tar_of(files), name="/../$.tar")).databases == ["dump"]


def test_a_folder_above_the_dump_does_not_matter(folder):
    files = {f"backups/dump/{name}": content for name, content in directory_files("shop", {"users": made(2)}).items()}
    assert counts(open_dump(folder(files))) == {("shop", "users"): 2}


def test_escaped_names_are_unescaped(folder):
    name = "a/b %41ü"
    files = directory_files("shop", {"x": made(2)}, packed=False)
    escaped = "a%2Fb%20%2541%C3%BC"
    root = folder(
        {
            f"shop/{escaped}.bson": files["shop/x.bson"],
            f"shop/{escaped}.metadata.json": metadata(name).encode(),
        }
    )
    assert set(open_dump(root).collections) == {("shop", name)}


def long_stem(name):
    """mongodump's file name for a name that is too long for a file system."""
    escaped = name.replace("/", "%2F")
    digest = (
        base64.urlsafe_b64encode(hashlib.sha1(escaped.encode(), usedforsecurity=False).digest()).rstrip(b"=").decode()
    )
    return escaped[:208] + "%24" + digest


def test_a_shortened_name_is_read_from_the_metadata(folder):
    name = "x" * 240
    stem = long_stem(name)
    assert len(stem) == 238
    root = folder(
        {
            f"s/{stem}.bson": b"".join(made(2)),
            f"s/{stem}.metadata.json": metadata(name).encode(),
        }
    )
    assert set(open_dump(root).collections) == {("s", name)}


def test_a_shortened_name_without_metadata_is_refused(folder):
    with pytest.raises(MendError, match="shortened name but no metadata"):
        open_dump(folder({f"s/{long_stem('x' * 240)}.bson": b"".join(made(2))}))


def test_the_prelude_names_the_tools_and_a_broken_one_is_no_harm(folder):
    files = directory_files("shop", {"users": made(1)})
    root = folder(files | {"prelude.json": b'{"ServerVersion": "7.0.1", "ToolVersion": "100.9"}'})
    dump = open_dump(root)
    assert (dump.tool_version, dump.server_version) == ("100.9", "7.0.1")
    (root / "prelude.json").write_bytes(b"{")
    assert open_dump(root).tool_version is None


def test_a_bare_bson_file_is_a_warning_not_a_silence(folder):
    dump = open_dump(folder({"shop/users.bson": b"".join(made(2))}))
    assert dump.collections["shop", "users"].has_metadata is False
    assert dump.warnings == ["shop.users has no metadata: its options and indexes are unknown"]


def test_an_oplog_collection_is_no_oplog(folder):
    dump = open_dump(folder(directory_files("shop", {"oplog": made(2)})))
    assert dump.has_oplog is False
    assert ("shop", "oplog") in dump.collections


def test_a_dump_of_nothing_but_an_oplog_is_seen(folder):
    dump = open_dump(folder({"oplog.bson": b"".join(made(3))}))
    assert dump.has_oplog
    assert dump.collections == {}
    assert counts(dump) == {("", "oplog"): 3}


# what is wrong


def test_a_collection_whose_data_is_missing_is_an_incomplete_copy(folder):
    root = folder(directory_files("shop", {"users": made(2), "carts": made(1)}))
    (root / "shop/users.bson.gz").unlink()
    with pytest.raises(MendError, match=r"shop.users has metadata but no data \(users.bson is missing\)"):
        open_dump(root)


def test_a_time_series_whose_buckets_are_missing_is_an_incomplete_copy(folder):
    series = metadata("m", options={"timeseries": {"timeField": "t"}}, kind="timeseries").encode()
    with pytest.raises(MendError, match=r"system.buckets.m.bson is missing"):
        open_dump(folder({"shop/m.metadata.json": series}))
    dump = open_dump(folder({"shop/m.metadata.json": series, "shop/system.buckets.m.bson": b"".join(made(2))}))
    assert dump.collections["shop", "m"].data_name == "system.buckets.m"


def test_buckets_whose_metadata_is_missing_are_refused(folder):
    with pytest.raises(MendError, match="buckets of a time-series whose metadata is missing"):
        open_dump(folder({"shop/system.buckets.m.bson": b"".join(made(2))}))


def test_a_view_needs_no_data(folder):
    view = metadata("v", options={"viewOn": "users", "pipeline": []}, kind="view").encode()
    dump = open_dump(folder(directory_files("shop", {"users": made(1)}) | {"shop/v.metadata.json": view}))
    assert dump.collections["shop", "v"].type == "view"


def test_two_files_for_one_collection_are_refused(folder):
    files = directory_files("shop", {"users": made(2)}) | directory_files("shop", {"users": made(3)}, packed=False)
    with pytest.raises(MendError, match=r"shop/users.*claim the same content"):
        open_dump(folder(files))


def test_two_folders_for_one_database_are_refused(folder):
    files = directory_files("shop", {"users": made(2)})
    both = {f"{day}/{name}": content for day in ("monday", "tuesday") for name, content in files.items()}
    with pytest.raises(MendError, match="both hold a database 'shop'"):
        open_dump(folder(both))


def test_two_oplogs_are_refused():
    with pytest.raises(MendError, match="two oplogs"):
        layout(["oplog.bson", "a/oplog.bson"])


@pytest.mark.parametrize(
    "make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo, lambda p: p.symlink_to("/etc")]
)
def test_links_and_special_files_are_refused(folder, make):
    root = folder(directory_files("shop", {"users": made(2)}))
    make(root / "shop" / "extra.bson")
    with pytest.raises(MendError, match="extra.bson is a link or a special file"):
        open_dump(root)


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_truncated_plain_file_names_its_place(folder, cut):
    data = b"".join(made(5))
    root = folder({"shop/users.bson": data[:-cut], "shop/users.metadata.json": metadata("users").encode()})
    with pytest.raises(
        MendError, match=f"users.bson is truncated: it ends after {len(data) - cut} bytes, in the middle"
    ):
        counts(open_dump(root))


def test_a_truncated_gzip_file_names_itself(folder):
    files = directory_files("shop", {"users": made(500)})
    root = folder(files | {"shop/users.bson.gz": files["shop/users.bson.gz"][:-9]})
    with pytest.raises(MendError, match=r"shop/users.bson.gz is truncated: the gzip stream stops"):
        counts(open_dump(root))


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\0\0\0\0\0\0", b"\x03\0\0\0\0", b"\xff\xff\xff\x7f\0"])
def test_garbage_in_a_plain_file_names_its_place(folder, garbage):
    data = b"".join(made(2))
    root = folder({"shop/users.bson": data + garbage, "shop/users.metadata.json": metadata("users").encode()})
    with pytest.raises(MendError, match=f"damaged at byte {len(data)}: the length of a document of shop.users"):
        counts(open_dump(root))


def test_gzip_under_a_plain_name_and_the_reverse_are_named(folder):
    pair = {"shop/users.metadata.json": metadata("users").encode()}
    with pytest.raises(MendError, match=r"is gzip but its name says plain BSON"):
        counts(open_dump(folder(pair | {"shop/users.bson": gzip.compress(b"".join(made(9)))})))


def test_plain_bson_under_a_gzip_name_is_damage(folder):
    files = {"shop/u.metadata.json": metadata("u").encode(), "shop/u.bson.gz": b"".join(made(9))}
    with pytest.raises(MendError, match="u.bson.gz: the gzip data is damaged"):
        counts(open_dump(folder(files)))


def test_a_plain_file_whose_first_document_only_looks_like_gzip_is_read(folder):
    length = 0x00088B1F
    document = bson.encode({"_id": 1, "data": b"\0" * (length - 30)})
    document = bson.encode({"_id": 1, "data": b"\0" * (length - 30 + length - len(document))})
    assert document[:4] == b"\x1f\x8b\x08\0"
    files = {"shop/u.metadata.json": metadata("u").encode(), "shop/u.bson": document}
    assert counts(open_dump(folder(files))) == {("shop", "u"): 1}


@pytest.mark.parametrize("text", [b"\xff\xfe", b"{", json.dumps({"indexes": [], "collectionName": "b"}).encode()])
def test_broken_metadata_names_its_file(folder, text):
    with pytest.raises(MendError, match="shop/users.metadata.json"):
        open_dump(folder({"shop/users.bson": b"", "shop/users.metadata.json": text}))


def test_a_metadata_bomb_is_stopped(folder):
    packed = gzip.compress(bytes(40 << 20))
    with pytest.raises(MendError, match="more than 16 MiB of metadata"):
        open_dump(folder({"shop/users.bson.gz": gzip.compress(b""), "shop/users.metadata.json.gz": packed}))


def test_a_name_that_is_not_utf8_is_refused(folder):
    with pytest.raises(MendError, match="is not UTF-8"):
        open_dump(folder({"shop/%FF%FE.bson": b""}))


@pytest.mark.parametrize("stem", ["%24cmd", "a%00b", "x..y"])
def test_hostile_names_are_refused(folder, stem):
    with pytest.raises(MendError, match="the namespace"):
        open_dump(folder({f"shop/{stem}.bson": b""}))
