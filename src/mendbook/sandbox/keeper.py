# SPDX-License-Identifier: MIT
"""The keeper: a small process that holds the servers of one sandbox and outlives whoever started them.

It runs as a plain file (``python -I -S keeper.py``), so that it starts in a few milliseconds, and therefore imports
nothing but the standard library. Its starter talks to it over stdin and stdout, later commands over the socket in the
folder: one JSON object per line, one answer for each.

    {"op": "spawn", "argv": [...], "env": {...}, "cwd": "...", "log": "...", "stop": 9}  ->  {"pid": 1234}
    {"op": "poll", "pid": 1234}       ->  {"code": null or the exit code, negative for a signal}
    {"op": "kill", "pid": 1234}       ->  {}: it is dead and collected
    {"op": "detach", "owner": null}   ->  {}: stdin may close now; `owner` is a process id to follow instead, or null
    {"op": "stop"}                    ->  {}: everything is killed and removed, the keeper ends

The end of stdin, the death of the owner, TERM, INT and HUP do what "stop" does. Environments carry secrets, so they
come through the pipe and not through an argument list. `stop` is the signal that ends the server as abruptly as KILL
and lets it take its shared memory away; what does not obey it is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MARKER = ".mendbook-sandbox"
RECORD = "sandbox.json"
SOCKET = "keeper.sock"
PR_SET_PDEATHSIG = 1
# how often an owner is looked at where the kernel cannot tell (no pidfd)
OWNER_POLL_SECONDS = 0.5
# PostgreSQL kills by itself, after 5 s, what is left of it on QUIT
OBEY_SECONDS = 8.0


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a sandbox folder, empty when there is none or it cannot be read."""
    try:
        record = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def clear(folder: Path) -> None:
    """Remove what the record calls ours, then the marker, then the folder if we made it.

    A file that somebody else put into the folder stays, and so does the folder then. Outside the folder only sockets
    are removed: weed binds some in /tmp, whatever TMPDIR says.
    """
    record = read_record(folder)
    for name in record.get("owned", []):
        path = Path(name)
        with contextlib.suppress(OSError):
            if path.parent != folder:
                if stat.S_ISSOCK(path.lstat().st_mode):
                    path.unlink()
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
    for left in (SOCKET, RECORD, MARKER):
        (folder / left).unlink(missing_ok=True)
    if record.get("created"):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _die_with_parent(stop: int) -> Callable[[], None] | None:
    """A hook for the child between fork and exec: it gets `stop` with the keeper's death, even by kill -9 (Linux)."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    keeper = os.getpid()

    def ask_the_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, stop)
        if os.getppid() != keeper:
            os._exit(1)

    return ask_the_kernel


class _Conversation:
    """Lines in and lines out with one client."""

    def __init__(self, reader: int, writer: int) -> None:
        self.reader = reader
        self.writer = writer
        self.rest = b""

    def read(self) -> list[bytes] | None:
        """The complete lines that have arrived; None at the end."""
        try:
            chunk = os.read(self.reader, 1 << 16)
        except OSError:
            return None
        if not chunk:
            return None
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        return lines

    def write(self, answer: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            os.write(self.writer, json.dumps(answer).encode() + b"\n")


def listen(folder: Path) -> socket.socket:
    """A socket in the folder for commands that come after the starter has gone."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(folder) as path:
        listener.bind(path)
    listener.listen()
    return listener


@contextlib.contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """A path of the socket in `folder` for bind and connect, which take 107 bytes at most."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET}" if Path("/proc/self/fd").exists() else str(folder / SOCKET)
    finally:
        os.close(fd)


class _Keeper:
    def __init__(self, folder: Path, owner: int | None) -> None:
        self.folder = folder
        self.owner: int | None = None
        self.owner_fd: int | None = None
        self.children: dict[int, subprocess.Popen[bytes]] = {}
        self.stops: dict[int, int] = {}
        self.over = False
        self.gone = False
        self.selector = selectors.DefaultSelector()
        self.starter = _Conversation(0, 1)
        self.selector.register(0, selectors.EVENT_READ, lambda: self.serve_starter(self.starter))
        self.listener = listen(folder)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        self.follow(owner)

    def follow(self, owner: int | None) -> None:
        """End together with the process `owner` (None: with nobody)."""
        if self.owner_fd is not None:
            self.selector.unregister(self.owner_fd)
            os.close(self.owner_fd)
            self.owner_fd = None
        self.owner = owner
        if owner is None:
            return
        try:
            self.owner_fd = os.pidfd_open(owner)
            self.selector.register(self.owner_fd, selectors.EVENT_READ, self.end)
        except ProcessLookupError:
            self.over = True
        except (AttributeError, OSError):
            self.owner_fd = None  # an old kernel, or not Linux: loop() polls

    def end(self) -> None:
        self.over = True

    def serve_starter(self, starter: _Conversation) -> None:
        if not self.serve(starter):
            self.over = True

    def accept(self) -> None:
        connection, _ = self.listener.accept()
        conversation = _Conversation(connection.fileno(), connection.fileno())

        def serve_visitor() -> None:
            if not self.serve(conversation):
                self.selector.unregister(connection)
                connection.close()

        self.selector.register(connection, selectors.EVENT_READ, serve_visitor)

    def serve(self, conversation: _Conversation) -> bool:
        """Answer what has arrived; False when the other side is gone."""
        requests = conversation.read()
        for line in requests or []:
            try:
                answer = self.answer(json.loads(line))
            except (OSError, ValueError, KeyError) as error:
                answer = {"error": str(error)}
            conversation.write(answer)
        return requests is not None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] == "spawn":
            return {"pid": self.spawn(request)}
        if request["op"] == "poll":
            return {"code": self.children[request["pid"]].poll()}
        if request["op"] == "kill":
            self.kill(self.children[request["pid"]])
            return {}
        if request["op"] == "detach":
            self.selector.unregister(0)
            self.follow(request["owner"])
            return {}
        if request["op"] == "stop":
            self.shut_down()
            return {}
        raise ValueError(f"unknown request {request['op']}")

    def spawn(self, request: dict[str, Any]) -> int:
        with open(request["log"], "ab") as log:
            child = subprocess.Popen(  # noqa: S603 - the argument list comes from our own parent
                request["argv"],
                env=request["env"],
                cwd=request["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(request["stop"]),
            )
        self.children[child.pid], self.stops[child.pid] = child, request["stop"]
        return child.pid

    def kill(self, child: subprocess.Popen[bytes]) -> None:
        if child.poll() is not None:
            return
        for number in (self.stops[child.pid], signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(OBEY_SECONDS)
                return

    def shut_down(self) -> None:
        """Kill every server and remove the folder; abruptly, because nothing here is worth a flush.

        On TERM weed takes 4 s and a mongod in a replica set waits for a new primary.
        """
        for child in self.children.values():
            self.kill(child)
        clear(self.folder)
        self.over = self.gone = True

    def loop(self) -> None:
        while not self.over:
            polled = self.owner is not None and self.owner_fd is None
            for key, _ in self.selector.select(OWNER_POLL_SECONDS if polled else None):
                key.data()
            if polled and self.owner is not None and not is_running(self.owner):
                self.over = True
        # once only: the same folder may belong to a new sandbox by now
        if not self.gone:
            self.shut_down()

    def reap(self, wake_fd: int) -> None:
        """Collect dead servers, so that their ids are free and a look at the process table tells the truth."""
        os.read(wake_fd, 64)
        for child in self.children.values():
            child.poll()


def is_running(pid: int) -> bool:
    """Whether a process with this id exists, ours or not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main(arguments: list[str]) -> None:
    """Keep the sandbox in folder `arguments[0]` for the process `arguments[1]`."""
    os.umask(0o077)
    keeper = _Keeper(Path(arguments[0]), int(arguments[1]))
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    signal.set_wakeup_fd(wake_writer)
    keeper.selector.register(wake_reader, selectors.EVENT_READ, lambda: keeper.reap(wake_reader))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ending, lambda *_: keeper.end())
    keeper.loop()


if __name__ == "__main__":
    main(sys.argv[1:])
