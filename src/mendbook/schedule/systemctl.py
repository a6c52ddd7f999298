# SPDX-License-Identifier: MIT
"""The running systemd, told of units that came, changed or went; where none runs, the commands to say to it."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from mendbook.errors import MendError

# sd_booted(3): systemd is this machine's init
_BOOTED = Path("/run/systemd/system")
_SECONDS = 60


def after_install(unit: str, user: bool) -> list[list[str]]:
    """The timer is loaded, wanted at every boot, and counts from now on."""
    return _commands(user, ["daemon-reload"], ["enable", f"{unit}.timer"], ["restart", f"{unit}.timer"])


def before_removal(unit: str, user: bool) -> list[list[str]]:
    return _commands(user, ["disable", "--now", f"{unit}.timer"])


def after_removal(user: bool) -> list[list[str]]:
    return _commands(user, ["daemon-reload"])


def tell(commands: list[list[str]]) -> list[str]:
    """Run the commands where systemd runs; the lines to type where it does not."""
    if not _BOOTED.is_dir():
        return [shlex.join(command) for command in commands]
    for command in commands:
        done = subprocess.run(  # noqa: S603 - systemctl with names of our own
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode != 0:
            raise MendError(f"the files are in place, but {shlex.join(command)} failed: {done.stderr.strip()}")
    return []


def _commands(user: bool, *words: list[str]) -> list[list[str]]:
    program = ["systemctl", "--user"] if user else ["systemctl"]
    return [[*program, *each] for each in words]
