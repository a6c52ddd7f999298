# SPDX-License-Identifier: MIT
"""One changing run at a host: flock on a file in a folder that only this user may enter, gone with its process."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from urllib.parse import quote

from . import host
from .errors import Locked, Refused

# Places that are there for every session of a user, so that cron and a person meet: a folder of one login is not.
_ROOT_PLACES = ("/run/mendbook", "/dev/shm/mendbook-0")  # noqa: S108
_PARENTS = ("/run/lock", "/dev/shm")  # noqa: S108
# overwritten in place: once it is there, it needs no room on a full disk
_FACTS_BYTES = 512
# a holder says who it is a moment after it has the lock
_PATIENCE_SECONDS = 1.0
_POLL_SECONDS = 0.02
# a read-only container, a system without such a folder, a disk without a free inode
_NEXT_PLACE = (errno.EROFS, errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)


class HostLock:
    """The lock ``name`` of this host, held while the ``with`` block runs; entering raises `Locked` when it is taken.

    The kernel frees it when the process ends, however that happens. The file stays: whoever removed it would part
    those who wait at it. It is held in every place that can be had, so that two runs meet although one of them finds
    the disk of the first place full; nobody can take the places of others away. Root's runs share a lock, and so do
    those of each other user.
    """

    def __init__(self, name, run):
        self.name = name
        self.run = run
        self._files = []

    def __enter__(self):
        with ExitStack() as undo:
            undo.callback(self._close)
            refusals = []
            for folder, path in _folders(refusals, create=True):
                self._hold(folder, f"{path}/{_file_name(self.name)}")
            if not self._files:
                raise next(iter(refusals), _no_place())
            undo.pop_all()
        facts = {"run": self.run, "holder": host.user(), "host": os.uname().nodename, "pid": os.getpid()}
        for file in self._files:
            _write(file, {**facts, "since": _now(), "started": _started("self")})
        return self

    def __exit__(self, *exc_info):
        for file in self._files:
            _write(file, None)
        self._close()

    def _hold(self, folder, path):
        while True:
            try:
                file = _open(folder, path, os.O_CREAT)
            except OSError as error:
                if error.errno in _NEXT_PLACE:
                    return
                raise
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                facts = _patient_facts(file)
                os.close(file)
                raise _locked(self.name, path, facts) from None
            # somebody may have removed it between the two calls: then it is not the one that others would find
            if os.fstat(file).st_nlink:
                self._files.append(file)
                return
            os.close(file)

    def _close(self):
        while self._files:
            os.close(self._files.pop())


def holder(name):
    """Return who holds the lock ``name`` (run, holder, host, pid, since), or None; takes nothing and makes nothing."""
    for folder, path in _folders([], create=False):
        try:
            file = _open(folder, f"{path}/{_file_name(name)}")
        except OSError:  # none is there, or on what is read-only, where nobody can hold it
            continue
        facts = _facts(file)
        os.close(file)
        if _lives(facts):
            return {key: value for key, value in facts.items() if key != "started"}
    return None


def _places():
    """The folders of this user's locks."""
    if os.geteuid() == 0:
        return _ROOT_PLACES
    return tuple(f"{parent}/mendbook-{os.geteuid()}" for parent in _PARENTS)


def _file_name(name):
    return quote(name, safe="") + ".lock"


def _folders(refusals, create):
    """Yield (descriptor, path) of each folder that is there or can be made, and that nobody else can write to.

    Others are left out and noted as `Refused`: anybody may make a folder of any name in /dev/shm.
    """
    for path in _places():
        try:
            if create:
                try:
                    os.mkdir(path, 0o700)
                except FileExistsError:
                    pass
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _NEXT_PLACE:
                refusals.append(_refused(path, os.strerror(error.errno)))
            continue
        try:
            seen = os.fstat(folder)
            if seen.st_uid == os.geteuid() and not stat.S_IMODE(seen.st_mode) & 0o077:
                yield folder, path
            else:
                mode = stat.S_IMODE(seen.st_mode)
                refusals.append(_refused(path, f"it belongs to uid {seen.st_uid} with mode {mode:o}"))
        finally:
            os.close(folder)


def _open(folder, path, more=0):
    """Open the lock's file, or raise `Refused` when somebody has made it ready."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | more
    try:
        file = os.open(os.path.basename(path), flags, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno in _NEXT_PLACE:
            raise
        raise _refused(path, os.strerror(error.errno)) from error
    seen = os.fstat(file)
    # a name less is one that was removed meanwhile
    if not stat.S_ISREG(seen.st_mode) or seen.st_uid != os.geteuid() or seen.st_nlink > 1:
        os.close(file)
        raise _refused(path, "it is not a plain file of this user's own")
    return file


def _write(file, facts):
    """Say who holds the lock, or with None that nobody does; a full disk keeps nobody from holding it."""
    text = b"" if facts is None else json.dumps(facts).encode("ascii")
    try:
        os.pwrite(file, text.ljust(_FACTS_BYTES), 0)
    except OSError:
        # what stands there is of somebody else
        os.ftruncate(file, 0)


def _facts(file):
    """What the holder says of itself; {} when it says nothing, or nothing that can be read."""
    try:
        facts = json.loads(os.pread(file, _FACTS_BYTES, 0))
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _patient_facts(file):
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        facts = _facts(file)
        if _lives(facts) or time.monotonic() > deadline:
            return facts
        time.sleep(_POLL_SECONDS)


def _lives(facts):
    """Whether the process that says that it holds the lock is still the one that took it."""
    return facts.get("started") is not None and facts["started"] == _started(facts.get("pid"))


def _started(pid):
    """When a process started, in the kernel's ticks; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # the second field, in parentheses, is a name that may hold anything
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _locked(name, path, facts):
    facts = {key: facts.get(key) for key in ("run", "holder", "host", "pid", "since")}
    who = "run {run} of {holder} on {host} (pid {pid}) since {since}".format(**facts)
    if facts["run"] is None:
        who = f"a run that had no room to say who it is (fuser {path} shows it)"
    return Locked(
        f"{name} of this host is locked by {who}: wait for it, or look there whether it still runs; the lock is free "
        "as soon as its process has ended",
        rule="lock",
        details=facts,
    )


def _no_place():
    return Refused(
        "refused: there is no place for the lock, so two runs could meet: nothing can be written in {}".format(
            " or ".join(_places())
        ),
        rule="lock_place",
    )


def _refused(path, why):
    return Refused(
        f"refused: {path} cannot be trusted as a lock, {why}; look who made it, then remove it", rule="lock_place"
    )


def _now():
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
