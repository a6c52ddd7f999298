from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from ansible.module_utils.mendbook.mongo_backup_store import is_taken, previous_backup
from ansible.module_utils.mendbook.s3_backup import Backup

NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def backup(key: str = "daily/a.gz", source: str | None = "rs0@db1:27017/estore", **changed: Any) -> Backup:
    described = {"source": {"id": source}, "started": "2026-11-20T11:59:00Z", "finished": "2026-11-20T12:00:00Z"}
    fields = {
        "bucket": "b",
        "key": key,
        "version_id": None,
        "etag": "e",
        "size": 70,
        "last_modified": NOON,
        "finished": NOON,
        "finished_from": "manifest",
        "sha256": "0" * 64,
        "complete": True,
        "reason": None,
        "manifest": described,
    }
    return Backup(**{**fields, **changed})


def test_the_previous_backup_is_the_newest_whole_one_of_this_very_database():
    found = [
        backup("daily/unfinished.gz", complete=None, manifest=None),
        backup("daily/broken.gz", complete=False),
        backup("daily/deleted.gz", deleted=NOON),
        backup("daily/other.gz", source="rs0@db1:27017/shop"),
        backup("daily/unknown.gz", source=None),
        backup("daily/wanted.gz"),
        backup("daily/older.gz"),
    ]
    assert previous_backup(found, "rs0@db1:27017/estore") == {
        "key": "daily/wanted.gz",
        "finished": "2026-11-20T12:00:00Z",
        "size_bytes": 70,
        "seconds": 60.0,
    }
    assert previous_backup(found, "rs1@db1:27017/estore") is None


def test_a_manifest_that_does_not_say_when_it_was_begun_gives_no_time():
    described = {"source": {"id": "s"}, "finished": "2026-11-20T12:00:00Z"}
    assert previous_backup([backup(manifest=described)], "s")["seconds"] is None


@pytest.mark.parametrize(
    ("entry", "taken"),
    [
        (backup(), True),
        (backup(complete=None, manifest=None), True),
        # a manifest whose object is gone
        (backup(etag=None, size=None, complete=False), True),
        (backup("daily/a.gz.old"), False),
        (backup(deleted=NOON), False),
        (backup(current=False), False),
    ],
)
def test_a_key_is_taken_by_whatever_stands_there_now(entry, taken):
    assert is_taken([entry], "daily/a.gz") is taken
