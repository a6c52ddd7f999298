# SPDX-License-Identifier: MIT
"""A folder that may be cleaned, held open: what is below it is reached from there and from nowhere else."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from typing import NamedTuple

from .disk_ask import SILENT, ask
from .disk_mounts import MOUNTINFO, is_below, kind, parse, visible
from .errors import MendError, Nothing, Refused
from .plan_text import clean

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# a server that is slower is of no use for thousands of files
_ANSWER_SECONDS = 5


class Space(NamedTuple):
    """What a file system has, as df counts it: what is reserved for root is neither free nor used."""

    bytes: int
    free_bytes: int
    inodes: int
    free_inodes: int


class Root:
    """A folder that is named by rules, opened, and what was seen below it. A ``with`` block closes it."""

    def __init__(self, path, rules):
        self.path = path
        self.rules = rules
        self.fd = _open_path(path)
        seen = os.fstat(self.fd)
        self.device, self.inode, self.mount = seen.st_dev, seen.st_ino, mount_of(self.fd)
        self.is_read_only = bool(os.fstatvfs(self.fd).f_flag & os.ST_RDONLY)
        self.forget()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        os.close(self.fd)

    def forget(self):
        """Begin to count anew; ``points`` are the mount points below, which are not touched: each may be a dead one."""
        self.points = _points_below(self.path)
        self.files = self.linked = self.future = 0
        self.elsewhere, self.missed = [], {}
        self.is_complete = True

    def space(self):
        """Return the `Space` of its file system now."""
        now = os.fstatvfs(self.fd)
        usable = now.f_blocks - now.f_bfree + now.f_bavail
        return Space(usable * now.f_frsize, now.f_bavail * now.f_frsize, now.f_files, now.f_favail)

    def open(self, folder):
        """Open a folder below; OSError (ELOOP, ENOTDIR) when something on the way is a link, EXDEV when it is not here.

        The folder's mount is not looked at: see `is_here`.
        """
        fd = os.dup(self.fd)
        try:
            for name in folder.split("/") if folder else ():
                below = os.open(name, _FLAGS, dir_fd=fd)
                os.close(fd)
                fd = below
            if os.fstat(fd).st_dev != self.device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), folder)
        except OSError:
            os.close(fd)
            raise
        return fd

    def is_here(self, fd):
        """Whether an open file or folder was reached through the root's own mount: a bind mount has the same device."""
        return mount_of(fd) == self.mount


def mount_of(fd):
    """Return the id of the mount that a descriptor was opened through."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))
    except FileNotFoundError:
        raise _no_proc() from None


def require_answers(paths):
    """Refuse a folder on the file system of another machine, or of a program, that does not answer.

    They are asked in processes of their own: this one would wait in the kernel, where no signal reaches it.
    """
    remotes = [mount for mount in _mounts() if kind(mount) == "remote"]
    on_the_way = {path: [one for one in remotes if path == one.point or is_below(path, one.point)] for path in paths}
    works = {path: partial(_look, path) for path, found in on_the_way.items() if found}
    for path, answer in ask(works, _ANSWER_SECONDS):
        if answer is SILENT:
            nearest = max(on_the_way[path], key=lambda mount: len(mount.point))
            raise Refused(
                f"refused: {clean(path)} lies on {clean(nearest.source)} ({clean(nearest.type)}, mounted at "
                f"{clean(nearest.point)}), which has not answered within {_ANSWER_SECONDS} s: look at that server or "
                "program, or leave this root out",
                rule="no_answer",
                details={"root": path, "source": nearest.source, "mount": nearest.point},
            )


def _look(path):
    """Ask all that is asked of a root later; what is wrong with it is said then."""
    try:
        with Root(path, ()) as root, os.scandir(root.fd) as listing:
            root.space()
            next(listing, None)
    except (MendError, OSError):
        pass
    yield True


def _points_below(path):
    mounts = _mounts()
    below = {mount.point for mount in mounts if is_below(mount.point, path)}
    return below and below & {mount.point for mount in visible(mounts)}


def _mounts():
    try:
        with open(MOUNTINFO, "rb") as file:
            return parse(file.read())
    except FileNotFoundError:
        raise _no_proc() from None


def _no_proc():
    return Refused("refused: /proc is not mounted here, so nobody can tell which files are open", rule="proc")


def _open_path(path):
    """Open an absolute path of which no part is a link."""
    fd, above = os.open("/", _FLAGS), ""
    for name in path.strip("/").split("/"):
        try:
            below = os.open(name, _FLAGS, dir_fd=fd)
        except OSError as error:
            raise _unusable(path, f"{above}/{name}", fd, name, error) from error
        finally:
            os.close(fd)
        fd, above = below, f"{above}/{name}"
    return fd


def _unusable(path, part, fd, name, error):
    details = {"root": path}
    if error.errno == errno.ENOENT:
        return Nothing(f"there is no {clean(part)}, so nothing to clean in {clean(path)}", rule="root", details=details)
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        try:
            leads = os.readlink(name, dir_fd=fd)
        except OSError:
            return Refused(f"refused: {clean(part)} is not a folder", rule="root", details=details)
        whole = os.path.normpath(os.path.join(os.path.dirname(part), leads))
        return Refused(
            f"refused: {clean(part)} is a link, and who may change it decides what is cleaned; it leads to "
            f"{clean(whole)}: name that",
            rule="root",
            details=details,
        )
    return MendError(f"{clean(part)} cannot be opened: {error.strerror}", rule="permission", details=details)


def is_plain_file(seen):
    """Whether facts of os.stat are those of an ordinary file with one name."""
    return stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1
