# SPDX-License-Identifier: MIT
"""The loader against a real server: what it brings is compared by an independent client."""

from __future__ import annotations

import json
import time
from datetime import datetime

import bson
import pymongo
import pytest
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.mongo_load import load
from ansible.module_utils.mendbook.mongo_side import TTL_PARKED_SECONDS, drop_side_collections
from bson import json_util
from bson.raw_bson import RawBSONDocument
from loading import dump_of, indexes_of, least, load_all, one, sides_of
from pymongo import errors as driver

import mendbook.sandbox
from dump_writer import DATA, entry, made
from mendbook.sandbox.services import mongo

pytestmark = pytest.mark.e2e
# less, and the server would remove what a test has just written
TEN_YEARS = 315360000


@pytest.fixture(scope="module")
def manifest():
    return json.loads((DATA / "estore.manifest.json").read_text())["collections"]


@pytest.mark.parametrize("name", ["estore.archive.gz", "estore-dump.tar"])
def test_the_real_dumps_arrive_bit_by_bit(database, manifest, name):
    dump = open_dump(DATA / name)
    loaded = load_all(database, dump)
    assert set(loaded) == {("estore", name) for name, stated in manifest.items() if stated["type"] != "view"}
    hashes = database.command("dbHash")["collections"]
    listed = {found["name"]: found for found in database.list_collections()}
    for (_db, name), result in loaded.items():
        stated = manifest[name]
        assert hashes[result.data_name] == stated["dbHash"], name
        assert listed[result.side]["options"] == stated["options"]
        assert listed[result.data_name]["info"]["uuid"] == result.uuid
        if stated["type"] == "collection":
            assert result.count == stated["count"] == database[result.side].count_documents({})
            built = indexes_of(database, result.side)
            for index, seconds in result.ttl.items():
                assert built[index]["expireAfterSeconds"] == TTL_PARKED_SECONDS
                built[index]["expireAfterSeconds"] = seconds
            assert built == {spec["name"]: spec for spec in stated["indexes"]}
    assert database[loaded["estore", "metrics"].side].count_documents({}) == manifest["metrics"]["count"]
    assert loaded["estore", "sessions"].ttl == {"session_ttl": 0}
    assert loaded["estore", "carts"].ttl == {"cart_ttl": 315360000}
    assert sorted(drop_side_collections(database, sides_of(dump).values())) == sorted(sides_of(dump).values())
    assert [n for n in database.list_collection_names() if not n.startswith("system.")] == []


def dump_what_stands(source):
    """An archive of a live database, as an independent writer makes it."""
    found, entries = {}, []
    raw = bson.CodecOptions(document_class=RawBSONDocument)
    for info in source.list_collections():
        name, kind = info["name"], info["type"]
        if name.startswith("system."):
            continue
        data_name = f"system.buckets.{name}" if kind == "timeseries" else name
        found["shop", data_name] = [d.raw for d in source.get_collection(data_name, codec_options=raw).find()]
        value = {"options": info["options"], "indexes": list(indexes_of(source, name).values())}
        value |= {"collectionName": name, "type": kind}
        text = json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS)
        entries.append(entry("shop", name, text, kind))
    return dump_of(found, *entries)


def test_every_kind_of_collection_and_index_comes_back_as_it_was(database, mongo_client):
    source = mongo_client[f"{database.name}_source"]
    validator = {"name": {"$regex": "^a", "$options": "i"}, "age": {"$type": "int"}}
    source.create_collection("people", validator=validator, validationLevel="off", validationAction="warn")
    source.create_collection("log", capped=True, size=100_000, max=1000)
    source.create_collection("sorted", clusteredIndex={"key": {"_id": 1}, "unique": True}, expireAfterSeconds=7200)
    source.create_collection("collated", collation={"locale": "sv", "strength": 1})
    source.create_collection("series", timeseries={"timeField": "t", "metaField": "m"}, expireAfterSeconds=TEN_YEARS)
    source.create_collection("images", changeStreamPreAndPostImages={"enabled": True})
    source.people.insert_many({"_id": n, "name": f"Name {n}", "tags": ["a"], "at": [n % 90, 1]} for n in range(200))
    source.log.insert_many({"_id": n} for n in range(500, 0, -1))
    source.sorted.insert_many({"_id": n} for n in range(50))
    source.collated.insert_many({"_id": name} for name in ("ä", "b"))
    source.series.insert_many({"t": datetime(2026, 1, 1, n), "m": n % 3, "v": n} for n in range(24))
    specs = [
        {"key": {"a": 1, "b": -1}, "name": "compound"},
        {"key": {"u": 1}, "name": "unique", "unique": True, "sparse": True},
        {"key": {"h": "hashed"}, "name": "hashed"},
        {"key": {"at": "2d"}, "name": "flat", "bits": 20, "min": -200, "max": 200},
        {"key": {"place": "2dsphere", "a": 1}, "name": "sphere"},
        {"key": {"$**": 1}, "name": "wild", "wildcardProjection": {"a": 1}},
        {
            "key": {"name": "text", "tags": "text"},
            "name": "words",
            "weights": {"name": 5},
            "default_language": "german",
        },
        {"key": {"x": 1}, "name": "hidden", "hidden": True},
        {"key": {"d": 1}, "name": "ttl", "expireAfterSeconds": 60},
        {"key": {"p": 1}, "name": "partial", "partialFilterExpression": {"p": {"$gt": datetime(2020, 1, 1)}}},
        {"key": {"c": 1}, "name": "collation", "collation": {"locale": "de", "numericOrdering": True}},
        {"key": {"e": 1.0}, "name": "double"},
        {"key": {"o": 1}, "name": "old", "v": 1},
    ]
    source.command({"createIndexes": "people", "indexes": specs})
    source.command({"createIndexes": "series", "indexes": [{"key": {"m": 1, "t": -1}, "name": "m_t"}]})
    try:
        dump = dump_what_stands(source)
        loaded = load_all(database, dump)
        hashes = [db.command("dbHash")["collections"] for db in (source, database)]
        listed = {found["name"]: found for found in database.list_collections()}
        for (_db, name), result in loaded.items():
            data_name = f"system.buckets.{name}" if name == "series" else name
            assert hashes[1][result.data_name] == hashes[0][data_name]
            options = dict(next(source.list_collections(filter={"name": name}))["options"])
            assert options.pop("expireAfterSeconds", None) == result.expire_after_seconds
            assert bson.encode(listed[result.side]["options"]) == bson.encode(options)
            built, wanted = indexes_of(database, result.side), indexes_of(source, name)
            for index, seconds in result.ttl.items():
                built[index]["expireAfterSeconds"] = seconds
            assert {k: bson.encode(v) for k, v in built.items()} == {k: bson.encode(v) for k, v in wanted.items()}
        assert loaded["shop", "people"].ttl == {"ttl": 60}
        assert (loaded["shop", "sorted"].expire_after_seconds, loaded["shop", "series"].expire_after_seconds) == (
            7200,
            TEN_YEARS,
        )
        assert [d["_id"] for d in database["__mend_n_t_log"].find()] == list(range(500, 0, -1))
    finally:
        mongo_client.drop_database(source.name)


def test_expired_documents_outlive_the_ttl_monitor_on_a_standalone_server():
    documents = [bson.encode({"_id": n, "at": datetime(2000, 1, 1)}) for n in range(20)]
    dump = one(documents, {"v": 2, "key": {"at": 1}, "name": "ttl", "expireAfterSeconds": 0})
    server = mongo.Service(replica_set=None, arguments=["--setParameter", "ttlMonitorSleepSecs=1"])
    with mendbook.sandbox.start((server,)) as box, pymongo.MongoClient(box.status()["mongo"]["uri"]) as client:
        load_all(client["shop"], dump)

        def passes():
            return client.admin.command("serverStatus")["metrics"]["ttl"]["passes"]

        before = passes()
        while passes() < before + 2:
            time.sleep(0.1)
        assert client["shop"]["__mend_n_t_users"].count_documents({}) == 20


def test_documents_that_violate_their_validator_come_back_as_they_were(database):
    loaded = load_all(database, one(made(30), options={"validator": {"name": {"$exists": False}}}))
    assert loaded["shop", "users"].count == database["__mend_n_t_users"].count_documents({}) == 30
    with pytest.raises(driver.WriteError):
        database["__mend_n_t_users"].insert_one({"name": "x"})


def test_late_and_missing_ids_are_loaded_and_proven(database):
    late = b"".join(bson.encode({key: value})[4:-1] for key, value in (("a", 1), ("_id", 700)))
    late = (len(late) + 5).to_bytes(4, "little") + late + b"\0"
    without = bson.encode({"a": 2})
    loaded = load_all(database, one([*made(3), late, without, *made(2, start=50)]))
    assert loaded["shop", "users"].count == 7
    assert next(iter(database["__mend_n_t_users"].find_one({"a": 1}))) == "_id"
    assert database["__mend_n_t_users"].find_one({"a": 2})["_id"]


def test_the_order_of_a_capped_collection_is_kept_over_many_batches(database):
    documents = [bson.encode({"_id": n, "text": "x" * 50}) for n in range(2000, 0, -1)]
    dump = one(documents, options={"capped": True, "size": 1 << 20}, max_batch_docs=7)
    load_all(database, dump)
    assert [d["_id"] for d in database["__mend_n_t_users"].find()] == list(range(2000, 0, -1))


@pytest.mark.parametrize("proof", ["full", "sample", "count"])
def test_every_proof_passes_for_the_real_archive_and_progress_reaches_the_end(database, proof):
    steps = {}
    dump = open_dump(DATA / "estore.archive.gz")
    loaded = load_all(database, dump, proof=proof, progress=lambda phase, *rest: steps.update({phase: rest}))
    assert {result.proof for result in loaded.values()} == {proof}
    assert steps["load"] == (dump.size, dump.size, "bytes")
    assert steps["index"] == (9, 9, "collections")
    documents = sum(result.count for result in loaded.values())
    assert steps["proof"] == (documents, documents, "documents")


def test_nothing_but_empty_collections(database):
    loaded = load_all(database, dump_of({("shop", "a"): [], ("shop", "b"): []}))
    assert [(result.count, result.sum) for result in loaded.values()] == [(0, 0), (0, 0)]


def test_only_chosen_collections_are_touched(database):
    dump = dump_of({("shop", "a"): made(5), ("shop", "b"): made(5)})
    loaded = load(database, dump, {("shop", "a"): "other_name"})
    assert set(loaded) == {("shop", "a")}
    assert database.list_collection_names() == ["other_name"]


def test_what_old_servers_wrote_into_index_definitions_is_left_out(database):
    index = {"v": 1, "key": {"name": 1}, "name": "name_1", "ns": "shop.users", "background": True, "dropDups": False}
    load_all(database, one(made(5), index))
    assert indexes_of(database, "__mend_n_t_users")["name_1"] == {"v": 1, "key": {"name": 1}, "name": "name_1"}


@pytest.mark.parametrize(
    "roles",
    [
        lambda name: [{"role": "backup", "db": "admin"}, {"role": "restore", "db": "admin"}],
        lambda name: [{"role": "readWrite", "db": name}, {"role": "dbAdmin", "db": name}],
    ],
    ids=["backup+restore", "readWrite+dbAdmin"],
)
def test_the_least_roles_are_enough(database, mongo_client, roles, sandbox):
    with least(database, mongo_client, sandbox, roles(database.name)) as limited:
        dump = one(made(50), {"v": 2, "key": {"name": 1}, "name": "name_1", "unique": True})
        assert load_all(limited, dump)["shop", "users"].count == 50
        drop_side_collections(limited, sides_of(dump).values())
