"""Children of disk_ask whose silence begins when they have said all that they will, however slow this machine is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible.module_utils.mendbook import disk_ask


class Settled:
    """What a child calls when it will say no more; its last line, the empty one, says it by itself."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        self._child, self._write = disk_ask._Child, disk_ask._write

    def over(self) -> None:
        os.write(self._writing, b".")

    def hang(self) -> None:
        self.over()
        time.sleep(1000)

    def start(self, work: Any) -> Any:
        """A child that has come so far; nobody's patience has begun by then."""
        child = self._child(work)
        os.read(self._reading, 1)
        return child

    def write(self, writer: int, data: bytes) -> None:
        self._write(writer, data)
        if data == b"\n":
            self.over()

    def close(self) -> None:
        os.close(self._reading)
        os.close(self._writing)


@contextmanager
def settled() -> Iterator[Settled]:
    """Let each child come to its last word before anybody waits for it; what it says must fit into a pipe."""
    made = Settled()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(disk_ask, "_Child", made.start)
        patched.setattr(disk_ask, "_write", made.write)
        yield made
    made.close()
