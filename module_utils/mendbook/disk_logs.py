# SPDX-License-Identifier: MIT
"""Log files that nobody rotates, containers' logs and the journal, in the places where they usually lie."""

from __future__ import annotations

import heapq
import os
import re
import stat
import time

# Debian, Red Hat and most programs; Docker's and containerd's; systemd's, of the disk and of memory
PLACES = {
    "/var/log": "log",
    "/var/lib/docker/containers": "container",
    "/var/log/pods": "container",
    "/var/log/journal": "journal",
    "/run/log/journal": "journal",
}
_PACKED = r"\.(gz|bz2|xz|zst|lz4|lzo|Z|zip)"
_DATED = r"[-._](\d{8}|\d{4}-\d\d-\d\d)([-_T]\d+Z?)?"
_ROTATED = re.compile(rf"(\.\d+|{_DATED}|\.old)({_PACKED})?$|{_PACKED}$")
_SNAPSHOT_SECONDS = 1


def logs(places, seconds, limit):
    """Yield what lies in these places ({path: log, container or journal}), again and again, the whole of it last.

    ``{places: [{path, kind, bytes, files}], largest: [{path, kind, bytes, is_rotated}], unseen_folders, is_complete}``;
    ``is_rotated`` says whether an older part lies beside a log. Stays on each place's device and follows no link.
    """
    now = time.monotonic()
    until, next_snapshot = now + seconds, now + _SNAPSHOT_SECONDS
    errors, found, largest = [], [], []

    def facts(is_complete):
        ranked = [
            {"path": path, "kind": kind, "bytes": size, "is_rotated": is_rotated}
            for size, path, kind, is_rotated in sorted(largest, reverse=True)
        ]
        return {"places": found, "largest": ranked, "unseen_folders": len(errors), "is_complete": is_complete}

    for place, kind in places.items():
        one = {"path": place, "kind": kind, "bytes": 0, "files": 0}
        for folder, sizes in _folders(place, places, errors):
            one["bytes"] += sum(sizes.values())
            one["files"] += len(sizes)
            if kind != "journal":
                for item in _live(folder, kind, sizes):
                    heapq.heappush(largest, item)
                    if len(largest) > limit:
                        heapq.heappop(largest)
            if time.monotonic() > next_snapshot:
                next_snapshot = time.monotonic() + _SNAPSHOT_SECONDS
                yield facts(is_complete=False)
            if time.monotonic() > until:
                yield facts(is_complete=False)
                return
        if one["files"]:
            found.append(one)
    yield facts(is_complete=not errors)


def _folders(place, places, errors):
    """Yield (path, {name: allocated bytes}) for each folder of a place that is no place of its own."""
    try:
        start = os.stat(place)
    except OSError as error:
        errors.extend([error] * (not isinstance(error, FileNotFoundError)))
        return
    for path, below, names, fd in os.fwalk(os.path.realpath(place), onerror=errors.append):
        if os.fstat(fd).st_dev != start.st_dev:
            below.clear()
            continue
        below[:] = [name for name in below if os.path.join(path, name) not in places]
        sizes = {}
        for name in names:
            try:
                facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(facts.st_mode):
                sizes[name] = facts.st_blocks * 512
        yield path, sizes


def _live(folder, kind, sizes):
    """The logs of a folder that are written to, and for each whether parts of it were put aside; pure."""
    aside = [name for name in sizes if _ROTATED.search(name)]
    for name, size in sizes.items():
        if not _ROTATED.search(name):
            stem = name[:-4] if name.endswith(".log") else name
            is_rotated = any(other.startswith((f"{name}.", f"{name}-", f"{stem}-", f"{stem}.")) for other in aside)
            yield size, os.path.join(folder, name), kind, is_rotated
