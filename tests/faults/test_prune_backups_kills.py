"""prune_backups killed at its calls to S3: what a dead run leaves tells the truth, and the next run ends it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import uuid
from typing import Any

import pytest
from ansible.module_utils.mendbook import s3

from bucket_lab import BucketLab, store_time

pytestmark = pytest.mark.faults


class Killed:
    """An acting run in a forked process that dies at one of its calls to S3."""

    def __init__(self, lab: BucketLab, options: dict[str, Any], number: int, only: str) -> None:
        planned = lab.plan(**options)
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            self._run(lab, options, planned, number, only, writing)
        os.close(writing)
        with os.fdopen(reading) as output:
            text = output.read()
        os.waitpid(pid, 0)
        self.calls = int(text) if text else None

    @staticmethod
    def _run(lab: Any, options: Any, planned: Any, number: int, only: str, writing: int) -> None:
        calls, made = 0, s3.client

        def dying(*arguments: Any, **more: Any) -> Any:
            client = made(*arguments, **more)

            def at_call(model: Any, **_more: Any) -> None:
                nonlocal calls
                calls += only in model.name
                if calls == number and only in model.name:
                    os.kill(os.getpid(), signal.SIGKILL)

            # between two deletions there is only looking
            for event in ("before-call.s3",) if only else ("before-call.s3", "after-call.s3"):
                client.meta.events.register(event, at_call)
            return client

        try:
            s3.client = dying
            with contextlib.redirect_stderr(None):
                lab.act(planned, **options)
            os.write(writing, str(calls).encode())
        finally:
            os._exit(0)


def whole_backups(lab: BucketLab) -> set[str]:
    """The keys of which everything says that they are whole backups, after reading every byte."""
    keys, found = set(lab.keys()), set()
    for key in keys:
        if f"{key}.manifest.json" in keys:
            get = lambda name: lab.s3.get_object(Bucket=lab.bucket, Key=name)["Body"].read()  # noqa: E731
            described = json.loads(get(f"{key}.manifest.json"))["object"]
            assert hashlib.sha256(get(key)).hexdigest() == described["sha256"], f"{key} looks whole and is not"
            found.add(key)
    return found


def fill(lab: BucketLab, overwritten: bool) -> list[str]:
    """What goes and what stays; the keys that stay."""
    lab.prefix = lab.options["prefix"] = f"{uuid.uuid4().hex[:8]}/"
    going = [lab.backup(day) for day in (60, 50)]
    dead = lab.unfinished(45)
    # the last one is finished after everything else was written, as it is in life
    stays = [lab.backup(day) for day in (40, 1.1, -0.002)]
    lab.drill(stays[0])
    lab.mark(stays[1])
    if overwritten:
        for day in (70, 65):
            lab.backup(day, key=f"{lab.prefix}shop.archive.gz")
        stays.append(lab.backup(2, key=f"{lab.prefix}shop.archive.gz"))
        lab.s3.delete_object(Bucket=lab.bucket, Key=going[0])
    lab.put(f"{lab.prefix}README.txt")
    assert dead not in stays
    return stays


@pytest.mark.parametrize("versions", [False, True])
def test_killed_at_any_call_the_catalogue_tells_the_truth_and_the_next_run_ends_it(
    store, versions, fault_rounds, record_fault
):
    lab = BucketLab(store.s3, store.facts, store.bucket, "")
    options = {"versions": versions, "keep_complete": 1, "max_share": 1.0}
    if versions:
        lab.bucket = lab.options["bucket"] = f"versions-{uuid.uuid4().hex[:8]}"
        store.s3.create_bucket(Bucket=lab.bucket)
        store.s3.put_bucket_versioning(Bucket=lab.bucket, VersioningConfiguration={"Status": "Enabled"})
    only = fault_rounds("DeleteObject", "")

    def undisturbed() -> tuple[int, int]:
        fill(lab, versions)
        killed = Killed(lab, options, 0, only)
        assert killed.calls
        return killed.calls, len(lab.everything())

    # when what a dead run has left is no longer young
    with store_time(days=2):
        calls, left = undisturbed()
        rounds = range(1, calls + 1)
        for number in rounds:
            stays = fill(lab, versions)
            before = whole_backups(lab)
            assert Killed(lab, options, number, only).calls is None
            seen = whole_backups(lab)
            assert set(stays) <= seen <= before, f"killed at call {number} of {calls}"
            # the lock of a dead run is free after a minute
            lab.s3.delete_object(Bucket=lab.bucket, Key=f"{lab.prefix}.mendbook-lock.json")
            result = lab.prune(**options)
            assert result["rc"] == 0, result["msg"]
            assert whole_backups(lab) == set(stays)
            assert len(lab.everything()) == left, (number, lab.everything())
        again = [change["object"] for change in lab.plan(**options)["plan"]["changes"]]
        # by this clock what its own lock has left is two days old
        assert [name for name in again if not name.endswith(".mendbook-lock.json")] == []
    record_fault(
        f"kill -9 of a prune at a call to S3 ({'with' if versions else 'without'} versions)",
        rounds=len(rounds),
        held="nothing looks like a backup and is none, nothing that stays is touched, the next run ends it",
    )
