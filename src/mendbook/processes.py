# SPDX-License-Identifier: MIT
"""The processes of one run on this machine, found by the environment that they inherited: the only proof of an end.

Ansible-runner's own word is none: it kills ansible-playbook, and modules run on (measured: 4 of 4 restores).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
# An ssh master (ControlPersist) inherits the environment and outlives every run by design; it does no work of its own.
_NOT_WORKERS = frozenset({"ssh"})


@dataclass(frozen=True)
class Process:
    """A living process; ``started`` (clock ticks since boot) tells it from a later one with the same pid.

    ``parent`` changes when the parent dies, so it is no part of who a process is.
    """

    pid: int
    started: int
    name: str = field(compare=False)
    parent: int = field(compare=False)


def can_look() -> bool:
    """Whether this system shows its processes; without /proc nothing can be confirmed."""
    return (PROC / "self" / "environ").exists()


def of_run(run: str) -> list[Process]:
    """Every living process that was started inside this run, without ssh masters."""
    mark = f"MENDBOOK_RUN={run}".encode()
    return [process for process in _all() if process.name not in _NOT_WORKERS and mark in _environment(process.pid)]


def with_descendants(roots: Iterable[int]) -> list[Process]:
    """The processes of these pids and all below them: become hides its environment, not its parent."""
    everyone = list(_all())
    wanted = set(roots)
    size = -1
    while size != len(wanted):
        size = len(wanted)
        wanted |= {process.pid for process in everyone if process.parent in wanted}
    return [process for process in everyone if process.pid in wanted and process.name not in _NOT_WORKERS]


def alive(process: Process) -> bool:
    """Whether exactly this process still lives; a zombie does not."""
    now = read(process.pid)
    return now is not None and now.started == process.started


def terminate(pid: int) -> None:
    """Ask a process to end; one that is gone already is fine."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass


def _all() -> Iterator[Process]:
    for entry in os.scandir(PROC) if PROC.is_dir() else ():
        if entry.name.isdigit() and (process := read(int(entry.name))) is not None:
            yield process


def read(pid: int) -> Process | None:
    """The process of this pid, or None when there is none or it is a zombie."""
    try:
        line = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # pid (name) state ppid ...: the name may hold spaces and brackets
    head, _, tail = line.rpartition(")")
    fields = tail.split()
    if fields[0] in "ZX":
        return None
    return Process(pid=pid, parent=int(fields[1]), started=int(fields[19]), name=head.partition("(")[2])


def _environment(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
