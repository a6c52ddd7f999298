"""Mounts, full disks and programs that have files open: what tests of disks have around them, gone at the end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from requirement import missing
from waiting import until


@contextmanager
def mounted(folder: Path, options: str = "size=1m", kind: str = "tmpfs") -> Iterator[Path]:
    """A small file system at a folder, or with ``bind`` (``bind,ro``) another one, ``kind``; only root may make it."""
    if os.geteuid():
        missing("only root can mount a file system")
    folder.mkdir(parents=True, exist_ok=True)
    how = ["-o", options, kind] if options.startswith("bind") else ["-t", kind, "-o", options, kind]
    subprocess.run(["mount", *how, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def filled(folder: Path, leave: int = 0) -> None:
    """Take every byte of a small file system but for ``leave``."""
    with (folder / "ballast").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            file.truncate(max(0, file.tell() - leave))


@contextmanager
def mounted_file(source: Path, place: Path) -> Iterator[None]:
    """A file that is mounted over another one."""
    subprocess.run(["mount", "--bind", str(source), str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def held_open(path: Path) -> Iterator[int]:
    """The pid of another process that has the file open to append to it."""
    with path.open("a") as file:
        program = subprocess.Popen(["sleep", "1000"], stdout=file)
    try:
        # it has its name a moment after it was started
        until(lambda: Path(f"/proc/{program.pid}/comm").read_text() == "sleep\n")
        yield program.pid
    finally:
        program.kill()
        program.wait()
