"""Listed objects and the backups that they make, as the tests of what may go share them."""

from __future__ import annotations

import dataclasses
import datetime

from ansible.module_utils.mendbook.s3_backup import Backup, Entry
from ansible.module_utils.mendbook.s3_drill_record import DrillRecord
from ansible.module_utils.mendbook.s3_prune_rules import Evidence, Rules, judge

NOW = datetime.datetime(2026, 11, 20, 12, 0, tzinfo=datetime.UTC)
RULES = Rules(max_age=30 * 86400, min_complete=2, unfinished_age=86400, versions=False)
RUN = "20261120T000000Z-0a1b2c"


def days_ago(days):
    return NOW - datetime.timedelta(days=days)


def key_of(days, name="estore"):
    return f"daily/{name}-{days_ago(days):%Y%m%dT%H%M%SZ}.archive.gz"


def backup(days, *, key=None, complete=True, written=None, version_id=None, size=100, **more):
    """A backup that was finished, and with ``written`` uploaded, so many days ago; beside it its manifest."""
    key = key or key_of(days)
    at = days_ago(days if written is None else written)
    entry = Entry(f"{key}.manifest.json", version_id and f"m-{version_id}", "etag", 10, at, more.get("current", True))
    facts = {
        "bucket": "b",
        "key": key,
        "version_id": version_id,
        "etag": "etag",
        "size": size,
        "last_modified": at,
        "finished": days_ago(days) if complete else at,
        "finished_from": "manifest" if complete else "last_modified",
        "sha256": f"{days:064}" if isinstance(days, int) else "a" * 64,
        "complete": complete,
        "reason": None if complete else "it has no manifest beside it",
        "manifest": None if complete is None else {"object": {"size": size}},
        "manifest_entry": None if complete is None else entry,
    }
    return Backup(**{**facts, **more})


def lying(days, **more):
    """A backup whose manifest tells of another size."""
    told = {"manifest": {"object": {"size": 99}}, "reason": "it has 100 bytes, its manifest says 99"}
    return backup(days, complete=False, **{**told, **more})


def of_source(name, size=100):
    """What a backup has more whose manifest names this deployment and database, as in ``rs0@db1:27017/estore``."""
    return {"manifest": {"object": {"size": size}, "source": {"id": name}}}


def live(*backups):
    """The entries of these backups, as they are listed."""
    return [e for b in backups for e in (Entry(b.key, b.version_id, "etag", b.size, b.last_modified), b.manifest_entry)]


def record(of, verified=True, **more):
    """The record of a drill of this backup."""
    facts = {"key": of.key, "run": RUN, "finished": NOW, "verified": verified, "version_id": of.version_id}
    return DrillRecord(**{**facts, "sha256": of.sha256, **more})


def evidence(**more):
    return Evidence(**{"now": NOW, "in_use": {}, **more})


def verdicts(backups, rules=RULES, **more):
    return judge(backups, rules, evidence(**more))


def goes(backups, rules=RULES, **more):
    """The backups that go, in the order in which they were given."""
    going = {(v.backup.key, v.backup.version_id) for v in verdicts(backups, rules, **more) if v.goes}
    return [one for one in backups if (one.key, one.version_id) in going]


def why_kept(one, backups, rules=RULES, **more):
    """Why a backup stays although it is old."""
    (verdict,) = [v for v in verdicts(backups, rules, **more) if v.backup == one]
    assert verdict.due and not verdict.goes, verdict
    return verdict.held


def rules(**changed):
    return dataclasses.replace(RULES, **changed)
