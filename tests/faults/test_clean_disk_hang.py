"""A server that never answers has a root, is mounted below one, or holds what a program has open: nobody waits."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest
from ansible.module_utils.mendbook.disk_in_use import InUse

pytestmark = pytest.mark.faults
pytest_plugins = ["mount_lab"]
# who opens it so asks nothing of it
HOLD = """
import os, signal, sys
os.open(sys.argv[1], os.O_PATH)
print("ready", flush=True)
signal.pause()
"""


def test_what_others_have_open_on_a_dead_server_holds_nobody_up(disks):
    dead = disks.folder / "m/dead"
    program = disks.silent("dead")
    disks.start(sys.executable, "-c", HOLD, dead)
    # this machine knows of no such mount
    assert not os.path.exists(dead)
    in_use = InUse({os.stat("/").st_dev})
    looking = threading.Thread(target=in_use.look, daemon=True)
    looking.start()
    looking.join(60)
    hangs = looking.is_alive()
    # only this frees one that waits in the kernel
    program.kill()
    looking.join(60)
    assert not hangs and not looking.is_alive()


def clean(disks, program, *roots):
    """The plan for the logs of these roots; what hangs is freed after a while, so that the test fails and ends."""
    options = {"rules": [{"root": str(root), "patterns": ["*.log"]} for root in roots]}
    freed = threading.Timer(100, program.kill)
    freed.start()
    began = time.monotonic()
    try:
        result = disks.module(
            "mend_disk_reclaim", allowed_roots=[str(disks.folder / "m")], _ansible_check_mode=True, **options
        )
    finally:
        freed.cancel()
    assert time.monotonic() - began < 60
    program.kill()
    return result


@pytest.mark.parametrize("below", ["", "/shop/logs"])
def test_a_root_on_a_dead_server_is_refused_with_the_server_named(disks, below):
    program, fine = disks.silent("dead"), disks.tmpfs("fine")
    root = f"{disks.folder}/m/dead{below}"
    result = clean(disks, program, fine, root)
    assert (result["rc"], result["mend"]["reason"], result["mend"]["rule"]) == (1, "refused", "no_answer")
    assert f"{root} lies on silent (fuse.sshfs, mounted at {disks.folder}/m/dead)" in result["msg"]


def test_a_dead_server_below_a_root_is_not_entered(disks):
    fine = disks.tmpfs("fine")
    disks.sh('mkdir "$1/a"; head -c 9000 /dev/zero >"$1/a/x.log"; touch -d "90 days ago" "$1/a/x.log"', fine)
    result = clean(disks, disks.silent("fine/a/dead"), fine)
    assert result["rc"] == 0 and result["plan"]["totals"]["objects"] == 1
    assert any("not entered: 1 folders" in note and "a/dead" in note for note in result["plan"]["notes"])
