# SPDX-License-Identifier: MIT
"""The loader against a real server: what it brings is compared by an independent client, what goes wrong is named."""

from __future__ import annotations

import functools
import json
import threading
import time
import uuid
from datetime import datetime

import bson
import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_load, mongo_proof
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.dump_metadata import Batch, DumpCollection, End
from ansible.module_utils.mendbook.errors import MendError, VerifyFailed
from ansible.module_utils.mendbook.mongo_batch import BatchWriter, RawBatch, each
from ansible.module_utils.mendbook.mongo_load import load
from ansible.module_utils.mendbook.mongo_side import TTL_PARKED_SECONDS, drop_side_collections
from bson import json_util
from bson.raw_bson import RawBSONDocument
from pymongo import errors as driver

import mendbook.sandbox
from dump_writer import DATA, ID_INDEX, MemorySource, archive, entry, made, metadata
from mendbook.sandbox.services import mongo

pytestmark = pytest.mark.e2e


@pytest.fixture
def database(mongo_client):
    """An empty database, dropped at the end."""
    name = f"load_{uuid.uuid4().hex[:8]}"
    yield mongo_client[name]
    mongo_client.drop_database(name)


def sides_of(dump):
    return {key: f"__mend_n_t_{key[1]}" for key, c in dump.collections.items() if c.type != "view"}


def load_all(database, dump, **options):
    return load(database, dump, sides_of(dump), **options)


def dump_of(collections, *entries, **options):
    """A dump of made documents; ``entries`` replace the archive's list of collections."""
    data = archive(collections)
    if entries:
        listed = b"".join(entry(db, name) for db, name in collections)
        data = data.replace(listed, b"".join(entries), 1)
    return open_dump(MemorySource(data), **options)


def one(documents, *indexes, options=None, **limits):
    """A dump of one collection ``shop.users``."""
    text = metadata("users", *indexes, options=options)
    return dump_of({("shop", "users"): documents}, entry("shop", "users", text), **limits)


def failure(database, dump, kind=MendError, **options):
    with pytest.raises(kind) as caught:
        load_all(database, dump, **options)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mendbook")]
    return caught.value


def indexes_of(database, name):
    return {spec["name"]: dict(spec) for spec in database.command({"listIndexes": name})["cursor"]["firstBatch"]}


# what is right


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
    source.create_collection("series", timeseries={"timeField": "t", "metaField": "m"}, expireAfterSeconds=86400)
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
            86400,
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


class least:
    """A client of a new user that has only these roles."""

    def __init__(self, database, mongo_client, sandbox, roles):
        self._admin, self._name, self._database = mongo_client.admin, f"user{uuid.uuid4().hex[:8]}", database.name
        self._admin.command("createUser", self._name, pwd="secret", roles=roles)
        facts = sandbox.status()["mongo"]
        self._client = pymongo.MongoClient(
            facts["host"],
            facts["port"],
            username=self._name,
            password="secret",
            directConnection=True,  # noqa: S106
        )

    def __enter__(self):
        return self._client[self._database]

    def __exit__(self, *_error):
        self._client.close()
        self._admin.command("dropUser", self._name)


# what is wrong with the data


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


# what is wrong with the server and with other people


def test_a_side_collection_that_exists_already_is_not_touched(database):
    database["__mend_n_t_users"].insert_one({"_id": "old"})
    assert "exists already, from a run that did not clean up" in failure(database, one(made(3))).msg
    assert database["__mend_n_t_users"].count_documents({}) == 1


@pytest.mark.parametrize("role", ["read", "readWrite"])
def test_a_missing_role_is_named(database, mongo_client, sandbox, role):
    with least(database, mongo_client, sandbox, [{"role": role, "db": database.name}]) as limited:
        error = failure(limited, one(made(3)))
    assert error.rule == "mongo_privilege"
    assert "role" in error.msg or "readWrite and dbAdmin" in error.msg


class Meddler:
    """A database whose ``command`` does something else around some commands."""

    def __init__(self, database, **hooks):
        self._database = database
        self._hooks = hooks

    def __getattr__(self, name):
        return getattr(self._database, name)

    def __getitem__(self, name):
        return self._database[name]

    def command(self, command, *args, **kwargs):
        name = next(iter(command)) if isinstance(command, dict) else command
        hook = self._hooks.get(name)
        run = functools.partial(self._database.command, command, *args, **kwargs)
        return hook(run, command) if hook else run()


CHANGES = {
    "lost": lambda users: users.delete_one({"_id": 7}),
    "added": lambda users: users.insert_one({"_id": "more"}),
    "changed": lambda users: users.update_one({"_id": 7}, {"$set": {"name": "x"}}),
    "replaced": lambda users: (users.delete_one({"_id": 7}), users.insert_one({"_id": "other"})),
}


def changed_behind_our_back(database, monkeypatch, what, proof):
    dump = one(made(400), max_batch_docs=100)
    real = mongo_load.prove

    def after_change(*arguments):
        CHANGES[what](database["__mend_n_t_users"])
        return real(*arguments)

    monkeypatch.setattr(mongo_load, "prove", after_change)
    return failure(database, dump, VerifyFailed, proof=proof)


@pytest.mark.parametrize("what", list(CHANGES))
def test_the_full_proof_finds_every_change_at_the_server(database, monkeypatch, what):
    error = changed_behind_our_back(database, monkeypatch, what, "full")
    assert error.rule == "proof"
    assert ("sent and" in error.msg) if what in ("lost", "added") else ("another content" in error.msg)


@pytest.mark.parametrize("what", list(CHANGES))
def test_the_sample_finds_changes_in_what_it_looks_at(database, monkeypatch, what):
    assert changed_behind_our_back(database, monkeypatch, what, "sample").rule == "proof"


@pytest.mark.parametrize("what", ["lost", "added"])
def test_the_count_finds_lost_and_added_documents(database, monkeypatch, what):
    message = changed_behind_our_back(database, monkeypatch, what, "count").msg
    assert f"400 documents were sent and {399 if what == 'lost' else 401} are there" in message


def test_a_sample_keeps_to_its_size_and_covers_the_whole_collection():
    sample = mongo_proof.Sample()
    for start in range(0, 5000, 100):
        sample.pick(b"".join(made(100, start)), 100)
    numbers = [pick[0] for pick in sample._picked]
    assert 500 <= len(numbers) <= 1000
    assert max(numbers) > 4900


def test_a_side_collection_that_someone_replaced_is_noticed(database, monkeypatch):
    real = mongo_load.verify_shape

    def after_replacing(*arguments):
        database["__mend_n_t_users"].drop()
        database["__mend_n_t_users"].insert_many([{"_id": 1}])
        return real(*arguments)

    monkeypatch.setattr(mongo_load, "verify_shape", after_replacing)
    error = failure(database, one(made(3)), VerifyFailed)
    assert "was dropped or replaced by someone else" in error.msg


def test_an_index_that_someone_dropped_is_noticed(database, monkeypatch):
    real = mongo_load.verify_shape

    def after_dropping(*arguments):
        database["__mend_n_t_users"].drop_indexes()
        return real(*arguments)

    monkeypatch.setattr(mongo_load, "verify_shape", after_dropping)
    error = failure(database, one(made(3), {"v": 2, "key": {"a": 1}, "name": "a_1"}), VerifyFailed)
    assert "the index 'a_1' was not built" in error.msg


def test_answers_that_get_lost_are_sent_again_and_nothing_is_doubled(database):
    lost = []

    def hook(run, command):
        if len(lost) < 4 and len(lost) % 2 == 0:
            run()  # it arrives, its answer does not
            lost.append("answer")
            raise driver.AutoReconnect("connection closed")
        if len(lost) < 4:
            lost.append("command")
            raise driver.NetworkTimeout("timed out")
        return run()

    loaded = load_all(Meddler(database, insert=hook), one(made(2000), max_batch_docs=100))
    assert len(lost) == 4
    assert loaded["shop", "users"].count == database["__mend_n_t_users"].count_documents({}) == 2000


def test_an_index_build_whose_answer_gets_lost_is_asked_for_again(database):
    asked = []

    def hook(run, command):
        asked.append(command["createIndexes"])
        if len(asked) == 1:
            run()
            raise driver.AutoReconnect("connection closed")
        return run()

    load_all(Meddler(database, createIndexes=hook), one(made(100), {"v": 2, "key": {"a": 1}, "name": "a_1"}))
    assert len(asked) == 2


def test_a_pymongo_that_sends_only_the_first_document_of_a_batch_is_noticed(database, monkeypatch):
    class OnlyFirst(RawBatch):
        raw = property(lambda self: next(each(self._documents)))

    monkeypatch.setattr(mongo_load, "BatchWriter", functools.partial(BatchWriter, carrier=OnlyFirst))
    loaded = load_all(database, one(made(500), max_batch_docs=100))
    assert loaded["shop", "users"].count == database["__mend_n_t_users"].count_documents({}) == 500


# stopping


class Endless:
    """A dump that never ends: whatever stops the load, it is not the dump."""

    size, bytes_read = None, 0

    def __init__(self, *names):
        self.collections = {
            ("shop", name): DumpCollection("shop", name, data_name=name, indexes=[UNIQUE]) for name in names
        }
        self.closed = False

    def iterate(self, include=None):
        first, *others = include
        try:
            documents = [bson.encode({"_id": n, "u": 1}) for n in range(10)]
            yield Batch(first, memoryview(b"".join(documents)), 10)
            yield End(first, 10)
            number = 100
            while True:
                yield Batch(others[0], memoryview(b"".join(made(100, number))), 100)
                number += 100
        finally:
            self.closed = True


UNIQUE = {**ID_INDEX, "key": {"u": 1}, "name": "u_1", "unique": True}


def test_an_error_in_one_thread_ends_the_load_at_once(database):
    dump = Endless("a", "b")
    began = time.monotonic()
    assert "violates its unique index" in failure(database, dump).msg
    assert time.monotonic() - began < 10
    assert dump.closed


def test_cancelling_ends_the_load_at_once(database):
    dump = Endless("a", "b")
    dump.collections = {key: DumpCollection(*key, data_name=key[1]) for key in dump.collections}
    moment = time.monotonic() + 0.5
    error = failure(database, dump, cancelled=lambda: time.monotonic() > moment)
    assert error.rule == "cancelled"
    assert dump.closed
    drop_side_collections(database, sides_of(dump).values())


def test_an_exception_of_the_callers_check_comes_through(database):
    def lost():
        raise VerifyFailed("the lock was lost", rule="lock")

    assert failure(database, one(made(3)), VerifyFailed, cancelled=lost).rule == "lock"


def test_cancelling_during_an_index_build_does_not_wait_for_it(database):
    built = threading.Event()

    def hook(run, command):
        built.wait(20)
        return run()

    dump = one(made(100), {"v": 2, "key": {"a": 1}, "name": "a_1"})
    moment = time.monotonic() + 0.5
    with pytest.raises(MendError, match="cancelled"):
        load_all(Meddler(database, createIndexes=hook), dump, cancelled=lambda: time.monotonic() > moment)
    assert time.monotonic() < moment + 8
    built.set()


def test_a_view_or_an_unknown_proof_is_the_callers_mistake(database):
    with pytest.raises(ValueError, match="proof must be one of"):
        load(database, one(made(1)), {}, proof="none")
    dump = open_dump(DATA / "estore.archive.gz")
    with pytest.raises(ValueError, match="is a view"):
        load(database, dump, {("estore", "open_orders"): "side"})
    assert database.list_collection_names() == []
