# SPDX-License-Identifier: MIT
"""What a dump says about its collections: names, options and indexes, from the extended JSON that mongodump writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bson import json_util
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError

from .errors import MendError

RULE = "archive"
BUCKETS = "system.buckets."
OPLOG = ("", "oplog")
# mongodump --dumpDbUsersAndRoles puts these beside a database's own collections, without metadata.
ACCESS_NAMES = ("$admin.system.users", "$admin.system.roles", "$admin.system.version")
_FIELDS = frozenset(("options", "indexes", "uuid", "collectionName", "type"))
_BAD_IN_DATABASE = re.compile(r'[/\\. "$*<>:|?\x00]')
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa1-\u200a\u2010-\u2027\u2030-\u205f\u2070-\ud7ff\uf900-\ufeff\uff00-\ufffd]")
# Written by tools of every age but meaningless or refused on servers of today.
_DEAD_OPTIONS = ("create", "temp", "autoIndexId", "flags", "uuid")


class Batch(NamedTuple):
    """Whole BSON documents of one namespace, back to back."""

    namespace: tuple  # (db, data name)
    data: memoryview
    count: int


class End(NamedTuple):
    """No more documents of this namespace; everything the format offers to check them has been checked."""

    namespace: tuple
    count: int


@dataclass(frozen=True)
class DumpCollection:
    """One collection, view or time-series of a dump; ``data_name`` is where its documents stand in the dump."""

    db: str
    name: str
    type: str = "collection"
    options: dict = field(default_factory=dict)
    indexes: list = field(default_factory=list)
    data_name: str = ""
    uuid: str | None = None
    # False: a bare .bson file without its metadata; options and indexes are unknown, not empty.
    has_metadata: bool = True

    @property
    def key(self):
        """(db, name): the key in ``Dump.collections``."""
        return self.db, self.name

    @property
    def namespace(self):
        """(db, data name): what batches of this collection carry."""
        return self.db, self.data_name

    @property
    def system(self):
        """True for users, roles and other collections that are restored only when asked for by name."""
        return self.name.startswith(("system.", "$")) or self.db in ("admin", "config", "local")

    @property
    def capped(self):
        return bool(self.options.get("capped"))


def shown(namespace):
    """A namespace for messages: what cannot be printed safely on a terminal is escaped."""
    text = ".".join(part for part in namespace if part) if isinstance(namespace, tuple) else str(namespace)
    return _UNPRINTABLE.sub(lambda found: found.group().encode("unicode_escape").decode(), text)[:400]


def check_namespace(db, name, where):
    """Refuse names that no server could have held: a dump with such names was made to do harm, or is damaged."""
    problem = None
    if (db, name) == OPLOG:
        return
    if not isinstance(db, str) or not isinstance(name, str):
        problem = "is not text"
    elif not db or _BAD_IN_DATABASE.search(db) or len(db.encode("utf-8", "surrogatepass")) > 63:
        problem = "has an impossible database name"
    elif not name or "\x00" in name:
        problem = "has an impossible collection name"
    elif name.startswith(".") or name.endswith(".") or ".." in name:
        problem = "has a collection name with an empty part"
    elif "$" in name and name not in ACCESS_NAMES:
        problem = "has a $ in its collection name"
    elif len(f"{db}.{name}".encode("utf-8", "surrogatepass")) > 255:
        problem = "is longer than the 255 bytes that MongoDB allows"
    if problem:
        raise MendError(f"{where}: the namespace {shown((str(db), str(name)))!r} {problem}", rule=RULE)


def _legacy_safe(pairs, options):
    """In canonical extended JSON a {$regex, $options} pair is a query operator, not a value (a value is written
    {$regularExpression}); json_util would turn it into a value and change the validator."""
    document = dict(pairs)
    if document.keys() <= {"$regex", "$options"} or "$type" in document:
        return document
    return json_util.object_hook(document, options)


def decode_json(text, where):
    """Extended JSON of version 1 or 2, to dicts in the written order with the exact BSON types."""
    options = json_util.JSONOptions(tz_aware=False, datetime_conversion=DatetimeConversion.DATETIME_AUTO)
    canonical = '"$numberInt"' in text or '"collectionName"' in text
    try:
        if canonical:
            value = json_util.json.loads(text, object_pairs_hook=lambda pairs: _legacy_safe(pairs, options))
        else:
            value = json_util.loads(text, json_options=options)
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError, BSONError) as error:
        raise MendError(f"{where}: the metadata is not readable: {error}", rule=RULE) from error
    if not isinstance(value, Mapping):
        raise MendError(f"{where}: the metadata is not a document", rule=RULE)
    return value


def collection_from(db, name, text, where, kind=None, warnings=None, checked=True):
    """The DumpCollection that a metadata text describes.

    ``kind`` is the type that stood outside of the text. ``checked`` says that a checksum covers the text: without one
    an unknown field is refused, because one flipped bit makes "options" unknown and would lose them.
    """
    value = decode_json(text, where)
    unknown = sorted(value.keys() - _FIELDS)
    if unknown:
        sentence = f"{where}: unknown fields in the metadata: {', '.join(map(shown, unknown))}"
        if not checked:
            raise MendError(f"{sentence} (damaged, or written by a newer mongodump)", rule=RULE)
        if warnings is not None:
            warnings.append(sentence)
    inner = value.get("collectionName", name)
    if inner != name:
        raise MendError(f"{where}: the metadata belongs to {shown(str(inner))!r}, not to {shown(name)!r}", rule=RULE)
    if "indexes" not in value and not checked:
        raise MendError(f"{where}: the metadata has no list of indexes", rule=RULE)
    # tools written in Go state an empty list or document as null
    options = {} if value.get("options") is None else value["options"]
    indexes = [] if value.get("indexes") is None else value["indexes"]
    _check_shapes(options, indexes, where)
    found = _type_of(options)
    for stated in (kind, value.get("type")):
        if stated and stated != found:
            raise MendError(
                f"{where}: the dump says {shown(str(stated))!r} but its options describe a {found}", rule=RULE
            )
    options = {key: option for key, option in options.items() if key not in _DEAD_OPTIONS}
    return DumpCollection(
        db=db, name=name, type=found, options=options, indexes=indexes, uuid=value.get("uuid"),
        data_name=BUCKETS + name if found == "timeseries" else name,
    )  # fmt: skip


def _type_of(options):
    if "viewOn" in options:
        return "view"
    return "timeseries" if "timeseries" in options else "collection"


def _check_shapes(options: Any, indexes: Any, where):
    if not isinstance(options, Mapping):
        raise MendError(f"{where}: the options are not a document", rule=RULE)
    if not isinstance(indexes, list):
        raise MendError(f"{where}: the indexes are not a list", rule=RULE)
    for index in indexes:
        if not isinstance(index, Mapping) or not isinstance(index.get("key"), Mapping) or not index["key"]:
            raise MendError(f"{where}: an index has no key", rule=RULE)
        if not isinstance(index.get("name"), str):
            raise MendError(f"{where}: an index has no name", rule=RULE)
