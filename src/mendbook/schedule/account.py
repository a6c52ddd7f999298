# SPDX-License-Identifier: MIT
"""Whoever a timer's run is: what that user may read and write here, asked of the kernel as that user."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """A user of this machine. ``known``: what it may is asked for; without root that is only what we may ourselves."""

    entry: pwd.struct_passwd

    @classmethod
    def of(cls, name: str | None) -> Account:
        """The user of this name, without one our own; KeyError when there is none."""
        return cls(pwd.getpwuid(os.geteuid()) if name is None else pwd.getpwnam(name))

    @property
    def name(self) -> str:
        return self.entry.pw_name

    @property
    def known(self) -> bool:
        return os.geteuid() in (0, self.entry.pw_uid)

    @property
    def other(self) -> pwd.struct_passwd | None:
        """Its entry when it is not ourselves and can be become."""
        return self.entry if os.geteuid() == 0 != self.entry.pw_uid else None

    def unreadable(self, path: str) -> str | None:
        """Why it cannot read this as the file of a secret, or None."""
        with self._acting():
            try:
                # a pipe would make the open wait for ever
                with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                        return "not a regular file"
                    return None if file.read(1) else "the file is empty"
            except FileNotFoundError as error:
                return error.strerror
            except OSError as error:
                return error.strerror if self.known else None

    def unwritable(self, path: str) -> str | None:
        """Why it cannot write this file, or None."""
        folder = os.path.dirname(path)
        with self._acting():
            if not os.path.isdir(folder):
                return f"there is no folder {folder}" if self.known else None
            if not self.known or os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
                return None
            return f"{self.name} may not write into {folder}"

    @contextmanager
    def _acting(self) -> Iterator[None]:
        """Be this user to the kernel, with its groups and without root's powers, where we can."""
        if self.other is None:
            yield
            return
        groups, group = os.getgroups(), os.getegid()
        os.setgroups(os.getgrouplist(self.name, self.entry.pw_gid))
        os.setegid(self.entry.pw_gid)
        os.seteuid(self.entry.pw_uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)
            os.setgroups(groups)
