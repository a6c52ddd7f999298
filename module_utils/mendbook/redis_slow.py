# SPDX-License-Identifier: MIT
"""Slow commands, without what they carry: their name and what their key begins with. Pure."""

from __future__ import annotations

from .plan_text import clean
from .redis_kinds import prefix_of

# commands whose second word says what they do
_FAMILIES = {
    *("ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "FUNCTION", "LATENCY", "MEMORY", "MODULE", "OBJECT"),
    *("PUBSUB", "SCRIPT", "SLOWLOG", "XGROUP", "XINFO"),
}
# where the first key stands, when it is not the next word; 0: there is none
_KEY_AT = {
    **dict.fromkeys(("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"), 3),
    **dict.fromkeys(("XGROUP", "XINFO", "MEMORY", "OBJECT", "BITOP"), 2),
    **dict.fromkeys(("ZUNION", "ZINTER", "ZDIFF", "SINTERCARD", "ZINTERCARD", "LMPOP", "ZMPOP"), 2),
    **dict.fromkeys(("ACL", "AUTH", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "FUNCTION", "HELLO"), 0),
    **dict.fromkeys(("INFO", "LATENCY", "MODULE", "MONITOR", "PUBLISH", "PUBSUB", "SCRIPT", "SLOWLOG", "SYNC"), 0),
    **dict.fromkeys(("PSYNC", "REPLCONF", "SAVE", "BGSAVE", "FLUSHALL", "FLUSHDB", "SELECT", "SCAN", "XREAD"), 0),
    **dict.fromkeys(("XREADGROUP", "PING", "DBSIZE", "RANDOMKEY", "BGREWRITEAOF", "SWAPDB", "REPLICAOF"), 0),
}  # fmt: skip
_NO_KEYS = b"0"


def redacted(words):
    """Return a command (list of bytes) as ``HSET cart:*``: no value, and of a key no more than its prefix."""
    name = _word(words[0])
    at = _KEY_AT.get(name, 1)
    shown = [name]
    if name in _FAMILIES and len(words) > 1:
        shown.append(_word(words[1]))
    if name == "SCAN":
        at = _match_at(words)
    elif at == 3 and words[2:3] == [_NO_KEYS]:
        at = 0
    if at and len(words) > at:
        shown.append(pattern_of(words[at]))
    return " ".join(shown)


def pattern_of(key):
    """Return what a key, or a pattern of keys, begins with, as the pattern that finds all like it."""
    prefix = prefix_of(key)
    return "*" if prefix.startswith("(") else f"{prefix}*"


def entries(raw, now):
    """Return SLOWLOG GET's answer as [{command, seconds, age_seconds, client}], in its order.

    ``raw`` is [[id, unix time, microseconds, words, address, name], ...]; ``now`` the server's own time.
    """
    return [
        {
            "command": redacted(words),
            "seconds": micros / 1e6,
            "age_seconds": max(0, round(now - at)),
            "client": client_of(*rest),
        }
        for _, at, micros, words, *rest in raw
    ]


def grouped(found, limit):
    """Return slow commands by what they are: [{command, count, slowest_seconds, age_seconds, clients, nodes}].

    The slowest comes first; ``age_seconds`` is of the latest.
    """
    groups = {}
    for one in found:
        group = groups.setdefault(
            one["command"],
            {"command": one["command"], "count": 0, "slowest_seconds": 0, "age_seconds": one["age_seconds"]},
        )
        group["count"] += 1
        group["slowest_seconds"] = max(group["slowest_seconds"], one["seconds"])
        group["age_seconds"] = min(group["age_seconds"], one["age_seconds"])
        for kind in ("client", "node"):
            seen = group.setdefault(kind + "s", [])
            if one[kind] not in seen and len(seen) < limit:
                seen.append(one[kind])
    return sorted(groups.values(), key=lambda group: -group["slowest_seconds"])[:limit]


def client_of(address=b"", name=b""):
    """Return the name that a client has given itself, else its address without the port, which changes each time."""
    text = name or address.rpartition(b":")[0]
    return clean(text.decode("utf-8", "backslashreplace"), 60) or "(unknown)"


def _word(raw):
    return clean(raw[:32].decode("utf-8", "backslashreplace").upper(), 40)


def _match_at(words):
    """Where the pattern of a SCAN stands, 0 without one."""
    return next((at + 1 for at, word in enumerate(words) if word.upper() == b"MATCH"), 0)
