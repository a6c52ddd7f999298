# SPDX-License-Identifier: MIT
"""The folder of a sandbox: claim it, refuse a stranger's, clean up after a dead one.

A folder is ours when the marker file is in it. The keeper holds a lock on that file for as long as it lives, so whether
a sandbox runs is asked of the kernel and not guessed from a process id.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mendbook.sandbox.errors import FolderRefused, SandboxError
from mendbook.sandbox.keeper import MARKER, RECORD, clear, read_record

TEMPORARY_PREFIX = "mendbook-sandbox-"
_LOOK_AGAIN_SECONDS = 0.1
_MARKER_TEXT = "This folder belongs to a mendbook sandbox, which removes what it made here when it stops.\n"


class Folder:
    """A folder that is ours: its path, the record in it and, for its starter, the lock on the marker."""

    def __init__(self, path: Path, record: dict[str, Any], lock_fd: int = -1) -> None:
        self.path = path
        self.record = record
        self.lock_fd = lock_fd

    def save(self) -> None:
        """Write the record in one step: a reader, and the keeper after a crash, sees the old or the new one."""
        new = self.path / (RECORD + ".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self.record, file, indent=1)
        new.replace(self.path / RECORD)

    def let_go(self) -> None:
        """Close our copy of the lock; the keeper has its own and keeps the lock."""
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1


def state_folder() -> Path:
    """Where mendbook keeps what must outlive a command: ``MENDBOOK_STATE``, root's /var/lib, or the XDG folder."""
    if named := os.environ.get("MENDBOOK_STATE"):
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/lib/mendbook")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "mendbook"


def named_folder(name: str) -> Path:
    """The folder of the sandbox that the command line calls `name`."""
    if not name or name != Path(name).name or name.startswith("."):
        raise SandboxError(f"{name!r} is no name for a sandbox: use letters, digits and dashes")
    return state_folder() / "sandbox" / name


def claim(directory: Path | None) -> Folder:
    """Take `directory` (None: a new temporary one) for a sandbox, with the lock on its marker held.

    What a dead sandbox left there is removed first. Raises FolderRefused for a running sandbox and for a folder with
    files that are not ours.
    """
    if directory is None:
        sweep(Path(tempfile.gettempdir()))
        directory = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
        return _claim(directory.resolve(), created=True)
    try:
        directory = directory.expanduser().resolve()
        created = not directory.exists()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_uid != os.geteuid():
            raise FolderRefused(f"{directory} belongs to another user; name a folder of your own with --directory")
        return _claim(directory, created)
    except FileExistsError:
        raise FolderRefused(f"{directory} is a file; name a folder that is empty or does not exist") from None
    except PermissionError as error:
        raise FolderRefused(f"no permission to use {error.filename}; name another folder with --directory") from None


def _claim(directory: Path, created: bool) -> Folder:
    # a sandbox that is just being removed may take marker and folder away between two steps: then look again
    for _ in range(100):
        marker = directory / MARKER
        try:
            if not marker.exists() and any(directory.iterdir()):
                raise FolderRefused(
                    f"{directory} is not empty and was not made by mendbook sandbox; nothing in it was touched. "
                    "Name a folder that is empty or does not exist"
                )
            fd = os.open(marker, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            created = True
            continue
        if not _lock(fd):
            os.close(fd)
            if not (directory / RECORD).exists():
                # somebody only looks, the sweep of another start for one, or takes the folder just now
                time.sleep(_LOOK_AGAIN_SECONDS)
                continue
            raise FolderRefused(
                f"a sandbox is running in {directory}: `mendbook sandbox status` shows it, `mendbook sandbox stop` "
                "ends it, and --name or --directory starts another one beside it"
            )
        if not _is_file(fd, marker):
            os.close(fd)
            continue
        if record := read_record(directory):
            created = bool(record.get("created"))
            kill_left_over(directory, record)
            clear(directory)
            os.close(fd)
            continue
        os.write(fd, _MARKER_TEXT.encode())
        folder = Folder(directory, {"schema": 1, "created": created, "owned": [], "services": {}}, fd)
        folder.save()
        return folder
    raise FolderRefused(f"{directory} changes all the time; is something else starting and stopping sandboxes in it?")


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def adopt(directory: Path) -> Folder:
    """The folder of a sandbox that runs already; SandboxError when none runs there."""
    directory = directory.expanduser().resolve()
    if not is_alive(directory):
        raise SandboxError(f"no sandbox runs in {directory}; `mendbook sandbox start` starts one")
    return Folder(directory, read_record(directory))


@contextlib.contextmanager
def changing(directory: Path) -> Iterator[None]:
    """Hold the right to start and stop single services of a sandbox; waits while another process holds it."""
    try:
        fd = os.open(directory, os.O_RDONLY)
    except OSError:
        raise SandboxError(f"no sandbox runs in {directory}; `mendbook sandbox start` starts one") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def is_ours(directory: Path) -> bool:
    """Whether a sandbox made this folder, running or dead."""
    return (directory / MARKER).is_file()


def is_alive(directory: Path) -> bool:
    """Whether the keeper of the sandbox in this folder lives."""
    try:
        fd = os.open(directory / MARKER, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _lock(fd)
    finally:
        os.close(fd)


def remove_dead(directory: Path) -> None:
    """Remove what a sandbox left whose keeper was killed; does nothing to a running one."""
    try:
        fd = os.open(directory / MARKER, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        if _lock(fd) and _is_file(fd, directory / MARKER):
            kill_left_over(directory, read_record(directory))
            clear(directory)
    finally:
        os.close(fd)


def sweep(parent: Path) -> None:
    """Remove this user's dead temporary sandboxes, as a power cut or a killed process group leaves them."""
    for directory in parent.glob(TEMPORARY_PREFIX + "*"):
        with contextlib.suppress(OSError):
            if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
                continue
            remove_dead(directory)


def kill_left_over(directory: Path, record: dict[str, Any]) -> None:
    """Kill recorded servers that outlived their keeper; a process counts only if its command line names the folder."""
    for pid in [pid for service in record.get("services", {}).values() for pid in service["pids"]]:
        if f"{directory}/" in _command_line(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return ""
    listing = subprocess.run(["ps", "-p", str(pid), "-o", "args="], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return listing.stdout
