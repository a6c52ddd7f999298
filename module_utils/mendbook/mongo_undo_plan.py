# SPDX-License-Identifier: MIT
"""The plan of an undo, computed from what was observed: no server and no clock."""

from __future__ import annotations

from .plan import make_plan

# renames and checks of one object; the copy of a time-series is on top and not known here
_SECONDS_PER_OBJECT = 0.05


class Observed:
    """What the plan is computed from; every field is data.

    ``action`` · ``target`` · ``deployment`` identity · ``database`` name · ``markers`` facts, with ``steps`` the length
    of each one's log · ``states`` [(item, state)] of the swap · ``counts`` {name: documents live} · ``dropped`` [{name,
    type, uuid, count, bytes, token}] · ``below`` facts of the next restore that could be undone, or None ·
    ``writers`` · ``unfit`` refusals of the deployment · ``missing`` privileges · ``holder`` of the lock, or None
    """

    def __init__(self, **fields):
        self.__dict__.update(fields)


def undo_plan(seen):
    """Return the plan (schema 1) of what ``seen.action`` would do."""
    swaps = seen.action in ("undo", "finish")
    changes = _swap_changes(seen) if swaps else _drop_changes(seen)
    return make_plan(
        module="mend_mongo_undo",
        target=seen.target,
        # what is past its time was announced by the plan of its restore, and needs no one at 3 a.m. to confirm it
        risk="changes" if seen.action == "drop_expired" else "destroys",
        changes=changes,
        identity={
            "deployment": seen.deployment,
            "action": seen.action,
            "swaps": [[facts["token"], facts["phase"], step] for facts, step in zip(seen.markers, seen.steps)],
            "dropped": sorted([one["name"], one["uuid"]] for one in seen.dropped),
        },
        tolerance={"count": None, "bytes": None},
        expected_seconds=max(1, round(len(changes) * _SECONDS_PER_OBJECT)) if changes else 0,
        undo=_undo(seen),
        source=seen.markers[0] if swaps and seen.markers else None,
        notes=_notes(seen, changes),
        refusals=_refusals(seen) if changes else [],
    )


def _swap_changes(seen):
    if not seen.markers:
        return []
    marker = seen.markers[0]
    wanted = "new" if _ends_new(seen, marker) else "old"
    changes = {}
    for item, state in seen.states:
        if state == wanted and marker["settled"] and not _in_between(marker):
            continue
        comes = item[f"options_{wanted}"] if item["k"] == "ts" else item[wanted]
        change = {
            "op": "-" if comes is None else "~" if item["n"] in seen.counts or item["k"] == "v" else "+",
            "object": f"{seen.database}.{item['n']}",
            "before": {"state": state, "uuid": _uuid(item, "old" if wanted == "new" else "new")},
            "after": {"state": wanted, "uuid": _uuid(item, wanted)},
            "count": seen.counts.get(item["n"], 0),
        }
        known = changes.get(item["n"])
        # a name that was of another kind has two items; together they replace it
        changes[item["n"]] = {**change, "op": "~"} if known else change
    return list(changes.values())


def _ends_new(seen, marker):
    return seen.action == "finish" and marker["phase"] not in ("undoing", "undone")


def _in_between(marker):
    return marker["phase"] in ("prepared", "swapping", "undoing")


def _uuid(item, side):
    return str(item[side]) if item["k"] != "v" and item[side] else None


def _drop_changes(seen):
    return [
        {
            "op": "-",
            "object": f"{seen.database}.{one['name']}",
            "before": {"type": one["type"], "uuid": one["uuid"]},
            "after": None,
            "count": one["count"] or 0,
            "bytes": one["bytes"] or 0,
            "group": one["token"],
        }
        for one in seen.dropped
    ]


def _undo(seen):
    if seen.action == "undo":
        return {
            "none": "the restored data stays beside the old data until its time is over; restore again to go forward"
        }
    if seen.action == "finish":
        return {
            "procedure": "undo_restore_mongo",
            "variables": {"mongo_undo_database": seen.database, "mongo_undo_confirm": seen.target["id"]},
            "until": "the time of the restore is over",
        }
    return {"none": "what is dropped is gone"}


def _notes(seen, changes):
    notes = []
    if not changes:
        notes.append(_nothing(seen))
    if seen.action == "undo" and changes:
        facts = seen.markers[0]
        notes.append(
            f"back to the data before the restore of run {facts['begun_by']} ({facts['at']}); what was written since "
            f"then is not merged: it stays in __mend_n_{facts['token']}_* beside the old data"
        )
    if seen.action in ("undo", "finish") and changes:
        series = sorted({item["n"] for item, _ in seen.states if item["k"] == "ts"})
        if series:
            notes.append(
                f"not atomic: the time-series {', '.join(series)} are dropped, created and filled again; "
                "readers see them missing, then filling"
            )
        notes.append("open cursors end with an error, and change streams on a collection are invalidated")
    for writer in seen.writers:
        who = f" by {', '.join(writer['who'][:5])}" if writer.get("who") else ""
        notes.append(f"being written: {writer['namespace']}, {writer['writes_per_second']:g} writes a second{who}")
    if seen.below and seen.action == "undo":
        older = f"the restore before it (run {seen.below['begun_by']}, {seen.below['at']})"
        notes.append(
            f"{older} can be undone, too, {'after this one' if changes else 'when it is named'}: "
            f"-e mongo_undo_token={seen.below['token']}"
        )
    if seen.holder:
        notes.append(f"locked now by run {seen.holder['run']} of {seen.holder['holder']} on {seen.holder['host']}")
    return notes


def _nothing(seen):
    if seen.action == "undo" and seen.below:
        return "nothing to undo: the newest restore was taken back already"
    return {
        "undo": "nothing to undo: no restore is live that has kept its old data",
        "finish": "nothing to finish: no swap was interrupted",
        "drop": "nothing to drop: no restore keeps data here",
        "drop_expired": "nothing to drop: no restore keeps data that is past its time",
    }[seen.action]


def _refusals(seen):
    found = list(seen.unfit)
    for missing in seen.missing:
        found.append(
            {
                "rule": "privileges",
                "msg": missing["msg"],
                "value": missing["privilege"],
                "limit": None,
                "override": f"grant {missing['role']}",
            }
        )
    return found
