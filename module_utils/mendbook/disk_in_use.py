# SPDX-License-Identifier: MIT
"""Which files processes and the kernel have open, by device and inode, as /proc and /sys tell."""

from __future__ import annotations

import errno
import os
import time
from glob import glob

from .disk_mounts import MOUNTINFO, is_below, kind, mount_of, parse, unescaped
from .plan_text import clean

# an answer that is older is not trusted at the moment of removal
FRESH_SECONDS = 1.0
# what is said of a process that has ended meanwhile, the last of its mounts
_ENDED = (errno.ENOENT, errno.ESRCH, errno.EINVAL)
# in the place of a pid
KERNEL = 0


class InUse:
    """``files`` is {(device, inode): pid} of what is open on these devices; ``unseen`` counts processes of others.

    What the kernel itself has open, as a loop device or as swap, has the pid `KERNEL`.
    """

    def __init__(self, devices, proc="/proc", sys="/sys"):
        self._devices = frozenset(devices)
        self._proc = proc
        self._sys = sys
        self.files = {}
        self.unseen = 0
        self._looked_at = float("-inf")

    def look(self):
        """Look at every descriptor of every process now, and at the kernel's own files."""
        found, unseen, stat = {}, 0, os.stat
        self._looked_at = time.monotonic()
        # by mount namespace, because what a container calls /data is not what this host calls so
        here = _Remote(MOUNTINFO, self._devices)
        remotes = {_namespace(f"{self._proc}/self"): here}
        for pid in filter(str.isdigit, os.listdir(self._proc)):
            folder = f"{self._proc}/{pid}/fd/"
            try:
                names = os.listdir(folder)
                remote = self._remote(pid, remotes) if names else None
            except PermissionError:
                unseen += 1
                continue
            except OSError as error:
                if error.errno not in _ENDED:
                    raise
                continue
            for name in names:
                try:
                    path = os.readlink(folder + name)
                    # sockets and pipes; and what lies on a server that may never answer
                    if path[0] != "/" or remote.holds(path):
                        continue
                    seen = stat(folder + name)
                except OSError:
                    continue  # closed meanwhile
                if seen.st_dev in self._devices:
                    found[seen.st_dev, seen.st_ino] = int(pid)
        for path in self._of_kernel():
            try:
                seen = None if here.holds(path) else stat(path)
            except OSError:
                continue  # of another mount namespace, or deleted
            if seen and seen.st_dev in self._devices:
                found[seen.st_dev, seen.st_ino] = KERNEL
        self.files, self.unseen = found, unseen

    def _of_kernel(self):
        """Yield the paths of swap files and of what lies behind loop devices."""
        for line in _read(f"{self._proc}/swaps").split(b"\n")[1:-1]:
            yield unescaped(line.split()[0])
        for name in glob(f"{self._sys}/block/loop*/loop/backing_file"):
            yield os.fsdecode(_read(name)[:-1])

    def _remote(self, pid, remotes):
        """Return the `_Remote` of the namespace that a process is in."""
        namespace = _namespace(f"{self._proc}/{pid}")
        if namespace not in remotes:
            remotes[namespace] = _Remote(f"{self._proc}/{pid}/mountinfo", self._devices)
        return remotes[namespace]

    def look_again(self):
        """Look, unless the last look is fresh."""
        if time.monotonic() - self._looked_at > FRESH_SECONDS:
            self.look()

    def who(self, device, inode):
        """Return which process has the file open, in words; None when none has."""
        pid = self.files.get((device, inode))
        if pid is None:
            return None
        if pid == KERNEL:
            return "the kernel, as a loop device or as swap"
        try:
            with open(f"{self._proc}/{pid}/comm", encoding="utf-8", errors="replace") as file:
                return f"{clean(file.read().rstrip())} (pid {pid})"
        except OSError:
            return f"pid {pid}"


class _Remote:
    """Which paths of a mount namespace lead to another machine, but for the devices that are looked at anyway."""

    def __init__(self, mountinfo, devices):
        with open(mountinfo, "rb") as file:
            # of two mounts at one place the later one is seen
            self._mounts = parse(file.read())[::-1]
        self._devices = devices
        self._points = [one.point for one in self._mounts if self._is_remote(one)]

    def holds(self, path):
        if not any(path == point or is_below(path, point) for point in self._points):
            return False
        # a disk may be mounted below what is remote, be it the system's root
        return self._is_remote(mount_of(path, self._mounts))

    def _is_remote(self, mount):
        return kind(mount) == "remote" and mount.device not in self._devices


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # no such list here, or a loop device that has gone meanwhile
        return b""


def _namespace(folder):
    """Return the mount namespace of a process; None where it is not told."""
    try:
        return os.readlink(f"{folder}/ns/mnt")
    except FileNotFoundError:
        return None
