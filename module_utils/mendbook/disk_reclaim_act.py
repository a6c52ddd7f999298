# SPDX-License-Identifier: MIT
"""Removing what was chosen: each file is looked at again, through the folder that is held open, and then removed."""

from __future__ import annotations

import errno
import os
from time import monotonic

from .change import done, skipped
from .disk_in_use import KERNEL
from .disk_reclaim_walk import BLOCK, age_ns, cutoff_ns
from .disk_root import is_plain_file

# so many files between two looks at the processes, the clock and the signals, and no more when so long has passed:
# to remove one file of many gigabytes may take seconds
_PORTION = 500
_PORTION_SECONDS = 1.0
# by so much the times that the kernel writes may be behind the clock
_TICK_NS = 50_000_000
_GONE = "it had gone by itself"
_OTHER_FOLDER = "its folder is gone, or another one now"


class Act:
    """Carries out a Choice. ``done`` and ``skipped`` tell it, one by one for the ``objects`` that the plan lists so.

    ``blocked`` is {reason: files} of what could not be removed although it should.
    """

    def __init__(self, choice, objects, in_use, now):
        self.choice = choice
        self.files = 0
        self.blocked = {}
        self._objects = objects
        self._in_use = in_use
        self._now = now
        self._listed, self._left_out = [], []
        self._sums, self._folders = {}, 0
        self._stayed = {}

    def steps(self):
        """Do it, in portions: a generator that yields after each of them."""
        work = [("-", batch, self._remove) for batch in self.choice.removals]
        work += [("~", batch, self._empty) for batch in self.choice.emptied]
        # who is interrupted has freed the most
        for op, batch, change in sorted(work, key=lambda one: -sum(one[1].blocks)):
            fd = self._open(batch)
            if fd is None:
                self._sum(op, batch, len(batch.names), 0, _OTHER_FOLDER)
                self._stayed[id(batch)] = set(batch.names)
                continue
            try:
                start = 0
                while start < len(batch.names):
                    self._in_use.look_again()
                    start = change(batch, fd, start, min(start + _PORTION, len(batch.names)))
                    yield
            finally:
                os.close(fd)
        for batch in self.choice.folders:
            self._remove_folder(batch)

    def items(self):
        """Yield what was done and what was left, for run_change."""
        yield from self._listed
        for (op, title, reason), (count, size) in self._sums.items():
            facts = {"objects": count, "group": title}
            # what was listed one by one may have nothing beside it
            name = self._objects.get((op, title), f"files of {title}")
            yield skipped(name, reason, **facts) if reason else done(op, name, bytes=size, **facts)
        if self._folders:
            yield done("-", self._objects["folders"], objects=self._folders)
        yield from self._left_out

    def left(self):
        """Return the paths of files that are still there although they were removed, or not empty though emptied."""
        found = []
        # a new file may have the name by now, and even the number
        before_ns = self._now * 1e9 - _TICK_NS
        for batch in self.choice.removals:
            found += self._still_there(batch, lambda seen, blocks: seen.st_ctime_ns < before_ns)
        for batch in self.choice.emptied:
            # it may have grown again since
            found += self._still_there(batch, lambda seen, blocks: seen.st_blocks >= blocks)
        return found

    def _remove(self, batch, fd, start, stop):
        """Remove these files, and return where to go on: at ``stop``, or earlier when it takes long."""
        names, inodes, rule, device = batch.names, batch.inodes, batch.rule, batch.device
        newest_ns, by_arrival = cutoff_ns(rule, self._now), rule.kind in ("cache", "temporary")
        open_files, objects, stat, unlink = self._in_use.files, self._objects, os.stat, os.unlink
        count, blocks, until = 0, 0, monotonic() + _PORTION_SECONDS
        for position in range(start, stop):
            if monotonic() > until and position > start:
                stop = position
                break
            name = names[position]
            try:
                seen = stat(name, dir_fd=fd, follow_symlinks=False)
                key = seen.st_dev, seen.st_ino
                if (
                    key != (device, inodes[position])
                    or seen.st_nlink != 1
                    or seen.st_mtime_ns > newest_ns
                    or (by_arrival and seen.st_ctime_ns > newest_ns)
                    or key in open_files
                ):
                    self._leave("-", batch, position, self._why(batch, position, seen))
                    continue
                unlink(name, dir_fd=fd)
            except OSError as error:
                self._fail("-", batch, position, error)
                continue
            if key in objects:
                self._listed.append(done("-", objects[key], bytes=seen.st_blocks * BLOCK, group=rule.title))
            else:
                count += 1
                blocks += seen.st_blocks
            self.files += 1
        self._sum("-", batch, count, blocks * BLOCK)
        return stop

    def _empty(self, batch, fd, start, stop):
        until = monotonic() + _PORTION_SECONDS
        for position in range(start, stop):
            if monotonic() > until and position > start:
                return position
            try:
                flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                file = os.open(batch.names[position], flags, dir_fd=fd)
                try:
                    seen = os.fstat(file)
                    key = seen.st_dev, seen.st_ino
                    if key != (batch.device, batch.inodes[position]) or not is_plain_file(seen):
                        self._leave("~", batch, position, self._why(batch, position, seen))
                    elif not batch.root.is_here(file):
                        self._leave("~", batch, position, "something is mounted on it")
                    elif self._in_use.files.get(key, KERNEL) == KERNEL:
                        self._leave("~", batch, position, "no program has it open any more")
                    else:
                        os.ftruncate(file, 0)
                        self._emptied(batch, key, seen.st_blocks * BLOCK)
                finally:
                    os.close(file)
            except OSError as error:
                self._fail("~", batch, position, error)
        return stop

    def _emptied(self, batch, key, size):
        self.files += 1
        if key in self._objects:
            self._listed.append(done("~", self._objects[key], bytes=size, group=batch.rule.title))
        else:
            self._sum("~", batch, 1, size)

    def _remove_folder(self, batch):
        """Remove a folder that has nothing left in it; one that has, stays."""
        above, _, name = batch.folder.rpartition("/")
        try:
            fd = batch.root.open(above)
        except OSError:
            return
        try:
            if os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino == batch.inode:
                os.rmdir(name, dir_fd=fd)
                self._folders += 1
        except OSError as error:
            reason = "something is in it" if error.errno in (errno.ENOTEMPTY, errno.EEXIST) else error.strerror
            self._left_out.append(skipped(self._objects["folders"], reason))
        finally:
            os.close(fd)

    def _open(self, batch):
        """Open the folder of a batch if it is the one that was planned for; None when it is not."""
        try:
            fd = batch.root.open(batch.folder)
        except OSError:
            return None
        if os.fstat(fd).st_ino == batch.inode and batch.root.is_here(fd):
            return fd
        os.close(fd)
        return None

    def _why(self, batch, position, seen):
        if (seen.st_dev, seen.st_ino) != (batch.device, batch.inodes[position]):
            return "another file has its name now"
        if seen.st_nlink != 1:
            return "it has several names now"
        if age_ns(batch.rule, seen) > cutoff_ns(batch.rule, self._now):
            return "it was written meanwhile"
        return "it was opened meanwhile"

    def _fail(self, op, batch, position, error):
        if error.errno == errno.ENOENT:
            self._leave(op, batch, position, _GONE)
            return
        reason = error.strerror
        if error.errno == errno.EPERM and os.geteuid() == 0:
            reason = "it is immutable or append-only (lsattr shows it)"
        elif error.errno == errno.EBUSY:
            reason = "something is mounted on it"
        self.blocked[reason] = self.blocked.get(reason, 0) + 1
        self._leave(op, batch, position, reason)

    def _leave(self, op, batch, position, reason):
        self._stayed.setdefault(id(batch), set()).add(batch.names[position])
        listed = self._objects.get((batch.device, batch.inodes[position]))
        if listed:
            self._left_out.append(skipped(listed, reason, group=batch.rule.title))
        else:
            self._sum(op, batch, 1, 0, reason)

    def _sum(self, op, batch, count, size, reason=None):
        if count:
            sums = self._sums.setdefault((op, batch.rule.title, reason), [0, 0])
            sums[0] += count
            sums[1] += size

    def _still_there(self, batch, is_as_before):
        fd = self._open(batch)
        if fd is None:
            return []
        try:
            stayed = self._stayed.get(id(batch), ())
            gone = {name: position for position, name in enumerate(batch.names) if name not in stayed}
            found = []
            for name in gone.keys() & set(os.listdir(fd)):
                seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if seen.st_ino == batch.inodes[gone[name]] and is_as_before(seen, batch.blocks[gone[name]]):
                    found.append(batch.path(name))
            return found
        except FileNotFoundError:
            return []
        finally:
            os.close(fd)
