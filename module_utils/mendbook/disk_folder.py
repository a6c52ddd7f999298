# SPDX-License-Identifier: MIT
"""A folder that is being read: by its descriptor, so that no rename or link leads elsewhere, and never twice."""

from __future__ import annotations

import ctypes
import os
import time

_OPEN_TREE, _CLONE, _CLOEXEC, _AT_FDCWD, _NO_AUTOMOUNT = 428, 1, os.O_CLOEXEC, -100, 0x800
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
# so many names are held for a folder at a time, and so many entries are read between two looks at the clock
BATCH = 10_000
_CLOCK_EVERY = 500


class Folder:
    """What is known of a folder and of what has been read below it.

    ``bytes`` are allocated ones (sparse files count what they use), ``inodes`` counts each file and folder once.
    ``points`` are the mount points below it (disk_mounts.points_below).
    """

    __slots__ = (
        "fd", "name", "parent", "points", "bytes", "inodes", "largest", "most", "pending", "awaits", "is_complete",
        "is_hidden", "_entries",
    )  # fmt: skip

    def __init__(self, fd, name, parent, points):
        self.fd = fd
        self.name = name
        self.parent = parent
        self.points = points
        # something is mounted here or above, and whoever follows the path sees that instead
        self.is_hidden = bool(parent and (parent.is_hidden or "" in points))
        self.bytes = os.fstat(fd).st_blocks * 512
        self.inodes = 1
        # of the subfolders, the one with most bytes and the one with most inodes
        self.largest = self.most = 0
        self.pending = []
        # how many subfolders are read by themselves
        self.awaits = 0
        self.is_complete = True
        self._entries = os.scandir(fd)

    @property
    def path(self):
        names, folder = [], self
        while folder.parent:
            names.append(folder.name)
            folder = folder.parent
        return os.path.join(folder.name, *reversed(names))

    @property
    def is_listed(self):
        """Whether all its entries have been read."""
        return self._entries is None

    def read(self, tally, until):
        """Read on until ``pending`` holds a batch of subfolders, all is read or the time is over."""
        # a mount point is not looked at: what is mounted there may never answer
        pending, skip = self.pending, self.points if tally.skips_points else None
        size = count = read = 0
        try:
            for entry in self._entries:
                if skip and "" in skip.get(entry.name, ()):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.name)
                    else:
                        facts = entry.stat(follow_symlinks=False)
                        if facts.st_nlink > 1 and tally.is_again(facts):
                            continue
                        allocated = facts.st_blocks * 512
                        size += allocated
                        count += 1
                        if allocated > tally.smallest_listed:
                            tally.add_file(self, entry.name, allocated, facts.st_mtime)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    tally.miss(self, error.strerror, entry.name)
                read += 1
                if read % _CLOCK_EVERY == 0 and (len(pending) >= BATCH or time.monotonic() > until):
                    break
            else:
                self._entries = None
        except OSError as error:
            # the disk itself does not give the list
            tally.miss(self, error.strerror)
            self._entries = None
        self.bytes += size
        self.inodes += count
        tally.bytes += size
        tally.inodes += count

    def close(self):
        """Let go of it, and hand what was found in it to the folder above."""
        if self._entries:
            self._entries.close()
        os.close(self.fd)
        above = self.parent
        if above:
            above.bytes += self.bytes
            above.inodes += self.inodes
            above.largest = max(above.largest, self.bytes)
            above.most = max(above.most, self.inodes)
            above.is_complete = above.is_complete and self.is_complete


def open_start(path):
    """Open where reading begins: (descriptor, whether it is a view without the mounts below it).

    Root gets a private copy of this one mount (open_tree, Linux 5.2), which nobody else sees and which ends with its
    descriptor: what lies under mount points can be read there, and nothing leads to another file system.
    """
    try:
        copy = _open_tree(path)
    except OSError:
        return open_folder(path, None), False
    try:
        return open_folder(".", copy), True
    finally:
        os.close(copy)


def _open_tree(path):
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _CLONE | _CLOEXEC | _NO_AUTOMOUNT)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def open_folder(name, above):
    """Open a folder by its name in another, without following links and without touching its time of access."""
    try:
        return os.open(name, _FLAGS | os.O_NOATIME, dir_fd=above)
    except PermissionError:
        # only the owner and root may leave the time of access as it is
        return os.open(name, _FLAGS, dir_fd=above)
