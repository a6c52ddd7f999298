# SPDX-License-Identifier: MIT
"""The backup manifest, KEY.manifest.json: what the writer of a backup says about it, checked before it is believed.

A manifest is written last, so an object beside a valid manifest is a finished backup. Whoever can write to the bucket
can write a manifest, so nothing in it is trusted beyond its shape: sizes and sums are compared with the object.
"""

from __future__ import annotations

import datetime
import json
import re

from ansible.module_utils.mendbook.errors import MendError

SUFFIX = ".manifest.json"
MAX_BYTES = 4 << 20
SCHEMA = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SUM = re.compile(r"[0-9a-f]{32}")
_WHAT = {str: "text", int: "a whole number", dict: "an object", list: "a list", bool: "true or false"}


def manifest_key(key):
    """Return the key of the manifest that belongs to the object ``key``."""
    return key + SUFFIX


def object_key(key):
    """Return the key of the object that the manifest ``key`` belongs to, or None when ``key`` is no manifest."""
    return key[: -len(SUFFIX)] if key.endswith(SUFFIX) and len(key) > len(SUFFIX) else None


def parse(data, name):
    """Return the manifest in ``data`` (bytes) as a dict of checked shape; MendError (rule manifest) says what is wrong.

    ``name`` is how messages call the manifest. Required are schema, object {key, size, sha256} and finished; every
    other field of schema 1 may be missing or null, but must have its type when it is there.
    """
    if len(data) > MAX_BYTES:
        raise _bad(name, f"it has {len(data)} bytes, more than the {MAX_BYTES} that a manifest may have")
    try:
        manifest = json.loads(bytes(data).decode("utf-8"), object_pairs_hook=_no_doubles, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _bad(name, f"it is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise _bad(name, f"it is not JSON: {error.msg} at byte {error.pos}") from None
    except (ValueError, RecursionError) as error:
        raise _bad(name, f"it is not JSON that can be read: {error}") from None
    if not isinstance(manifest, dict):
        raise _bad(name, "it is not a JSON object")
    _check(manifest, name)
    return manifest


def head(manifest):
    """Return a copy with ``collection_count`` and ``databases`` in place of ``collections``, which may be megabytes."""
    short = {field: value for field, value in manifest.items() if field != "collections"}
    short["collection_count"] = len(manifest["collections"]) if manifest.get("collections") is not None else None
    short["databases"] = sorted({namespace.partition(".")[0] for namespace in manifest.get("collections") or ()})
    return short


def moment(text):
    """Return the aware datetime of an ISO 8601 text; ValueError when it is none or names no time zone."""
    # datetime.fromisoformat knows "Z" and short fractions only since Python 3.11
    match = re.fullmatch(
        r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?(?:(Z)|([+-]\d\d):?(\d\d))",
        text,
        re.ASCII | re.IGNORECASE,
    )
    if not match:
        raise ValueError("not a moment with a time zone, like 2026-11-20T00:00:00Z")
    date, minutes, seconds, fraction, _utc, hours, offset_minutes = match.groups()
    offset = f"{hours}:{offset_minutes}" if hours else "+00:00"
    micros = (fraction or "0")[:6].ljust(6, "0")
    return datetime.datetime.fromisoformat(f"{date}T{minutes}{seconds or ':00'}.{micros}{offset}")


def _check(manifest, name):
    schema = _field(manifest, "schema", int, name)
    if schema != SCHEMA:
        raise _bad(name, f"schema {schema} is not {SCHEMA}, the one that this mendbook knows")
    described = _field(manifest, "object", dict, name)
    _field(described, "key", str, name, "object.")
    if _field(described, "size", int, name, "object.") < 0:
        raise _bad(name, "object.size is negative")
    if not _SHA256.fullmatch(_field(described, "sha256", str, name, "object.")):
        raise _bad(name, "object.sha256 is not 64 hexadecimal digits in lower case")
    for field in ("version_id", "format"):
        _field(described, field, str, name, "object.", optional=True)
    _moment(manifest, "finished", name)
    _moment(manifest, "started", name, optional=True)
    for field, kind in (("source", dict), ("collections", dict)):
        _field(manifest, field, kind, name, optional=True)
    for field in ("id", "address", "version"):
        _field(manifest.get("source") or {}, field, str, name, "source.", optional=True)
    if manifest.get("consistency") not in (None, "snapshot", "per_collection"):
        raise _bad(name, "consistency is neither snapshot nor per_collection")
    for namespace, collection in (manifest.get("collections") or {}).items():
        _check_collection(namespace, collection, name)


def _check_collection(namespace, collection, name):
    where = f"collections[{namespace[:120]!r}]"
    database, dot, rest = namespace.partition(".")
    if not (database and dot and rest) or "\0" in namespace:
        raise _bad(name, where + " is not database.collection")
    if not isinstance(collection, dict):
        raise _bad(name, where + " is not an object")
    if collection.get("type") not in ("collection", "view", "timeseries"):
        raise _bad(name, where + ".type is not collection, view or timeseries")
    _field(collection, "options", dict, name, where + ".", optional=True)
    for number, index in enumerate(_field(collection, "indexes", list, name, where + ".", optional=True) or []):
        if not isinstance(index, dict) or not isinstance(index.get("key"), dict):
            raise _bad(name, f"{where}.indexes[{number}] has no key")
    for field in ("count", "buckets"):
        if (_field(collection, field, int, name, where + ".", optional=True) or 0) < 0:
            raise _bad(name, f"{where}.{field} is negative")
    _field(collection, "newest_field", str, name, where + ".", optional=True)
    _field(collection, "snapshot", bool, name, where + ".", optional=True)
    total = _field(collection, "sum", str, name, where + ".", optional=True)
    if total is not None and not _SUM.fullmatch(total):
        raise _bad(name, where + ".sum is not 32 hexadecimal digits in lower case")
    if collection.get("newest") != "unknown":
        _moment(collection, "newest", name, where + ".", optional=True)


def _field(parent, field, kind, name, path="", optional=False):
    value = parent.get(field)
    if value is None and optional:
        return None
    if field not in parent:
        raise _bad(name, f"{path}{field} is missing")
    # bool is an int to Python, not to whoever reads "size": true
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _bad(name, f"{path}{field} is not {_WHAT[kind]}")
    return value


def _moment(parent, field, name, path="", optional=False):
    text = _field(parent, field, str, name, path, optional)
    try:
        return None if text is None else moment(text)
    except ValueError as error:
        raise _bad(name, f"{path}{field} is {error}") from None


def _no_doubles(pairs):
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return table


def _no_constant(text):
    raise ValueError(f"{text} is not a number")


def _bad(name, what):
    return MendError(f"The manifest {name} cannot be used: {what}.", rule="manifest")
