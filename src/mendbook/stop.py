# SPDX-License-Identifier: MIT
"""Stops a run so that its end is known: TERM to ansible-playbook, wait, look what is left, and say only what was seen.

Nothing is killed here. A module that takes TERM cleans up and gives its lock back; one that does not may stand in the
middle of a swap, holds the lock of its target, and is better finished or looked at than shot.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from mendbook import processes

GRACE_SECONDS = 15.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """The wish to stop, and how far it has come. ``why`` is None, "timeout" or the name of a signal."""

    def __init__(self, run: str, timeout_seconds: float | None, tell: Callable[[str, float], None]) -> None:
        self.why: str | None = None
        self._run = run
        self._tell = tell
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._told_at: float | None = None
        self._seen: set[processes.Process] = set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While inside, Ctrl-C, TERM and a hang-up ask for a stop, every further one changes nothing.

        Signals reach the main thread only; in another one a run ends by itself or by its timeout.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def step(self, modules: set[processes.Process], main_pid: int | None) -> bool:
        """Called often. Sends TERM when a stop is wanted; True when ansible-playbook itself did not end in time."""
        if self.why is None and self._deadline is not None and time.monotonic() > self._deadline:
            self.why = "timeout"
        if self.why is None:
            return False
        if self._told_at is None:
            roots = {process.pid for process in processes.of_run(self._run)} | ({main_pid} if main_pid else set())
            if not roots:
                # not started yet: the next call finds it
                return False
            self._remember(roots, modules)
            self._told_at = time.monotonic()
            self._tell(self.why, GRACE_SECONDS)
            for pid in self._mains(roots, main_pid):
                processes.terminate(pid)
        return time.monotonic() - self._told_at > GRACE_SECONDS

    def survivors(self, modules: set[processes.Process]) -> list[processes.Process]:
        """What is left of the run when its time to end is over; empty as soon as nothing is."""
        self._remember({process.pid for process in processes.of_run(self._run)}, modules)
        until = (self._told_at or time.monotonic()) + GRACE_SECONDS
        while left := self._living():
            if time.monotonic() > until:
                return left
            time.sleep(0.05)
        return []

    def _living(self) -> list[processes.Process]:
        found = {process for process in self._seen if processes.alive(process)} | set(processes.of_run(self._run))
        return sorted(found, key=lambda process: process.pid)

    def _remember(self, roots: set[int], modules: set[processes.Process]) -> None:
        self._seen |= modules | set(processes.with_descendants(roots))

    def _mains(self, roots: set[int], main_pid: int | None) -> list[int]:
        """ansible-playbook itself: it tells its workers, and they tell the modules."""
        if main_pid:
            return [main_pid]
        return [process.pid for process in self._seen if process.pid in roots and process.parent not in roots]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.why = self.why or signal.Signals(number).name
