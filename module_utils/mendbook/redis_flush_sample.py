# SPDX-License-Identifier: MIT
"""What a flush would find in one database of one master: counted where it is small, estimated from a part elsewhere."""

from __future__ import annotations

import random
import time
from collections import Counter

import redis

from .redis_kinds import Recognizer, kind_of_value, prefix_of, shown
from .redis_scan import ask, ask_all, scan

# SCAN comes by in no order, so the first keys are as good as any
SAMPLE_KEYS = 20_000
# with fewer in the sample, a share of it says little: then every key is looked at
_ENOUGH = 200
_SECONDS = 20.0
_LOOKED_INTO = 300
_AT_ONCE = 60
_EXAMPLES = 3


class Sample:
    """``keys``: all keys of the database; ``count``: how many would go, ``kept`` how many stay by the keep-list.

    ``exact`` tells whether they were counted; else they come from ``examined`` keys. ``bytes`` is always an estimate,
    None where the server does not tell. ``kinds`` is {kind: {count, examples}} of what would go, ``prefixes`` counts
    by the beginning of the name, ``forever`` is the share of those looked into that never expire. ``cut_short``: time
    was over before every name that counts was looked at.
    """

    def __init__(self, address, database, keys):
        self.address = address
        self.database = database
        self.keys = keys
        self.count = self.kept = self.examined = 0
        self.exact = True
        self.cut_short = False
        self.bytes = None
        self.forever = None
        self.kinds = {}
        self.prefixes = Counter()

    @property
    def object(self):
        return f"{self.address}/{self.database}"


def sample(connection, address, database, selector):
    """Return the `Sample` of the database that ``connection`` has selected."""
    seen = Sample(address, database, ask(connection, "DBSIZE"))
    found, examined, complete = set(), set(), False
    for cursor, keys in scan(connection):
        examined.update(keys)
        found.update(key for key in keys if selector.matches(key))
        complete = cursor == 0
        if len(examined) >= SAMPLE_KEYS:
            break
    seen.examined = len(examined)
    scale = 1.0
    if not complete:
        if len(found) >= _ENOUGH:
            seen.exact = False
            scale = max(1.0, seen.keys / seen.examined)
        else:
            found = _all_that_match(connection, selector, seen)
    kept = {key for key in found if selector.kept is not None and selector.kept(key)}
    going = list(found - kept)
    seen.count, seen.kept = round(len(going) * scale), round(len(kept) * scale)
    seen.prefixes = Counter({name: round(n * scale) for name, n in Counter(map(prefix_of, going)).items()})
    if selector.at_once and not complete:
        _name_kinds_of_all(connection, seen)
    else:
        _name_kinds(seen, going, scale)
    _look_into(connection, seen, going, scale)
    return seen


def _all_that_match(connection, selector, seen):
    """Every key that matches; they are few."""
    found, until = set(), time.monotonic() + _SECONDS
    for pattern in selector.patterns:
        for _cursor, keys in scan(connection, pattern):
            found.update(keys)
            if time.monotonic() > until:
                seen.exact, seen.cut_short = False, True
                return found
    return found


def _name_kinds(seen, keys, scale, recognizer=None):
    recognizer = recognizer or Recognizer()
    if recognizer.any_in(keys):
        for key in keys:
            kind = recognizer.kind(key)
            if kind:
                _note(seen, kind, key, scale)


def _name_kinds_of_all(connection, seen):
    """Look at every name: FLUSHDB spares nothing, so a few sessions must not be missed by the sample."""
    recognizer, until = Recognizer(), time.monotonic() + _SECONDS
    for _cursor, keys in scan(connection):
        _name_kinds(seen, keys, 1, recognizer)
        if time.monotonic() > until:
            seen.cut_short = True
            return


def _note(seen, kind, key, count):
    entry = seen.kinds.setdefault(kind, {"count": 0, "examples": []})
    entry["count"] += count
    if len(entry["examples"]) < _EXAMPLES:
        entry["examples"].append(shown(key))


def _look_into(connection, seen, going, scale):
    """Ask what some of the keys are, when they expire and how large they are; what may not be asked stays unknown."""
    picked = random.sample(going, min(_LOOKED_INTO, len(going)))  # noqa: S311
    sizes, endless, known = [], 0, 0
    for start in range(0, len(picked), _AT_ONCE):
        keys = picked[start : start + _AT_ONCE]
        commands = [command for key in keys for command in (("TYPE", key), ("PTTL", key), ("MEMORY", "USAGE", key))]
        answers = ask_all(connection, commands)
        for number, key in enumerate(keys):
            type_name, ttl, size = answers[number * 3 : number * 3 + 3]
            if isinstance(size, int):
                sizes.append(size)
            if isinstance(type_name, Exception) or isinstance(ttl, Exception) or type_name == b"none":
                continue
            known += 1
            endless += ttl < 0
            groups = type_name == b"stream" and _groups(connection, key)
            kind = kind_of_value(type_name, ttl, groups)
            if kind and Recognizer().kind(key) is None:
                _note(seen, kind, key, len(going) * scale / len(picked))
    if sizes:
        seen.bytes = round(sum(sizes) / len(sizes) * seen.count)
    if known:
        seen.forever = endless / known


def _groups(connection, key):
    try:
        return len(ask(connection, "XINFO", "GROUPS", key))
    except redis.ResponseError:
        return 0
