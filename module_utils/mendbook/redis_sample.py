# SPDX-License-Identifier: MIT
"""Which keys take the memory: a sample of each master, by what the keys' names begin with."""

from __future__ import annotations

import time

import redis

from .redis_kinds import prefix_of
from .redis_scan import ask_all, scan

_AT_ONCE = 64
# more elements are not looked at in a collection: counting all of a large one would hold the server up
_ELEMENTS = 5


class Sample:
    """What was seen of one database of one server: ``prefixes`` as {prefix: [keys, bytes, largest]}.

    ``seen`` of its ``keys`` were looked at, also those whose size the user may not know; ``whole`` tells that these
    were all.
    """

    def __init__(self, db, keys):
        self.db = db
        self.keys = keys
        self.seen = 0
        self.whole = False
        self.prefixes = {}

    def add(self, key, size):
        found = self.prefixes.setdefault(prefix_of(key), [0, 0, 0])
        found[0] += 1
        found[1] += size
        found[2] = max(found[2], size)


def take(connection, db, keys, most, seconds):
    """Look at up to ``most`` of the ``keys`` keys of the database that is selected, for so long at most.

    SCAN goes through a hash table, so what comes first is as good as drawn by lot. Errors of the driver leave it.
    """
    sample, denied = Sample(db, keys), None
    deadline = time.monotonic() + seconds
    for cursor, names in scan(connection):
        for start in range(0, len(names), _AT_ONCE):
            denied = _weigh(connection, names[start : start + _AT_ONCE], sample) or denied
        sample.whole = cursor == 0
        if sample.seen >= most or time.monotonic() > deadline:
            break
    if denied is not None and not sample.prefixes:
        raise denied
    return sample


def _weigh(connection, names, sample):
    """Add these keys to the sample; return the last refusal, None without one."""
    denied = None
    sizes = ask_all(connection, [("MEMORY", "USAGE", name, "SAMPLES", _ELEMENTS) for name in names])
    for name, size in zip(names, sizes):
        if isinstance(size, redis.RedisError):
            denied = size
        # a key that is gone meanwhile has no size
        elif size is not None:
            sample.add(name, size)
    sample.seen += len(names)
    return denied


def merged(samples, limit):
    """Return the largest prefixes of all samples, extrapolated: [{prefix, db, keys, bytes, share, largest_bytes}].

    ``share`` is of the bytes of all keys. What only some of the keys tell is an estimate; `coverage` says of how many.
    """
    whole, total = {}, 0
    for sample in samples:
        factor = 1 if sample.whole or not sample.seen else sample.keys / sample.seen
        for prefix, (keys, size, largest) in sample.prefixes.items():
            found = whole.setdefault((sample.db, prefix), [0, 0, 0])
            found[0] += keys * factor
            found[1] += size * factor
            found[2] = max(found[2], largest)
            total += size * factor
    ranked = sorted(whole.items(), key=lambda item: -item[1][1])[:limit]
    return [
        {
            "prefix": prefix,
            "db": db,
            "keys": round(keys),
            "bytes": round(size),
            "share": round(size / total, 4) if total else 0.0,
            "largest_bytes": largest,
        }
        for (db, prefix), (keys, size, largest) in ranked
    ]


def coverage(samples):
    """Return how many keys were looked at, of how many, and whether that was all: ``{seen, keys, whole}``."""
    return {
        "seen": sum(sample.seen for sample in samples),
        "keys": sum(sample.keys for sample in samples),
        "whole": all(sample.whole for sample in samples),
    }
