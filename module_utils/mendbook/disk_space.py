# SPDX-License-Identifier: MIT
"""How full each file system is, asked without ever waiting for one that does not answer."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial

from .disk_ask import SILENT, ask
from .disk_mounts import file_systems, is_below, is_read_only, kind, may_hang, mount_of, upper_of, visible
from .plan_text import clean

# as many other mount points as a person reads; a host of containers has thousands
MAX_POINTS = 10
MAX_NAME = 4096
# what is said of a place that this user may not enter, or that is none any more: no disk is broken for that
_NOT_FOR_US = (errno.EACCES, errno.EPERM, errno.ENOENT)


def look(mounts, timeout_seconds):
    """Return the facts (see `row`) of each file system among these mounts, the fullest first."""
    seen = visible(mounts)
    groups = file_systems(seen)
    firsts = [group[0] for group in groups]
    answers = numbers([(one.point, may_hang(one, seen)) for one in firsts], timeout_seconds)
    rows = [row(group, answers.get(group[0].point), groups) for group in groups]
    return sorted(folded(rows), key=lambda one: (-(one["used_share"] or 0), one["mount"]))


def numbers(points, timeout_seconds):
    """Ask each mount point, given as (path, whether it may hang), for its numbers.

    Returns {path: [...], or what is wrong: an errno, or in words that nobody has answered}.

    Those that may hang are asked side by side, each in a child of its own, the others one after the other in one.
    """
    works = {path: [path] for path, hangs in points if hangs}
    works[None] = [path for path, hangs in points if not hangs]
    found = {}
    while works:
        left = {}
        for name, answer in ask({name: partial(_each, paths) for name, paths in works.items()}, timeout_seconds):
            if answer is not SILENT:
                found[answer[0]] = answer[1]
                continue
            # the first without an answer is the one that hangs, and the rest is asked again
            open_ones = [path for path in works[name] if path not in found]
            for path in open_ones[:1]:
                found[path] = f"no answer within {timeout_seconds} s"
            if open_ones[1:]:
                left[name] = open_ones[1:]
        works = left
    return found


def _each(paths):
    for path in paths:
        yield path, _numbers(path)


def _numbers(path):
    try:
        one = os.statvfs(path)
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        return error.errno
    return [one.f_frsize, one.f_blocks, one.f_bfree, one.f_bavail, one.f_files, one.f_ffree, is_folder]


def row(group, answer, groups):
    """Return a file system's facts: sizes in bytes, None for what is not known; ``problem`` says why; pure.

    ``used_share`` is what df calls Use%: what is reserved for root does not count as free. ``no_answer`` is whether it
    should have answered and did not, or with an error.
    """
    first = group[0]
    problem = os.strerror(answer) if isinstance(answer, int) else answer if isinstance(answer, str) else None
    facts = {
        "mount": clean(first.point, MAX_NAME),
        "kind": kind(first),
        "type": clean(first.type),
        "source": clean(first.source, MAX_NAME),
        "read_only": is_read_only(first),
        "also_at": [clean(mount.point, MAX_NAME) for mount in group[1 : 1 + MAX_POINTS]],
        "mounts": len(group),
        "upper_on": _upper_on(first, groups),
        "problem": problem,
        "no_answer": problem is not None and answer not in _NOT_FOR_US,
        "path": first.point,
    }
    unit, blocks, free, available, inodes, inodes_free, is_folder = (
        answer if isinstance(answer, list) else [0, 0, 0, 0, 0, 0, True]
    )
    used = blocks - free
    known = blocks > 0
    return {
        **facts,
        "is_folder": is_folder,
        "size_bytes": blocks * unit if known else None,
        "used_bytes": used * unit if known else None,
        "free_bytes": available * unit if known else None,
        "reserved_bytes": (free - available) * unit if known else None,
        "used_share": round(used / (used + available), 4) if used + available > 0 else (1.0 if known else None),
        # a file system without a fixed number of them (btrfs) says 0
        "inodes": inodes or None,
        "inodes_free": inodes_free if inodes else None,
        "inodes_used_share": round((inodes - inodes_free) / inodes, 4) if inodes else None,
    }


def _upper_on(overlay, groups):
    """The mount that stands for the file system that an overlay writes to, where that can be told from here."""
    others = {mount: group[0] for group in groups for mount in group if group[0].type != "overlay"}
    upper = upper_of(overlay)
    # in a container the path is the host's, and leads nowhere: its own root is an overlay
    if not upper or not any(mount.point == "/" for mount in others):
        return None
    return clean(others[mount_of(upper, others)].point, MAX_NAME)


def folded(rows):
    """Return those that stand for a place of their own; pure.

    Left out are what has no space (proc, sysfs), overlays whose writes go to a file system that is in the list, and, in
    a container, the file system behind single files such as /etc/hosts when the container's own overlay lies on it.
    """
    rows = [one for one in rows if _is_place(one)]
    listed = {one["mount"] for one in rows if one["kind"] != "overlay"}
    own = {_totals(one) for one in rows if one["kind"] == "overlay" and one["upper_on"] not in listed}
    overlays = {}
    for one in rows:
        if one["kind"] == "overlay":
            overlays.setdefault(one["upper_on"], []).append(one)
    kept = []
    for one in rows:
        if one["kind"] == "overlay" and one["upper_on"] in listed:
            continue
        if not one["is_folder"] and _totals(one) in own:
            continue
        kept.append({**one, "overlays": len(overlays.get(one["mount"], ()))})
    return kept


def _is_place(one):
    """Whether somebody's data may lie there; what a container mounts over parts of /proc and /sys is only a screen."""
    if any(is_below(one["path"], folder) for folder in ("/proc", "/sys")):
        return False
    return one["size_bytes"] is not None or bool(one["problem"] and _is_real(one))


def _is_real(one):
    # what an ordinary user may not look at is, without a device or a server behind it, no place for data
    return one["kind"] == "remote" or one["source"].startswith("/")


def _totals(one):
    return one["size_bytes"], one["inodes"]
