"""Whether a backup is complete, from listings and manifests alone."""

from __future__ import annotations

import datetime

import pytest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_backup import Entry, ReadManifest, judge_key, missing_object

NOON = datetime.datetime(2026, 11, 20, 12, 0, tzinfo=datetime.UTC)


def at(minutes):
    return NOON + datetime.timedelta(minutes=minutes)


def entry(minutes=0, size=100, version_id=None, key="mongo/a.gz", **more):
    return Entry(key, version_id, "etag", size, at(minutes), **more)


def read(minutes=1, size=100, finished=None, key="mongo/a.gz", version_id=None, started=None):
    content = {
        "schema": 1,
        "object": {"key": key, "size": size, "sha256": "a" * 64, "version_id": version_id},
        "finished": (finished or at(minutes)).isoformat(),
        "started": started and started.isoformat(),
    }
    return ReadManifest(entry(minutes, key=key + ".manifest.json"), content)


def judged(entries, *reads):
    return judge_key("b", entries, list(reads))


def test_a_manifest_that_agrees_makes_it_complete_and_gives_its_time():
    (backup,) = judged([entry()], read(finished=at(-3)))
    assert (backup.complete, backup.reason, backup.finished, backup.finished_from) == (True, None, at(-3), "manifest")
    assert backup.sha256 == "a" * 64


def test_without_a_manifest_it_cannot_be_known_and_the_time_is_the_objects():
    (backup,) = judged([entry()])
    assert (backup.complete, backup.finished, backup.finished_from) == (None, NOON, "last_modified")
    assert "cannot be known" in backup.reason


@pytest.mark.parametrize(
    ("entries", "manifest", "reason"),
    [
        ([entry(size=0)], None, "it has 0 bytes"),
        ([entry(size=0)], read(size=0), "it has 0 bytes"),
        ([entry(size=99)], read(), "it has 99 bytes, its manifest says 100"),
        ([entry()], read(key="mongo/b.gz"), "its manifest is about another object, mongo/b.gz"),
        ([entry()], read(finished=at(60)), "says it was finished at 2026-11-20T13:00:00Z, but was itself written at"),
        ([entry()], read(started=at(1), finished=at(0)), "started after it was finished"),
        ([entry()], ReadManifest(entry(1), MendError("The manifest m cannot be used: x.")), "cannot be used: x"),
    ],
)
def test_what_speaks_against_it_is_the_reason(entries, manifest, reason):
    (backup,) = judged(entries, *([manifest] if manifest else []))
    assert backup.complete is False
    assert reason in backup.reason
    assert backup.finished_from == "last_modified", "the time of a manifest that lies is not used"


def test_a_clock_that_is_a_little_ahead_is_no_lie():
    (backup,) = judged([entry()], read(minutes=1, finished=at(5)))
    assert backup.complete is True


def test_a_copied_backup_is_complete_with_a_note():
    (backup,) = judged([entry(minutes=500)], read(minutes=499, key="old/a.gz", finished=at(0)))
    assert backup.complete is True
    assert "moved or copied" in backup.notes[0]


def test_a_manifest_belongs_to_the_version_that_it_names():
    new, old = judged([entry(10, 100, "v2"), entry(0, 100, "v1", current=False)], read(minutes=20, version_id="v1"))
    assert (new.complete, old.complete) == (None, True)


def test_a_manifest_whose_version_is_gone_does_not_take_the_place_of_anothers_own():
    (backup,) = judged([entry(version_id="old")], read(2, version_id="gone", size=7), read(1, version_id="old"))
    assert backup.complete is True


def test_a_manifest_that_names_no_version_belongs_to_the_newest_before_it():
    entries = [entry(10, 100, "v2"), entry(0, 100, "v1", current=False)]
    new, old = judged(entries, read(minutes=5))
    assert (new.complete, old.complete) == (None, True)


def test_each_version_has_its_own_manifest():
    entries = [entry(10, 200, "v2"), entry(0, 100, "v1", current=False)]
    new, old = judged(entries, read(minutes=11, size=200), read(minutes=1, size=100))
    assert (new.complete, old.complete) == (True, True)


def test_a_version_id_of_another_bucket_is_a_note_and_not_a_refusal():
    (backup,) = judged([entry(version_id="here")], read(version_id="elsewhere"))
    assert backup.complete is True
    assert "only its SHA-256 can tell" in backup.notes[0]


def test_a_manifest_without_its_object_is_an_incomplete_backup():
    backup = missing_object("b", "mongo/a.gz", read())
    assert backup.complete is False
    assert backup.reason == "its manifest is here, the object is not"
    assert backup.to_facts(NOON)["size_bytes"] is None


def test_facts_are_plain_and_say_where_the_time_comes_from():
    (backup,) = judged([entry()], read(finished=at(-60)))
    facts = backup.to_facts(at(0))
    assert facts["age_seconds"] == 3600
    assert facts["finished"] == "2026-11-20T11:00:00Z"
    assert facts["last_modified"] == "2026-11-20T12:00:00Z"
    assert facts["finished_from"] == "manifest"
    assert "object" not in facts["manifest"]
