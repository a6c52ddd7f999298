# SPDX-License-Identifier: MIT
"""Which keys a flush means, which it keeps, and what it must not touch unless that is named. Pure."""

from __future__ import annotations

from .errors import MendError, Nothing, Refused
from .redis_glob import as_bytes, matcher, names_keys, takes_all
from .redis_kinds import KINDS, Recognizer

EVERYTHING = b"*"


def check_options(params):
    """Raise `MendError` for options that cannot be meant, before anybody is asked."""
    patterns = params["patterns"]
    if not patterns and not params["whole_database"]:
        raise Nothing(
            "nothing is named: give redis_flush_patterns, such as ['cache:*'], or redis_flush_whole_database",
            rule="patterns",
        )
    if patterns and params["whole_database"]:
        raise Refused(
            "refused: both patterns and whole_database are given, and only one can be meant", rule="whole_database"
        )
    for name in ("patterns", "keep"):
        if "" in params[name]:
            raise Nothing(f"{name} holds an empty text, which matches no key", rule=name)
    for pattern in patterns:
        if takes_all(pattern):
            raise Refused(
                f"refused: the pattern {pattern} means every key; say so by redis_flush_whole_database",
                rule="patterns",
                details={"pattern": pattern},
            )
    if any(takes_all(pattern) for pattern in params["keep"]):
        raise Nothing("keep holds a pattern that keeps every key", rule="keep")
    if params["all_databases"] and not params["whole_database"]:
        raise Refused(
            "refused: all_databases goes with whole_database only; a pattern means one database", rule="all_databases"
        )
    if params["all_databases"] and params["database"] is not None:
        raise Refused("refused: both database and all_databases are given", rule="all_databases")
    if params["database"] is not None and params["database"] < 0:
        raise MendError("database is a number from 0 on", rule="database")
    if not 0 < params["max_share"] <= 1:
        raise MendError(f"max_share is {params['max_share']}, not a share between 0 and 1", rule="max_share")


def wide_patterns(params):
    """Return the patterns that may take nearly every key, because they have no text of their own."""
    return [pattern for pattern in params["patterns"] if not names_keys(pattern)]


class Selector:
    """What the options mean for keys (bytes).

    ``patterns`` are SCAN's, ``kept(key)`` tells what stays, or is None; ``at_once`` is true where nothing has to be
    looked at, because all of a database goes.
    """

    def __init__(self, params):
        self.patterns = [as_bytes(pattern) for pattern in params["patterns"]] or [EVERYTHING]
        self.matches = matcher(params["patterns"]) or _any_key
        self.kept = matcher(params["keep"])
        self.at_once = params["whole_database"] and self.kept is None
        self._protected = Recognizer([kind for kind in KINDS if kind not in params["include_kinds"]])

    def split(self, keys):
        """Return those of the keys that match that go, those that are kept, and how many of each kind are spared."""
        kept = []
        if self.kept is not None:
            kept = [key for key in keys if self.kept(key)]
            if kept:
                keys = [key for key in keys if not self.kept(key)]
        keys, spared = self._protected.split(keys)
        return keys, kept, spared


def _any_key(_key):
    return True
