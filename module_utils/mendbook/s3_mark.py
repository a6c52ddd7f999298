# SPDX-License-Identifier: MIT
"""The small objects beside a backup that are about it: KEY.inuse.RUN.json and KEY.drill.RUN.json.

``inuse`` says that a run reads the backup now, ``drill`` that a drill has restored it and what came of that. Whoever
can write to the bucket can write a mark, so nothing in one makes anything be deleted: marks only hold backups back.
"""

from __future__ import annotations

import re

IN_USE = "inuse"
DRILL = "drill"

_MARK = re.compile(r"(?P<key>.+)\.(?P<kind>inuse|drill)\.(?P<run>[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6})\.json", re.DOTALL)


def mark_key(key, kind, run):
    """Return the key of the mark that ``run`` puts beside the object ``key``; ``kind`` is IN_USE or DRILL."""
    return f"{key}.{kind}.{run}.json"


def parse_key(key):
    """Return (the object's key, kind, run) of a mark's key, or None when ``key`` is no mark."""
    found = _MARK.fullmatch(key)
    return found and (found["key"], found["kind"], found["run"])
