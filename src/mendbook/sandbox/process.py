# SPDX-License-Identifier: MIT
"""Our end of the keeper, and the servers that it holds for us."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from mendbook.sandbox import keeper as keeper_file
from mendbook.sandbox.errors import SandboxError, ServerDied
from mendbook.sandbox.folder import Folder

POLL_SECONDS = 0.02
# a server gets the machine's locale and paths, and nothing that configures it behind our back (AWS_*, WEED_*, LD_*)
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")


class Keeper:
    """Our connection to the keeper process of one sandbox; safe to use from several threads."""

    def __init__(
        self, folder: Path, reader: IO[bytes], writer: IO[bytes], process: subprocess.Popen[bytes] | None
    ) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._reader = reader
        self._writer = writer
        self._process = process
        self.pid = None if process is None else process.pid

    @classmethod
    def start(cls, folder: Folder) -> Keeper:
        """Start a keeper that takes over the lock of the folder and ends with this process."""
        with open(folder.path / "keeper.log", "ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
                [sys.executable, "-I", "-S", keeper_file.__file__, str(folder.path), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                start_new_session=True,
                pass_fds=(folder.lock_fd,),
            )
        return cls(folder.path, cast(IO[bytes], process.stdout), cast(IO[bytes], process.stdin), process)

    @classmethod
    def connect(cls, folder: Path) -> Keeper:
        """Talk to the keeper of a running sandbox that somebody else started."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with keeper_file.short_path(folder) as path:
                connection.connect(path)
        except OSError as error:
            raise SandboxError(f"the sandbox in {folder} is starting or ending; try again in a moment") from error
        with connection:
            return cls(folder, connection.makefile("rb"), connection.makefile("wb"), None)

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request and its answer; SandboxError when the keeper is gone or could not do it."""
        with self._lock:
            try:
                self._writer.write(json.dumps(request).encode() + b"\n")
                self._writer.flush()
                line = self._reader.readline()
            except (OSError, ValueError):
                line = b""
        if not line:
            raise SandboxError(f"the keeper of the sandbox in {self.folder} is gone, and its servers with it")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SandboxError(answer["error"])
        return answer

    def detach(self, owner: int | None) -> None:
        """Let the sandbox outlive this process; with `owner`, until that process dies."""
        self.ask(op="detach", owner=owner)

    def stop(self) -> None:
        """Kill the servers and remove the folder; returns when both are gone. May be called again."""
        with contextlib.suppress(SandboxError):
            self.ask(op="stop")
        self.close()
        if self._process is not None:
            self._process.wait()

    def close(self) -> None:
        """End the conversation; a keeper that was not detached ends with it."""
        for pipe in (self._reader, self._writer):
            with contextlib.suppress(OSError):
                pipe.close()


class Process:
    """One server: how it was started, and so how it is started again on the same data and port."""

    def __init__(
        self,
        keeper: Keeper,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        stop: signal.Signals = signal.SIGKILL,
    ) -> None:
        self._keeper = keeper
        self.argv = list(argv)
        self.log = log
        self._cwd = cwd
        self._stop = stop
        self._env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # weed reads ~/.seaweedfs and writes logs to TMPDIR
        self._env |= {"HOME": str(cwd), "TMPDIR": str(cwd), **env}
        self.pid = 0
        self.start()

    def start(self) -> None:
        """Start it (again); what it writes is added to the log."""
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        files = {"cwd": str(self._cwd), "log": str(self.log)}
        try:
            self.pid = self._keeper.ask(op="spawn", argv=self.argv, env=self._env, stop=self._stop, **files)["pid"]
        except SandboxError as error:
            raise SandboxError(f"{self.argv[0]} cannot be started: {error}") from error

    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        code: int | None = self._keeper.ask(op="poll", pid=self.pid)["code"]
        return code

    def written(self) -> str:
        """What it wrote since it was last started."""
        with open(self.log, "rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def require_alive(self) -> None:
        """Raise ServerDied with the end of the log when it has ended."""
        code = self.exit_code()
        if code is not None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            raise ServerDied(f"{self.argv[0]} {how}: {_last_words(self.written())}", self.written())

    def wait(self, seconds: float = 60) -> int:
        """Wait for its end and return the exit code; SandboxError when it still runs after that time."""
        deadline = time.monotonic() + seconds
        while (code := self.exit_code()) is None:
            if time.monotonic() > deadline:
                raise SandboxError(f"{self.argv[0]} (process {self.pid}) still runs after {seconds:g} s")
            time.sleep(POLL_SECONDS)
        return code

    def kill(self) -> None:
        """End it as kill -9 does, and wait until it is gone; nothing is removed. May be called on a dead one."""
        self._keeper.ask(op="kill", pid=self.pid)


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-600:] or "it wrote nothing"
