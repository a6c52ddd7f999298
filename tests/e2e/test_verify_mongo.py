"""verify_mongo against a real server: what is right passes, and each kind of wrongness is found and named."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import bson
import mend_mongo_verify
import pymongo
import pytest
from ansible.module_utils.mendbook.mongo_content import manifest_of
from ansible.module_utils.testing import patch_module_args
from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import IndexModel
from pymongo.database import Database
from xxhash import xxh3_128_intdigest

pytestmark = pytest.mark.e2e

DATA = Path(__file__).resolve().parents[1] / "data"
START = datetime(2026, 1, 1)
HEAD = {"schema": 1, "object": {"key": "k", "size": 1, "sha256": "0" * 64}, "finished": "2026-01-02T00:00:00Z"}
PARKED = 2147483647
TEN_YEARS = 315360000


def seed(database: Database) -> None:
    """One collection of every kind that the manifest describes."""
    users = database.create_collection("users", validator={"email": {"$regex": "@"}}, validationLevel="moderate")
    users.insert_many(
        {"email": f"u{n}@example.com", "createdAt": START + timedelta(hours=n), "active": n % 2 == 0}
        for n in range(120)
    )
    users.create_indexes(
        [
            IndexModel("email", unique=True),
            IndexModel([("active", 1), ("createdAt", -1)], name="active_created"),
            IndexModel("seen", expireAfterSeconds=3600),
            IndexModel("score", partialFilterExpression={"active": True, "at": {"$gt": START}}, name="partial"),
            IndexModel([("name", "text"), ("bio", "text")], weights={"name": 5}, name="words"),
            IndexModel([("$**", 1)], wildcardProjection={"prefs": 1}, name="wild"),
            IndexModel("city", collation={"locale": "de", "strength": 2}, name="city_de"),
            IndexModel([("team", "hashed")]),
            IndexModel([("place", "2dsphere")]),
        ]
    )
    database.create_collection("audit", capped=True, size=8192, max=20).insert_many({"n": n} for n in range(15))
    database.create_collection("notes", collation={"locale": "fr"}).insert_one({"_id": "a", "text": "x"})
    database.create_collection("clustered", clusteredIndex={"key": {"_id": 1}, "unique": True}).insert_one({"_id": 1})
    database.create_collection("empty")
    metrics = database.create_collection(
        "metrics", timeseries={"timeField": "t", "metaField": "m"}, expireAfterSeconds=TEN_YEARS
    )
    metrics.insert_many({"t": START + timedelta(minutes=n), "m": n % 3, "v": n} for n in range(200))
    database.create_collection("active", viewOn="users", pipeline=[{"$match": {"active": True}}])


@pytest.fixture
def shop(mongo_client: pymongo.MongoClient) -> Iterator[Database]:
    """A database of its own, seeded."""
    database = mongo_client[f"shop_{uuid4().hex[:8]}"]
    seed(database)
    yield database
    mongo_client.drop_database(database.name)


@pytest.fixture(scope="module")
def standing(mongo_client: pymongo.MongoClient) -> Iterator[Database]:
    """A seeded database for tests that only read."""
    database = mongo_client[f"shop_{uuid4().hex[:8]}"]
    seed(database)
    yield database
    mongo_client.drop_database(database.name)


@pytest.fixture
def manifest_file(shop: Database, tmp_path: Path) -> Path:
    """The manifest of the seeded database, as a backup would write it."""
    path = tmp_path / "k.manifest.json"
    path.write_text(json.dumps({**HEAD, "collections": manifest_of(shop)}))
    return path


@pytest.fixture
def run(sandbox: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """The module in this process: its result, with `rc`."""

    def run_module(check: bool = False, **arguments: Any) -> dict[str, Any]:
        arguments = {"uri": sandbox.status()["mongo"]["uri"], **arguments, "_ansible_check_mode": check}
        with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
            mend_mongo_verify.main()
        return {**json.loads(capsys.readouterr().out), "rc": ended.value.code}

    return run_module


@pytest.fixture
def verify(run: Callable[..., dict[str, Any]], shop: Database, manifest_file: Path) -> Callable[..., dict[str, Any]]:
    """The module against the seeded database and its manifest."""
    return lambda **arguments: run(**{"database": shop.name, "manifest_file": str(manifest_file), **arguments})


def fingerprint(database: Database) -> dict[str, Any]:
    """What an independent client sees of a database, and the last thing that was written to the server."""
    hashed = database.command("dbHash")
    oplog = database.client.local["oplog.rs"].find({"op": {"$ne": "n"}}, sort=[("$natural", -1)], limit=1)
    return {
        "hashes": hashed["collections"],
        "indexes": {one["name"]: str(database.command("listIndexes", one["name"])["cursor"]["firstBatch"])
                    for one in database.list_collections(filter={"type": "collection"})},
        "written": [entry["ts"] for entry in oplog],
        "databases": database.client.list_database_names(),
    }  # fmt: skip


def test_what_is_right_passes_and_nothing_is_written(shop, verify):
    before = fingerprint(shop)
    result = verify(critical=["users"], min_counts={"users": 120, "metrics": 200}, indexes={"users": ["email_1"]})
    assert result["rc"] == 0, result["msg"]
    assert (result["changed"], result["verified"], result["extra"]) == (False, True, [])
    assert result["summary"]["failed"] == 0
    assert result["summary"]["collections"] == 7
    assert result["target"].endswith(f"/{shop.name}")
    assert result["figures"]["documents_read"] == 120 + 1 + 1 + shop["system.buckets.metrics"].count_documents({})
    assert result["figures"]["bytes_read"] > 0
    assert all(check["ok"] for check in result["checks"])
    assert fingerprint(shop) == before


def test_check_mode_is_the_same_as_a_run(verify):
    checked, ran = verify(check=True), verify()
    for result in (checked, ran):
        result["figures"].pop("seconds")
    assert checked == ran


WRONG: dict[str, tuple[Callable[[Database], Any], str]] = {
    "a missing collection": (lambda d: d.drop_collection("notes"), '"notes" is missing'),
    "a collection under another case": (lambda d: d.notes.rename("Notes"), '"notes" is missing; did you mean "Notes"?'),
    "a missing view": (lambda d: d.drop_collection("active"), '"active" is missing'),
    "one document lost": (lambda d: d.users.delete_one({}), '"users" has 119 documents, expected 120 (1 missing)'),
    "one document doubled": (
        lambda d: d.users.insert_one({"email": "twin@example.com"}),
        '"users" has 121 documents, expected 120 (1 too many)',
    ),
    "one document changed": (
        lambda d: d.users.update_one({"email": "u7@example.com"}, {"$set": {"active": "yes"}}),
        '"users" content differs from the manifest, although the count is right',
    ),
    "one document exchanged": (
        lambda d: (d.notes.delete_one({}), d.notes.insert_one({"_id": "b", "text": "x"})),
        '"notes" content differs from the manifest, although the count is right',
    ),
    "the order of fields changed": (
        lambda d: d.notes.replace_one({}, {"text": "y"}) and d.clustered.replace_one({}, {"x": 1}),
        '"clustered" content differs',
    ),
    "a missing index": (lambda d: d.users.drop_index("email_1"), '"users" index "email_1" is missing'),
    "an index that is too many": (lambda d: d.users.create_index("zip"), '"users" has an index "zip_1" that is not in'),
    "an index that is no longer unique": (
        lambda d: (d.users.drop_index("email_1"), d.users.create_index("email")),
        '"users" index "email_1": unique is absent, expected true',
    ),
    "an index with its keys exchanged": (
        lambda d: (
            d.users.drop_index("active_created"),
            d.users.create_index([("createdAt", -1), ("active", 1)], name="active_created"),
        ),
        '"users" index "active_created": key is',
    ),
    "a hidden index": (
        lambda d: d.command("collMod", "users", index={"name": "partial", "hidden": True}),
        '"users" index "partial": hidden is true, expected absent',
    ),
    "another weight": (
        lambda d: (
            d.users.drop_index("words"),
            d.users.create_index([("name", "text"), ("bio", "text")], weights={"name": 6}, name="words"),
        ),
        '"users" index "words": weights is',
    ),
    "another TTL": (
        lambda d: d.command("collMod", "users", index={"name": "seen_1", "expireAfterSeconds": 7200}),
        '"users" index "seen_1": expireAfterSeconds is 7200, expected 3600',
    ),
    "a parked TTL": (
        lambda d: d.command("collMod", "users", index={"name": "seen_1", "expireAfterSeconds": PARKED}),
        '"users" TTL index "seen_1" is parked at 2147483647 seconds: restore not finished',
    ),
    "a time-series without its TTL": (
        lambda d: d.command("collMod", "metrics", expireAfterSeconds="off"),
        '"metrics" option "expireAfterSeconds" is absent, expected 315360000 (restore not finished',
    ),
    "another validator": (
        lambda d: d.command("collMod", "users", validator={"email": {"$exists": True}}),
        '"users" option "validator" is {"email": {"$exists": true}}',
    ),
    "a weaker validator": (
        lambda d: d.command("collMod", "users", validationAction="warn"),
        '"users" option "validationAction" is "warn", expected "error"',
    ),
    "another view": (
        lambda d: d.command("collMod", "active", viewOn="users", pipeline=[{"$match": {"active": False}}]),
        '"active" option "pipeline" is [{"$match": {"active": false}}]',
    ),
    "a view that became a collection": (
        lambda d: (d.drop_collection("active"), d.active.insert_one({})),
        '"active" type is "collection", expected "view"',
    ),
    "a capped collection with one more": (
        lambda d: d.audit.insert_one({"n": 99}),
        '"audit" has 16 documents, expected 15 (1 too many)',
    ),
    "a capped collection that is not": (
        lambda d: (d.drop_collection("audit"), d.audit.insert_many([{"n": n} for n in range(15)])),
        '"audit" option "capped" is absent, expected true',
    ),
    "another collation": (
        lambda d: (d.drop_collection("notes"), d.notes.insert_one({"_id": "a", "text": "x"})),
        '"notes" option "collation" is absent',
    ),
    "one measurement more": (
        lambda d: d.metrics.insert_one({"t": START, "m": 9, "v": 1}),
        '"metrics" has 201 measurements, expected 200 (1 too many)',
    ),
    "one measurement exchanged": (
        lambda d: (
            d.drop_collection("metrics"),
            d.create_collection("metrics", timeseries={"timeField": "t", "metaField": "m"}),
            d.metrics.insert_many({"t": START + timedelta(minutes=n), "m": n % 3, "v": n + 1} for n in range(200)),
        ),
        '"metrics" content differs from the manifest, although the count is right',
    ),
    "another granularity": (
        lambda d: d.command("collMod", "metrics", timeseries={"granularity": "hours"}),
        '"metrics" option "timeseries" is',
    ),
}


@pytest.mark.parametrize("wrongness", WRONG)
def test_each_kind_of_wrongness_is_found_and_named(shop, verify, wrongness):
    spoil, words = WRONG[wrongness]
    spoil(shop)
    result = verify()
    assert result["rc"] == 1
    assert (result["mend"]["reason"], result["mend"]["details"]["verified"]) == ("verify", False)
    said = result["msg"]
    assert words in said
    assert result["mend"]["details"]["checks"][0]["ok"] is False


def test_without_contents_counts_and_the_newest_record_still_decide(shop, verify):
    shop.users.update_one({"email": "u7@example.com"}, {"$set": {"active": "yes"}})
    assert verify(content="none")["rc"] == 0
    shop.users.delete_one({"email": "u119@example.com"})
    result = verify(content="none", time_fields={"users": "createdAt"})
    assert '"users" has 119 documents, expected 120 (1 missing)' in result["msg"]
    assert result["rc"] == 1


def test_the_loss_of_the_newest_record_is_seen_although_a_newer_one_came(shop, run, tmp_path):
    described = manifest_of(shop, ["users"], contents=False, time_fields={"users": "createdAt"})
    path = tmp_path / "m.json"
    path.write_text(json.dumps({**HEAD, "collections": described}))
    shop.users.update_one({"email": "u119@example.com"}, {"$set": {"createdAt": START + timedelta(days=30)}})
    result = run(database=shop.name, manifest_file=str(path), collections=["users"])
    assert "the newest record is of 2026-01-05T22:00:00Z, expected 2026-01-05T23:00:00Z" in result["msg"]


def test_what_the_manifest_lacks_is_listed_and_fails_only_when_asked(shop, verify):
    shop.create_collection("later")
    shop.create_collection("__mend_n_0123abcd_users")
    assert verify()["extra"] == ["later"]
    result = verify(extra="fail")
    assert '"later" is not in the manifest' in result["msg"]
    assert result["mend"]["details"]["summary"]["failed"] == 1


def test_a_part_of_the_manifest_and_another_name_of_the_database(shop, run, manifest_file):
    result = run(
        database="elsewhere", source_database=shop.name, manifest_file=str(manifest_file), collections=["users"]
    )
    assert '"elsewhere" is not on this server' in result["msg"]
    shop.drop_collection("notes")
    result = run(database=shop.name, manifest_file=str(manifest_file), collections=["users", "metrics"])
    assert (result["rc"], result["summary"]["collections"], result["extra"]) == (0, 2, [])


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"critical": ["Users"]}, '"Users" is missing; did you mean "users"?'),
        ({"critical": ["empty"]}, '"empty" is empty, and it is critical'),
        ({"min_counts": {"users": 121}}, '"users" has 120 documents, expected at least 121'),
        ({"min_counts": {"active": 61}}, '"active" has 60 documents, expected at least 61'),
        ({"min_counts": {"payments": 0}}, '"payments" is missing'),
        ({"newest": {"users": {"field": "createdAt", "max_age_seconds": 60}}}, "seconds old"),
        ({"newest": {"users": {"field": "created", "max_age_seconds": 60}}}, '(dates are in "createdAt")'),
        ({"newest": {"metrics": {"max_age_seconds": 60}}}, '("t" 2026-01-01T03:19:00Z), at most 60 expected'),
        ({"newest": {"notes": {"max_age_seconds": 60}}}, '"notes" no record has a time in "_id"'),
        ({"newest": {"empty": {"max_age_seconds": 60}}}, '"empty" no record has a time in "_id"'),
        ({"indexes": {"users": ["emial_1"]}}, 'index "emial_1" is missing; did you mean "email_1"?'),
        ({"indexes": {"active": ["email_1"]}}, 'index "email_1" is missing'),
    ],
)
def test_a_stated_expectation_that_does_not_hold_is_named(standing, run, stated, words):
    result = run(database=standing.name, **stated)
    assert (result["rc"], result["mend"]["reason"]) == (1, "verify")
    assert words in result["msg"]


def test_stated_expectations_that_hold_pass_without_reading_contents(shop, run):
    shop.users.insert_one({"email": "new@example.com", "createdAt": datetime.now(UTC)})
    result = run(
        database=shop.name,
        critical=["users", "active", "metrics"],
        min_counts={"users": 121, "active": 60, "metrics": "200", "empty": 0},
        newest={"users": {"field": "createdAt", "max_age_seconds": 600}, "audit": {"max_age_seconds": 600}},
        indexes={"users": ["email_1", "words"]},
    )
    assert result["rc"] == 0, result["msg"]
    assert result["figures"]["documents_read"] == 0


def test_a_record_of_the_future_does_not_make_a_dead_feed_look_alive(shop, run):
    shop.users.insert_one({"email": "f@example.com", "createdAt": datetime(2999, 1, 1)})
    result = run(database=shop.name, newest={"users": {"field": "createdAt", "max_age_seconds": 600}})
    assert "2026-01-05T23:00:00Z" in result["msg"]


def test_a_parked_ttl_is_found_without_a_manifest_and_in_any_collection(shop, run):
    shop.command("collMod", "users", index={"name": "seen_1", "expireAfterSeconds": PARKED})
    assert "restore not finished" in run(database=shop.name, critical=["notes"])["msg"]


@pytest.mark.parametrize("phase", ["prepared", "swapping", "undoing"])
def test_an_interrupted_restore_is_a_failure_with_the_command_that_ends_it(shop, verify, phase):
    shop["__mend_m_0123abcd"].insert_many(
        {"_id": n, "number": 1, "token": "0123abcd", "run": "20260101T000000Z-abcdef", "phase": at, "settled": True}
        for n, at in ((1, "staging"), (2, phase))
    )
    result = verify()
    assert f'a restore (run "20260101T000000Z-abcdef") stopped in phase {phase}' in result["msg"]
    assert "playbooks/undo_restore_mongo.yml -e mongo_undo_action=finish" in result["msg"]


@pytest.mark.parametrize(
    "name", ["a\nb", "\x1b[31mred", "{{ lookup('pipe', 'id') }}", "ünï\u202egnp", "a.b", "x" * 180]
)
def test_a_hostile_name_is_compared_like_any_other_and_reaches_no_terminal(shop, run, tmp_path, name):
    shop[name].insert_one({"a": 1})
    shop[name].create_index("a", name=name[:100])
    path = tmp_path / "m.json"
    path.write_text(json.dumps({**HEAD, "collections": manifest_of(shop, [name])}))
    assert run(database=shop.name, manifest_file=str(path), indexes={name: [name[:100]]})["rc"] == 0
    shop[name].insert_one({"a": 2})
    result = run(database=shop.name, manifest_file=str(path))
    assert "has 2 documents, expected 1 (1 too many)" in result["msg"]
    assert result["msg"].isascii() and result["msg"].isprintable()
    assert {check["object"] for check in result["mend"]["details"]["checks"] if not check["ok"]} == {name}


def test_many_differences_do_not_flood_the_result(standing, run):
    result = run(database=standing.name, critical=[f"c{n}" for n in range(3000)])
    assert result["mend"]["details"]["summary"]["failed"] == 3000
    assert len(result["mend"]["details"]["checks"]) == 1000
    assert len(result["msg"]) < 2000


def test_manifest_of_sums_what_an_independent_client_reads(standing):
    shop = standing
    described = manifest_of(shop)
    raw = CodecOptions(document_class=RawBSONDocument)
    for name in ("users", "notes", "clustered", "empty", "metrics"):
        data = f"system.buckets.{name}" if name == "metrics" else name
        documents = shop.get_collection(data, codec_options=raw).find()
        total = sum(xxh3_128_intdigest(document.raw) for document in documents) % 2**128
        assert described[f"{shop.name}.{name}"]["sum"] == f"{total:032x}"
    assert described[f"{shop.name}.audit"]["sum"] is None
    assert {one.split(".")[1]: entry["count"] for one, entry in described.items()} == {
        "active": None, "audit": 15, "clustered": 1, "empty": 0, "metrics": 200, "notes": 1, "users": 120
    }  # fmt: skip
    assert described[f"{shop.name}.metrics"]["newest"] == "2026-01-01T03:19:00Z"
    assert described[f"{shop.name}.notes"]["newest"] == "unknown"
    assert json.loads(json.dumps(described)) == described


@pytest.fixture(scope="module")
def estore(mongo_client: pymongo.MongoClient) -> Iterator[Database]:
    """The real dump of tests/data, loaded by pymongo and nothing of ours."""
    database = mongo_client[f"estore_{uuid4().hex[:8]}"]
    with tarfile.open(DATA / "estore-dump.tar") as tar:
        files = {Path(one.name).name: tar.extractfile(one).read() for one in tar.getmembers() if one.isfile()}
    for file, data in files.items():
        if file.endswith(".metadata.json.gz") and not file.startswith("prelude"):
            load(database, file.removesuffix(".metadata.json.gz"), json_util.loads(gzip.decompress(data)), files)
    yield database
    mongo_client.drop_database(database.name)


def load(database: Database, name: str, described: dict[str, Any], files: dict[str, bytes]) -> None:
    database.command({"create": name, **described.get("options", {})})
    series = "timeseries" in described.get("options", {})
    data = files.get(f"{'system.buckets.' if series else ''}{name}.bson.gz")
    if data:
        documents = bson.decode_all(gzip.decompress(data), CodecOptions(document_class=RawBSONDocument))
        into = database[f"system.buckets.{name}" if series else name]
        if documents:
            into.insert_many(documents, bypass_document_validation=True)
    for spec in described.get("indexes", []):
        if spec["name"] != "_id_":
            database.command({"createIndexes": name, "indexes": [{k: v for k, v in spec.items() if k != "v"}]})


def test_a_real_dump_agrees_with_its_foreign_manifest_and_with_ours(estore, run, tmp_path):
    foreign = json.loads((DATA / "estore.manifest.json").read_text())["collections"]
    described = {name.partition(".")[2]: entry for name, entry in manifest_of(estore).items()}
    hashes = estore.command("dbHash")["collections"]
    assert described.keys() == foreign.keys()
    for name, entry in foreign.items():
        if entry["type"] == "collection":
            assert hashes[name] == entry["dbHash"]
        if entry["type"] != "view":
            assert described[name]["count"] == entry["count"]
        assert described[name]["type"] == entry["type"]
        assert described[name]["options"] == entry["options"]
        assert described[name]["indexes"] == entry.get("indexes", [])
    path = tmp_path / "m.json"
    path.write_text(json.dumps({**HEAD, "collections": {f"estore.{name}": one for name, one in described.items()}}))
    arguments = {"database": estore.name, "source_database": "estore", "manifest_file": str(path)}
    assert run(**arguments)["rc"] == 0
    estore.orders.update_one({}, {"$inc": {"__v": 1}})
    assert '"orders" content differs' in run(**arguments)["msg"]


def test_the_rate_of_reading_is_kept(estore, run, tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps({**HEAD, "collections": manifest_of(estore, ["products", "carts"])}))
    freely = run(database=estore.name, manifest_file=str(path))
    rate = int(freely["figures"]["bytes_read"] / 2)
    slowly = run(database=estore.name, manifest_file=str(path), max_bytes_per_second=rate)
    assert freely["rc"] == slowly["rc"] == 0
    assert slowly["figures"]["seconds"] >= 1.9
