# SPDX-License-Identifier: MIT
"""Which files processes have open, by device and inode, as /proc tells."""

from __future__ import annotations

import errno
import os
import time

from .disk_mounts import MOUNTINFO, is_below, kind, mount_of, parse
from .plan_text import clean

# an answer that is older is not trusted at the moment of removal
FRESH_SECONDS = 1.0
# what is said of a process that has ended meanwhile, the last of its mounts
_ENDED = (errno.ENOENT, errno.ESRCH, errno.EINVAL)


class InUse:
    """``files`` is {(device, inode): pid} of what is open on these devices; ``unseen`` counts processes of others."""

    def __init__(self, devices, proc="/proc"):
        self._devices = frozenset(devices)
        self._proc = proc
        self.files = {}
        self.unseen = 0
        self._looked_at = float("-inf")

    def look(self):
        """Look at every descriptor of every process now."""
        found, unseen, stat = {}, 0, os.stat
        self._looked_at = time.monotonic()
        # by mount namespace, because what a container calls /data is not what this host calls so
        remotes = {_namespace(f"{self._proc}/self"): _Remote(MOUNTINFO, self._devices)}
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
        self.files, self.unseen = found, unseen

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


def _namespace(folder):
    """Return the mount namespace of a process; None where it is not told."""
    try:
        return os.readlink(f"{folder}/ns/mnt")
    except FileNotFoundError:
        return None
