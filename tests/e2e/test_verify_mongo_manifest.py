"""The manifest of a live database: what an independent client reads is what it says."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import bson
import pymongo
import pytest
from ansible.module_utils.mendbook.mongo_content import manifest_of
from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database
from xxhash import xxh3_128_intdigest

pytestmark = pytest.mark.e2e
pytest_plugins = ["seeded_shop"]

START = datetime(2026, 1, 1)
DATA = Path(__file__).resolve().parents[1] / "data"


def test_manifest_of_sums_what_an_independent_client_reads(standing_shop):
    shop = standing_shop
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


def test_without_contents_counts_and_the_newest_record_still_decide(shop, verify_shop):
    shop.users.update_one({"email": "u7@example.com"}, {"$set": {"active": "yes"}})
    assert verify_shop(content="none")["rc"] == 0
    shop.users.delete_one({"email": "u119@example.com"})
    result = verify_shop(content="none", time_fields={"users": "createdAt"})
    assert '"users" has 119 documents, expected 120 (1 missing)' in result["msg"]
    assert result["rc"] == 1


def test_the_loss_of_the_newest_record_is_seen_although_a_newer_one_came(shop, run_verify, write_manifest):
    described = manifest_of(shop, ["users"], contents=False, time_fields={"users": "createdAt"})
    path = write_manifest(described)
    shop.users.update_one({"email": "u119@example.com"}, {"$set": {"createdAt": START + timedelta(days=30)}})
    result = run_verify(database=shop.name, manifest_file=path, collections=["users"])
    assert "the newest record is of 2026-01-05T22:00:00Z, expected 2026-01-05T23:00:00Z" in result["msg"]


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


def test_a_real_dump_agrees_with_its_foreign_manifest_and_with_ours(estore, run_verify, write_manifest):
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
    path = write_manifest({f"estore.{name}": one for name, one in described.items()})
    arguments = {"database": estore.name, "source_database": "estore", "manifest_file": path}
    assert run_verify(**arguments)["rc"] == 0
    estore.orders.update_one({}, {"$inc": {"__v": 1}})
    assert '"orders" content differs' in run_verify(**arguments)["msg"]


def test_the_rate_of_reading_is_kept(estore, run_verify, write_manifest):
    path = write_manifest(manifest_of(estore, ["products", "carts"]))
    freely = run_verify(database=estore.name, manifest_file=path)
    rate = int(freely["figures"]["bytes_read"] / 2)
    slowly = run_verify(database=estore.name, manifest_file=path, max_bytes_per_second=rate)
    assert freely["rc"] == slowly["rc"] == 0
    assert slowly["figures"]["seconds"] >= 1.9
