"""backup_mongo's module in this process against real servers, and what independent clients see on both sides."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import mend_mongo_backup
import pymongo
from ansible.module_utils.mendbook import s3
from ansible.module_utils.mendbook.s3_catalogue import Catalogue, catalogue
from bson import ObjectId, json_util
from pymongo import IndexModel
from pymongo.database import Database

from restore_lab import CODEC, PATIENT, receipt_for, run_module

START = dt.datetime(2026, 1, 1)
FAR = dt.datetime(2099, 1, 1)


def object_id(number: int) -> ObjectId:
    return ObjectId((1_767_225_600 + number).to_bytes(4, "big") + number.to_bytes(8, "big"))


def fill(database: Database[Any]) -> None:
    """One collection of every kind that MongoDB 6 has, and every kind of index."""
    users = database.create_collection("users", validator={"email": {"$regex": "@"}}, validationLevel="moderate")
    users.insert_many(
        {"_id": object_id(n), "email": f"u{n}@example.com", "at": START + dt.timedelta(hours=n)} for n in range(300)
    )
    users.create_indexes(
        [
            IndexModel("email", unique=True),
            IndexModel([("active", 1), ("at", -1)], name="active_at"),
            IndexModel("score", partialFilterExpression={"active": True}, name="partial"),
            IndexModel([("name", "text")], name="words"),
            IndexModel([("$**", 1)], wildcardProjection={"prefs": 1}, name="wild"),
            IndexModel("city", collation={"locale": "de", "strength": 2}, name="city_de"),
            IndexModel([("team", "hashed")]),
            IndexModel([("place", "2dsphere")]),
            IndexModel("hidden", hidden=True, sparse=True),
        ]
    )
    sessions = database["sessions"]
    sessions.insert_many({"_id": f"s{n}", "until": FAR} for n in range(20))
    sessions.create_index("until", expireAfterSeconds=0)
    database.create_collection("audit", capped=True, size=8192, max=50).insert_many({"_id": n} for n in range(40))
    database.create_collection("notes", collation={"locale": "fr"}).insert_one({"_id": "a", "text": "x\0y"})
    database.create_collection("clustered", clusteredIndex={"key": {"_id": 1}, "unique": True}).insert_one({"_id": 1})
    database.create_collection("empty")
    metrics = database.create_collection("metrics", timeseries={"timeField": "t", "metaField": "m"})
    metrics.insert_many({"t": START + dt.timedelta(minutes=n), "m": n % 3, "v": n} for n in range(200))
    database.create_collection("active", viewOn="users", pipeline=[{"$match": {"active": True}}])
    database["system.js"].insert_one({"_id": "f", "value": "x"})


def noise(database: Database[Any], mebibytes: int, name: str = "noise") -> None:
    """So much data that no compression makes smaller."""
    chance = random.Random(1)
    for start in range(0, mebibytes * 16, 64):
        database[name].insert_many(
            {"_id": n, "filler": chance.randbytes(65_400)} for n in range(start, min(start + 64, mebibytes * 16))
        )


class BackupLab:
    """One database, one prefix of a bucket, and the module between them; ``s3`` is an independent client."""

    def __init__(self, uri: str, client: pymongo.MongoClient[Any], name: str, s3_client: Any, facts: Mapping[str, Any]):
        self.database: Database[Any] = client.get_database(name, codec_options=CODEC)
        self.s3, self.bucket = s3_client, facts["bucket"]
        self.prefix = f"{uuid4().hex[:8]}/"
        self.options: dict[str, Any] = {
            "uri": uri,
            "database": name,
            "bucket": self.bucket,
            "prefix": self.prefix,
            "s3_endpoint_url": facts["endpoint_url"],
            "s3_region": facts["region"],
            "s3_path_style": True,
            "s3_access_key": facts["access_key"],
            "s3_secret_key": facts["secret_key"],
            **PATIENT,
        }
        self._runs = 0

    # -- the module

    def plan(self, **changed: Any) -> dict[str, Any]:
        return run_module(mend_mongo_backup, check=True, **{**self.options, **changed})

    def act(self, planned: Mapping[str, Any], **changed: Any) -> dict[str, Any]:
        self._runs += 1
        receipt = receipt_for(planned, f"run-{self._runs}")
        return run_module(mend_mongo_backup, receipt=receipt, **{**self.options, **changed})

    def backup(self, **changed: Any) -> dict[str, Any]:
        """Plan and act, as the gate does; the plan itself where that has failed."""
        planned = self.plan(**changed)
        return planned if planned["rc"] else self.act(planned, **changed)

    # -- the bucket

    def keys(self) -> list[str]:
        """What lies under the prefix, below it, without the lock."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        keys = [entry["Key"][len(self.prefix) :] for page in pages for entry in page.get("Contents", [])]
        return [key for key in keys if not key.startswith(".mendbook-lock")]

    def unfinished(self) -> list[str]:
        answer = self.s3.list_multipart_uploads(Bucket=self.bucket, Prefix=self.prefix)
        return [upload["Key"] for upload in answer.get("Uploads", [])]

    def everything(self) -> list[Any]:
        """Every version of everything, the lock too, and every unfinished upload."""
        answer = self.s3.list_object_versions(Bucket=self.bucket, Prefix=self.prefix)
        versions = [(one["Key"], one["VersionId"], one["ETag"]) for one in answer.get("Versions", [])]
        return [versions, answer.get("DeleteMarkers", []), self.unfinished()]

    def body(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read()

    def manifest(self, key: str) -> dict[str, Any]:
        return json.loads(self.body(f"{key}.manifest.json"))

    def found(self) -> Catalogue:
        """The catalogue as restore_mongo and the others read it."""
        options = {**self.options, "s3_endpoint_url": self.s3.meta.endpoint_url}
        return catalogue(s3.client(options), self.bucket, self.prefix, params=options)

    def whole(self) -> list[str]:
        """The keys of what counts as a backup."""
        return sorted(one.key[len(self.prefix) :] for one in self.found() if one.complete)

    def free_the_lock(self) -> None:
        """What a minute does to the lease of a dead process, without waiting for it."""
        self.s3.delete_object(Bucket=self.bucket, Key=f"{self.prefix}.mendbook-lock.json")

    def clean(self, *more: str) -> bool:
        """Whether nothing is there but whole backups with their manifests, ``more``, and the lock, held by nobody."""
        whole = self.whole()
        lock = json.loads(self.body(".mendbook-lock.json"))
        expected = sorted([*whole, *(f"{key}.manifest.json" for key in whole), *more])
        return self.keys() == expected and self.unfinished() == [] and lock["released"] is True

    # -- the database

    def picture(self, database: Database[Any] | None = None) -> dict[str, Any]:
        return picture(self.database if database is None else database)


def picture(database: Database[Any]) -> dict[str, Any]:
    """Hash, type, options and indexes of all that is not mendbook's; dbHash, because this server is ours."""
    hashes = database.command("dbHash")["collections"]
    found = {}
    for entry in database.list_collections():
        name = entry["name"]
        if name == "system.views" or "__mend_" in name:
            continue
        indexes = [] if entry["type"] == "view" else list(database[name].list_indexes())
        text = json_util.dumps([entry["options"], sorted(indexes, key=str)], sort_keys=True)
        # dbHash leaves capped collections of a standalone out
        found[name] = (hashes.get(name), entry["type"], text)
    return found


@contextmanager
def backup_lab(uri: str, s3_client: Any, facts: Mapping[str, Any], name: str | None = None) -> Iterator[BackupLab]:
    """A database of its own, and a prefix of its own that is emptied at the end."""
    with pymongo.MongoClient(uri) as client:
        lab = BackupLab(uri, client, name or f"estore_{uuid4().hex[:8]}", s3_client, facts)
        try:
            yield lab
        finally:
            client.drop_database(lab.database.name)
            for key in lab.keys():
                s3_client.delete_object(Bucket=lab.bucket, Key=lab.prefix + key)
            lab.free_the_lock()
