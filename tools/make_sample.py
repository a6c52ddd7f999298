#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes src/mendbook/samples: a small backup with a collection of every kind, for `mendbook drill restore_mongo`.

    python tools/make_sample.py

A sandbox's MongoDB is filled with made data and read into an archive in the form of `mongodump --archive --gzip`.
Beside it stand the manifest, without the times that the drill adds, and what the server says of its data (dbHash).
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import ansible.module_utils
import bson
import pymongo
from bson import Decimal128, Int64, ObjectId, json_util
from fastcrc.crc64 import xz as crc64
from pymongo import IndexModel
from pymongo.database import Database

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "src" / "mendbook" / "samples"
sys.path.insert(0, str(ROOT / "src"))
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

import mendbook.sandbox  # noqa: E402 - found through the line above

NAME = "estore"
MAGIC, TERMINATOR = b"\x6d\xe2\x99\x81", b"\xff\xff\xff\xff"
START = dt.datetime(2026, 1, 1)
# A TTL index must never take a document of the sample away.
FAR = dt.datetime(2099, 1, 1)
CITIES = [("Berlin", 13.4, 52.5), ("Lyon", 4.8, 45.8), ("Porto", -8.6, 41.1), ("Leeds", -1.5, 53.8)]
WORDS = "amber anchor birch brass cedar copper denim fern garnet granite ivory kelp linen maple oak pine slate".split()


def object_id(kind: int, number: int) -> ObjectId:
    return ObjectId((1_767_225_600 + number).to_bytes(4, "big") + bytes([kind]) * 5 + number.to_bytes(3, "big"))


def fill(database: Database, chance: random.Random) -> None:
    """Every kind of collection and index that MongoDB has and a restore must bring back as it was."""
    users = database.create_collection(
        "users", validator={"$jsonSchema": {"required": ["email"]}}, validationLevel="moderate"
    )
    users.insert_many(
        {
            "_id": object_id(1, n),
            "email": f"user{n}@example.com",
            "name": " ".join(chance.choices(WORDS, k=2)).title(),
            "active": n % 3 > 0,
            "createdAt": START + dt.timedelta(minutes=n),
        }
        for n in range(1200)
    )
    users.create_indexes(
        [
            IndexModel("email", unique=True),
            IndexModel([("active", 1), ("createdAt", -1)], name="active_created"),
            IndexModel("name", collation={"locale": "de", "strength": 2}, name="name_de"),
            IndexModel("createdAt", partialFilterExpression={"active": True}, name="recent_active"),
        ]
    )
    products = database.create_collection("products")
    products.insert_many(
        {
            "_id": n,
            "title": " ".join(chance.choices(WORDS, k=4)),
            "price": Decimal128(f"{chance.randrange(100, 99999) / 100:.2f}"),
            "stock": Int64(chance.randrange(1000)),
            "attributes": {chance.choice(WORDS): chance.choice(WORDS)},
            "warehouse": {"type": "Point", "coordinates": list(CITIES[n % 4][1:])},
        }
        for n in range(400)
    )
    products.create_indexes(
        [
            IndexModel([("title", "text")], weights={"title": 3}, name="title_text"),
            IndexModel([("warehouse", "2dsphere")]),
            IndexModel([("attributes.$**", 1)]),
        ]
    )
    orders = database.create_collection("orders")
    orders.insert_many(
        {
            "_id": object_id(2, n),
            "user": object_id(1, chance.randrange(1200)),
            "items": [{"product": chance.randrange(400), "count": chance.randrange(1, 5)} for _ in range(1 + n % 3)],
            "status": chance.choice(["pending", "paid", "shipped", "returned"]),
            "createdAt": START + dt.timedelta(minutes=3 * n),
        }
        for n in range(2500)
    )
    orders.create_indexes([IndexModel([("user", "hashed")]), IndexModel([("status", 1), ("createdAt", -1)])])
    sessions = database.create_collection("sessions")
    sessions.insert_many({"_id": f"s{n}", "user": object_id(1, n), "expiresAt": FAR} for n in range(300))
    sessions.create_index("expiresAt", expireAfterSeconds=0)
    database.create_collection("audit", capped=True, size=1 << 16, max=200).insert_many(
        {"_id": n, "what": chance.choice(WORDS)} for n in range(150)
    )
    database.create_collection("categories", collation={"locale": "fr", "strength": 1}).insert_many(
        {"_id": word, "rank": n} for n, word in enumerate(WORDS)
    )
    database.create_collection("settings", clusteredIndex={"key": {"_id": 1}, "unique": True}).insert_one(
        {"_id": "currency", "value": "EUR"}
    )
    database.create_collection("coupons").create_index("code", unique=True, sparse=True)
    metrics = database.create_collection(
        "metrics", timeseries={"timeField": "at", "metaField": "shop", "granularity": "minutes"}
    )
    metrics.insert_many(
        {"at": START + dt.timedelta(minutes=n), "shop": n % 4, "visits": chance.randrange(100)} for n in range(800)
    )
    database.create_collection("open_orders", viewOn="orders", pipeline=[{"$match": {"status": "pending"}}])


def header(name: str, end: bool = False, crc: int = 0) -> bytes:
    signed = crc - (1 << 64) if crc >> 63 else crc
    return bson.encode({"db": NAME, "collection": name, "EOF": end, "CRC": Int64(signed)})


def archive(database: Database, versions: dict[str, str]) -> bytes:
    """The database as one archive, in the format that mongodump writes."""
    described = [entry for entry in database.list_collections() if not entry["name"].startswith("system.")]
    parts = [MAGIC, bson.encode({"concurrent_collections": 4, "version": "0.1", **versions})]
    for entry in described:
        indexes = [] if entry["type"] == "view" else [dict(each) for each in database[entry["name"]].list_indexes()]
        identity = entry["info"].get("uuid")
        text = {
            "options": entry["options"],
            "indexes": indexes,
            "uuid": identity.hex() if identity else "",
            "collectionName": entry["name"],
            "type": entry["type"],
        }
        facts = {"db": NAME, "collection": entry["name"], "size": 0, "type": entry["type"]}
        metadata = json_util.dumps(text, json_options=json_util.CANONICAL_JSON_OPTIONS)
        parts.append(bson.encode({**facts, "metadata": metadata}))
    parts.append(TERMINATOR)
    for entry in described:
        if entry["type"] != "view":
            place = f"system.buckets.{entry['name']}" if entry["type"] == "timeseries" else entry["name"]
            data = b"".join(database[place].find_raw_batches())
            parts += [header(place), data, TERMINATOR] if data else []
            parts += [header(place, True, crc64(data)), TERMINATOR]
    return b"".join(parts)


def main() -> None:
    from ansible.module_utils.mendbook.mongo_content import manifest_of

    with mendbook.sandbox.start(("mongo",)) as box, pymongo.MongoClient(box.status()["mongo"]["uri"]) as client:
        database = client[NAME]
        fill(database, random.Random(NAME))  # noqa: S311 - the same sample every time
        version = client.server_info()["version"]
        packed = gzip.compress(archive(database, {"server_version": version, "tool_version": "100.8.0"}), 9, mtime=0)
        manifest: dict[str, Any] = {
            "schema": 1,
            "tool": "mendbook tools/make_sample.py",
            "source": {"id": f"sample/{NAME}", "address": None, "version": version},
            "object": {"size": len(packed), "sha256": hashlib.sha256(packed).hexdigest(), "format": "archive+gzip"},
            "consistency": "snapshot",
            "collections": manifest_of(database),
        }
        # the hash of system.views is that of its documents' order; options say what a view is
        hashes = {
            name: sum for name, sum in database.command("dbHash")["collections"].items() if name != "system.views"
        }
    SAMPLES.mkdir(exist_ok=True)
    (SAMPLES / f"{NAME}.archive.gz").write_bytes(packed)
    for name, value in (("manifest", manifest), ("hashes", hashes)):
        (SAMPLES / f"{NAME}.{name}.json").write_text(json.dumps(value, indent=1) + "\n")
    print(f"{len(packed):,} bytes, {len(hashes)} collections with data in {SAMPLES.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
