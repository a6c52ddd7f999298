# SPDX-License-Identifier: MIT
"""The plan of a backup, computed from what was observed: no server, no bucket, no clock."""

from __future__ import annotations

import math

from .plan import make_plan
from .plan_text import bytes_text, seconds_text
from .s3_errors import place, shown

# what a small machine reads, sums and compresses; a plan promises no more than an order of magnitude
BYTES_PER_SECOND = 40_000_000
# gzip of documents at level 1, where no earlier backup says how small these become
GZIP_RATIO = 4
# an estimate is no promise, and a snapshot that is passed at 99 % is a dump for nothing
WINDOW_SHARE = 0.8
# of S3's clock and this machine's; more is said, because logs and records of this machine are wrong by as much
CLOCK_TOLERANCE_SECONDS = 300


class Observed:
    """What the plan is computed from; every field is data.

    ``store`` {endpoint, bucket, prefix}
    ``key`` of the new object, ``taken`` whether something stands there
    ``source`` {id, address, version, kind, identity}: the deployment and the database
    ``survey`` {collections, views, count, bytes, member, secondary, consistency, window_seconds, outside}: what will be
        read; ``outside`` names the capped collections that no snapshot can hold
    ``unfit`` refusals of the deployment, ``missing`` [{privilege, role, msg}]
    ``previous`` {key, finished, size_bytes, seconds} of the last complete backup of this database, or None
    ``debris`` [{object, bytes, ...}] that killed runs have left, ``pointer`` {key} or {foreign} or None
    ``holder`` of the lock, or None
    ``clock_ahead_seconds`` of this machine against the store's
    """

    def __init__(self, **fields):
        self.__dict__.update(fields)


def backup_plan(seen, params):
    """Return the plan (schema 1) of backing up one database with the module's parameters."""
    store, survey = seen.store, seen.survey
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
        expected_seconds=expected_seconds(survey, seen.previous, params),
        undo={"none": "a backup changes nothing in the database; it is removed by prune_backups, or by its key"},
        source={
            "name": seen.source["id"],
            "version": seen.source["version"],
            "read_from": survey["member"],
            "collections": survey["collections"],
            "views": survey["views"],
            "data_bytes": survey["bytes"],
            "consistency": survey["consistency"],
        },
        notes=_notes(seen, params),
        refusals=_refusals(seen, params),
    )


def expected_bytes(survey, previous):
    """How large the object will probably be."""
    return previous["size_bytes"] if previous else survey["bytes"] // GZIP_RATIO


def expected_seconds(survey, previous, params):
    """How long the backup will probably take: as long as the last one, else by what a small machine does."""
    known = previous and previous["seconds"]
    seconds = known or survey["bytes"] / BYTES_PER_SECOND
    if params["max_bytes_per_second"]:
        seconds = max(seconds, survey["bytes"] / params["max_bytes_per_second"])
    return max(1, math.ceil(seconds))


def _changes(seen, params):
    changes = [{"op": "-", "object": one["object"], "bytes": one.get("bytes")} for one in seen.debris]
    changes.append(
        {
            "op": "+",
            "object": place(seen.store["bucket"], seen.key),
            "count": seen.survey["count"],
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
    return place(store["bucket"], store["prefix"] + "latest")


def _notes(seen, params):
    survey, notes = seen.survey, []
    member = "a secondary" if survey["secondary"] else "the primary" if seen.source["kind"] == "replica_set" else "it"
    notes.append(f"read from {member}, {survey['member']}")
    if survey["consistency"] == "snapshot":
        notes.append("all collections are read as they are at one moment")
        if survey["outside"]:
            notes.append(f"not of that moment: {_listed(survey['outside'])}, which no snapshot can hold (capped)")
    else:
        why = "a standalone server has no snapshots: " if seen.source["kind"] == "standalone" else ""
        notes.append(f"{why}each collection is read as it is when its turn comes, and they are not all of one moment")
    notes.append(
        "users and roles of the database are in it, with the hashes of their passwords"
        if params["users_and_roles"]
        else "users and roles are not in it (mongo_backup_users_and_roles=true)"
    )
    notes.append(_last(seen.previous))
    if seen.debris:
        notes.append("what killed runs have left is removed first; none of it is a backup")
    if abs(seen.clock_ahead_seconds) > CLOCK_TOLERANCE_SECONDS:
        way = "ahead of" if seen.clock_ahead_seconds > 0 else "behind"
        notes.append(
            f"the clock of this machine is {_time(abs(seen.clock_ahead_seconds))} {way} the store's: the backup "
            "is dated by the store's; set the clock (timedatectl, chronyc)"
        )
    if seen.holder:
        notes.append(f"locked now by run {seen.holder['run']} of {seen.holder['holder']} on {seen.holder['host']}")
    return notes


def _last(previous):
    if previous is None:
        return "the first complete backup of this database under this prefix: its size is a guess"
    size, seconds = bytes_text(previous["size_bytes"]), previous["seconds"]
    took = "" if seconds is None else f", in {_time(seconds)}"
    return f"the last one is of {previous['finished']}, {size}{took}: {shown(previous['key'])}"


def _refusals(seen, params):
    refusals = list(seen.unfit)

    def refuse(rule, msg, override, value=None, limit=None):
        refusals.append({"rule": rule, "msg": msg, "value": value, "limit": limit, "override": override})

    for missing in seen.missing:
        refuse("privileges", missing["msg"], f"grant the role {missing['role']}")
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
    survey = seen.survey
    window, seconds = survey["window_seconds"], expected_seconds(survey, seen.previous, params)
    if survey["consistency"] == "snapshot" and seconds > window * WINDOW_SHARE:
        needed = math.ceil(seconds / WINDOW_SHARE / 60) * 60
        refuse(
            "snapshot_window",
            f"reading takes about {seconds} s, and the server keeps its history for {window} s only",
            "have an administrator set it on every member: db.adminCommand({setParameter: 1, "
            f"minSnapshotHistoryWindowInSeconds: {needed}}}); or -e mongo_backup_consistency=per_collection",
            value=seconds,
            limit=window,
        )
    return refusals


def _listed(names, most=8):
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(name) for name in names[:most]) + more


def _time(seconds):
    return f"{seconds:.0f} s" if seconds < 120 else seconds_text(seconds)
