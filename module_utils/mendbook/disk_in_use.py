# SPDX-License-Identifier: MIT
"""Which files processes have open, by device and inode, as /proc tells."""

from __future__ import annotations

import os
import time

from .disk_mounts import MOUNTINFO, is_below, kind, parse
from .plan_text import clean

# an answer that is older is not trusted at the moment of removal
FRESH_SECONDS = 1.0


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
        found, unseen, stat, remote = {}, 0, os.stat, _remote_points()
        self._looked_at = time.monotonic()
        for pid in filter(str.isdigit, os.listdir(self._proc)):
            folder = f"{self._proc}/{pid}/fd/"
            try:
                names = os.listdir(folder)
            except PermissionError:
                unseen += 1
                continue
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            for name in names:
                try:
                    path = os.readlink(folder + name)
                    # sockets and pipes; and what lies on a server that may never answer
                    if path[0] != "/" or (remote and any(is_below(path, point) for point in remote)):
                        continue
                    seen = stat(folder + name)
                except OSError:
                    continue  # closed meanwhile
                if seen.st_dev in self._devices:
                    found[seen.st_dev, seen.st_ino] = int(pid)
        self.files, self.unseen = found, unseen

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


def _remote_points():
    with open(MOUNTINFO, "rb") as file:
        return [mount.point for mount in parse(file.read()) if kind(mount) == "remote"]
