# SPDX-License-Identifier: MIT
"""A sandbox: servers started side by side, described, and gone without a trace."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from mendbook.sandbox import folder as folders
from mendbook.sandbox.binaries import explain
from mendbook.sandbox.errors import SandboxError, ServerDied
from mendbook.sandbox.folder import Folder
from mendbook.sandbox.keeper import clear, is_running, read_record
from mendbook.sandbox.process import POLL_SECONDS, Keeper
from mendbook.sandbox.service import READY_SECONDS, BaseService, service_class

Progress = Callable[[str], None]
AnyService = TypeVar("AnyService", bound=BaseService)
_PORT_ATTEMPTS = 5
# what a server says whose port was taken between our look and its own
_PORT_TAKEN = re.compile(r"address already in use|is not available on 127\.0\.0\.1", re.IGNORECASE)
_STOP_SECONDS = 60.0
# the other keys of a status
_OWN_WORDS = ("directory", "running", "keeper", "owner")


class Sandbox:
    """Running servers in one folder. Leaving the `with` block, or the death of this process, ends and removes them."""

    def __init__(self, folder: Folder, keeper: Keeper, progress: Progress | None = None) -> None:
        self.services: dict[str, BaseService] = {}
        self.directory = folder.path
        self._folder = folder
        self._keeper = keeper
        self._progress = progress or (lambda line: None)
        self._record_lock = threading.Lock()
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def names(self) -> list[str]:
        """The services in it, also those that another process started."""
        return sorted(self._folder.record["services"])

    def add(self, service: AnyService) -> AnyService:
        """Start one more service and wait until it serves."""
        self.add_all([service])
        return service

    def add_all(self, services: Sequence[BaseService]) -> None:
        """Start several at once. When one fails, its error is raised and it is gone; the others stay."""
        names = self.names
        for service in services:
            if service.name in names:
                raise SandboxError(f"there is a service called {service.name!r} in this sandbox already")
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", service.name) or service.name in _OWN_WORDS:
                raise SandboxError(f"{service.name!r} is no name for a service: use letters, digits and dashes")
            names.append(service.name)
            service.found = service.find()
        with ThreadPoolExecutor(max_workers=max(1, len(services))) as pool:
            try:
                for started in [pool.submit(self._start, service) for service in services]:
                    started.result()
            except KeyboardInterrupt:
                # without its keeper every starting thread gives up at once
                self.stop()
                raise

    def _start(self, service: BaseService) -> None:
        begun = time.monotonic()
        service.keeper = self._keeper
        service.folder = self.directory / service.name
        service.noted = lambda: self._note(service, ready=True)
        self._progress(f"{service.name}: starting {service.found}")
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            try:
                self._note(service, ready=False)
                service.launch()
                self._note(service, ready=False)
                service.wait_ready(time.monotonic() + READY_SECONDS)
                break
            except BaseException as error:
                code = _exit_code(service)
                self._discard(service)
                if not isinstance(error, ServerDied):
                    raise
                if attempt == _PORT_ATTEMPTS or not _PORT_TAKEN.search(error.log):
                    raise explain(service.program, service.variable, error, code) from error
                self._progress(f"{service.name}: a port was taken meanwhile, trying others")
        self.services[service.name] = service
        self._note(service, ready=True)
        self._progress(f"{service.name}: ready after {time.monotonic() - begun:.1f} s")

    def _note(self, service: BaseService, *, ready: bool) -> None:
        """Write into the record what must be killed and removed with this service, and how to reach it."""
        with self._record_lock:
            if self._stopped:
                raise SandboxError(f"the sandbox in {self.directory} was stopped")
            record = self._folder.record
            record["owned"] = sorted({*record["owned"], str(service.folder), *service.outside()})
            record["services"][service.name] = {
                "kind": service.kind,
                "pids": [process.pid for process in service.processes],
                "outside": service.outside(),
                "facts": service.describe() if ready else None,
            }
            self._folder.save()
            service.folder.mkdir(mode=0o700, exist_ok=True)

    def _discard(self, service: BaseService) -> None:
        self._remove(service.name, [process.pid for process in service.processes], service.outside())
        service.processes.clear()

    def remove(self, name: str) -> None:
        """Kill one service and remove its data."""
        if name not in self.names:
            raise SandboxError(f"there is no {name!r} in this sandbox; there is {', '.join(self.names) or 'nothing'}")
        recorded = self._folder.record["services"][name]
        self.services.pop(name, None)
        self._remove(name, recorded["pids"], recorded["outside"])

    def _remove(self, name: str, pids: list[int], sockets: list[str]) -> None:
        for pid in pids:
            with contextlib.suppress(SandboxError):
                self._keeper.ask(op="kill", pid=pid)
        shutil.rmtree(self.directory / name, ignore_errors=True)
        for socket in sockets:
            Path(socket).unlink(missing_ok=True)
        with self._record_lock:
            self._folder.record["services"].pop(name, None)
            if not self._stopped:
                self._folder.save()

    def status(self) -> dict[str, Any]:
        """How to reach each service: `{"directory": "/...", "running": True, "mongo": {"uri": ...}, "s3": {...}}`."""
        with self._record_lock:
            return _status(self.directory, self._folder.record)

    def detach(self, owner: int | None = None) -> None:
        """Let the servers outlive this process: until `stop_in`, or until process `owner` dies."""
        with self._record_lock:
            self._folder.record["owner"] = owner
            self._folder.save()
        self._keeper.detach(owner)
        self._keeper.close()

    def stop(self) -> None:
        """Kill the servers and remove everything; returns when all is gone. May be called again."""
        with self._record_lock:
            # from here on nothing is written: a starting thread must not put a file back
            self._stopped = True
        self._keeper.stop()


def _exit_code(service: BaseService) -> int | None:
    with contextlib.suppress(SandboxError):
        return next((code for process in service.processes if (code := process.exit_code()) is not None), None)
    return None


def _status(directory: Path, record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"directory": str(directory), "running": folders.is_alive(directory)}
    if found["running"]:
        found |= {"keeper": record.get("keeper"), "owner": record.get("owner")}
        for name, service in record.get("services", {}).items():
            if service["facts"] is not None:
                alive = all(is_running(pid) for pid in service["pids"])
                found[name] = {"kind": service["kind"], "running": alive, **service["facts"]}
    return found


def start(
    services: Sequence[str | BaseService] = ("mongo", "s3"),
    *,
    directory: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Sandbox:
    """Start servers on free ports of 127.0.0.1 and return when all of them serve.

    `services` are kinds ("mongo", "s3") or configured ones (`services.mongo.Service(replica_set=None)`). `directory`
    must be new or empty and is removed at the end; without it a temporary folder is used. `progress` gets one line per
    step, from several threads. Raises SandboxError; then nothing is left.
    """
    wanted = [service if isinstance(service, BaseService) else service_class(service)() for service in services]
    if not wanted:
        raise SandboxError("name at least one service to start")
    folder = folders.claim(None if directory is None else Path(directory))
    try:
        folder.record |= {"owned": [str(folder.path / "keeper.log")], "owner": os.getpid()}
        folder.save()
        keeper = Keeper.start(folder)
    except BaseException:
        clear(folder.path)
        raise
    finally:
        folder.let_go()
    sandbox = Sandbox(folder, keeper, progress)
    try:
        with folders.changing(folder.path):
            folder.record["keeper"] = keeper.pid
            folder.save()
            sandbox.add_all(wanted)
    except BaseException:
        sandbox.stop()
        raise
    return sandbox


@contextlib.contextmanager
def attached(directory: Path, progress: Progress | None = None) -> Iterator[Sandbox]:
    """The sandbox that another process started in `directory`, to add and remove services; it runs on afterwards.

    Raises SandboxError when none runs there.
    """
    with folders.changing(directory):
        folder = folders.adopt(directory)
        keeper = Keeper.connect(folder.path)
        try:
            yield Sandbox(folder, keeper, progress)
        finally:
            keeper.close()


def status_in(directory: Path) -> dict[str, Any]:
    """What `Sandbox.status` says, read by another process; `running` is False and no more when there is none."""
    return _status(directory, read_record(directory))


def stop_in(directory: Path) -> bool:
    """Stop the sandbox in a folder and wait until it is gone; False when there was none. Cleans after a dead one."""
    directory = directory.expanduser().resolve()
    if not folders.is_ours(directory):
        return False
    if not folders.is_alive(directory):
        folders.remove_dead(directory)
        return True
    Keeper.connect(directory).stop()
    deadline = time.monotonic() + _STOP_SECONDS
    while folders.is_alive(directory):
        if time.monotonic() > deadline:
            raise SandboxError(f"the sandbox in {directory} did not end in {_STOP_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
    return True
