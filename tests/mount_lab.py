"""File systems of every kind in a mount namespace of their own, and modules among them; a plugin of tests.

Nothing that is mounted there is seen outside or outlives the process that started it. Only root can do that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from requirement import missing

HERE = Path(__file__).resolve().parent
# a file system of a program that says hello and then answers nothing: whoever asks waits in the kernel, and cannot be
# killed, as with a dead NFS server
SILENT_PROGRAM = """
import ctypes, os, struct, sys
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"silent", os.fsencode(sys.argv[1]), f"fuse.{sys.argv[2]}".encode(), 0, options.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
unique = struct.unpack_from("<Q", os.read(device, 1 << 17), 8)[0]
init = struct.pack("<IIIIHHIIHHI", 7, 31, 65536, 0, 12, 9, 4096, 1, 1, 0, 0) + bytes(28)
os.write(device, struct.pack("<IiQ", 16 + len(init), 0, unique) + init)
print("mounted", flush=True)
while True:
    # taken, so that whoever waits for the answer no longer listens to signals
    os.read(device, 1 << 17)
    print("asked", flush=True)
"""
_RUN = """
import importlib, json, sys
sys.path[:0] = sys.argv[1:3]
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[3])
module = importlib.import_module(sys.argv[4])
import ordinary_user
from ansible.module_utils.testing import patch_module_args
if len(sys.argv) > 5:
    ordinary_user.become(int(sys.argv[5]))
with patch_module_args(json.load(sys.stdin)):
    module.main()
"""


class MountLab:
    """A mount namespace, and a folder that only exists there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[str]] = []
        enter = ["unshare", "--mount", "--propagation", "private", "--fork", "--kill-child", "sh", "-c"]
        hold = 'mount -t tmpfs -o size=64m,mode=755 mount-lab "$1" && mkdir "$1/m" && echo ready && exec sleep infinity'
        holder = self._popen([*enter, hold, "sh", str(folder)])
        self.pid = int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0])

    def _popen(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a program that ends with this one, and wait for the first line that it says."""
        ends_with_us = ["setpriv", "--pdeathsig", "KILL", *command]
        process = subprocess.Popen(ends_with_us, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._started.append(process)
        assert process.stdout and process.stdout.readline(), f"{command} ended"
        return process

    @property
    def inside(self) -> list[str]:
        """What stands before a command that shall run among the mounts."""
        return ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt"]

    def run(self, *command: str | Path) -> str:
        """Run a command among the mounts; its output. This is the observer, and what changes the world."""
        done = subprocess.run([*self.inside, *map(str, command)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def sh(self, script: str, *arguments: str | Path) -> str:
        """Run a script of the shell; its arguments are $1 and so on."""
        return self.run("sh", "-ceu", script, "sh", *arguments)

    def start(self, *command: str | Path) -> subprocess.Popen[str]:
        """Start a program among the mounts that lives as long as the lab, and wait for the first line it says."""
        return self._popen([*self.inside, *map(str, command)])

    def tmpfs(self, name: str, options: str = "size=10m") -> Path:
        """A new file system at a new mount point of this name."""
        point = self.folder / "m" / name
        self.run("mkdir", "-p", point)
        self.run("mount", "-t", "tmpfs", "-o", options, "tmpfs", point)
        return point

    def ext4(self, name: str, megabytes: int = 24, options: str = "loop", *mkfs: str) -> Path:
        """A real disk's file system, on a file; what it counts as used does not change later, when it writes."""
        image, point = self.folder / f"{name}.img", self.folder / "m" / name
        self.run("truncate", "-s", f"{megabytes}M", image)
        self.run("mkfs.ext4", "-q", *mkfs, image)
        self.run("mkdir", "-p", point)
        self.run("mount", "-o", f"{options},nodelalloc", image, point)
        return point

    def silent(self, name: str, subtype: str = "sshfs") -> subprocess.Popen[str]:
        """Mount what never answers; its program, whose end is the only thing that frees who waits."""
        if not os.path.exists("/dev/fuse"):
            missing("no /dev/fuse on this machine, with which a file system that hangs is made")
        point = self.folder / "m" / name
        self.run("mkdir", "-p", point)
        return self.start(sys.executable, "-c", SILENT_PROGRAM, point, subtype)

    def info(self, user_id: int | None = None, **options: Any) -> dict[str, Any]:
        """One run of mend_disk_info among the mounts, without a look at the rest of this machine unless it is asked."""
        return self.module("mend_disk_info", user_id, **{"path": str(self.folder / "m"), **options})

    def module(self, name: str, user_id: int | None = None, **options: Any) -> dict[str, Any]:
        """One run of a module among the mounts, in a process of its own: its result, with rc."""
        paths = [HERE.parent / "library", HERE, HERE.parent / "module_utils"]
        command = [sys.executable, "-c", _RUN, *map(str, paths), name, *([str(user_id)] if user_id is not None else [])]
        done = subprocess.run(
            [*self.inside, *command],
            input=json.dumps({key: value for key, value in options.items() if value is not None}),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stdout, done.stderr
        return {**json.loads(done.stdout), "rc": done.returncode}

    @staticmethod
    def row_of(facts: dict[str, Any], point: Path) -> dict[str, Any]:
        """The file system that is mounted there."""
        (row,) = [one for one in facts["file_systems"] if one["mount"] == str(point)]
        return row

    @staticmethod
    def verdicts_of(facts: dict[str, Any], point: Path) -> dict[str, str]:
        """What is said of each threshold there."""
        return {one["check"]: one["verdict"] for one in facts["verdicts"] if one.get("mount") == str(point)}

    def close(self) -> None:
        for process in reversed(self._started):
            process.kill()
            process.communicate()


@pytest.fixture
def disks() -> Iterator[MountLab]:
    if os.geteuid():
        missing("only root can mount file systems: run these tests with sudo")
    # not below tmp_path, which an ordinary user may not enter
    with tempfile.TemporaryDirectory(prefix="mount-lab-") as folder:
        lab = MountLab(Path(folder))
        try:
            yield lab
        finally:
            lab.close()
