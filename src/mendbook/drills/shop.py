# SPDX-License-Identifier: MIT
"""A shop's database: every kind of collection and index that MongoDB has, and data that looks like a shop's.

The same seed and scale give the same bytes on every machine: nothing depends on the clock, and ids come from numbers.
All of it is dated before LIVE_FROM; what is written while a drill runs is dated after it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import math
import random
from collections.abc import Iterator
from typing import Any

from bson import Decimal128, Int64, ObjectId
from pymongo import IndexModel
from pymongo.database import Database

DATABASE = "estore"
# at scale 1: about 13 MB of documents
COUNTS = {
    "users": 5_000,
    "products": 1_000,
    "orders": 10_000,
    "payments": 10_000,
    "sessions": 6_000,
    "audit": 4_000,
    "metrics": 8_000,
}
EPOCH = dt.datetime(2023, 1, 1)
DAYS = 1_000
LIVE_FROM = ObjectId.from_datetime(dt.datetime(2026, 1, 1))
# a TTL index must never take a document away while a drill compares
FAR = dt.datetime(2099, 1, 1)
STATUS = ["pending", "paid", "packed", "shipped", "delivered", "returned"]
_BATCH = 1_000
_FIRST = "Ada Ben Cleo Dan Eva Finn Gia Hugo Ines Jon Kim Leo Mia Noor Omar Pia Rosa Sam Tara Uma Vic Wren".split()
_LAST = "Abbott Baker Costa Dietrich Eriksen Fischer Garcia Hansen Ivanov Jensen Kumar Lopez Meyer Novak".split()
_CITIES = [("Berlin", 13.4, 52.5), ("Lyon", 4.8, 45.8), ("Porto", -8.6, 41.1), ("Leeds", -1.5, 53.8)]
_WORDS = (
    "alloy amber anchor aspen basin beacon birch brass canvas carbon cedar cliff cobalt copper coral cotton delta "
    "denim ember fabric fern flint forest garnet granite hazel indigo ivory jade kelp linen maple oak pine slate"
).split()


def object_id(kind: str, number: int) -> ObjectId:
    """The _id of the n-th document of a kind."""
    rest = hashlib.blake2b(f"{kind}:{number}".encode(), digest_size=8).digest()
    return ObjectId((1_672_531_200 + number % 80_000_000).to_bytes(4, "big") + rest)


class Shop:
    """The documents of a seed and a scale, made one by one."""

    def __init__(self, seed: int, scale: float) -> None:
        self.seed = seed
        self.counts = {name: max(10, math.ceil(count * scale)) for name, count in COUNTS.items()}
        self.documents = sum(self.counts.values())

    def fill(self, database: Database[dict[str, Any]]) -> None:
        """Make the collections and write the documents, a batch at a time, however many they are."""
        self._create(database)
        for name, count in self.counts.items():
            chance = random.Random(f"{self.seed}:{name}")  # noqa: S311 - made data, the same for the same seed
            make = getattr(self, f"_{name}")
            documents = (make(number, chance) for number in range(count))
            while batch := list(itertools.islice(documents, _BATCH)):
                database[name].insert_many(batch)
        database["categories"].insert_many([{"_id": word, "rank": rank} for rank, word in enumerate(_WORDS)])
        database["settings"].insert_one({"_id": "currency", "value": "EUR"})
        for name, indexes in _indexes().items():
            database[name].create_indexes(indexes)

    def _create(self, database: Database[dict[str, Any]]) -> None:
        schema = {"$jsonSchema": {"required": ["email", "createdAt"], "properties": {"email": {"bsonType": "string"}}}}
        database.create_collection("users", validator=schema, validationLevel="moderate")
        database.create_collection("audit", capped=True, size=1 << 20 | self.counts["audit"] * 512)
        database.create_collection("categories", collation={"locale": "fr", "strength": 1})
        database.create_collection("settings", clusteredIndex={"key": {"_id": 1}, "unique": True})
        series = {"timeField": "at", "metaField": "page", "granularity": "minutes"}
        database.create_collection("metrics", timeseries=series)
        database.create_collection("open_orders", viewOn="orders", pipeline=[{"$match": {"status": "pending"}}])

    def _users(self, number: int, chance: random.Random) -> dict[str, Any]:
        first, last, created = chance.choice(_FIRST), chance.choice(_LAST), _when(chance)
        name = f"{first.lower()}.{last.lower()}{number}"
        return {
            "_id": object_id("users", number),
            "username": name,
            "email": f"{name}@example.com",
            "passwordHash": f"$2b$12${chance.getrandbits(208):053x}",
            "name": {"first": first, "last": last},
            "addresses": [_address(chance) for _ in range(chance.randrange(1, 3))],
            "loyalty": {"tier": chance.choice(["none", "silver", "gold"]), "points": Int64(chance.randrange(100_000))},
            "active": chance.random() < 0.95,
            "createdAt": created,
        }

    def _products(self, number: int, chance: random.Random) -> dict[str, Any]:
        return {
            "_id": object_id("products", number),
            "sku": f"SKU-{number:07d}",
            "name": " ".join(chance.choices(_WORDS, k=3)).title(),
            "description": " ".join(chance.choices(_WORDS, k=chance.randrange(60, 160))).capitalize() + ".",
            "category": chance.choice(_WORDS),
            "price": _money(chance),
            "stock": chance.randrange(900),
            "attributes": {chance.choice(_WORDS): chance.choice(_WORDS) for _ in range(3)},
            "image": chance.randbytes(48),
            "createdAt": _when(chance),
        }

    def _orders(self, number: int, chance: random.Random) -> dict[str, Any]:
        placed = _when(chance)
        return {
            "_id": object_id("orders", number),
            "number": number,
            "user": object_id("users", chance.randrange(self.counts["users"])),
            "items": [
                {
                    "sku": f"SKU-{chance.randrange(self.counts['products']):07d}",
                    "name": " ".join(chance.choices(_WORDS, k=2)).title(),
                    "count": chance.randrange(1, 5),
                    "price": _money(chance),
                }
                for _ in range(chance.randrange(1, 6))
            ],
            "status": chance.choice(STATUS),
            "total": _money(chance),
            "address": _address(chance),
            "history": [{"status": status, "at": placed} for status in STATUS[: chance.randrange(1, 5)]],
            "placedAt": placed,
        }

    def _payments(self, number: int, chance: random.Random) -> dict[str, Any]:
        return {
            "_id": object_id("payments", number),
            "order": object_id("orders", number),
            "provider": chance.choice(["stripe", "paypal", "razorpay"]),
            "transaction": f"pay_{chance.getrandbits(80):x}",
            "amount": _money(chance),
            "failed": chance.random() < 0.05,
            "at": _when(chance),
        }

    def _sessions(self, number: int, chance: random.Random) -> dict[str, Any]:
        return {
            "_id": f"{chance.getrandbits(128):032x}",
            "user": object_id("users", chance.randrange(self.counts["users"])),
            "address": f"10.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}",
            "data": {"cart": chance.randrange(9), "path": f"/p/{chance.choice(_WORDS)}-{chance.randrange(9999)}"},
            "expiresAt": FAR + dt.timedelta(seconds=number),
        }

    def _audit(self, number: int, chance: random.Random) -> dict[str, Any]:
        return {"_id": number, "what": chance.choice(_WORDS), "by": chance.choice(_FIRST), "at": _when(chance)}

    def _metrics(self, number: int, chance: random.Random) -> dict[str, Any]:
        at = EPOCH + dt.timedelta(minutes=number)
        return {"_id": object_id("metrics", number), "at": at, "page": number % 6, "visits": chance.randrange(500)}


def live_order(number: int, at: dt.datetime) -> dict[str, Any]:
    """An order that is placed while the drill runs; all of it follows from its arguments."""
    return {
        "_id": ObjectId(int(at.replace(tzinfo=dt.UTC).timestamp()).to_bytes(4, "big") + number.to_bytes(8, "big")),
        "number": 10**9 + number,
        "user": object_id("users", number % 10),
        "items": [{"sku": f"SKU-{number % 10:07d}", "count": 1, "price": Decimal128("19.90")}],
        "status": "paid",
        "total": Decimal128("19.90"),
        "placedAt": at,
    }


def live_payment(number: int, at: dt.datetime) -> dict[str, Any]:
    """The payment of that order, written after it."""
    order = live_order(number, at)
    return {"_id": order["_id"], "order": order["_id"], "amount": order["total"], "failed": False, "at": at}


def _indexes() -> dict[str, list[IndexModel]]:
    return {
        "users": [
            IndexModel("email", unique=True),
            IndexModel("username", collation={"locale": "en", "strength": 2}, name="username_ci"),
            IndexModel("createdAt", partialFilterExpression={"active": True}, name="recent_active"),
            IndexModel([("addresses.place", "2dsphere")]),
        ],
        "products": [
            IndexModel("sku", unique=True),
            IndexModel([("name", "text"), ("description", "text")], weights={"name": 10}, name="search"),
            IndexModel([("attributes.$**", 1)]),
        ],
        "orders": [
            IndexModel("number", unique=True),
            IndexModel([("user", 1), ("placedAt", -1)], name="user_placed"),
            IndexModel("placedAt"),
            IndexModel("status"),
        ],
        "payments": [
            IndexModel("order", unique=True),
            IndexModel("transaction", sparse=True),
            IndexModel("at", partialFilterExpression={"failed": True}, name="failed"),
        ],
        "sessions": [IndexModel("expiresAt", expireAfterSeconds=0), IndexModel([("user", "hashed")])],
    }


def _when(chance: random.Random) -> dt.datetime:
    return EPOCH + dt.timedelta(seconds=chance.randrange(86_400 * DAYS), milliseconds=chance.randrange(1000))


def _money(chance: random.Random) -> Decimal128:
    return Decimal128(f"{chance.randrange(100, 99_999)}E-2")


def _address(chance: random.Random) -> dict[str, Any]:
    city, east, north = chance.choice(_CITIES)
    return {
        "street": f"{chance.randrange(1, 999)} {chance.choice(_WORDS).capitalize()} St",
        "city": city,
        "zip": f"{chance.randrange(100_000):05d}",
        "place": {"type": "Point", "coordinates": [east + chance.random() / 10, north + chance.random() / 10]},
    }


def kinds(database: Database[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """(name, type) of every collection of the shop's database, without the server's own."""
    for entry in sorted(database.list_collections(), key=lambda entry: str(entry["name"])):
        if not entry["name"].startswith("system."):
            yield entry["name"], "capped" if entry["options"].get("capped") else entry["type"]
