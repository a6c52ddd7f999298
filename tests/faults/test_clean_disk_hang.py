"""A program among mounts of its own has a file open on a server that never answers: clean_disk does not wait for it."""

from __future__ import annotations

import os
import sys
import threading

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
