# SPDX-License-Identifier: MIT
"""One process measured from its start to its exit."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass
class Run:
    """One process: seconds, seconds of CPU with its children, bytes."""

    wall: float
    cpu: float
    rss: int


def measure(command: Sequence[str], env: Mapping[str, str] | None = None) -> tuple[bytes, Run]:
    """What the command printed, and what it took; SystemExit with its last words when it fails.

    The peak memory is that of the largest single process.
    """
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env)  # noqa: S603
        _pid, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = output.read()
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}: {printed[-2000:].decode(errors='replace')}")
    return printed, Run(round(wall, 3), round(usage.ru_utime + usage.ru_stime, 3), usage.ru_maxrss * 1024)
