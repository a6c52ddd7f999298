# SPDX-License-Identifier: MIT
"""How far a long change is, as JSON lines in the file that the receipt names; the wrapper draws them."""

from __future__ import annotations

import json
import os
import time

SECONDS_BETWEEN = 0.2


class Progress:
    """Appends to the receipt's progress file; does nothing without one, and never fails the work that it reports on.

    The gate makes the file. It is not created here: on another machine than the control node the path means nothing.
    """

    def __init__(self, receipt, clock=time.monotonic):
        self._clock = clock
        self._phase = None
        self._written = None
        self._file = None
        path = (receipt or {}).get("progress")
        if path:
            try:
                self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                pass

    def start(self):
        """The first line: which process does the work."""
        self._write({"pid": os.getpid(), "phase": "start"})

    def update(self, phase, done, total=None, unit=None):
        """``done`` of ``total`` units in this phase; at most five lines a second, a new phase and the end always."""
        if self._file is None:
            return
        now = self._clock()
        finished = total is not None and done >= total
        if phase == self._phase and not finished and now - self._written < SECONDS_BETWEEN:
            return
        self._phase, self._written = phase, now
        self._write({"done": done, "total": total, "unit": unit, "phase": phase})

    def _write(self, line):
        if self._file is None:
            return
        try:
            os.write(self._file, json.dumps(line).encode("ascii") + b"\n")
        except OSError:
            self.close()

    def close(self):
        """Write no more; a second call does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
