# SPDX-License-Identifier: MIT
"""A folder that may be cleaned, held open: what is below it is reached from there and from nowhere else."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from .errors import MendError, Nothing, Refused
from .plan_text import clean

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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
        """Begin to count anew."""
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
        raise Refused(
            "refused: /proc is not mounted here, so nobody can tell which files are open", rule="proc"
        ) from None


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
