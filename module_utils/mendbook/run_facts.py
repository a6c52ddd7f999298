# SPDX-License-Identifier: MIT
"""Which run of ansible this is, what it runs, and who started it; asked on the control node only."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
import subprocess
import sys
import time
from datetime import datetime, timezone

from ansible.module_utils.mendbook.journal import new_run

RUN_VARIABLE = "MENDBOOK_RUN"
PROCEDURE_VARIABLE = "MENDBOOK_PROCEDURE"


def name_run():
    """Name this run unless it has a name; in the main process, before ansible forks its workers."""
    return os.environ.setdefault(RUN_VARIABLE, new_run())


def run_id(main_pid=None):
    """Return the run's name; without one it is made of the main process's start, the same in all of its workers."""
    named = os.environ.get(RUN_VARIABLE)
    if named:
        return named
    main_pid = main_pid or os.getppid()
    started = _start_of(main_pid)
    shown = datetime.fromtimestamp(started, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return f"{shown}-{hashlib.sha256(f'{main_pid} {started}'.encode()).hexdigest()[:6]}"


def _start_of(pid):
    """Seconds since 1970 at which a process started."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # the second field, in parentheses, is a name that may hold anything
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open("/proc/stat", encoding="ascii") as file:
            boot = next(int(line.split()[1]) for line in file if line.startswith("btime "))
        return boot + ticks // os.sysconf("SC_CLK_TCK")
    except OSError:
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        text = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}
        ).stdout
        return int(time.mktime(time.strptime(" ".join(text.split()), "%a %b %d %H:%M:%S %Y")))


def procedure(arguments):
    """Return what is being run: the name of the playbook, or ``ad hoc``; ``arguments`` are ansible's own (CLIARGS)."""
    named = os.environ.get(PROCEDURE_VARIABLE)
    if named:
        return named
    if arguments.get("module_name"):
        return "ad hoc"
    playbooks = [os.path.splitext(os.path.basename(path))[0] for path in arguments.get("args") or ()]
    return "+".join(playbooks) or None


def who(pid=None):
    """Return who started the run, where, and with what program."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return {
        "user": user,
        "sudo_user": os.environ.get("SUDO_USER"),
        "host": socket.gethostname(),
        "pid": pid or os.getppid(),
        "via": os.environ.get("MENDBOOK_VIA") or os.path.basename(sys.argv[0]),
    }
