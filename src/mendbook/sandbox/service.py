# SPDX-License-Identifier: MIT
"""The one shape of a service, and the list of those there are.

A service is one file in `mendbook/sandbox/services/`, named as on the command line, with a class called `Service`.
"""

from __future__ import annotations

import abc
import functools
import importlib
import pkgutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from mendbook.sandbox import services
from mendbook.sandbox.binaries import find_binary
from mendbook.sandbox.errors import SandboxError
from mendbook.sandbox.process import POLL_SECONDS, Keeper, Process

READY_SECONDS = 60.0


class BaseService(abc.ABC):
    """A server (or a group of them that belong together) inside a sandbox.

    The sandbox calls `find`, gives it a `folder` and a `keeper`, then `launch` and `wait_ready`; when a port was taken
    in between, everything is removed and done again. After that `describe` says how to reach it; `noted` is the
    sandbox's, to be called when process ids have changed.
    """

    kind: ClassVar[str]
    program: ClassVar[str]
    variable: ClassVar[str]
    packaged: ClassVar[str]
    package: ClassVar[str]

    folder: Path
    keeper: Keeper
    found: Path

    def __init__(self, *, name: str | None = None, binary: str | None = None) -> None:
        """`name` tells several of one kind apart in a sandbox; `binary` is the program to use instead of ours."""
        self.name = name or self.kind
        self.binary = binary
        self.processes: list[Process] = []
        self.noted: Callable[[], None] = lambda: None

    def find(self) -> Path:
        """The program to run; BinaryMissing says how to get it."""
        return find_binary(
            self.program, named=self.binary, variable=self.variable, packaged=self.packaged, package=self.package
        )

    @abc.abstractmethod
    def launch(self) -> None:
        """Choose ports and start the processes, in `self.folder`, with new credentials; does not wait."""

    @abc.abstractmethod
    def wait_ready(self, deadline: float) -> None:
        """Return when a client with the credentials is served; ServerDied, or SandboxError after `deadline`."""

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """How to reach it, with credentials, as JSON: at least host or endpoint_url, and pid."""

    def outside(self) -> list[str]:
        """Paths of sockets that the server makes outside its folder, to be removed with it; known after `launch`."""
        return []

    def spawn(
        self, argv: list[str], *, env: dict[str, str] | None = None, log: str, stop: signal.Signals = signal.SIGKILL
    ) -> Process:
        """Start one process of this service, held by the keeper; `stop` ends it as abruptly as KILL."""
        process = Process(self.keeper, argv, env or {}, self.folder, self.folder / log, stop)
        self.processes.append(process)
        return process

    @property
    def pid(self) -> int:
        """Process id of the (first) server."""
        return self.processes[0].pid

    def kill(self) -> None:
        """kill -9 every process and keep the data."""
        for process in self.processes:
            process.kill()

    def restart(self, seconds: float = READY_SECONDS) -> None:
        """Start what is dead again, on the same data, ports and credentials, and wait until it serves."""
        for process in self.processes:
            if process.exit_code() is not None:
                process.start()
        self.wait_ready(time.monotonic() + seconds)
        self.noted()

    def pause(self, process: Process, deadline: float) -> None:
        """One turn of a waiting loop: raises when the process died or the time is over, else sleeps a moment."""
        process.require_alive()
        if time.monotonic() > deadline:
            raise SandboxError(
                f"{self.program} (process {process.pid}) runs but was not ready in time; see {process.log}"
            )
        time.sleep(POLL_SECONDS)


@functools.cache
def kinds() -> tuple[str, ...]:
    """The services there are, as named on the command line, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(services.__path__)))


def service_class(kind: str) -> type[BaseService]:
    """The class of one kind; SandboxError when there is no such file."""
    if kind not in kinds():
        raise SandboxError(f"there is no service {kind!r} in the sandbox; there are {', '.join(kinds())}")
    found: type[BaseService] = importlib.import_module(f"mendbook.sandbox.services.{kind}").Service
    return found
