# SPDX-License-Identifier: MIT
"""The plan of a flush: what would go on each master, who will notice, and what speaks against it. Pure."""

from __future__ import annotations

from collections import Counter

from .plan import cap, make_plan, refusal
from .plan_text import bytes_text
from .redis_flush_select import wide_patterns
from .redis_kinds import KINDS

# what must be as it was planned; the keys themselves come and go
_SELECTOR = (
    "patterns", "whole_database", "all_databases", "keep", "include_kinds", "max_keys", "max_share",
)  # fmt: skip
# with fewer keys a share says nothing: three of three are all of them
SHARE_FROM = 100
# keys come and go between plan and act, and a sample is a sample: so many, or half of them
_LEEWAY_KEYS = 100
_LEEWAY = 0.5
_SHOWN_PREFIXES = 8
_MANY_FOREVER = 0.05
_KEYS_A_SECOND, _SCANNED_A_SECOND = 150_000, 1_000_000
_WHAT = {
    "sessions": "who is logged in would be logged out",
    "queues": "work that waits would never be done",
    "locks": "two would do what only one may",
    "rate_limits": "limits would begin from zero, also for those who are kept out",
    "carts": "customers would lose what they have chosen",
}


class Seen:
    """What was observed: ``topology`` (redis_nodes), ``samples`` of each place, ``locked_by``, ``refusals``."""

    def __init__(self, topology, samples, locked_by=None, refusals=()):
        self.topology = topology
        self.samples = samples
        self.locked_by = locked_by
        self.refusals = list(refusals)


def flush_plan(seen, params):
    """Return the plan (schema 1) of removing what the samples have seen."""
    samples = seen.samples
    count = sum(one.count for one in samples)
    # some may have been written between the two looks
    keys = max(count, sum(one.keys for one in samples))
    share = round(count / keys, 3) if keys else 0
    # one that was cut short, or where nothing was found in a part, may hold some all the same
    work = count > 0 or any(one.cut_short for one in samples)
    changes = [_change(one, params) for one in samples] if work else []
    kinds = _kinds(samples)
    target = dict(seen.topology.target)
    databases = sorted({one.database for one in samples})
    target["id"] += "/*" if params["all_databases"] else "/" + ",".join(map(str, databases))
    return make_plan(
        module="mend_redis_flush",
        target=target,
        # a cache fills itself again; of a whole database nobody can say that it was one, in whatever words it is named
        risk="destroys" if params["whole_database"] or wide_patterns(params) else "changes",
        changes=changes,
        totals={"count": count, "bytes": _bytes(samples), "share": share},
        remains={"keys": keys - count, "kept": sum(one.kept for one in samples)},
        caps=_caps(count, share, params),
        identity={
            # the same servers, whichever of them are masters now
            "nodes": sorted(target["facts"]["masters"] + target["facts"]["replicas"]),
            "databases": None if params["all_databases"] else databases,
            "selector": {name: params[name] for name in _SELECTOR},
        },
        tolerance={"objects": None, "share": None, "bytes": None, "count": _tolerance(count)},
        expected_seconds=round(count / _KEYS_A_SECOND + 2 * keys / _SCANNED_A_SECOND + 0.5, 1) if work else 0,
        undo={"none": "a key that is gone does not come back; a cache fills itself again, anything else is lost"},
        notes=_notes(seen, samples, kinds, count, params),
        refusals=(seen.refusals + _refused_kinds(kinds, params)) if work else [],
    )


def _change(one, params):
    return {
        "op": "-",
        "object": one.object,
        "before": {"keys": one.keys, "matching": one.count, "estimated": not one.exact},
        "after": None,
        "count": one.count,
        "bytes": one.bytes,
        "group": "whole database" if params["whole_database"] else ", ".join(params["patterns"]),
    }


def _bytes(samples):
    known = [one.bytes for one in samples if one.bytes is not None]
    return sum(known) if known else None


def _tolerance(count):
    return max(_LEEWAY, _LEEWAY_KEYS / count) if count else None


def _caps(count, share, params):
    caps = [cap("keys", params["max_keys"], count, "raise redis_flush_max_keys")]
    if count > SHARE_FROM and not params["whole_database"]:
        words = "raise redis_flush_max_share, or say redis_flush_whole_database"
        caps.append(cap("share of the keys", params["max_share"], share, words))
    return caps


def _kinds(samples):
    """{kind: {count, examples}} of all samples."""
    kinds = {}
    for one in samples:
        for kind, entry in one.kinds.items():
            known = kinds.setdefault(kind, {"count": 0, "examples": []})
            known["count"] += entry["count"]
            known["examples"] += entry["examples"]
    return {kind: kinds[kind] for kind in KINDS if kind in kinds}


def _refused_kinds(kinds, params):
    return [
        refusal(
            f"kind {kind}",
            f"{_of_kind(kind, entry)}: {_WHAT[kind]}",
            round(entry["count"]),
            0,
            f"keep them by redis_flush_keep, or name them: redis_flush_include_kinds: [{kind}]",
        )
        for kind, entry in kinds.items()
        if kind not in params["include_kinds"]
    ]


def _of_kind(kind, entry):
    examples = ", ".join(sorted(set(entry["examples"]))[:3])
    return f"keys that look like {kind.replace('_', ' ')}: {max(1, round(entry['count'])):,} ({examples})"


def _notes(seen, samples, kinds, count, params):
    notes = []
    if params["all_databases"]:
        listed = ", ".join(sorted({str(one.database) for one in samples})) or "none has keys"
        notes.append(f"ALL DATABASES of this server are emptied: {listed}")
    wide = wide_patterns(params)
    if wide:
        names = ", ".join(wide)
        notes.append(
            f"{names}: may mean nearly every key, for want of a text of its own (two fixed characters, one beside the "
            "other), and is confirmed like redis_flush_whole_database"
        )
    if not count:
        notes.append("nothing to remove: no key matches and may go")
    else:
        size = _bytes(samples)
        notes.append(f"{count:,} keys" + (f", about {bytes_text(size)}" if size is not None else ""))
    guessed = [one for one in samples if not one.exact]
    if guessed:
        examined, keys = sum(one.examined for one in guessed), sum(one.keys for one in guessed)
        notes.append(f"estimated from a sample of {examined:,} of {keys:,} keys; rare keys may not be in it")
    if any(one.cut_short for one in samples):
        notes.append("too many keys to look at every name: a rare one that is no cache may not have been seen")
    notes += _prefix_notes(samples)
    if count:
        notes += _who_notices(samples, params)
    for kind in params["include_kinds"]:
        if kind in kinds:
            notes.append(f"named, so these go, too: {_of_kind(kind, kinds[kind])}; {_WHAT[kind]}")
    kept = sum(one.kept for one in samples)
    if kept:
        notes.append(f"{kept:,} keys match and stay (redis_flush_keep)")
    notes += seen.topology.notes
    if seen.locked_by:
        by = seen.locked_by
        notes.append(f"locked now by run {by['run']} of {by['holder']} on {by['host']} since {by['since']}")
    return notes


def _prefix_notes(samples):
    prefixes = Counter()
    for one in samples:
        prefixes.update(one.prefixes)
    if not prefixes:
        return []
    shown = ", ".join(f"{name} {number:,}" for name, number in prefixes.most_common(_SHOWN_PREFIXES))
    more = len(prefixes) - _SHOWN_PREFIXES
    return [f"by the beginning of the name: {shown}" + (f", and {more} more" if more > 0 else "")]


def _who_notices(samples, params):
    at_once = params["whole_database"] and not params["keep"]
    notes = [
        "applications find the cache empty and all ask their database at once (a stampede): do it when few are there, "
        "by narrow patterns, or warm the cache afterwards",
        "not atomic: "
        + ("each master is emptied at once, one beside the other" if at_once else "keys go in small portions")
        + "; meanwhile some are gone and some are not",
    ]
    forever = [one.forever for one in samples if one.forever is not None]
    if forever and max(forever) > _MANY_FOREVER:
        notes.append(f"up to {max(forever):.0%} of what would go never expires: is it a cache at all?")
    return notes
