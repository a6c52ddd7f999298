# SPDX-License-Identifier: MIT
"""The plan of a backup, computed from what was observed: no server, no bucket, no clock."""

from __future__ import annotations

import math

from .mongo_backup_store import LATEST
from .mongo_dump_window import expected_seconds, window_refusal
from .plan import make_plan
from .plan_text import bytes_text, seconds_text
from .s3_errors import place, shown

# gzip of documents at level 1, where no earlier backup says how small these become
GZIP_RATIO = 4


class Observed:
    """What the plan is computed from; every field is data.

    ``store`` {endpoint, bucket, prefix}
    ``key`` of the new object, ``taken`` whether something stands there
    ``source`` {id, address, version, identity}: the deployment and the database
    ``survey`` of mongo_dump_survey: what will be read, and from which member
    ``previous`` {key, finished, size_bytes, seconds} of the last complete backup of this database, or None
    ``debris`` of mongo_backup_debris that killed runs have left, ``pointer`` {key} or {foreign} or None
    ``holder`` of the lock, or None
    ``clock`` in words when this machine's is far from the store's, or None
    ``notes`` about what could not be seen in the bucket
    """

    def __init__(self, **fields):
        self.__dict__.update(fields)


def backup_plan(seen, params):
    """Return the plan (schema 1) of backing up one database with the module's parameters."""
    store, found = seen.store, seen.survey.facts()
    return make_plan(
        module="mend_mongo_backup",
        target={
            "kind": "s3",
            "id": place(store["bucket"], store["prefix"]),
            "address": store["endpoint"],
            # acting takes the key from here, so that what was planned at one second is not done under the next one's
            "facts": {"key": seen.key, "previous": seen.previous},
        },
        risk="changes",
        changes=_changes(seen, params),
        identity={
            "source": seen.source["identity"],
            "database": params["database"],
            "store": store,
            "key": params["key"],
            **{name: params[name] for name in ("latest", "consistency", "users_and_roles")},
        },
        # what clients write meanwhile belongs into a backup, and so does the debris of a run that died meanwhile
        tolerance={"objects": None, "count": None, "bytes": None},
        expected_seconds=backup_seconds(seen.survey, seen.previous, params),
        undo={"none": "a backup changes nothing in the database; it is removed by prune_backups, or by its key"},
        source={
            "name": seen.source["id"],
            "version": seen.source["version"],
            "read_from": found["member"],
            "collections": found["collections"],
            "views": found["views"],
            "data_bytes": found["bytes"],
            "consistency": consistency(seen.survey, params),
        },
        notes=_notes(seen, params),
        refusals=_refusals(seen, params),
    )


def consistency(survey, params):
    """Return what the backup will be of: "snapshot" (one moment) only where it is asked for and can be had."""
    return "snapshot" if params["consistency"] == survey.consistency == "snapshot" else "per_collection"


def expected_bytes(survey, previous):
    """Return how large the object will probably be."""
    return previous["size_bytes"] if previous else survey.bytes // GZIP_RATIO


def backup_seconds(survey, previous, params):
    """Return how long the backup will probably take: as long as the last one, and no less than the rate allows."""
    known = (previous or {}).get("seconds") or survey.seconds
    return max(1, math.ceil(max(known, expected_seconds(survey, params["max_bytes_per_second"]))))


def _changes(seen, params):
    changes = [{"op": "-", "object": one.object, "bytes": one.bytes} for one in seen.debris]
    changes.append(
        {
            "op": "+",
            "object": place(seen.store["bucket"], seen.key),
            "count": seen.survey.count,
            "bytes": expected_bytes(seen.survey, seen.previous),
        }
    )
    if params["latest"]:
        changes.append(
            {
                "op": "~" if seen.pointer else "+",
                "object": pointer_object(seen.store),
                "before": (seen.pointer or {}).get("key"),
                "after": seen.key,
            }
        )
    return changes


def pointer_object(store):
    """Return how plans and results call the pointer under the prefix."""
    return place(store["bucket"], store["prefix"] + LATEST)


def _notes(seen, params):
    survey = seen.survey
    notes = [f"read from {survey.member.name}: {survey.member.why}"]
    if consistency(survey, params) == "snapshot":
        notes.append("all collections are read as they are at one moment")
        if survey.outside:
            notes.append(f"not of that moment: {_listed(survey.outside)}, which no snapshot can hold (capped)")
    else:
        notes.append(
            survey.no_snapshot
            or "each collection is read as it is when its turn comes, and they are not all of one moment"
        )
    notes.extend(survey.notes)
    notes.append(
        "users and roles of the database are in it, with the hashes of their passwords"
        if params["users_and_roles"]
        else "users and roles are not in it (mongo_backup_users_and_roles=true)"
    )
    notes.append(_last(seen.previous))
    if seen.debris:
        notes.append("what killed runs have left is removed; none of it is a backup")
    if seen.clock:
        notes.append(f"{seen.clock}: the backup is dated by the store's; set the clock (timedatectl, chronyc)")
    if seen.holder:
        notes.append(f"locked now by run {seen.holder['run']} of {seen.holder['holder']} on {seen.holder['host']}")
    return notes + seen.notes


def _last(previous):
    if previous is None:
        return "the first complete backup of this database under this prefix: its size is a guess"
    size, seconds = bytes_text(previous["size_bytes"]), previous["seconds"]
    took = "" if seconds is None else f", in {_time(seconds)}"
    return f"the last one is of {previous['finished']}, {size}{took}: {shown(previous['key'])}"


def _refusals(seen, params):
    refusals = []

    def refuse(rule, msg, override, value=None, limit=None):
        refusals.append({"rule": rule, "msg": msg, "value": value, "limit": limit, "override": override})

    if seen.taken:
        refuse(
            "key",
            f"{place(seen.store['bucket'], seen.key)} is there already, and a backup never replaces another",
            "another mongo_backup_key, or none",
        )
    if params["latest"] and "foreign" in (seen.pointer or {}):
        refuse(
            "latest",
            f"{pointer_object(seen.store)} is not a pointer that a backup may move: {seen.pointer['foreign']}",
            "-e mongo_backup_latest=false, or another prefix",
        )
    window = window_refusal(seen.survey, params["consistency"], params["max_bytes_per_second"])
    return refusals + ([window] if window else [])


def _listed(names, most=8):
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(name) for name in names[:most]) + more


def _time(seconds):
    return f"{seconds:.0f} s" if seconds < 120 else seconds_text(seconds)
