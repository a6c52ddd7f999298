# SPDX-License-Identifier: MIT
"""A database as plain pymongo sees it, apart from everything that the procedures use: content, indexes, options."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from bson import CodecOptions, encode, json_util
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from mendbook.drills.shop import LIVE_FROM, kinds

# the shop goes on writing these, so only what was there before is compared
WRITTEN = ("orders", "payments")
# a time-series has no index that sorts it, a capped collection has an order of its own
_ORDER = {"collection": [("_id", 1)], "capped": [("$natural", 1)], "timeseries": [("at", 1), ("_id", 1)]}


def picture(database: Database[dict[str, Any]]) -> dict[str, str]:
    """``{collection: one line}`` that is the same for the same documents, indexes and options."""
    described = {entry["name"]: entry["options"] for entry in database.list_collections()}
    return {
        name: _line(database, name, kind, described[name])
        for name, kind in kinds(database)
        if not name.startswith("__mend_")
    }


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Names of the collections that are not as they were."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def content_hash(pictured: dict[str, str]) -> str:
    """One short hash of a whole picture, to see at a glance that a seed has made the same data again."""
    return hashlib.sha256(json.dumps(sorted(pictured.items())).encode()).hexdigest()[:12]


def _line(database: Database[dict[str, Any]], name: str, kind: str, options: dict[str, Any]) -> str:
    facts: dict[str, Any] = {"kind": kind, "options": options}
    if kind != "view":
        facts["indexes"] = sorted(
            (dict(index) for index in database[name].list_indexes()), key=lambda index: str(index["name"])
        )
        facts["documents"], facts["sha256"] = _content(database, name, kind)
    return json_util.dumps(facts, sort_keys=True)


def _content(database: Database[dict[str, Any]], name: str, kind: str) -> tuple[int, str]:
    only: dict[str, Any] = {"_id": {"$lt": LIVE_FROM}} if name in WRITTEN else {}
    raw = database.with_options(codec_options=CodecOptions(RawBSONDocument))
    digest, count = hashlib.sha256(), 0
    for document in raw[name].find(only, sort=_ORDER[kind]):
        # the fields of a measurement come back in an order of the server's own
        digest.update(encode(dict(sorted(document.items()))) if kind == "timeseries" else document.raw)
        count += 1
    return count, digest.hexdigest()
