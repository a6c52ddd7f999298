# SPDX-License-Identifier: MIT
"""The plan of a restore, computed from what was observed: no server, no file, no clock."""

from __future__ import annotations

from .plan import make_plan

# what a small machine loads and proves; a plan promises no more than an order of magnitude
BYTES_PER_SECOND = 20_000_000
# mongodump's gzip of documents; only used where neither the manifest nor the format says how long the data is
GZIP_RATIO = 6
# data, its indexes, and the oplog entries that a replica set keeps of it
SPACE_FACTOR = 1.3
# live counts move while a plan is read; more than this and it is another database than the one that was planned for
COUNT_TOLERANCE = 0.1
_PROOFS = {
    "sample": "the count of each collection and up to 1,000 documents of each, compared byte by byte",
    "count": "the count of each collection",
}
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
    """

    def __init__(self, **fields):
        self.__dict__.update(fields)


def restore_plan(seen, params):
    """Return the plan (schema 1) of restoring ``seen.items`` with the module's parameters."""
    database = params["database"]
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
        notes=_notes(seen, params, database),
        refusals=[] if seen.restored else _refusals(seen, params),
    )


def _changes(seen, params):
    database = params["database"]
    changes = []
    for item in seen.items:
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
    if params["extra"] == "aside":
        for name in extra(seen):
            live = seen.live[name]
            changes.append(
                {
                    "op": "-",
                    "object": f"{database}.{name}",
                    "before": _shape(live),
                    "after": None,
                    "count": live.get("count") or 0,
                    "bytes": live.get("bytes") or 0,
                }
            )
    for kind in ("users", "roles"):
        for name in params[kind]:
            facts = {"before": None, "after": None, "count": 1, "bytes": 0, "group": ACCESS}
            changes.append({"op": "~", "object": f"{kind[:-1]} {name}", **facts})
    return changes


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


def needed_bytes(seen):
    """The space that the second copy will take on the server, an estimate from the size of the data."""
    return int(seen.dump["data_bytes"] * SPACE_FACTOR)


def _expected_seconds(seen):
    return None if seen.restored else max(1, round(seen.dump["data_bytes"] / BYTES_PER_SECOND))


def _undo(seen, params):
    if params["keep_seconds"] <= 0:
        return {"none": "mongo_restore_keep_seconds is 0: the old data is dropped after the swap"}
    return {
        "procedure": "undo_restore_mongo",
        "variables": {"mongo_undo_database": params["database"], "mongo_undo_confirm": seen.target["id"]},
        "until": f"{_time(params['keep_seconds'])} after the swap",
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


def _notes(seen, params, database):
    if seen.restored:
        return ["the database already holds this backup: UUIDs, counts and sums were compared just now"]
    notes = []
    if seen.marker and seen.marker.get("phase") in ("prepared", "swapping", "undoing"):
        ends = "finished" if seen.marker.get("finish") else "undone"
        notes.append(f"an interrupted swap of run {seen.marker['run']} will be {ends} first")
    series = [item.target for item in seen.items if item.type == "timeseries"]
    if series:
        documents = sum((seen.live.get(name) or {}).get("count") or 0 for name in series)
        notes.append(
            f"not atomic: the time-series {_listed(series)} ({documents} buckets live) are dropped, created and filled "
            "again, because no server can rename them; readers see them empty meanwhile"
        )
    notes.append("at the swap open cursors end with an error and change streams on a collection are invalidated")
    kept = _kept(seen, params)
    if kept:
        notes.append(f"not in the backup, kept: {_listed(kept)}")
    if params["users"] or params["roles"]:
        notes.append("users and roles are merged by the server after the swap, and are not undone")
    elif seen.dump.get("has_access"):
        notes.append(
            "the backup holds users and roles; they are restored only when mongo_restore_users or _roles names them"
        )
    if not params["allow_writers"] and seen.writers_unknown:
        notes.append(seen.writers_unknown)
    for writer in seen.writers:
        who = f" by {_listed(writer['who'])}" if writer.get("who") else ""
        notes.append(f"being written: {writer['namespace']}, {writer['writes_per_second']:g} writes a second{who}")
    free = seen.space.get("free_bytes")
    notes.append(
        f"needs about {_size(needed_bytes(seen))} beside the live data; "
        + (f"{_size(free)} are free" if free is not None else seen.space["msg"])
    )
    if seen.backup.get("finished_from") != "manifest":
        notes.append(
            f"{seen.backup['age_from']}; without a manifest counts and checksum of the whole backup cannot be known"
        )
    if seen.holder:
        notes.append(f"locked now by run {seen.holder['run']} of {seen.holder['holder']} on {seen.holder['host']}")
    for old in seen.expired:
        notes.append(
            f"the old data of run {old['run']} is past its time and is dropped first ({old['collections']} collections)"
        )
    notes.append(f"checked on the way: {seen.dump['integrity']}")
    if params["proof"] != "full":
        notes.append(f"the loaded data is proven by {_PROOFS[params['proof']]}, not by reading back every document")
    notes.extend(seen.backup.get("notes") or [])
    notes.extend(seen.dump.get("warnings") or [])
    return notes


def _refusals(seen, params):
    refusals = list(seen.unfit)

    def refuse(rule, msg, override, value=None, limit=None):
        refusals.append({"rule": rule, "msg": msg, "value": value, "limit": limit, "override": override})

    if seen.backup.get("complete") is False:
        refuse("complete", f"the backup is not complete: {seen.backup['reason']}", "name another backup")
    age = seen.backup.get("age_seconds")
    if age is not None and age > params["max_age_seconds"]:
        refuse(
            "age",
            f"the backup is {_time(age)} old, and the recovery point objective is {_time(params['max_age_seconds'])}",
            f"-e mongo_restore_max_age_seconds={int(age) + 3600}",
            value=int(age),
            limit=params["max_age_seconds"],
        )
    if seen.dump.get("has_oplog") and not params["ignore_oplog"]:
        entries = seen.dump.get("oplog_entries")
        refuse(
            "oplog",
            "the backup was made with --oplog"
            + (f" and holds {entries} entries" if entries is not None else "")
            + ", which are not replayed: each collection is whole, but they are not all of one moment",
            "-e mongo_restore_ignore_oplog=true",
            value=entries,
        )
    for missing in seen.missing:
        refuse("privileges", missing["msg"], f"grant the role {missing['role']}")
    if seen.writers and not params["allow_writers"]:
        names = _listed([writer["namespace"] for writer in seen.writers])
        refuse(
            "writers",
            f"the database is being written ({names}), and what is written until the swap stays in the old data only",
            "stop the writers, or -e mongo_restore_allow_writers=true",
            value=len(seen.writers),
            limit=0,
        )
    free, needed = seen.space.get("free_bytes"), needed_bytes(seen)
    if free is not None and needed > free and not params["ignore_space"]:
        refuse(
            "space",
            f"the second copy needs about {_size(needed)} and the server has {_size(free)} free",
            "free some space, restore fewer collections, or -e mongo_restore_ignore_space=true",
            value=needed,
            limit=free,
        )
    return refusals


def _listed(names, most=8):
    names = [str(name) for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _size(count):
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _time(seconds):
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{int(seconds)} seconds"
