from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.mendbook import manifest, mongo_backup_manifest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.mongo_backup_manifest import manifest_of, packed, tool

NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
SOURCE = {"id": "rs0@db1:27017/estore", "address": "db1:27017", "version": "6.0.5", "identity": {"set": "rs0"}}
ENTRY = {"type": "collection", "options": {}, "indexes": [{"key": {"_id": 1}}], "count": 3, "sum": "0" * 32}


def made(version_id: str | None = "v1", **changed: Any) -> dict[str, Any]:
    dumped = {
        "cluster_time": {"t": 1, "i": 2},
        "consistency": "snapshot",
        "member": "db2:27017",
        "access": None,
        "notes": ["a note"],
        "collections": {"estore.orders": {**ENTRY, "newest": "unknown"}},
        **changed,
    }
    uploaded = SimpleNamespace(key="daily/a.gz", version_id=version_id, size=5, sha256="a" * 64)
    later = NOON + dt.timedelta(seconds=90)
    return manifest_of(SOURCE, SimpleNamespace(**dumped), uploaded, started=NOON, finished=later)


def many(number: int, size: int = 60) -> dict[str, Any]:
    indexes = [{"key": {"x" * size: 1}}]
    return {f"estore.{n:07}": {**ENTRY, "indexes": indexes, "newest": "unknown"} for n in range(number)}


def test_what_is_written_is_what_a_reader_gets():
    written = made()
    assert manifest.parse(packed(written), "m") == written
    assert written["object"] == {
        "key": "daily/a.gz",
        "version_id": "v1",
        "size": 5,
        "sha256": "a" * 64,
        "format": "archive+gzip",
    }
    assert (written["started"], written["finished"]) == ("2026-11-20T12:00:00Z", "2026-11-20T12:01:30Z")
    assert written["source"] == {"id": "rs0@db1:27017/estore", "address": "db1:27017", "version": "6.0.5"}


@pytest.mark.parametrize(("told", "version_id"), [("null", None), (None, None), ("v1", "v1")])
def test_an_object_in_a_bucket_without_versions_has_none(told, version_id):
    assert made(told)["object"]["version_id"] == version_id


def test_names_from_outside_survive_as_they_are():
    name = 'estore.a\n"\u202e\U0001f600'
    written = made(collections={name: {**ENTRY, "newest": "unknown"}})
    assert list(manifest.parse(packed(written), "m")["collections"]) == [name]


def test_a_manifest_that_would_be_too_long_leaves_out_what_the_archive_has():
    written = made(collections=many(30_000))
    data = packed(written)
    assert len(data) <= manifest.MAX_BYTES
    entry = manifest.parse(data, "m")["collections"]["estore.0000000"]
    assert "indexes" not in entry and (entry["count"], entry["sum"]) == (3, "0" * 32)


def test_one_that_is_too_long_all_the_same_is_refused_and_not_written():
    with pytest.raises(MendError, match="60000 collections; back it up with mongodump") as caught:
        packed(made(collections=many(60_000)))
    assert caught.value.rule == "manifest"


def test_a_checkout_that_was_never_installed_has_a_name_and_no_version(monkeypatch):
    assert tool().startswith("mendbook 0.")

    def missing(name: str) -> str:
        raise mongo_backup_manifest.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(mongo_backup_manifest.metadata, "version", missing)
    assert tool() == "mendbook"
