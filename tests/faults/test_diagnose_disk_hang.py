"""A file system that never answers, as a dead NFS server does not: diagnose_disk tells the rest and ends in time."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from waiting import until

pytestmark = pytest.mark.faults
pytest_plugins = ["mount_lab"]
# a live file system answers within this, also on a machine that stands still for a while
SECONDS = 6


def asked(program):
    """Read on until the program of a silent file system was asked something; that is gone then, and never answered."""
    lines = []
    reader = threading.Thread(target=lambda: lines.append(program.stdout.readline()), daemon=True)
    reader.start()
    reader.join(60)
    return bool(lines)


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_the_fault_itself_is_real(disks):
    program = disks.silent("dead")
    looking = subprocess.Popen([*disks.inside, "stat", "-f", str(disks.folder / "m/dead")], stdout=subprocess.DEVNULL)
    try:
        assert asked(program)
        looking.kill()
        # not even SIGKILL ends it
        until(lambda: state_of(looking.pid) == "D")
        assert looking.poll() is None
    finally:
        program.kill()
        program.wait()
        looking.wait(60)


@pytest.mark.parametrize("subtype", ["sshfs", "glusterfs"])
def test_a_dead_file_system_is_unknown_and_the_others_are_told(disks, subtype):
    disk = disks.tmpfs("disk")
    disks.sh('mkdir "$1/a"; head -c 900000 /dev/zero >"$1/a/x"', disk)
    program = disks.silent("dead", subtype)
    started = time.monotonic()
    facts = disks.info(timeout_seconds=SECONDS)
    took = time.monotonic() - started
    assert facts["rc"] == 0 and took < 60
    dead = disks.row_of(facts, disks.folder / "m/dead")
    assert (dead["problem"], dead["kind"], dead["used_share"]) == (f"no answer within {SECONDS} s", "remote", None)
    assert disks.verdicts_of(facts, disks.folder / "m/dead") == {"max_used_share": "unknown"}
    assert disks.verdicts_of(facts, disk)["max_used_share"] == "ok" and facts["verdict"] in ("unknown", "exceeded")
    assert any("no answer within" in line for line in facts["summary"])
    # it was truly asked, and its child is where no signal reaches it, and harms nobody
    assert asked(program)
    program.kill()


def test_a_job_that_is_to_be_noticed_fails_for_a_dead_file_system_unless_it_is_ignored(disks):
    program = disks.silent("dead")
    dead = str(disks.folder / "m/dead")
    # nothing else on this machine shall be a reason
    options = {"max_used_share": 1, "max_inodes_share": 1, "max_deleted_open_bytes": 10**15, "max_read_only": 1000}
    options.update(timeout_seconds=SECONDS, walk_seconds=0, fail=True)
    failed, ignored = disks.info(**options), disks.info(**options, ignore=[dead])
    assert (failed["rc"], failed["mend"]["rule"]) == (1, "thresholds")
    assert "1 of " in failed["msg"] and f"got no answer: max_used_share: {dead}: no answer within" in failed["msg"]
    assert ignored["rc"] == 0
    program.kill()


def test_several_dead_ones_are_waited_for_side_by_side(disks):
    programs = [disks.silent(f"dead{number}") for number in range(5)]
    facts = disks.info(timeout_seconds=SECONDS, walk_seconds=0)
    dead = [one for one in facts["file_systems"] if one["problem"] == f"no answer within {SECONDS} s"]
    assert len(dead) == 5
    for program in programs:
        program.kill()


@pytest.mark.parametrize("user_id", [None, 65534])
def test_the_look_for_the_largest_does_not_touch_a_dead_file_system(disks, user_id):
    disk = disks.tmpfs("disk")
    disks.run("chmod", "755", disk)
    disks.sh('mkdir -p "$1/a/b"; head -c 900000 /dev/zero >"$1/a/b/x"', disk)
    program = disks.silent("disk/a/dead")
    facts = disks.info(user_id=user_id, path=str(disk), timeout_seconds=SECONDS)
    assert facts["largest"]["files"][0]["path"] == str(disk / "a/b/x")
    assert facts["largest"]["is_complete"] and facts["largest"]["seconds"] < SECONDS
    program.kill()


def test_the_largest_of_a_dead_file_system_are_refused_and_not_waited_for(disks):
    program = disks.silent("dead")
    facts = disks.info(path=str(disks.folder / "m/dead"), timeout_seconds=SECONDS)
    assert (facts["rc"], facts["mend"]["reason"], facts["mend"]["rule"]) == (1, "nothing", "path")
    assert "no answer" in facts["msg"]
    program.kill()


def test_a_disk_below_a_dead_one_is_given_up_too(disks):
    # alive when the disk is mounted in it, dead when it is asked
    outer = disks.folder / "m/outer"
    disks.run("mkdir", "-p", outer)
    disks.run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", outer)
    inner = disks.tmpfs("outer/inner")
    disks.sh('mkdir "$1/../fine"; mount --bind "$2" "$1/../fine"', outer, inner)
    program = disks.silent("outer")
    facts = disks.info(timeout_seconds=SECONDS, path=str(disks.folder / "m/fine"))
    assert disks.row_of(facts, outer)["problem"] == f"no answer within {SECONDS} s"
    # at its other place it is seen
    assert disks.row_of(facts, disks.folder / "m/fine")["problem"] is None
    program.kill()


def test_a_module_that_is_stopped_while_it_waits_ends_at_once(disks):
    program = disks.silent("dead")
    results = []
    runner = threading.Thread(target=lambda: results.append(disks.info(timeout_seconds=600)))
    runner.start()
    assert asked(program)
    # our own child, and none of those that it asks with, or that others have started
    module = disks.run("pgrep", "-P", str(os.getpid()), "-f", "mend_disk_info")
    started = time.monotonic()
    os.kill(int(module), signal.SIGTERM)
    runner.join(60)
    assert results[0]["rc"] == 1 and "cancelled by SIGTERM" in results[0]["msg"]
    assert time.monotonic() - started < 60
    program.kill()
