"""What counts as the record of a drill, and which backup it proves."""

from __future__ import annotations

import json

import msgspec
import pytest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_backup import Entry
from ansible.module_utils.mendbook.s3_drill_record import parse
from backup_rows import NOW, RUN, backup, days_ago, record

from mendbook.drills.record import BackupTaken, Objectives
from mendbook.drills.record import DrillRecord as Drilled

KEY = "daily/estore-20261119T120000Z.archive.gz"
ENTRY = Entry(f"{KEY}.drill.{RUN}.json", None, "etag", 100, days_ago(0))


def content(**changed):
    given = {
        "schema": 1,
        "drill": "restore_mongo",
        "run": RUN,
        "finished": "2026-11-20T11:00:00Z",
        "verified": True,
        "backup": {"key": KEY, "version_id": None, "sha256": "a" * 64},
        "rto_seconds": None,
    }
    return json.dumps({**given, **changed}).encode()


def test_a_record_says_what_was_proven_and_when():
    found = parse(content(), ENTRY)
    assert (found.key, found.run, found.verified, found.sha256) == (KEY, RUN, True, "a" * 64)
    assert (NOW - found.finished).total_seconds() == 3600


def test_what_the_drill_writes_is_read():
    taken = BackupTaken("b", KEY, version_id="v", sha256="a" * 64)
    written = {"drill": "restore_mongo", "run": RUN, "started": "2026-11-20T10:00:00Z", "result": "missed"}
    drilled = Drilled(
        1, finished="2026-11-20T11:00:00Z", verified=True, objectives=Objectives(), backup=taken, **written
    )
    found = parse(msgspec.json.encode(drilled), ENTRY)
    assert (found.verified, found.sha256, found.version_id) == (True, "a" * 64, "v")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not the JSON"),
        (b"\xff", "is not the JSON"),
        (b"[]", "is not the JSON"),
        (b"[" * 100_000, "is not the JSON"),
        (content(schema=2), "its schema is not 1"),
        (content(finished="yesterday"), "is not the JSON"),
        (content(finished=None), "is not the JSON"),
        (content(finished="2026-11-20T12:06:00Z"), "ended after it was written"),
        (content(verified="true"), "is not the JSON"),
        (content(verified=1), "is not the JSON"),
        (content(backup=None), "is not the JSON"),
        (content(backup={"key": "daily/other.archive.gz"}), "is about another backup"),
        (content(backup={"key": 7}), "is about another backup"),
        (content(backup={"key": KEY, "sha256": 7}), "is not the JSON"),
    ],
)
def test_what_is_no_record_proves_nothing(data, words):
    with pytest.raises(MendError, match=words) as caught:
        parse(data, ENTRY)
    assert caught.value.rule == "record"


@pytest.mark.parametrize(
    ("about", "of", "proven"),
    [
        ({}, {}, True),
        ({"sha256": "f" * 64}, {}, False),
        ({"key": "weekly/estore-20261119T120000Z.archive.gz"}, {}, True),
        ({"key": "daily/other.gz"}, {}, False),
        # without a sum on either side the version is the proof, and only where there are versions
        ({"sha256": None}, {}, False),
        ({"sha256": None, "version_id": "v"}, {"version_id": "v"}, True),
        ({"sha256": None, "version_id": "v"}, {"version_id": "w"}, False),
        ({"version_id": "v"}, {"version_id": "v", "sha256": None, "complete": None}, True),
        ({}, {"sha256": None, "complete": None}, False),
        # a copy in another bucket has other versions and the same bytes
        ({"version_id": "v"}, {"version_id": "w"}, True),
    ],
)
def test_it_proves_the_bytes_that_it_names(about, of, proven):
    one = backup(1, **of)
    assert record(backup(1), **about).is_about(one) is proven
