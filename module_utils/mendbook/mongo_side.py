# SPDX-License-Identifier: MIT
"""Makes the side collections that a dump is loaded into: exact options, exact indexes, TTL asleep."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import errors as driver

from .dump_metadata import BUCKETS, DumpCollection, shown
from .errors import MendError, VerifyFailed

# A TTL index with its real value would delete expired documents before the swap (the monitor runs every minute).
TTL_PARKED_SECONDS = 2_147_483_647
_CODEC = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_NAMESPACE_EXISTS, _NAMESPACE_NOT_FOUND, _DUPLICATE_KEY = 48, 26, 11000
# What listIndexes of older servers returned but createIndexes of today refuses.
DROPPED_FIELDS = ("ns", "background", "dropDups")
_KNOWN_FIELDS = frozenset((
    "v", "key", "name", "unique", "sparse", "expireAfterSeconds", "partialFilterExpression", "collation", "hidden",
    "weights", "default_language", "language_override", "textIndexVersion", "2dsphereIndexVersion", "bits", "min",
    "max", "wildcardProjection", "storageEngine", "clustered", "prepareUnique", "bucketSize",
))  # fmt: skip
# The server adds its defaults inside of these.
COMPLETED = ("collation", "timeseries", "clusteredIndex")
_KNOWN_KINDS = ("2d", "2dsphere", "text", "hashed")
_DUPLICATE = re.compile(r"index: (\S+) .*?dup key: (\{.*\})", re.DOTALL)


@dataclass
class Side:
    """A side collection: ``name`` is what was created, ``data`` where documents go (buckets for a time-series)."""

    collection: DumpCollection
    name: str
    data: str
    uuid: Any = None
    indexes: list = field(default_factory=list)  # as they are built: TTL parked, no _id
    ttl: dict = field(default_factory=dict)  # index name -> real expireAfterSeconds
    expire_after_seconds: Any = None  # of a clustered or time-series collection, held back in the same way

    @property
    def label(self):
        return shown(self.collection.key)


def prepare(collection, name):
    """The Side for one collection of a dump; nothing is created yet."""
    side = Side(collection, name, BUCKETS + name if collection.type == "timeseries" else name)
    for spec in collection.indexes:
        if spec.get("clustered") or list(spec["key"]) == ["_id"]:
            continue  # made by create
        built = {key: value for key, value in spec.items() if key not in DROPPED_FIELDS}
        if "expireAfterSeconds" in built:
            side.ttl[built["name"]] = built["expireAfterSeconds"]
            built["expireAfterSeconds"] = TTL_PARKED_SECONDS
        side.indexes.append(built)
    side.expire_after_seconds = collection.options.get("expireAfterSeconds")
    return side


def create(database, side):
    """Create the side collection with the dump's options and try out indexes that may not be allowed any more."""
    options = {key: value for key, value in side.collection.options.items() if key != "expireAfterSeconds"}
    try:
        database.command({"create": side.name, **options})
    except driver.OperationFailure as error:
        raise _create_error(side, error) from error
    if any(_doubtful(spec) for spec in side.indexes):
        # on the empty collection this costs milliseconds; after hours of loading it would cost the hours
        build(database, side, {})
        database.command({"dropIndexes": side.name, "index": "*"})


def _create_error(side, error):
    message = (error.details or {}).get("errmsg") or str(error)
    words = {
        _NAMESPACE_EXISTS: f"the side collection {shown(side.name)} exists already, from a run that did not clean up",
        13: f"not allowed to create collections; the user needs readWrite and dbAdmin at the database ({message})",
    }.get(error.code, f"the server refused its options with code {error.code}: {message}")
    if error.code == 161 or "Requested collation version" in message:
        words += "; the dump comes from a server with another collation library"
    return MendError(
        f"{side.label}: {words}",
        rule="mongo_privilege" if error.code == 13 else "mongo_create",
        details={"collection": side.label, "code": error.code},
    )


def _doubtful(spec):
    if spec.keys() - _KNOWN_FIELDS or spec.get("v", 2) not in (1, 2):
        return True
    return any(
        kind not in _KNOWN_KINDS if isinstance(kind, str) else isinstance(kind, bool) or kind not in (1, -1)
        for kind in spec["key"].values()
    )


def build(database, side, extra):
    """Build all indexes of a side collection in one command, which reads the data once.

    ``extra`` holds options of createIndexes such as commitQuorum. After a lost connection the same command is sent
    again: it waits for the build that is going on. Raises MendError naming collection, index, code and key.
    """
    if not side.indexes:
        return
    command = {"createIndexes": side.name, "indexes": side.indexes, **extra, **_guard(side)}
    for attempt in range(4):
        try:
            database.command(command)
            return
        except driver.ConnectionFailure:
            if attempt == 3:
                raise
        except driver.OperationFailure as error:
            raise _index_error(database, side, error) from error


def _guard(side):
    """A command that comes late must not make the collection again; a time-series is a view to the server."""
    return {"collectionUUID": side.uuid} if side.uuid and side.collection.type != "timeseries" else {}


def _index_error(database, side, error):
    message = (error.details or {}).get("errmsg") or str(error)
    name, key = None, None
    found = _DUPLICATE.search(message)
    if error.code == _DUPLICATE_KEY and found:
        name, key = found.groups()
        words = f"the data violates its unique index {shown(name)!r}: the key {key[:300]} is there more than once"
    else:
        name = _culprit(database, side, error.code)
        words = f"the index {shown(name)!r} cannot be built" if name else "its indexes cannot be built"
        words += f": {message[:500]}"
    return MendError(
        f"{side.label}: {words} (code {error.code}); live data is unchanged",
        rule="mongo_index",
        details={"collection": side.label, "index": name, "code": error.code, "key": key},
    )


def _culprit(database, side, code):
    """The name of the first index that fails with this code by itself: a specification error shows at once."""
    if len(side.indexes) == 1:
        return side.indexes[0]["name"]
    for spec in side.indexes:
        try:
            database.command({"createIndexes": side.name, "indexes": [spec], **_guard(side)})
        except driver.OperationFailure as error:
            if error.code == code:
                return spec["name"]
        except driver.PyMongoError:
            return None
    return None


def verify_shape(database, sides):
    """Compare what the server made with the dump: UUIDs unchanged, options and indexes as they were (TTL parked).

    The server may add defaults that the dump does not have; what the dump has must be there. Raises VerifyFailed.
    """
    listed = {entry["name"]: entry for entry in database.with_options(codec_options=_CODEC).list_collections()}
    for side in sides:
        entry = listed.get(side.data)
        if entry is None or entry["info"].get("uuid") != side.uuid:
            raise VerifyFailed(
                f"{side.label}: its side collection {shown(side.data)} was dropped or replaced by someone else",
                rule="side",
            )
        options = {k: v for k, v in side.collection.options.items() if k != "expireAfterSeconds"}
        _compare(side, "options", "the options", options, listed[side.name]["options"])
        built = {}
        if side.collection.type != "timeseries" or side.indexes:
            built = {spec["name"]: spec for spec in _list_indexes(database, side.name)}
        for spec in side.indexes:
            if spec["name"] not in built:
                raise VerifyFailed(f"{side.label}: the index {shown(spec['name'])!r} was not built", rule="indexes")
            _compare(side, "indexes", f"the index {shown(spec['name'])!r}", spec, built[spec["name"]])


def _list_indexes(database, name):
    reply = database.command({"listIndexes": name}, codec_options=_CODEC)
    return reply["cursor"]["firstBatch"]  # at most 64 indexes: always one batch


def _compare(side, rule, what, wanted, got):
    for key, value in wanted.items():
        kept = got.get(key)
        if key in COMPLETED and isinstance(kept, dict):
            kept = {name: kept[name] for name in value if name in kept}
        if key not in got or _packed(kept) != _packed(value):
            raise VerifyFailed(
                f"{side.label}: the server did not keep {what} as they were in the dump: {shown(key)} is "
                f"{got.get(key)!r}, was {value!r}"[:600],
                rule=rule,
            )


def _packed(value):
    """Comparable bytes, with the numbers of index keys as numbers: 1, 1.0 and NumberLong(1) are one key."""

    def plain(part):
        if isinstance(part, dict):
            return {key: plain(inner) for key, inner in part.items()}
        if isinstance(part, list):
            return [plain(inner) for inner in part]
        if isinstance(part, (int, float)) and not isinstance(part, bool):
            return float(part)
        return part

    return bson.encode({"": plain(value)}, codec_options=_CODEC)


def drop_side_collections(database, names):
    """Drop side collections, also half-built ones; those that do not exist are fine. Returns the names dropped.

    Dropping a collection ends an index build on it.
    """
    dropped = []
    for name in names:
        try:
            database.command({"drop": name})
            dropped.append(name)
        except driver.OperationFailure as error:
            if error.code != _NAMESPACE_NOT_FOUND:
                raise
    return dropped
