# SPDX-License-Identifier: MIT
"""Our end of the keeper, and the servers that it holds for us."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mendbook.sandbox import keeper as keeper_file
from mendbook.sandbox.errors import SandboxError, ServerDied
from mendbook.sandbox.folder import Folder

POLL_SECONDS = 0.02
# a server gets the machine's locale and paths, and nothing that configures it behind our back (AWS_*, WEED_*, LD_*)
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")


class Keeper:
    """The keeper process of one sandbox; safe to use from several threads."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        with open(folder.path / "keeper.log", "ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
                [sys.executable, "-I", "-S", keeper_file.__file__, str(folder.path), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",
                start_new_session=True,
                pass_fds=(folder.lock_fd,),
            )
        self.pid = self._process.pid

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request and its answer; SandboxError when the keeper is gone or could not do it."""
        if self._process.stdin is None or self._process.stdout is None:
            raise SandboxError("the keeper has no pipes")
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except (OSError, ValueError):
                line = b""
        if not line:
            raise SandboxError(f"the keeper of the sandbox in {self.folder.path} is gone, and its servers with it")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SandboxError(answer["error"])
        return answer

    def detach(self, owner: int | None) -> None:
        """Let the sandbox outlive this process; with `owner`, until that process dies."""
        self.ask(op="detach", owner=owner)
        self._close()

    def stop(self) -> None:
        """Kill the servers and remove the folder; returns when both are gone. May be called again."""
        if self._process.poll() is None:
            with contextlib.suppress(SandboxError):
                self.ask(op="stop")
            self._close()
            self._process.wait()

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class Process:
    """One server: how it was started, and so how it is started again on the same data and port."""

    def __init__(self, keeper: Keeper, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path) -> None:
        self._keeper = keeper
        self.argv = list(argv)
        self.log = log
        self._cwd = cwd
        self._env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # weed reads ~/.seaweedfs and writes logs to TMPDIR
        self._env |= {"HOME": str(cwd), "TMPDIR": str(cwd), **env}
        self.pid = 0
        self.start()

    def start(self) -> None:
        """Start it (again); what it writes is added to the log."""
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        answer = self._keeper.ask(op="spawn", argv=self.argv, env=self._env, cwd=str(self._cwd), log=str(self.log))
        self.pid = answer["pid"]

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

    def wait(self, seconds: float = 30) -> int:
        """Wait for its end and return the exit code; SandboxError when it still runs after that time."""
        deadline = time.monotonic() + seconds
        while (code := self.exit_code()) is None:
            if time.monotonic() > deadline:
                raise SandboxError(f"{self.argv[0]} (process {self.pid}) still runs after {seconds:g} s")
            time.sleep(POLL_SECONDS)
        return code

    def kill(self) -> None:
        """kill -9, and wait until it is gone; nothing is removed. May be called on a dead one."""
        if self.exit_code() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.wait()


def _last_words(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-600:] or "it wrote nothing"
