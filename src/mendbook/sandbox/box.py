# SPDX-License-Identifier: MIT
"""A sandbox: servers started side by side, described, and gone without a trace."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from mendbook.sandbox import folder as folders
from mendbook.sandbox.binaries import explain
from mendbook.sandbox.errors import SandboxError, ServerDied
from mendbook.sandbox.folder import Folder
from mendbook.sandbox.keeper import clear, read_record
from mendbook.sandbox.process import POLL_SECONDS, Keeper
from mendbook.sandbox.service import READY_SECONDS, BaseService, service_class

Progress = Callable[[str], None]
AnyService = TypeVar("AnyService", bound=BaseService)
_PORT_ATTEMPTS = 5
# what a server says whose port was taken between our look and its own
_PORT_TAKEN = re.compile(r"address already in use|is not available on 127\.0\.0\.1", re.IGNORECASE)
_STOP_SECONDS = 15.0


class Sandbox:
    """Running servers in one folder. Leaving the `with` block, or the death of this process, ends and removes them."""

    def __init__(self, folder: Folder, keeper: Keeper, progress: Progress) -> None:
        self.services: dict[str, BaseService] = {}
        self.directory = folder.path
        self._folder = folder
        self._keeper = keeper
        self._progress = progress
        self._record_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def add(self, service: AnyService) -> AnyService:
        """Start one more service and wait until it serves."""
        self.add_all([service])
        return service

    def add_all(self, services: Sequence[BaseService]) -> None:
        """Start several at once; when one fails the error is raised and that one is gone, the others stay."""
        for service in services:
            if service.name in self.services or [other.name for other in services].count(service.name) > 1:
                raise SandboxError(f"there are two services called {service.name!r} in this sandbox")
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", service.name):
                raise SandboxError(f"{service.name!r} is no name for a service: use letters, digits and dashes")
            service.found = service.find()
        with ThreadPoolExecutor(max_workers=max(1, len(services))) as pool:
            for started in [pool.submit(self._start, service) for service in services]:
                started.result()

    def _start(self, service: BaseService) -> None:
        begun = time.monotonic()
        service.keeper = self._keeper
        service.folder = self.directory / service.name
        self._progress(f"{service.name}: starting {service.found}")
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            try:
                self._make_folder(service)
                service.launch()
                self._note(service)
                service.wait_ready(time.monotonic() + READY_SECONDS)
                break
            except BaseException as error:
                code = self._exit_code(service)
                self._discard(service)
                if not isinstance(error, ServerDied):
                    raise
                if attempt == _PORT_ATTEMPTS or not _PORT_TAKEN.search(error.log):
                    raise explain(service.program, service.variable, error, code) from error
                self._progress(f"{service.name}: a port was taken meanwhile, trying others")
        self.services[service.name] = service
        self._note(service)
        self._progress(f"{service.name}: ready after {time.monotonic() - begun:.1f} s")

    def _make_folder(self, service: BaseService) -> None:
        with self._record_lock:
            self._own([str(service.folder)])
            service.folder.mkdir(mode=0o700)

    def _note(self, service: BaseService) -> None:
        """Write into the record what must be removed and killed with this service, and how to reach it."""
        with self._record_lock:
            record = self._folder.record
            record["processes"] = sorted({*record["processes"], *(process.pid for process in service.processes)})
            if service.name in self.services:
                record.setdefault("services", {})[service.name] = {"kind": service.kind, **service.describe()}
            self._own(service.outside())

    def _own(self, paths: Iterable[str]) -> None:
        record = self._folder.record
        record["owned"] = sorted({*record["owned"], *paths})
        self._folder.save()

    def _exit_code(self, service: BaseService) -> int | None:
        with contextlib.suppress(SandboxError):
            return next((code for process in service.processes if (code := process.exit_code()) is not None), None)
        return None

    def _discard(self, service: BaseService) -> None:
        with contextlib.suppress(SandboxError):
            service.kill()
        service.processes.clear()
        shutil.rmtree(service.folder, ignore_errors=True)
        for socket in service.outside():
            Path(socket).unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Kill one service and remove its data."""
        service = self.services.pop(name)
        self._discard(service)
        with self._record_lock:
            self._folder.record["services"].pop(name, None)
            self._folder.save()

    def status(self) -> dict[str, Any]:
        """Facts by service name (`{"mongo": {"uri": ...}, "s3": {"endpoint_url": ...}}`), `directory` and `running`."""
        described = {name: service.describe() for name, service in self.services.items()}
        return {"directory": str(self.directory), "running": folders.is_alive(self.directory), **described}

    def detach(self, owner: int | None = None) -> None:
        """Let the servers outlive this process: until `stop_in`, or until process `owner` dies."""
        with self._record_lock:
            self._folder.record["owner"] = owner
            self._folder.save()
        self._keeper.detach(owner)

    def stop(self) -> None:
        """Kill the servers and remove everything; returns when all is gone. May be called again."""
        self._keeper.stop()


def start(
    services: Sequence[str | BaseService] = ("mongo", "s3"),
    *,
    directory: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Sandbox:
    """Start servers on free ports of 127.0.0.1 and return when all of them serve.

    `services` are kinds ("mongo", "s3") or configured ones (`services.mongo.Service(replica_set=None)`). `directory`
    must be new or empty and is removed at the end; without it a temporary folder is used. `progress` gets one line per
    step. Raises SandboxError; then nothing is left.
    """
    wanted = [service if isinstance(service, BaseService) else service_class(service)() for service in services]
    if not wanted:
        raise SandboxError("name at least one service to start")
    folder = folders.claim(None if directory is None else Path(directory))
    try:
        folder.record["owned"] = [str(folder.path / "keeper.log")]
        folder.record["owner"] = os.getpid()
        folder.save()
        keeper = Keeper(folder)
    except BaseException:
        clear(folder.path)
        raise
    finally:
        folder.let_go()
    sandbox = Sandbox(folder, keeper, progress or (lambda line: None))
    try:
        folder.record["keeper"] = keeper.pid
        folder.save()
        sandbox.add_all(wanted)
    except BaseException:
        sandbox.stop()
        raise
    return sandbox


def status_in(directory: Path) -> dict[str, Any]:
    """What `Sandbox.status` says, read by another process; `running` is False and nothing else when there is none."""
    record = read_record(directory)
    running = folders.is_alive(directory)
    found: dict[str, Any] = {"directory": str(directory), "running": running}
    if running:
        found |= {"keeper": record.get("keeper"), "owner": record.get("owner"), **record.get("services", {})}
    return found


def stop_in(directory: Path) -> bool:
    """Stop the sandbox in a folder and wait until it is gone; False when there was none. Cleans after a dead one."""
    if not folders.is_ours(directory):
        return False
    keeper = read_record(directory).get("keeper")
    if not folders.is_alive(directory):
        folders.remove_dead(directory)
        return True
    if keeper is None:
        raise SandboxError(f"the sandbox in {directory} is just starting; try again in a moment")
    with contextlib.suppress(ProcessLookupError):
        os.kill(keeper, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while folders.is_ours(directory):
        if time.monotonic() > deadline:
            raise SandboxError(f"the sandbox in {directory} (process {keeper}) did not end in {_STOP_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
    return True
