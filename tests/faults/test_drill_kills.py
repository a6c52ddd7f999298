"""A drill that is killed or stopped in any phase leaves no server, no process, and a bucket as it was."""

from __future__ import annotations

import itertools
import json
import random
import signal
import time
from pathlib import Path

import pytest

from drilled import gone, place

pytestmark = pytest.mark.faults

PHASES = ["sandbox", "shop", "backup", "writes", "disaster", "find", "restore", "verify", "measure", "compare"]
QUICK = [("sandbox", signal.SIGKILL), ("backup", signal.SIGKILL), ("restore", signal.SIGTERM)]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def end_in(drills, process, phase, number, chance):
    """Send the signal somewhere in the phase; the exit code."""
    before = PHASES[PHASES.index(phase) - 1]
    ended = False
    while not ended and phase == PHASES[0]:
        # the sandbox's folder is its first sign
        ended = bool(drills.servers()) or process.poll() is not None
        time.sleep(0.02)
    while not ended:
        line = process.stdout.readline()
        ended = not line or json.loads(line).get("phase") == before
    time.sleep(chance.uniform(0, 1.0))
    process.send_signal(number)
    process.stdout.read()
    return process.wait(timeout=150)


def test_a_drill_that_is_ended_in_any_phase_leaves_nothing_running(fault_rounds, record_fault):
    rounds = fault_rounds(QUICK, list(itertools.product(PHASES, SIGNALS)))
    for phase, number in rounds:
        chance = random.Random(f"{phase}{number}")
        with place() as drills:
            process = drills.start("restore_mongo", "--json", "--scale", "0.02")
            code = end_in(drills, process, phase, number, chance)
            # the last phases may be over before the signal comes
            expected = {signal.SIGKILL: -9}.get(number, 130)
            assert code in (expected, 0), (phase, number, process.stderr.read())
            assert gone(drills, 150), (phase, number, drills.running())
            process.stderr.close()
            # a drill that did not end says nothing about a backup
            assert (drills.folder / "state" / "drills.jsonl").exists() == (code == 0)
            if code == 130:
                assert not list(drills.folder.glob("mendbook-*")), (phase, number)
    held = f"{len(rounds)} left no process and no server"
    record_fault("a drill killed or stopped in each phase", rounds=len(rounds), held=held)


def test_a_drill_of_a_teams_backup_that_is_stopped_leaves_the_bucket_as_it_was(
    s3_store, backups, fault_rounds, record_fault
):
    s3_store.put("drill/estore.archive", Path(backups["long"]).read_bytes())
    facts = s3_store.facts

    def objects():
        listed = s3_store.s3.list_objects_v2(Bucket=s3_store.bucket, Prefix="drill/").get("Contents", ())
        return {entry["Key"]: entry["ETag"] for entry in listed}

    before = objects()
    options = ["--backup", f"s3://{s3_store.bucket}/drill/", "--database", "estore", "--s3-path-style"]
    options += ["--s3-endpoint-url", facts["endpoint_url"], "--s3-region", facts["region"]]
    keys = {"AWS_ACCESS_KEY_ID": facts["access_key"], "AWS_SECRET_ACCESS_KEY": facts["secret_key"]}
    rounds = fault_rounds([signal.SIGTERM], list(SIGNALS))
    for number in rounds:
        with place() as drills:
            process = drills.start("restore_mongo", "--json", *options, **keys)
            # the backup is marked as being in use, so the restore has begun
            deadline = time.monotonic() + 150
            while objects() == before:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.05)
            process.send_signal(number)
            process.communicate(timeout=150)
            # after kill -9 the module looks for its server, which is gone, before it gives up
            assert gone(drills, 150), drills.running()
            assert objects() == before, number
    held = f"{len(rounds)} left the bucket as it was"
    record_fault("a drill of a team's backup, stopped or killed in the restore", rounds=len(rounds), held=held)
