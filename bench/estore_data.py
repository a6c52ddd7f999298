#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes an archive of an e-commerce database, as `mongodump --archive --gzip` would write it.

    python bench/estore_data.py estore.archive.gz --scale 0.185

Scale 1.0 is about 1 GB of BSON and 1.47 million documents. The same scale and seed give the same documents on every
machine: nothing depends on the clock, ids come from (collection, number).
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import multiprocessing
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import bson
from bson import Binary, Decimal128, Int64, ObjectId, json_util
from fastcrc.crc64 import xz as crc64
from isal import igzip_threaded

from estore_indexes import INDEXES

COUNTS = {"orders": 450_000, "users": 400_000, "sessions": 400_000, "carts": 160_000, "products": 60_000}
DATABASE = "estore"
BLOCK_BYTES = 8 << 20
EPOCH = dt.datetime(2024, 1, 1)
FIRST = "Ada Ben Cleo Dan Eva Finn Gia Hugo Ines Jon Kim Leo Mia Noor Omar Pia Quinn Rosa Sam Tara Uma Vic Wren".split()
LAST = "Abbott Baker Costa Dietrich Eriksen Fischer Garcia Hansen Ivanov Jensen Kumar Lopez Meyer Novak Okafor".split()
CITIES = [("Berlin", "DE"), ("Lyon", "FR"), ("Porto", "PT"), ("Leeds", "GB"), ("Osaka", "JP"), ("Gdansk", "PL")]
WORDS = (
    "alloy amber anchor aspen azure bamboo basin beacon birch bolt braid brass breeze bridge canvas carbon cedar "
    "chrome cinder cliff clover cobalt copper coral cotton crystal delta denim drift dune ember fabric feather fern "
    "flame flint forest frost garnet glacier granite grove harbor hazel indigo iron ivory jade kelp lagoon linen"
).split()
STATUS = ["pending", "paid", "packed", "shipped", "delivered", "returned", "cancelled"]
CATEGORIES = ["kitchen", "garden", "audio", "apparel", "footwear", "toys", "office", "outdoor", "beauty", "books"]
AGENTS = ["Mozilla/5.0 (X11; Linux x86_64) Firefox/12{}.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_{} like Mac OS X)"]


def object_id(kind: str, number: int) -> ObjectId:
    """The _id of the n-th document of a kind, the same on every machine."""
    rest = hashlib.blake2b(f"{kind}:{number}".encode(), digest_size=8).digest()
    return ObjectId((1_704_067_200 + number).to_bytes(4, "big") + rest)


class Shop:
    """Makes the documents of one collection from a seeded source of chance."""

    def __init__(self, collection: str, counts: dict[str, int], seed: str) -> None:
        self.chance = random.Random(f"{seed}:{collection}")
        pools = random.Random(f"{seed}:pools")
        self.counts = counts
        self.prices = [Decimal128(f"{pools.randrange(100, 99999) / 100:.2f}") for _ in range(20_000)]
        self.totals = [Decimal128(f"{pools.randrange(500, 999999) / 100:.2f}") for _ in range(50_000)]
        self.sentences = [" ".join(pools.choices(WORDS, k=pools.randrange(8, 16))).capitalize() for _ in range(20_000)]

    def when(self) -> dt.datetime:
        r = self.chance
        return EPOCH + dt.timedelta(seconds=r.randrange(86_400 * 900), milliseconds=r.randrange(1000))

    def address(self) -> dict[str, Any]:
        r = self.chance
        city, country = r.choice(CITIES)
        place = [round(r.uniform(-180, 180), 6), round(r.uniform(-80, 80), 6)]
        return {
            "street": f"{r.randrange(1, 999)} {r.choice(WORDS).capitalize()} {r.choice(('St', 'Ave', 'Rd', 'Way'))}",
            "city": city,
            "zip": f"{r.randrange(100_000):05d}",
            "country": country,
            "geo": {"type": "Point", "coordinates": place},
        }

    def users(self, i: int) -> dict[str, Any]:
        r = self.chance
        first, last, created = r.choice(FIRST), r.choice(LAST), self.when()
        name = f"{first.lower()}.{last.lower()}{i}"
        return {
            "_id": object_id("users", i),
            "username": name,
            "email": f"{name}@example.com",
            "passwordHash": f"$2b$12${r.getrandbits(208):053x}"[:60],
            "name": {"first": first, "last": last},
            "phone": f"+{r.randrange(1, 99)}{r.randrange(10**9):09d}",
            "addresses": [self.address() for _ in range(r.randrange(1, 3))],
            "roles": ["customer"] + (["admin"] if i % 1000 == 0 else []),
            "loyalty": {
                "tier": r.choice(("none", "silver", "gold", "platinum")),
                "points": Int64(r.randrange(100_000)),
            },
            "prefs": {"newsletter": r.random() < 0.4, "currency": r.choice(("EUR", "USD", "GBP", "JPY"))},
            "active": r.random() < 0.95,
            "createdAt": created,
            "updatedAt": created + dt.timedelta(seconds=r.randrange(10**6)),
            "__v": 0,
        }

    def orders(self, i: int) -> dict[str, Any]:
        r = self.chance
        created, status, items = self.when(), r.choice(STATUS), []
        for _ in range(r.randrange(1, 6)):
            p = r.randrange(self.counts["products"])
            name = f"{r.choice(WORDS).capitalize()} {r.choice(WORDS)}"
            items.append(
                {
                    "productId": object_id("products", p),
                    "sku": f"SKU-{p:07d}",
                    "name": name,
                    "qty": r.randrange(1, 5),
                    "price": r.choice(self.prices),
                }
            )
        return {
            "_id": object_id("orders", i),
            "orderNo": f"ES-{2024 + i % 3}-{i:09d}",
            "userId": object_id("users", r.randrange(self.counts["users"])),
            "items": items,
            "status": status,
            "total": r.choice(self.totals),
            "currency": "EUR",
            "shipping": {
                "address": self.address(),
                "method": r.choice(("standard", "express", "pickup")),
                "tracking": f"{r.getrandbits(64):x}" if status in ("shipped", "delivered") else None,
            },
            "payment": {
                "provider": r.choice(("razorpay", "stripe", "paypal")),
                "txId": f"pay_{r.getrandbits(80):x}",
                "capturedAt": created + dt.timedelta(seconds=r.randrange(3600)),
            },
            "history": [
                {"status": past, "at": created + dt.timedelta(hours=k * 7)}
                for k, past in enumerate(STATUS[: r.randrange(1, 5)])
            ],
            "createdAt": created,
            "updatedAt": created + dt.timedelta(hours=30),
        }

    def products(self, i: int) -> dict[str, Any]:
        r = self.chance
        return {
            "_id": object_id("products", i),
            "sku": f"SKU-{i:07d}",
            "name": " ".join(r.choices(WORDS, k=3)).title(),
            "description": ". ".join(r.choices(self.sentences, k=r.randrange(4, 12))),
            "category": r.choice(CATEGORIES),
            "tags": r.choices(WORDS, k=r.randrange(2, 7)),
            "price": r.choice(self.prices),
            "stock": r.randrange(900),
            "rating": round(r.uniform(1, 5), 2),
            "variants": [
                {"color": r.choice(WORDS), "size": r.choice("SML"), "ean": Int64(r.randrange(10**12, 10**13))}
                for _ in range(r.randrange(1, 4))
            ],
            "thumb": Binary(r.randbytes(48)),
            "createdAt": self.when(),
        }

    def carts(self, i: int) -> dict[str, Any]:
        r = self.chance
        return {
            "_id": object_id("carts", i),
            "userId": object_id("users", i * 2 % self.counts["users"]),
            "n": i,
            "items": [
                {
                    "sku": f"SKU-{r.randrange(self.counts['products']):07d}",
                    "qty": r.randrange(1, 4),
                    "price": r.choice(self.prices),
                    "addedAt": self.when(),
                }
                for _ in range(r.randrange(1, 7))
            ],
            "coupon": r.choice((None, "SPRING10", "WELCOME5")),
            "updatedAt": self.when(),
        }

    def sessions(self, i: int) -> dict[str, Any]:
        r = self.chance
        return {
            "_id": f"{r.getrandbits(128):032x}",
            "userId": object_id("users", r.randrange(self.counts["users"])),
            "ip": f"10.{r.randrange(256)}.{r.randrange(256)}.{r.randrange(256)}",
            "userAgent": r.choice(AGENTS).format(r.randrange(10)),
            "csrf": f"{r.getrandbits(128):x}",
            "data": {"cartItems": r.randrange(9), "lastPath": f"/p/{r.choice(WORDS)}-{r.randrange(9999)}"},
            "createdAt": self.when(),
            "expiresAt": dt.datetime(2040, 1, 1) + dt.timedelta(seconds=r.randrange(10**7)),
        }


def _write_collection(job: tuple[str, Path, dict[str, int], str]) -> None:
    collection, folder, counts, seed = job
    make = getattr(Shop(collection, counts, seed), collection)
    with (folder / f"{collection}.bson").open("wb") as file:
        for i in range(counts[collection]):
            file.write(bson.encode(make(i)))


def _metadata(collection: str) -> str:
    indexes = [{"v": 2, "key": {"_id": 1}, "name": "_id_"}, *({"v": 2, **spec} for spec in INDEXES[collection])]
    return json_util.dumps(
        {"indexes": indexes, "collectionName": collection, "type": "collection"},
        json_options=json_util.CANONICAL_JSON_OPTIONS,
    )


def _blocks(path: Path) -> Iterator[bytes]:
    """A collection's documents in blocks that end at a document's end, as mongodump's buffers do."""
    rest = b""
    with path.open("rb") as file:
        while data := file.read(BLOCK_BYTES):
            data, position = rest + data, 0
            while len(data) - position >= 4:
                length = int.from_bytes(data[position : position + 4], "little")
                if position + length > len(data):
                    break
                position += length
            yield data[:position]
            rest = data[position:]


def write_archive(folder: Path, collections: list[str], out: BinaryIO) -> None:
    """The archive of `<collection>.bson` files, four collections at a time in turns."""
    terminator = b"\xff\xff\xff\xff"
    versions = {"concurrent_collections": 4, "version": "0.1", "server_version": "6.0.5", "tool_version": "100.18.0"}
    out.write(b"\x6d\xe2\x99\x81" + bson.encode(versions))
    for name in collections:
        entry = {"db": DATABASE, "collection": name, "metadata": _metadata(name), "size": 0, "type": "collection"}
        out.write(bson.encode(entry))
    out.write(terminator)
    waiting, running = list(collections), {}
    sums = dict.fromkeys(collections, 0)
    while waiting or running:
        while waiting and len(running) < 4:
            name = waiting.pop(0)
            running[name] = _blocks(folder / f"{name}.bson")
        for name, blocks in list(running.items()):
            block = next(blocks, None)
            header = {"db": DATABASE, "collection": name, "EOF": block is None, "CRC": Int64(0)}
            if block is None:
                del running[name]
                header["CRC"] = Int64(sums[name] - (1 << 64) if sums[name] >> 63 else sums[name])
            else:
                sums[name] = crc64(block, sums[name])
            out.write(bson.encode(header) + (block or b"") + terminator)


def make(path: Path, scale: float, seed: str = "estore-1") -> dict[str, Any]:
    """Write the archive and return its figures: documents, bytes of BSON, bytes of the file."""
    counts = {name: max(10, int(number * scale)) for name, number in COUNTS.items()}
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        folder = Path(name)
        with multiprocessing.Pool(2) as pool:
            pool.map(_write_collection, [(collection, folder, counts, seed) for collection in counts], chunksize=1)
        size = sum(file.stat().st_size for file in folder.iterdir())
        unfinished = path.with_suffix(".part")
        with igzip_threaded.open(unfinished, "wb", compresslevel=1, threads=1) as out:
            write_archive(folder, list(counts), out)
        unfinished.rename(path)
    return {"documents": sum(counts.values()), "bson_bytes": size, "file_bytes": path.stat().st_size}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", type=float, default=0.185)
    parser.add_argument("--seed", default="estore-1")
    options = parser.parse_args()
    print(json.dumps(make(options.out.absolute(), options.scale, options.seed)))
