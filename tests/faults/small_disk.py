"""A mongod whose data lies on a file system that a test can fill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mendbook.sandbox import Sandbox
from mendbook.sandbox.services.mongo import Service
from requirement import missing


class OnSmallDisk(Service):
    """``disk`` is the folder of the file system."""

    disk: Path

    def _command(self, port: int, data: Path, key_file: Path) -> list[str]:
        return super()._command(port, self.disk, key_file)

    def leave_free(self, size_bytes: int) -> None:
        """Fill the disk but for so many bytes; `make_room` undoes it."""
        free = os.statvfs(self.disk)
        (self.disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize - size_bytes))

    def make_room(self) -> None:
        (self.disk / "ballast").unlink()


@contextmanager
def small_server(box: Sandbox, folder: Path) -> Iterator[OnSmallDisk]:
    """A server with 400 MB, removed at the end; only root may make it."""
    if os.geteuid():
        missing("only root can mount a small file system")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)], check=True)
    try:
        service = OnSmallDisk(name="small")
        service.disk = folder
        box.add(service)
        try:
            yield service
        finally:
            box.remove("small")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
