# SPDX-License-Identifier: MIT
"""Which file of a dump directory holds what, decided from the names alone; the same for a folder and a tar."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from .dump_metadata import (
    BUCKETS,
    OPLOG,
    RULE,
    DumpCollection,
    check_namespace,
    collection_from,
    shown,
)
from .errors import MendError

_DATA = (".bson.gz", ".bson")
_METADATA = (".metadata.json.gz", ".metadata.json")
# mongodump cuts escaped names longer than 238 bytes and appends %24 and a hash; metadata has the whole name.
_CUT_NAME_LENGTH = 238
_PRELUDES = ("prelude.json", "prelude.json.gz")


@dataclass(frozen=True)
class Files:
    """The files of one namespace: paths inside the dump, or None."""

    folder: str
    stem: str
    data: str | None = None
    metadata: str | None = None


@dataclass
class Layout:
    """What the names say: files by (folder, stem), the oplog's file, preludes, and what is none of these."""

    files: dict
    oplog: str | None
    preludes: list
    ignored: list


def layout(paths):
    """Sort the relative paths of a dump into a Layout. Raises MendError when two files claim the same content."""
    files, preludes, ignored = {}, [], []
    for path in sorted(paths):
        folder, _slash, name = path.rpartition("/")
        kind, stem = _kind(name)
        if name in _PRELUDES:
            preludes.append(path)
        elif kind is None:
            ignored.append(path)
        else:
            entry = files.setdefault((folder, stem), {})
            if kind in entry:
                raise MendError(f"{shown(entry[kind])} and {shown(path)} claim the same content", rule=RULE)
            entry[kind] = path
    oplog = None
    for (folder, stem), entry in list(files.items()):
        if stem == "oplog" and "metadata" not in entry:
            if oplog:
                raise MendError(f"two oplogs: {shown(oplog)} and {shown(entry['data'])}", rule=RULE)
            oplog = entry["data"]
            del files[folder, stem]
    return Layout({key: Files(*key, **entry) for key, entry in files.items()}, oplog, preludes, ignored)


def _kind(name):
    for kind, endings in (("metadata", _METADATA), ("data", _DATA)):
        for ending in endings:
            if name.endswith(ending) and len(name) > len(ending):
                return kind, name[: -len(ending)]
    return None, None


def collections_of(found, read_text, root_database, name, warnings):
    """({(db, name): DumpCollection}, {(db, data name): path}) of a Layout.

    ``read_text(path)`` returns a metadata file's text; ``root_database`` is the database of files that stand in no
    folder. A collection whose data or whose metadata is missing is an error (an incomplete copy), except for users,
    roles and system collections, which have no metadata.
    """
    collections, data = {}, {}
    folders = {}
    for (folder, stem), files in found.files.items():
        db = folder.rpartition("/")[2] or root_database
        if folders.setdefault(db, folder) != folder:
            raise MendError(
                f"{name}: the folders {shown(folders[db])!r} and {shown(folder)!r} both hold a database {shown(db)!r}; "
                "name one of them",
                rule=RULE,
            )
        text = read_text(files.metadata) if files.metadata else None
        collection_name = _collection_name(stem, text, files, name)
        where = f"{name}, {shown(files.metadata or files.data)}"
        check_namespace(db, collection_name, where)
        if files.data:
            data[db, collection_name] = files.data
        if text is not None:
            checked = files.metadata.endswith(".gz")
            collection = collection_from(db, collection_name, text, where, None, warnings, checked)
            collections[collection.key] = collection
    _check_pairs(collections, data, name, warnings)
    if found.oplog:
        data[OPLOG] = found.oplog
    return collections, data


def _collection_name(stem, text, files, name):
    if "%24" in stem and len(stem) == _CUT_NAME_LENGTH:
        full = re.search(r'"collectionName"\s*:\s*("(?:[^"\\]|\\.)*")', text or "")
        if not full:
            raise MendError(
                f"{name}: {shown(files.data or files.metadata)} has a shortened name but no metadata with the whole",
                rule=RULE,
            )
        return json.loads(full.group(1))
    try:
        return unquote_to_bytes(stem).decode("utf-8")
    except UnicodeDecodeError as error:
        raise MendError(f"{name}: the file name {shown(stem)!r} is not UTF-8", rule=RULE) from error


def _check_pairs(collections, data, name, warnings):
    for collection in collections.values():
        if collection.type != "view" and collection.namespace not in data:
            raise MendError(
                f"{name}: {shown(collection.key)} has metadata but no data ({shown(collection.data_name)}.bson is "
                "missing); the copy is incomplete",
                rule=RULE,
            )
    described = {collection.namespace for collection in collections.values()}
    for namespace in data:
        if namespace in described:
            continue
        db, data_name = namespace
        if data_name.startswith(BUCKETS):
            raise MendError(
                f"{name}: {shown(namespace)} are the buckets of a time-series whose metadata is missing", rule=RULE
            )
        if not data_name.startswith(("system.", "$")):
            warnings.append(f"{shown(namespace)} has no metadata: its options and indexes are unknown")
        collections[namespace] = DumpCollection(db, data_name, data_name=data_name, has_metadata=False)


def prelude_versions(texts):
    """(tool version, server version) of a dump's prelude.json files; None for what they do not say."""
    for text in texts:
        try:
            value = json.loads(text)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value.get("ToolVersion"), value.get("ServerVersion")
    return None, None
