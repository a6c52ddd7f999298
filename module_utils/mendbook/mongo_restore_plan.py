# SPDX-License-Identifier: MIT
"""The plan of a restore, computed from what was observed: no server, no file, no clock."""

from __future__ import annotations

from .mongo_restore_words import restore_notes, restore_refusals, time_words
from .plan import make_plan

# what a small machine loads and proves; a plan promises no more than an order of magnitude
BYTES_PER_SECOND = 20_000_000
# mongodump's gzip of documents; only used where neither the manifest nor the format says how long the data is
GZIP_RATIO = 6
# data, its indexes, and the oplog entries that a replica set keeps of it
SPACE_FACTOR = 1.3
# live counts move while a plan is read; more than this and it is another database than the one that was planned for
COUNT_TOLERANCE = 0.1
# users and roles: merged by the server after the swap, and no part of it
ACCESS = "users and roles"


class Observed:
    """What the plan is computed from; every field is data.

    ``target`` {kind, id, address, facts}
    ``backup`` facts of the object or file, with ``identity`` (what pins its bytes), ``age_seconds``, ``complete``
    ``dump`` {format, integrity, tool_version, server_version, has_oplog, oplog_entries, has_access,
        warnings, data_bytes}
    ``items`` of the selection
    ``live`` {name: {type, uuid, count, bytes}}
    ``expected`` {collection in the backup: {count, sum}} from the manifest, or None
    ``unfit`` refusals of the deployment
    ``missing`` [{privilege, role, msg}]
    ``writers`` [{namespace, writes_per_second, who}], with ``writers_unknown`` in words where it cannot be known
    ``space`` {free_bytes, msg}
    ``holder`` of the lock, ``marker`` of an interrupted swap, or None
    ``expired`` old sets whose time is over
    ``restored`` True when the target already holds exactly this backup
    ``already`` the targets that hold what the backup has, when it is restored one by one; they are left as they are
    ``shares`` {target: its share of the backup's data} where it is known
    """

    def __init__(self, **fields):
        self.__dict__.update(fields)


def restore_plan(seen, params):
    """Return the plan (schema 1) of restoring ``seen.items`` with the module's parameters."""
    needed = needed_bytes(seen, params)
    changes = [] if seen.restored else _changes(seen, params)
    return make_plan(
        module="mend_mongo_restore",
        target=seen.target,
        # what says of itself that it is scratch (else there is a refusal) has nothing that somebody could miss
        risk="changes" if params["scratch"] else "destroys",
        changes=changes,
        remains={"collections": len(_kept(seen, params))},
        identity=_identity(seen, params),
        # where writers are allowed, what they do to the counts is no drift
        tolerance={"count": None if params["allow_writers"] else COUNT_TOLERANCE, "bytes": None},
        expected_seconds=_expected_seconds(seen),
        undo=_undo(seen, params),
        source=_source(seen),
        notes=restore_notes(seen, params, _kept(seen, params), needed),
        refusals=[] if seen.restored else restore_refusals(seen, params, needed, largest_piece_bytes(seen)),
    )


def _changes(seen, params):
    database = params["database"]
    changes = _removals(seen, params)
    for item in seen.items:
        if item.target in seen.already:
            continue
        live = seen.live.get(item.target)
        expected = (seen.expected or {}).get(item.source.name) or {}
        changes.append(
            {
                "op": "~" if live else "+",
                "object": f"{database}.{item.target}",
                "before": _shape(live) if live else None,
                "after": {
                    "type": item.type,
                    "count": expected.get("count"),
                    "from": f"{item.source.db}.{item.source.name}",
                },
                "count": (live or {}).get("count") or 0,
                "bytes": (live or {}).get("bytes") or 0,
            }
        )
    for kind in ("users", "roles"):
        for name in params[kind]:
            facts = {"before": None, "after": None, "count": 1, "bytes": 0, "group": ACCESS}
            changes.append({"op": "~", "object": f"{kind[:-1]} {name}", **facts})
    return changes


def _removals(seen, params):
    """First in the plan, whose end is cut when it is long."""
    return [
        {
            "op": "-",
            "object": f"{params['database']}.{name}",
            "before": _shape(live),
            "after": None,
            "count": live.get("count") or 0,
            "bytes": live.get("bytes") or 0,
        }
        for name, live in ((name, seen.live[name]) for name in (extra(seen) if params["extra"] == "aside" else ()))
    ]


def _shape(live):
    return {"type": live["type"], "count": live.get("count")}


def extra(seen):
    """Live collections that the selection does not replace."""
    restored = {item.target for item in seen.items}
    # the server's own collections are only ever touched by name
    return [name for name in sorted(seen.live) if name not in restored and not name.startswith("system.")]


def _kept(seen, params):
    return [] if params["extra"] == "aside" else extra(seen)


def _identity(seen, params):
    return {
        "backup": seen.backup["identity"],
        "items": sorted([item.source.db, item.source.name, item.target] for item in seen.items),
        "uuids": {name: live.get("uuid") for name, live in sorted(seen.live.items())},
        "extra": params["extra"],
        "users": sorted(params["users"]),
        "roles": sorted(params["roles"]),
        "marker": {name: (seen.marker or {}).get(name) for name in ("run", "phase")},
    }


def needed_bytes(seen, params):
    """The space that the second copy will take on the server, an estimate from the size of the data."""
    return largest_piece_bytes(seen) if params["piecewise"] else int(seen.dump["data_bytes"] * SPACE_FACTOR)


def largest_piece_bytes(seen):
    """The space that the second copy of the largest collection will take."""
    return max((piece_bytes(seen, item) for item in seen.items if item.target not in seen.already), default=0)


def piece_bytes(seen, item):
    """The space that the second copy of one collection will take: as large as the live one, or its share of the backup.

    Where neither is known it may be the whole backup.
    """
    if item.type == "view":
        return 0
    whole = seen.dump["data_bytes"]
    live = (seen.live.get(item.target) or {}).get("bytes")
    known = [whole * seen.shares[item.target]] if item.target in seen.shares else []
    known += [live] if live else []
    # a time-series has its old measurements copied aside and its new ones filled from the side copy
    copies = 3 if item.type == "timeseries" else 1
    return int(min(whole, max(known, default=whole)) * SPACE_FACTOR * copies)


def _expected_seconds(seen):
    return None if seen.restored else max(1, round(seen.dump["data_bytes"] / BYTES_PER_SECOND))


def _undo(seen, params):
    if params["keep_seconds"] <= 0:
        return {"none": "mongo_restore_keep_seconds is 0: the old data is dropped after the swap"}
    return {
        "procedure": "undo_restore_mongo",
        "variables": {"mongo_undo_database": params["database"], "mongo_undo_confirm": seen.target["id"]},
        "until": f"{time_words(params['keep_seconds'])} after the swap",
    }


def _source(seen):
    backup, dump = seen.backup, seen.dump
    shown = (
        "name",
        "version_id",
        "etag",
        "finished",
        "age_seconds",
        "size_bytes",
        "sha256",
        "complete",
    )
    facts = {name: backup[name] for name in shown if backup.get(name) is not None}
    facts.update(
        {name: dump[name] for name in ("format", "data_bytes", "tool_version", "server_version") if dump[name]}
    )
    return facts
