# SPDX-License-Identifier: MIT
"""Files that are deleted and still take space, because a process has them open, and who that is."""

from __future__ import annotations

import heapq
import os
import re
import stat
import time

_GONE = " (deleted)"
# memory that the kernel shows as if it were a file
_NO_FILE = re.compile(r"/memfd:|/SYSV[0-9a-f]{8} |/dev/zero |/\[|anon_inode:|/dmabuf:|/i915 |/drm ")
_CONTAINER = re.compile(r"\b([0-9a-f]{64})\b")
_UNIT = re.compile(r"([^/]+\.(?:service|scope|socket|mount|slice))$")
_SNAPSHOT_SECONDS = 1
# files that are remembered so that one with many holders counts once; the largest are what matters
_MAX_FILES = 10_000
_MAX_HOLDERS = 5


def deleted_open(limit, proc="/proc"):
    """Yield what is deleted and open, again and again, the whole of it last.

    ``{bytes, by_device: {st_dev: bytes}, files, largest, processes, unseen_processes, is_complete}``; the largest files
    are ``{path, bytes, device, holders}``, a holder is ``{pid, fd, command, user_id, unit, container}``. Command lines
    are not read: they may hold secrets.
    """
    found, unseen, seen = {}, 0, 0
    next_snapshot = time.monotonic() + _SNAPSHOT_SECONDS
    for pid in filter(str.isdigit, os.listdir(proc)):
        try:
            _look_at(f"{proc}/{pid}", found)
            seen += 1
        except PermissionError:
            unseen += 1
        except (FileNotFoundError, ProcessLookupError):
            # it has ended meanwhile
            continue
        if time.monotonic() > next_snapshot:
            yield _facts(found, seen, unseen, limit, is_complete=False)
            next_snapshot = time.monotonic() + _SNAPSHOT_SECONDS
    yield _facts(found, seen, unseen, limit, is_complete=True)


def _look_at(folder, found):
    # a program that was replaced while it runs holds its old file, too
    links = [("exe", f"{folder}/exe")]
    links += [(name, f"{folder}/fd/{name}") for name in os.listdir(f"{folder}/fd")]
    for name, link in links:
        try:
            path = os.readlink(link)
            if not path.endswith(_GONE) or _NO_FILE.match(path):
                continue
            facts = os.stat(link)
        except OSError:
            # closed meanwhile; a process without a program is one of the kernel's
            continue
        # a file may be called so, and one with another name left takes its space by right
        if facts.st_nlink or not stat.S_ISREG(facts.st_mode):
            continue
        key = facts.st_dev, facts.st_ino
        if key not in found and len(found) >= _MAX_FILES:
            del found[min(found, key=lambda one: found[one]["bytes"])]
        size = facts.st_blocks * 512
        one = found.setdefault(key, {"path": path[: -len(_GONE)], "bytes": size, "device": facts.st_dev, "holders": []})
        pid = int(folder.rpartition("/")[2])
        if len(one["holders"]) < _MAX_HOLDERS and all(holder["pid"] != pid for holder in one["holders"]):
            one["holders"].append({"pid": pid, "fd": name, **_process(folder)})


def _process(folder):
    try:
        user_id = os.stat(folder).st_uid
        with open(f"{folder}/comm", encoding="utf-8", errors="surrogateescape") as file:
            command = file.read().rstrip("\n")
        with open(f"{folder}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            return {"command": command, "user_id": user_id, **home_of(file.read())}
    except OSError:
        return {"command": "", "user_id": None, "unit": None, "container": None}


def home_of(cgroup):
    """Return the unit of systemd and the id of the container that the text of a /proc/PID/cgroup names; pure."""
    paths = [line.split(":", 2)[2] for line in cgroup.splitlines() if line.count(":") >= 2]
    container = next((found.group(1) for found in map(_CONTAINER.search, paths) if found), None)
    unit = next((found.group(1) for found in map(_UNIT.search, paths) if found), None)
    return {"unit": unit, "container": container}


def _facts(found, seen, unseen, limit, is_complete):
    by_device = {}
    for one in found.values():
        by_device[one["device"]] = by_device.get(one["device"], 0) + one["bytes"]
    return {
        "by_device": by_device,
        "bytes": sum(one["bytes"] for one in found.values()),
        "files": len(found),
        "largest": heapq.nlargest(limit, found.values(), key=lambda one: one["bytes"]),
        "processes": seen,
        "unseen_processes": unseen,
        "is_complete": is_complete,
    }
