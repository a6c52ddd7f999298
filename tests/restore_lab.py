"""A restore in this process against a real server: small dumps, plans, receipts, and what another client sees."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import bson
import mend_mongo_restore
import mend_mongo_undo
import pymongo
import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import mongo_restore, mongo_undo
from ansible.module_utils.mendbook.mongo_writers import writers
from ansible.module_utils.testing import patch_module_args
from bson import json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo.database import Database

import dump_writer

REAL = Path(__file__).resolve().parent / "data" / "estore.archive.gz"
CODEC = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
# what a run leaves for good: the log of its leases
LOCK = "__mend_lock"
# a loaded machine answers late
PATIENT = {"connect_timeout_seconds": 30}


class RealDump:
    """The real mongodump archive, taken apart without mendbook's reader: `{(db, name): [documents]}`, as raw BSON."""

    def __init__(self, path: Path = REAL) -> None:
        data = gzip.decompress(path.read_bytes())
        self.documents: dict[tuple[str, str], list[bytes]] = {}
        start = 4
        head, start = self._until_terminator(data, start)
        self.prelude, self.entries = head[0], head[1:]
        while start < len(data):
            (header, *found), start = self._until_terminator(data, start)
            described = bson.decode(header)
            self.documents.setdefault((described["db"], described["collection"]), []).extend(found)

    @staticmethod
    def _until_terminator(data: bytes, start: int) -> tuple[list[bytes], int]:
        found = []
        while (length := int.from_bytes(data[start : start + 4], "little", signed=True)) != -1:
            found.append(data[start : start + length])
            start += length
        return found, start + 4

    def cut(self, most: int, names: Iterable[str] = ()) -> bytes:
        """An archive with the first ``most`` documents of each collection (of ``names``), with the right CRC-64."""
        wanted = set(names)
        entries = [one for one in self.entries if not wanted or bson.decode(one)["collection"] in wanted]
        parts = [dump_writer.MAGIC, self.prelude, *entries, dump_writer.TERMINATOR]
        for (db, name), documents in self.documents.items():
            if wanted and name.removeprefix("system.buckets.") not in wanted:
                continue
            kept = documents[:most]
            parts += [dump_writer.block(db, name, kept), dump_writer.end(db, name, kept)]
        return b"".join(parts)


def archive_of(
    database: str,
    collections: Mapping[str, Iterable[Any]],
    *,
    indexes: Mapping[str, list[Any]] | None = None,
    options: Mapping[str, Any] | None = None,
    views: Mapping[str, Any] | None = None,
    extra: bytes = b"",
) -> bytes:
    """An archive as mongodump would make of these documents; `extra` follows the last block."""
    raw = {
        name: [one if isinstance(one, bytes) else bson.encode(one) for one in found]
        for name, found in collections.items()
    }
    parts = [dump_writer.MAGIC, dump_writer.prelude()]
    for name in raw:
        text = dump_writer.metadata(name, *(indexes or {}).get(name, []), options=(options or {}).get(name))
        parts.append(dump_writer.entry(database, name, text))
    for name, definition in (views or {}).items():
        text = dump_writer.metadata(name, options=definition, kind="view")
        parts.append(dump_writer.entry(database, name, text, kind="view"))
    parts.append(dump_writer.TERMINATOR)
    for name, found in raw.items():
        parts += [dump_writer.block(database, name, found), dump_writer.end(database, name, found)]
    return b"".join([*parts, extra])


def numbered(count: int, value: str = "restored", start: int = 0) -> list[dict[str, Any]]:
    """So many documents that say where they are from."""
    return [{"_id": start + number, "value": value} for number in range(count)]


# what the small backup of most tests holds
RESTORED = {"orders": numbered(20), "coupons": numbered(7)}


def run_module(module: Any, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """One run of a module in this process: its result, with `rc`."""
    output = StringIO()
    given = {name: value for name, value in arguments.items() if value is not None}
    # in a process that has imported the controller's part of ansible, warnings go to the terminal
    warnings: list[str] = []
    with patch_module_args({**given, "_ansible_check_mode": check}), pytest.MonkeyPatch.context() as patched:
        patched.setattr(AnsibleModule, "warn", lambda self, text: warnings.append(text))
        with contextlib.redirect_stdout(output), pytest.raises(SystemExit) as ended:
            module.main()
    return {**json.loads(output.getvalue()), "rc": ended.value.code, "warnings": warnings}


def receipt_for(planned: Mapping[str, Any], run: str) -> dict[str, Any]:
    """What the gate hands to the module once a person has confirmed this plan."""
    plan = {name: value for name, value in planned["plan"].items() if name != "changes"}
    return {"run": run, "plan": plan, "plan_sha256": plan["sha256"], "journal": "0" * 64}


class Lab:
    """One database of a server, and the modules with it as their target."""

    def __init__(self, uri: str, client: pymongo.MongoClient[Any], name: str) -> None:
        self.uri = uri
        self.database: Database[Any] = client.get_database(name, codec_options=CODEC)
        self.defaults: dict[str, Any] = {"uri": uri, "database": name, "source_database": "estore", **PATIENT}
        self._runs = 0

    def plan(self, **changes: Any) -> dict[str, Any]:
        """A run in check mode."""
        return run_module(mend_mongo_restore, check=True, **{**self.defaults, **changes})

    def act(self, planned: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
        """A run with the receipt for this plan."""
        self._runs += 1
        receipt = receipt_for(planned, f"20260101T000000Z-{self._runs:06x}")
        return run_module(mend_mongo_restore, receipt=receipt, **{**self.defaults, **changes})

    def restore(self, **changes: Any) -> dict[str, Any]:
        """Plan and act, as the gate does; the plan itself where that has failed."""
        planned = self.plan(**changes)
        if planned["rc"] or not planned["changed"]:
            return planned
        return self.act(planned, **changes)

    def undo(self, action: str = "undo", check: bool = False, **changes: Any) -> dict[str, Any]:
        """The other way out, by mend_mongo_undo: undo, finish, drop or drop_expired."""
        arguments = {"uri": self.uri, "database": self.database.name, "action": action, **PATIENT, **changes}
        planned = run_module(mend_mongo_undo, check=True, **arguments)
        if check or planned["rc"] or not planned["changed"]:
            return planned
        return run_module(mend_mongo_undo, receipt=receipt_for(planned, "undo"), **arguments)

    def picture(self) -> dict[str, Any]:
        """What an independent client sees of everything that is not mendbook's."""
        return {name: seen for name, seen in self.everything().items() if "__mend_" not in name}

    def everything(self) -> dict[str, Any]:
        """Hash, type, options and indexes of all that stands in the database; dbHash, because this server is ours."""
        hashes = self.database.command("dbHash")["collections"]
        found = {}
        for entry in self.database.list_collections():
            name = entry["name"]
            if name == "system.views":
                continue
            indexes = [] if entry["type"] == "view" else list(self.database[name].list_indexes())
            found[name] = (
                hashes.get(name),
                entry["type"],
                json_util.dumps([entry["options"], sorted(indexes, key=str)], sort_keys=True),
            )
        return found

    def leftovers(self) -> list[str]:
        """Mendbook's collections, without the log of its leases."""
        return sorted(name for name in self.database.list_collection_names() if "__mend_" in name and name != LOCK)

    def locked(self) -> bool:
        """Whether a lease is in force now, by the server's clock."""
        newest = self.database[LOCK].find_one(sort=[("_id", -1)])
        now = self.database.client.admin.command("hello")["localTime"]
        return newest is not None and newest["until"] > now

    def expire_lock(self) -> None:
        """What 30 seconds do to the lease of a dead process, without waiting for them."""
        newest = self.database[LOCK].find_one(sort=[("_id", -1)])
        if newest:
            now = self.database.client.admin.command("hello")["localTime"]
            self.database[LOCK].insert_one({**newest, "_id": newest["_id"] + 1, "until": now})

    def documents(self, name: str) -> dict[Any, Any]:
        """Every document of a collection by its _id."""
        return {one["_id"]: one for one in self.database[name].find()}


@contextlib.contextmanager
def unchanged(lab: Lab) -> Iterator[None]:
    """The block leaves the live data, its options and indexes as they were, no side collections, and no lock."""
    before, kept = lab.picture(), lab.leftovers()
    yield
    assert lab.picture() == before
    assert lab.leftovers() == kept
    assert not lab.locked()


def quick_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for other writers for a moment instead of a second; for tests that are about something else."""
    for module in (mongo_restore, mongo_undo):
        monkeypatch.setattr(module, "writers", partial(writers, seconds=0.01))


@contextlib.contextmanager
def scratch(uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A database of its own with live data, and no waiting for writers."""
    quick_writers(monkeypatch)
    with pymongo.MongoClient(uri) as client:
        lab = Lab(uri, client, f"estore_{uuid4().hex[:8]}")
        live_data(lab.database)
        yield lab
        client.drop_database(lab.database.name)


def noisy(count: int) -> list[dict[str, Any]]:
    """So many documents of a thousand bytes that no compression makes smaller."""
    chance = random.Random(count)
    return [{"_id": number, "filler": chance.randbytes(1000)} for number in range(count)]


def manifest_of(key: str, data: bytes, changed: Mapping[str, Any]) -> bytes:
    """The manifest of these bytes; `changed` replaces fields of it, in `object` one by one."""
    described = {"key": key, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **changed.get("object", {})}
    return json.dumps({"schema": 1, "finished": "2026-01-02T03:04:05Z", **changed, "object": described}).encode()


def live_data(database: Database[Any]) -> None:
    """Fill a database with live data that differs from every dump of the tests."""
    database.client.drop_database(database.name)
    database["orders"].insert_many(numbered(30, "live"))
    database["orders"].create_index("value", name="live_value")
    database.create_collection("coupons", capped=True, size=4096).insert_many(numbered(5, "live"))
    database["notes"].insert_one({"_id": 1, "text": "in no backup"})
    database.create_collection("live_view", viewOn="orders", pipeline=[{"$match": {"value": "live"}}])
