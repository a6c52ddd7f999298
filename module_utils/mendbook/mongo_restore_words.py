# SPDX-License-Identifier: MIT
"""What the plan of a restore says and refuses, in words; pure."""

from __future__ import annotations

from .plan_text import bytes_text

_PROOFS = {
    "sample": "the count of each collection and up to 1,000 documents of each, compared byte by byte",
    "count": "the count of each collection",
}


def restore_notes(seen, params, kept, needed):
    """What a person should know before it is done; ``kept`` are names, ``needed`` bytes of space."""
    if seen.restored:
        return ["the database already holds this backup: UUIDs, counts and sums were compared just now"]
    notes = []
    if seen.marker and seen.marker.get("phase") in ("prepared", "swapping", "undoing"):
        ends = "finished" if seen.marker.get("finish") else "undone"
        notes.append(f"an interrupted swap of run {seen.marker['run']} will be {ends} first")
    series = [item.target for item in seen.items if item.type == "timeseries"]
    if series:
        live = [name for name in series if name in seen.live]
        buckets = sum(seen.live[name]["count"] or 0 for name in live)
        what = f"dropped ({buckets} buckets of {_listed(live)}), created" if live else "created"
        notes.append(
            f"not atomic: the time-series {_listed(series)} are {what} and filled in their places, because no server "
            "can rename them; readers see them empty meanwhile"
        )
    if params["piecewise"]:
        notes += _piecewise_notes(seen)
    notes.append("at the swap open cursors end with an error and change streams on a collection are invalidated")
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
        f"needs about {bytes_text(needed)} beside the live data; "
        + (f"{bytes_text(free)} are free" if free is not None else seen.space["msg"])
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


def _piecewise_notes(seen):
    names = [item.target for item in seen.items if item.target not in seen.already]
    notes = [
        f"one collection at a time ({len(names)}): each is loaded, proven and swapped, and its old data is dropped, "
        "before the next one; there is no undo",
        "not atomic over collections: a run that is interrupted leaves each of them whole, old or new, and says which; "
        "the same restore again goes on",
        f"the backup is read {1 + len(names)} times, first as a whole before anything is touched",
    ]
    if seen.already:
        notes.append(
            f"already as in the backup, left as they are: {_listed(sorted(seen.already))} (UUIDs, counts and sums were "
            "compared just now)"
        )
    return notes


def restore_refusals(seen, params, needed, piece):
    """What speaks against it; ``needed`` is the space in bytes, ``piece`` what one collection at a time would need."""
    refusals = list(seen.unfit)

    def refuse(rule, msg, override, value=None, limit=None):
        refusals.append({"rule": rule, "msg": msg, "value": value, "limit": limit, "override": override})

    if seen.backup.get("complete") is False:
        refuse("complete", f"the backup is not complete: {seen.backup['reason']}", "name another backup")
    age = seen.backup.get("age_seconds")
    if age is not None and age > params["max_age_seconds"]:
        refuse(
            "age",
            f"the backup is {time_words(age)} old, and the recovery point objective is "
            f"{time_words(params['max_age_seconds'])}",
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
    if params["piecewise"]:
        if params["keep_seconds"]:
            refuse(
                "piecewise",
                "one collection at a time: the old data of each is dropped before the next is loaded, and none is kept",
                "-e mongo_restore_keep_seconds=0, and there is no undo",
                value=params["keep_seconds"],
                limit=0,
            )
        if params["users"] or params["roles"]:
            refuse(
                "piecewise", "users and roles are not restored one collection at a time", "restore them in another run"
            )
    free = seen.space.get("free_bytes")
    if free is not None and needed > free and not params["ignore_space"]:
        by_piece = (
            f"restore one collection at a time, which needs about {bytes_text(piece)} and has no undo, with "
            "-e mongo_restore_piecewise=true -e mongo_restore_keep_seconds=0; "
            if piece <= free
            else ""
        )
        refuse(
            "space",
            f"the second copy needs about {bytes_text(needed)} and the server has {bytes_text(free)} free",
            f"{by_piece}free some space, restore fewer collections, or -e mongo_restore_ignore_space=true",
            value=needed,
            limit=free,
        )
    return refusals


def _listed(names, most=8):
    names = [str(name) for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def time_words(seconds):
    """A time with the unit that a person would choose."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{int(seconds)} seconds"
