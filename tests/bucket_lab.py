"""Backups of chosen ages in a real bucket, the modules that watch and prune them in this process, and what an
independent client sees of the bucket afterwards."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import mend_s3_backup_check
import mend_s3_backup_prune
import pytest
from ansible.module_utils.mendbook import s3_clock

from restore_lab import receipt_for, run_module

RUN = "20260101T000000Z-0a1b2c"
DAY = 86400
# the seven that stay by number, whatever else there is
YOUNG = (0.1, 1.1, 2.1, 3.1, 4.1, 5.1, 6.1)
CONNECTION = ("endpoint_url", "region", "path_style", "access_key", "secret_key")
# after everything that a test has put, and no more than a manifest may be ahead of the store's clock
LATER = -0.002


def ago(days: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)


def iso(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class BucketLab:
    """A prefix of its own in a bucket; ``s3`` is an independent client."""

    def __init__(self, s3: Any, facts: Mapping[str, Any], bucket: str, prefix: str) -> None:
        self.s3, self.bucket, self.prefix = s3, bucket, prefix
        self.options: dict[str, Any] = {
            "s3_endpoint_url": facts["endpoint_url"],
            "s3_region": facts["region"],
            "s3_path_style": True,
            "s3_access_key": facts["access_key"],
            "s3_secret_key": facts["secret_key"],
            "bucket": bucket,
            "prefix": prefix,
        }

    def variables(self, role: str, **options: Any) -> dict[str, Any]:
        """A role's variables that lead here, by those of the inventory, and its other ``options``."""
        given = {f"s3_{name}": f"{{{{ s3_{name} }}}}" for name in CONNECTION}
        given |= {"bucket": self.bucket, "prefix": self.prefix} | options
        return {f"{role}_{name}": value for name, value in given.items()}

    # -- what lies in the bucket

    def key(self, days: float, name: str = "estore") -> str:
        return f"{self.prefix}{name}-{ago(days):%Y%m%dT%H%M%SZ}.archive.gz"

    def put(self, key: str, data: bytes = b"archive", **more: Any) -> dict[str, Any]:
        return self.s3.put_object(Bucket=self.bucket, Key=key, Body=data, **more)

    def backup(
        self,
        days: float,
        name: str = "estore",
        key: str | None = None,
        data: bytes | None = None,
        source: str | None = None,
        **more: Any,
    ) -> str:
        """A complete backup of ``source`` (as ``rs0@db1:27017/estore``) that was finished so many days ago; its key."""
        key = key or self.key(days, name)
        data = data or f"archive of {key}, {days} days old".encode()
        version = self.put(key, data, **more).get("VersionId")
        described = {"key": key, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "version_id": version}
        manifest = {"schema": 1, "object": described, "started": iso(ago(days + 0.01)), "finished": iso(ago(days))}
        manifest |= {"source": {"id": source}} if source else {}
        self.put(f"{key}.manifest.json", json.dumps(manifest).encode())
        return key

    def unfinished(self, days: float, name: str = "estore") -> str:
        key = self.key(days, name)
        self.put(key, b"half of an archive")
        return key

    def mark(self, key: str, run: str = RUN) -> str:
        self.put(f"{key}.inuse.{run}.json", json.dumps({"schema": 1, "run": run}).encode())
        return f"{key}.inuse.{run}.json"

    def drill(self, key: str, days: float = 0, verified: bool = True, run: str = RUN, **backup: Any) -> str:
        """The record of a drill of a backup that ended so many days ago; its key."""
        sha256 = hashlib.sha256(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()).hexdigest()
        record = {
            "schema": 1,
            "drill": "restore_mongo",
            "run": run,
            "finished": iso(ago(days)),
            "result": "passed" if verified else "failed",
            "verified": verified,
            "backup": {"bucket": self.bucket, "key": key, "sha256": sha256, **backup},
        }
        self.put(f"{key}.drill.{run}.json", json.dumps(record).encode())
        return f"{key}.drill.{run}.json"

    def keys(self) -> list[str]:
        """The keys that a reader finds, without the lock."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return [key for key in keys if ".mendbook-lock" not in key]

    def everything(self) -> list[tuple[Any, ...]]:
        """Every version and delete marker, without the lock."""
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=self.prefix)
        found: list[tuple[Any, ...]] = []
        for page in pages:
            found += [(e["Key"], e["VersionId"], e["ETag"], e["IsLatest"]) for e in page.get("Versions", [])]
            found += [(e["Key"], e["VersionId"], "marker", e["IsLatest"]) for e in page.get("DeleteMarkers", [])]
        return sorted(entry for entry in found if ".mendbook-lock" not in entry[0])

    # -- the modules

    def plan(self, **changed: Any) -> dict[str, Any]:
        return run_module(mend_s3_backup_prune, check=True, **{**self.options, **changed})

    def act(self, planned: Mapping[str, Any], run: str = RUN, **changed: Any) -> dict[str, Any]:
        return run_module(mend_s3_backup_prune, receipt=receipt_for(planned, run), **{**self.options, **changed})

    def prune(self, **changed: Any) -> dict[str, Any]:
        """Plan and act, as the gate does; the plan itself where there is nothing to do or it failed."""
        planned = self.plan(**changed)
        if planned["rc"] or not planned["changed"]:
            return planned
        return self.act(planned, **changed)

    def check(self, **changed: Any) -> dict[str, Any]:
        """The facts that mend_s3_backup_check found, also when it failed; with rc, msg and warnings."""
        result = run_module(mend_s3_backup_check, check=True, **{**self.options, **changed})
        return {**result, **result.get("mend", {}).get("details", {})}


@contextlib.contextmanager
def store_time(days: float = 0, ahead_seconds: float = 0) -> Iterator[None]:
    """The store's clock goes so many days ahead, and this machine's is so many seconds ahead of that."""

    class Clock(s3_clock.StoreClock):
        def __init__(self, date: str, **more: Any) -> None:
            super().__init__(date, **more)
            self._base += datetime.timedelta(days=days)
            self.ahead_seconds = round(ahead_seconds)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(s3_clock, "StoreClock", Clock)
        yield


def lab_of(sandbox: Any, s3: Any, name: str) -> BucketLab:
    """A prefix of the sandbox's bucket for the test of this name."""
    facts = sandbox.status()["s3"]
    return BucketLab(s3, facts, facts["bucket"], re.sub(r"[^a-z0-9]+", "-", name.lower())[:80] + "/")


def young(lab: BucketLab) -> list[str]:
    """The seven that stay. They are put last: the complete one that was written last stays, too, however old it is."""
    return [lab.backup(day) for day in YOUNG]


def removed(result: Mapping[str, Any]) -> list[str]:
    assert result.get("rc", 0) == 0, result["msg"]
    return [entry["object"] for entry in result.get("done", [])]


def notes(result: Mapping[str, Any]) -> str:
    return "\n".join(result["plan"]["notes"])


def rule(result: Mapping[str, Any]) -> Any:
    """The rule that refused, or those that the plan says would."""
    return result["mend"]["rule"] if "mend" in result else [entry["rule"] for entry in result["plan"]["refusals"]]
