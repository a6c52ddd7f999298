# SPDX-License-Identifier: MIT
"""What takes the space of one file system: its largest folders and files, in bounded time and memory."""

from __future__ import annotations

import heapq
import os
import resource
import time
from collections import deque

from .disk_folder import Folder, open_folder, open_start

# so many folders are read in turns, so that a huge one does not keep the others from being seen
_TURNS = 64
_TURN_SECONDS = 0.05
_SNAPSHOT_SECONDS = 1
# a subfolder with so much of it stands for a folder in the lists
_STANDS_FOR = 0.9
# beyond so many hard links memory would grow with the disk
_MAX_LINKS = 300_000
_SPARE_DESCRIPTORS = 100


def walk(path, points, seconds, limit):
    """Yield what was found below a folder (see `Tally.facts`), again and again, the whole of it last.

    It stays on the folder's device, follows no link and opens nothing but folders. Folders are first opened level by
    level; those then found are read in turns, each depth first, until all is read or the time is over.
    """
    started = time.monotonic()
    tally = Tally(path, points, limit, descriptors())
    next_snapshot = started + _SNAPSHOT_SECONDS
    until = started + seconds
    waiting = deque([[tally.start]])
    readers = deque()
    while (waiting or readers) and time.monotonic() < until:
        turn_until = min(until, time.monotonic() + _TURN_SECONDS)
        if waiting:
            (folder,) = stack = waiting.popleft()
            folder.read(tally, turn_until)
            if folder.is_listed and len(folder.pending) + len(waiting) + len(readers) < _TURNS:
                waiting.extend([below] for below in tally.expand(folder))
            else:
                readers.append(stack)
        else:
            stack = readers.popleft()
            _read(stack, tally, turn_until)
            if stack:
                readers.append(stack)
        if time.monotonic() >= next_snapshot:
            next_snapshot = time.monotonic() + _SNAPSHOT_SECONDS
            yield tally.facts(time.monotonic() - started, is_complete=False)
    for stack in (*waiting, *readers):
        tally.give_up(stack)
    yield tally.facts(time.monotonic() - started, is_complete=True)


def _read(stack, tally, until):
    """Read depth first, from where the stack of open folders says, at least one step and until the time is over."""
    while stack:
        folder = stack[-1]
        if folder.pending:
            below = tally.enter(folder, folder.pending.pop())
            if below:
                stack.append(below)
                below.read(tally, until)
        elif not folder.is_listed:
            folder.read(tally, until)
        else:
            tally.leave(stack.pop())
        if time.monotonic() >= until:
            return


def descriptors():
    """Return how many folders may be open, after raising the limit of this process as far as it may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted - _SPARE_DESCRIPTORS


class Tally:
    """What has been counted, and the largest of it."""

    def __init__(self, path, points, limit, descriptors):
        fd, self.is_private = open_start(path)
        self.skips_points = not self.is_private
        self.device = os.fstat(fd).st_dev
        self.start = Folder(fd, path, None, points)
        self.smallest_listed = 0
        self.bytes, self.inodes, self._folder_count = self.start.bytes, 1, 1
        self._limit = limit
        self._files, self._largest, self._most, self._hidden = [], [], [], []
        self._links, self._links_told = set(), True
        self._unseen, self._unseen_count = [], {}
        self._open, self._descriptors = 1, descriptors

    def is_again(self, facts):
        """Whether this file with several names was counted under another one."""
        # on an overlay the files of different layers are of different devices
        one = facts.st_dev, facts.st_ino
        if one in self._links:
            return True
        if len(self._links) < _MAX_LINKS:
            self._links.add(one)
        else:
            self._links_told = False
        return False

    def add_file(self, folder, name, size, changed):
        item = size, os.path.join(folder.path, name), changed, folder.is_hidden
        _keep(self._files, item, self._limit)
        if len(self._files) == self._limit:
            self.smallest_listed = self._files[0][0]

    def enter(self, folder, name):
        """Open a subfolder and count it; None when it cannot be read, is gone or is not of this file system."""
        if self._open >= self._descriptors:
            return self.miss(folder, "more folders in each other than a process may open", name)
        try:
            fd = open_folder(name, folder.fd)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return self.miss(folder, error.strerror, name)
        if os.fstat(fd).st_dev != self.device:
            os.close(fd)
            return self.miss(folder, "another file system", name)
        self._open += 1
        self._folder_count += 1
        below = Folder(fd, name, folder, folder.points.get(name) or {})
        self.bytes += below.bytes
        self.inodes += 1
        return below

    def miss(self, folder, why, name=""):
        """Note that something was not seen, and why; never in silence."""
        folder.is_complete = False
        self._unseen_count[why] = self._unseen_count.get(why, 0) + 1
        if len(self._unseen) < self._limit:
            self._unseen.append({"path": os.path.join(folder.path, name) if name else folder.path, "why": why})

    def expand(self, folder):
        """Return its subfolders, opened, to be read by themselves; the folder is left with the last of them."""
        entered = [self.enter(folder, name) for name in folder.pending]
        subfolders = [below for below in entered if below]
        folder.pending = []
        folder.awaits = len(subfolders)
        if not subfolders:
            self.leave(folder)
        return subfolders

    def give_up(self, stack):
        """Leave these folders, one in the other, of which there was no time to read all."""
        left = [folder for folder in stack if folder.pending or not folder.is_listed]
        for folder in left[1:]:
            folder.is_complete = False
        # the one above all says enough
        for folder in left[:1]:
            self.miss(folder, "the time was over")
        while stack:
            self.leave(stack.pop())

    def leave(self, folder):
        """Close a folder and hand what is known of it to the one above."""
        while True:
            folder.close()
            self._open -= 1
            self._rank(folder)
            folder = folder.parent
            # whoever reads depth first leaves the folders above by itself
            if not folder or not folder.awaits:
                return
            folder.awaits -= 1
            if folder.awaits:
                return

    def _rank(self, folder):
        if "" in folder.points and folder.parent and folder.inodes > 1:
            _keep(self._hidden, (folder.bytes, folder.path), self._limit)
        if not folder.parent:
            return
        for heap, size, part in (
            (self._largest, folder.bytes, folder.largest),
            (self._most, folder.inodes, folder.most),
        ):
            if part < size * _STANDS_FOR and not (len(heap) == self._limit and size <= heap[0][0]):
                item = size, folder.path, folder.bytes, folder.inodes, folder.is_complete, folder.is_hidden
                _keep(heap, item, self._limit)

    def facts(self, seconds, is_complete):
        """Return what is known; names are as os.fsdecode gives them, the lists are the largest first.

        ``unseen`` holds some of what was not seen, ``unseen_count`` how often each reason was met.
        """
        return {
            "path": self.start.name,
            "device": self.device,
            "seconds": round(seconds, 3),
            "is_complete": is_complete and not self._unseen_count,
            "under_mounts": self.is_private,
            "bytes": self.bytes,
            "inodes": self.inodes,
            "folder_count": self._folder_count,
            "links_told": self._links_told,
            "files": [_file(*one) for one in _sorted(self._files)],
            "folders": [_folder(*one) for one in _sorted(self._largest)],
            "most_files": [_folder(*one) for one in _sorted(self._most)],
            "hidden": [{"path": path, "bytes": size} for size, path in _sorted(self._hidden)],
            "unseen": self._unseen,
            "unseen_count": self._unseen_count,
        }


def _file(size, path, modified, is_hidden):
    return {"path": path, "bytes": size, "modified": int(modified), "is_hidden": is_hidden}


def _folder(_, path, size, inodes, is_complete, is_hidden):
    return {"path": path, "bytes": size, "inodes": inodes, "is_complete": is_complete, "is_hidden": is_hidden}


def _keep(heap, item, limit):
    heapq.heappush(heap, item)
    if len(heap) > limit:
        heapq.heappop(heap)


def _sorted(heap):
    return sorted(heap, reverse=True)
