# SPDX-License-Identifier: MIT
"""What the loader says about data, options and indexes that the server does not take."""

from __future__ import annotations

import bson
import pytest
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.errors import VerifyFailed
from ansible.module_utils.mendbook.mongo_batch import BatchWriter
from ansible.module_utils.mendbook.mongo_side import drop_side_collections
from loading import failure, one, sides_of

from dump_writer import MemorySource, archive, made

pytestmark = pytest.mark.e2e


def test_a_violated_unique_index_names_collection_index_code_and_key(database):
    documents = [bson.encode({"_id": n, "email": f"e{n % 10}"}) for n in range(20)]
    indexes = [
        {"v": 2, "key": {"other": 1}, "name": "other_1"},
        {"v": 2, "key": {"email": 1}, "name": "email_1", "unique": True},
    ]
    error = failure(database, one(documents, *indexes))
    assert "shop.users: the data violates its unique index 'email_1'" in error.msg
    assert 'email: "e' in error.msg
    assert error.rule == "mongo_index"
    assert error.details["index"] == "email_1"
    assert error.details["code"] == 11000
    assert drop_side_collections(database, ["__mend_n_t_users", "never_made"]) == ["__mend_n_t_users"]


def test_data_that_an_index_cannot_hold_names_the_index(database):
    documents = [bson.encode({"_id": n, "place": {"type": "Point", "coordinates": [500, 500]}}) for n in range(3)]
    indexes = [
        {"v": 2, "key": {"a": 1}, "name": "a_1"},
        {"v": 2, "key": {"place": "2dsphere"}, "name": "place_2dsphere", "2dsphereIndexVersion": 3},
    ]
    error = failure(database, one(documents, *indexes))
    assert "the index 'place_2dsphere' cannot be built" in error.msg
    assert error.details["code"] == 16755


def test_the_same_id_twice_is_named(database):
    error = failure(database, one([*made(5), *made(1, start=3)]))
    assert "shop.users: the dump has the document _id 3 twice" in error.msg
    assert error.rule == "mongo_duplicate"


def test_a_document_with_broken_insides_is_refused_by_the_server(database):
    broken = bytearray(made(1)[0])
    broken[4] = 0x66  # no such type
    error = failure(database, one([*made(5, start=10), bytes(broken)]))
    assert error.rule == "archive"
    assert "damaged" in error.msg
    assert "shop.users" in error.msg or "byte" in error.msg


def test_a_capped_collection_that_overflows_is_not_called_restored(database):
    dump = one([bson.encode({"_id": n}) for n in range(50)], options={"capped": True, "size": 4096, "max": 20})
    error = failure(database, dump, VerifyFailed)
    assert "50 documents were sent and 20 are there (a capped collection drops the oldest when it is full)" in error.msg


@pytest.mark.parametrize(
    "index",
    [
        {"v": 2, "key": {"a": 1}, "name": "bad", "invented": True},
        {"v": 2, "key": {"a": "nonsense"}, "name": "bad"},
        {"v": 2, "key": {"a": 0}, "name": "bad"},
        {"v": 0, "key": {"a": 1}, "name": "bad"},
        {"v": 2, "key": {"a": True}, "name": "bad"},
    ],
)
def test_an_index_of_the_past_is_refused_by_name_before_any_data_is_loaded(database, index, monkeypatch):
    monkeypatch.setattr(BatchWriter, "insert", lambda *_args: pytest.fail("data was sent"))
    error = failure(database, one(made(5), {"v": 2, "key": {"b": 1}, "name": "good"}, index))
    assert "shop.users: the index 'bad' cannot be built" in error.msg
    assert error.rule == "mongo_index"


@pytest.mark.parametrize("options", [{"invented": 1}, {"capped": True}, {"collation": {"locale": "xx"}}])
def test_options_that_the_server_refuses_name_the_collection(database, options):
    error = failure(database, one(made(1), options=options))
    assert "shop.users: the server refused its options with code" in error.msg
    assert error.rule == "mongo_create"


def test_an_unknown_collation_version_points_to_the_other_server(database):
    error = failure(database, one(made(1), options={"collation": {"locale": "de", "version": "1.0"}}))
    assert "another collation library" in error.msg


@pytest.mark.parametrize("missing", [200, 20_000, 1])
def test_a_truncated_archive_ends_the_load_and_leaves_only_side_collections(database, missing):
    database["users"].insert_one({"_id": "live"})
    whole = archive({("shop", "users"): made(3000), ("shop", "carts"): made(10)})
    dump = open_dump(MemorySource(whole[:-missing], chunk_bytes=10_000))
    assert "truncated" in failure(database, dump).msg
    assert {name for name in database.list_collection_names() if not name.startswith("__mend_n_t_")} == {"users"}
    drop_side_collections(database, sides_of(dump).values())
    assert database.list_collection_names() == ["users"]
