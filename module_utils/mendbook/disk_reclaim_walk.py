# SPDX-License-Identifier: MIT
"""What lies below a root, by the rules for it: each folder by its descriptor, and no entry that is a link."""

from __future__ import annotations

import errno
import os
import time
from array import array
from itertools import islice
from typing import NamedTuple

# each folder is opened from its root on, so a tree of folders in folders in folders would cost their square
MAX_DEPTH = 64
# so many entries are read between two looks at the clock
_PORTION = 1000
# the unit of st_blocks
BLOCK = 512
# clocks of a file server and of its clients differ by so much
_CLOCK_NS = 60 * 10**9


class File(NamedTuple):
    """A file whose fate depends on others: a backup, of which some stay, or a log that may be emptied."""

    name: str
    inode: int
    blocks: int
    size: int
    mtime_ns: int
    is_old: bool


class Batch:
    """Files of one folder that one rule means: old ones as columns, because there may be many, and `File`s.

    ``folder`` is the path below the root, "" for the root itself, ``inode`` the folder's; ``entries`` is all that it
    holds. ``device`` is that of the files: on an overlay those of different layers have different ones.
    """

    __slots__ = ("root", "rule", "folder", "inode", "device", "entries", "names", "inodes", "blocks", "files")

    def __init__(self, root, rule, folder, inode, device):
        self.root = root
        self.rule = rule
        self.folder = folder
        self.inode = inode
        self.device = device
        self.entries = 0
        self.names = []
        self.inodes = array("Q")
        self.blocks = array("Q")
        self.files = []

    def add(self, name, inode, blocks):
        self.names.append(name)
        self.inodes.append(inode)
        self.blocks.append(blocks)

    def empty_copy(self):
        """A batch of the same folder and rule without files."""
        copy = Batch(self.root, self.rule, self.folder, self.inode, self.device)
        copy.entries = self.entries
        return copy

    def path(self, name):
        """The whole path of a file, as os.fsdecode gives it."""
        return "/".join(part for part in (self.root.path, self.folder, name) if part)


def walk(root, others, now, truncate_bytes, budget):
    """Yield the batches below an open root, each of a folder and a rule that means something in it.

    ``others`` are the paths of the other roots, whose folders are theirs alone; ``now`` is the time from which ages
    count; logs of at least ``truncate_bytes`` come as files, too, because they may be open (None: none do).
    """
    root.forget()
    pending = [""]
    while pending:
        folder = pending.pop()
        if budget.is_over():
            root.is_complete = False
            return
        try:
            fd = root.open(folder)
        except OSError as error:
            _miss(root, folder, error)
            continue
        try:
            yield from _read(root, folder, fd, pending, others, now, truncate_bytes, budget)
        except OSError as error:
            _miss(root, folder, error)
        finally:
            os.close(fd)


class Budget:
    """How many entries may be read, and for how many seconds."""

    def __init__(self, entries, seconds):
        self.entries = entries
        self._until = time.monotonic() + seconds

    def is_over(self):
        return self.entries <= 0 or time.monotonic() > self._until


def _read(root, folder, fd, pending, others, now, truncate_bytes, budget):
    rules = [rule for rule in root.rules if rule.recurse or not folder]
    inode = os.fstat(fd).st_ino
    batches, sieve, subfolders, entries = [], [], [], 0
    for rule in rules:
        batches.append(Batch(root, rule, folder, inode, root.device))
        sieve.append((rule.matches.match, _taker(batches, rule, root, now, truncate_bytes)))
    with os.scandir(fd) as listing:
        while True:
            portion = list(islice(listing, _PORTION))
            entries += len(portion)
            budget.entries -= len(portion)
            for entry in portion:
                name = entry.name
                for matches, take in sieve:
                    if matches(name) and entry.is_file(follow_symlinks=False):
                        try:
                            take(name, entry.stat(follow_symlinks=False))
                        except FileNotFoundError:
                            pass  # rotated away at this moment
                        break
                else:
                    if entry.is_dir(follow_symlinks=False):
                        subfolders.append(name)
                        continue
                root.files += 1
            if len(portion) < _PORTION:
                break
            if budget.is_over():
                root.is_complete = False
                break
    found = [batch for batch in batches if batch.names or batch.files]
    if found and not root.is_here(fd):
        root.elsewhere.append(folder)
        return
    for batch in found:
        batch.entries = entries
        yield batch
    if any(rule.recurse for rule in rules):
        _descend(root, folder, subfolders, pending, others)


def _descend(root, folder, subfolders, pending, others):
    depth = folder.count("/") + 1 if folder else 0
    for name in subfolders:
        below = f"{folder}/{name}" if folder else name
        path = f"{root.path}/{below}"
        if path in others:
            continue
        if path in root.points:
            root.elsewhere.append(below)
            continue
        if depth >= MAX_DEPTH:
            _miss(root, below, OSError(errno.ENAMETOOLONG, "folders in each other, deeper than one looks"))
            continue
        pending.append(below)


def _taker(batches, rule, root, now, truncate_bytes):
    """Return the function that puts a file of this rule where it belongs, into the last of the batches if it can."""
    usual, device = batches[-1], root.device
    newest_ns = cutoff_ns(rule, now)
    now_ns = int(now * 1e9)
    big = truncate_bytes if truncate_bytes is not None and rule.kind == "logs" else None

    def of_device(number):
        for batch in batches:
            if batch.rule is rule and batch.device == number:
                return batch
        batches.append(usual.empty_copy())
        batches[-1].device = number
        return batches[-1]

    def take(name, seen):
        batch = usual if seen.st_dev == device else of_device(seen.st_dev)
        changed_ns = age_ns(rule, seen)
        is_old = changed_ns <= newest_ns
        if seen.st_nlink > 1:
            # without one of its names it would take as much
            root.linked += is_old
        elif rule.keep_newest or (big is not None and seen.st_blocks * BLOCK >= big):
            batch.files.append(File(name, seen.st_ino, seen.st_blocks, seen.st_size, seen.st_mtime_ns, is_old))
        elif is_old:
            batch.add(name, seen.st_ino, seen.st_blocks)
        else:
            root.future += changed_ns > now_ns + _CLOCK_NS

    return take


def cutoff_ns(rule, now):
    """Return the time (nanoseconds since 1970) up to which files are old enough."""
    return int((now - rule.min_age_seconds) * 1e9)


def age_ns(rule, seen):
    """Return the time from which a file's age counts.

    That is when it was last written. What was unpacked or copied into a cache or among temporary files a minute ago
    brings its old times with it, so there its arrival (ctime) counts, too; logs get a new one when they are rotated.
    """
    if rule.kind in ("cache", "temporary"):
        return max(seen.st_mtime_ns, seen.st_ctime_ns)
    return seen.st_mtime_ns


def _miss(root, folder, error):
    if error.errno == errno.EXDEV:
        root.elsewhere.append(folder)
    # gone, or a link now: nothing that is meant
    elif error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP) or not folder:
        root.missed[error.strerror] = root.missed.get(error.strerror, 0) + 1
