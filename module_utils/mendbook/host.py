# SPDX-License-Identifier: MIT
"""Which host or container this is, read from itself."""

from __future__ import annotations

import getpass
import os
import platform
import re

_MACHINE_ID = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_MOUNTS = "/proc/self/mountinfo"
# Docker, Podman, and whatever systemd knows of (nspawn, LXC)
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")


def target():
    """Return the ``target`` of a plan: kind (host or container), id, address and facts.

    The id is what a person confirms, so it is readable; what tells two machines of one name apart is `identity`, which
    belongs into the plan's. Facts: machine_id (None without one), boot_id, os, kernel, user.
    """
    return {
        "kind": "container" if _in_container() else "host",
        "id": f"host:{os.uname().nodename}",
        "address": None,
        "facts": {
            "machine_id": machine_id(),
            "boot_id": boot_id(),
            "os": _os_name(),
            "kernel": os.uname().release,
            "user": user(),
        },
    }


def identity():
    """Return what stays the same as long as this is the same machine: its id, or else this start of it.

    A container that replaces another one of its name has the same image and kernel, and another root file system.
    """
    own = machine_id() or f"boot:{boot_id()}"
    return f"{own} {_root_mount()}" if _in_container() else own


def machine_id():
    """Return the machine's id (32 hex digits); None where there is none, as in most containers."""
    for path in _MACHINE_ID:
        # "uninitialized" stands there before the first start
        if re.fullmatch("[0-9a-f]{32}", _line(path)):
            return _line(path)
    return None


def boot_id():
    """Return the id of this start of the machine, an empty text where the system tells none."""
    return _line(_BOOT_ID)


def user():
    """Return who is at work here: whoever called sudo, or else this process's user."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a uid without an entry, as in a container
        return str(os.getuid())


def _in_container():
    return any(map(os.path.exists, _CONTAINER_MARKS))


def _root_mount():
    """What is mounted on /, as text: file system, source and options, for an overlay with its upper folder."""
    with open(_MOUNTS, encoding="utf-8", errors="replace") as file:
        for line in file:
            mount, _, source = line.partition(" - ")
            folder, point = mount.split()[3:5]
            if point == "/":
                return f"root:{folder} {source.strip()}"
    return "root:"


def _os_name():
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as file:
            named = re.search(r'^PRETTY_NAME="?([^"\n]*)', file.read(), re.MULTILINE)
    except OSError:
        named = None
    return named.group(1) if named else platform.system()


def _line(path):
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""
