# SPDX-License-Identifier: MIT
"""The small objects beside a backup that are about it: KEY.inuse.RUN.json and KEY.drill.RUN.json.

``inuse`` says that a run reads the backup now, ``drill`` that a drill has restored it and what came of that. Whoever
can write to the bucket can write a mark, so nothing in one makes anything be deleted: marks only hold backups back.

PREFIX.mendbook-lock.json is the lock of the backups under a prefix (s3_lock.py): no backup and no mark of one.
"""

from __future__ import annotations

import datetime
import re

IN_USE = "inuse"
DRILL = "drill"
# a run that reads renews its mark every hour; one that died leaves it behind
IN_USE_TIME = datetime.timedelta(hours=6)

_MARK = re.compile(r"(?P<key>.+)\.(?P<kind>inuse|drill)\.(?P<run>[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6})\.json", re.DOTALL)

_LOCK = ".mendbook-lock"
_LOCK_KEY = re.compile(re.escape(_LOCK) + r"(\.[^/]+)?\.json\Z")


def mark_key(key, kind, run):
    """Return the key of the mark that ``run`` puts beside the object ``key``; ``kind`` is IN_USE or DRILL."""
    return f"{key}.{kind}.{run}.json"


def parse_key(key):
    """Return (the object's key, kind, run) of a mark's key, or None when ``key`` is no mark."""
    found = _MARK.fullmatch(key)
    return found and (found["key"], found["kind"], found["run"])


def lock_key(prefix, owner=None):
    """Return the key of the lock of everything under ``prefix``, or of ``owner``'s own share in it."""
    return "{}{}{}.json".format(prefix, _LOCK, "" if owner is None else f".{owner}")


def locked_prefix(key):
    """Return the prefix of which an object of this key is a lock, or a share in one; None when it is none."""
    found = _LOCK_KEY.search(key)
    return found and key[: found.start()]


def is_lock(key):
    """Whether an object of this key is a lock, of whatever prefix."""
    return locked_prefix(key) is not None


def users(entries, now):
    """Return {the object's key: run} of the marks among the listed ``entries`` that say that it is in use ``now``."""
    found = {}
    for entry in entries:
        parsed = parse_key(entry.key)
        in_force = entry.current and not entry.deleted and now - entry.last_modified < IN_USE_TIME
        if parsed and parsed[1] == IN_USE and in_force:
            found[parsed[0]] = parsed[2]
    return found
