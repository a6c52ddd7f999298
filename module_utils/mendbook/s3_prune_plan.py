# SPDX-License-Identifier: MIT
"""The plan of a prune, computed from what was observed: no bucket and no clock."""

from __future__ import annotations

import dataclasses

from ansible.module_utils.mendbook.plan import cap, make_plan, refusal
from ansible.module_utils.mendbook.plan_text import bytes_text
from ansible.module_utils.mendbook.s3_backup import iso
from ansible.module_utils.mendbook.s3_errors import place, shown
from ansible.module_utils.mendbook.s3_prune_rules import is_live
from ansible.module_utils.mendbook.s3_series import row_name, rows

SHOWN_HELD = 20


@dataclasses.dataclass(frozen=True)
class Observed:
    """What a prune knows of its bucket.

    ``versioning`` is off, on, suspended or unknown; ``mfa`` whether deleting a version wants a second factor;
    ``older`` (number, bytes) of the versions that are not looked at; ``foreign`` how many objects are no backups;
    ``clock`` words about a clock that is wrong, or None; ``pointers`` what is wrong with those that cannot be read.
    """

    endpoint: str
    bucket: str
    prefix: str
    verdicts: list
    removals: list
    versioning: str
    mfa: bool = False
    older: tuple = (0, 0)
    foreign: int = 0
    clock: str | None = None
    pointers: tuple = ()
    holder: dict | None = None
    notes: tuple = ()


def target_id(endpoint, bucket, prefix):
    """Return what a person confirms: the store's host and port, the bucket and the prefix."""
    return "s3@{}/{}/{}".format(endpoint.split("://")[-1], bucket, prefix)


def frees(removal, seen, versions):
    """Return the bytes that the store has back when the Removal is done; a delete marker frees nothing."""
    if versions or seen.versioning in ("off", "unknown"):
        return removal.bytes
    # with versions suspended a marker takes the place of the version "null", and nothing else's
    return sum(p.size for p in removal.pieces if seen.versioning == "suspended" and p.version_id == "null")


def prune_plan(seen, params):
    """Return the plan (plan.py); its changes are the Removals of ``seen``, by their ``object``."""
    changes = [
        {
            "op": "-",
            "object": removal.object,
            "before": removal.before or {"because": removal.reason},
            "bytes": frees(removal, seen, params["versions"]),
            "group": removal.group,
        }
        for removal in seen.removals
    ]
    gone = sum(1 for removal in seen.removals if removal.key is not None)
    share = round(gone / len(seen.verdicts), 4) if seen.verdicts else 0
    return make_plan(
        module="mend_s3_backup_prune",
        target={
            "kind": "s3",
            "id": target_id(seen.endpoint, seen.bucket, seen.prefix),
            "address": seen.endpoint,
            "facts": {"bucket": seen.bucket, "prefix": seen.prefix, "versioning": seen.versioning},
        },
        risk="destroys",
        changes=changes,
        totals={"backups": gone, "bytes": sum(change["bytes"] for change in changes)},
        remains=_remains(seen),
        caps=[
            cap(
                "backups removed",
                params["max_delete"],
                gone,
                f"-e s3_backup_prune_max_delete={gone} when they are all to go",
            ),
            cap(
                "share of the backups",
                params["max_share"],
                share,
                "-e s3_backup_prune_max_share=1 when they are all to go",
            ),
        ],
        identity=[
            {name: params[name] for name in ("pattern", "max_age_seconds", "keep_complete", "versions")},
            params["unfinished_age_seconds"],
        ],
        # less than was approved is fine: act() refuses more
        tolerance={"objects": None, "backups": None, "bytes": None},
        undo={"none": _undo(seen, params["versions"])},
        notes=_notes(seen, params["versions"]),
        refusals=_refusals(seen, params["versions"]) if changes else (),
    )


def growth(approved, fresh):
    """Return in words by how many backups the fresh plan goes beyond the approved one, or None.

    What lies beside them becomes old enough at any moment: that alone is no reason to ask again.
    """
    before, now = approved["totals"]["backups"], fresh["totals"]["backups"]
    return f"the backups that are to go were {before} and are now {now}" if now > before else None


def staying(seen):
    """Return the complete backups that a reader finds after the prune as before."""
    return [v.backup for v in seen.verdicts if not v.goes and v.backup.complete and is_live(v.backup)]


def _remains(seen):
    left = sorted(staying(seen), key=lambda backup: backup.finished)
    return {
        "complete": len(left),
        "size_bytes": sum(backup.size for backup in left),
        "newest": iso(left[-1].finished) if left else None,
        "oldest": iso(left[0].finished) if left else None,
    }


def _refusals(seen, versions):
    found = []
    if not staying(seen):
        msg = f"no complete backup would remain under {place(seen.bucket, seen.prefix)}"
        found.append(refusal("remains", msg, 0, 1, "make a backup first"))
    if seen.clock:
        way = "set the clock that is wrong (timedatectl, chronyc), then run again"
        found.append(refusal("clock", f"{seen.clock}, and every age would be wrong by as much", override=way))
    for words in seen.pointers:
        found.append(refusal("pointer", words, override="what it names must not be removed: repair or remove it"))
    if versions and seen.mfa:
        msg = "the bucket wants a second factor to delete a version (MFA delete)"
        way = "the owner of the account removes versions; without versions the backups are only hidden"
        found.append(refusal("mfa", msg, override=way))
    if versions and seen.versioning == "unseen":
        msg = "older versions cannot be listed"
        way = "the credentials need s3:ListBucketVersions, or leave versions out"
        found.append(refusal("versions", msg, override=way))
    return found


def _notes(seen, versions):
    notes = list(seen.notes)
    hidden = sum(1 for r in seen.removals if frees(r, seen, versions) < r.bytes)
    if hidden:
        stored = bytes_text(sum(r.bytes - frees(r, seen, versions) for r in seen.removals))
        notes.append(
            f"the bucket keeps versions: {hidden} of these only get a delete marker, and {stored} stay stored; with "
            "s3_backup_prune_versions=true they are removed"
        )
    if seen.versioning == "unknown":
        notes.append(
            "whether the bucket keeps versions could not be asked (s3:GetBucketVersioning): then nothing is freed"
        )
    if seen.older[0] and not versions:
        words = (
            "{} older versions ({}) are not looked at; with s3_backup_prune_versions=true the same rules hold for them"
        )
        notes.append(words.format(seen.older[0], bytes_text(seen.older[1])))
    held = [verdict for verdict in seen.verdicts if verdict.due and verdict.held]
    for verdict in held[:SHOWN_HELD]:
        where = shown(verdict.backup.key) + (
            f" (version {verdict.backup.version_id})" if verdict.backup.version_id else ""
        )
        notes.append(f"kept: {where}, {verdict.due}: {verdict.held}")
    if len(held) > SHOWN_HELD:
        notes.append(f"and {len(held) - SHOWN_HELD} more are kept although they are old")
    odd = [v for v in seen.verdicts if v.backup.complete is not True and not v.due]
    if odd:
        notes.append(
            f"kept: {len(odd)} that are not complete, such as {shown(odd[0].backup.key)}: {odd[0].backup.reason}"
        )
    if seen.foreign:
        notes.append(f"not touched, because neither name nor manifest makes them backups: {seen.foreign}")
    names = sorted(map(row_name, rows([v.backup for v in seen.verdicts])))
    if len(names) > 1:
        notes.append(
            "each of the {} rows keeps its own minimum: {}".format(len(names), ", ".join(map(shown, names[:5])))
        )
    if seen.holder:
        notes.append("locked now by run {run} of {holder} on {host}".format(**seen.holder))
    return notes


def _undo(seen, versions):
    if not versions and seen.versioning in ("on", "suspended", "unseen"):
        return "a delete marker that is removed brings back what it hides (docs/prune_backups.md)"
    return "what is deleted is gone"
