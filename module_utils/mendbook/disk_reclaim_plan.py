# SPDX-License-Identifier: MIT
"""The plan of what is removed from a disk, computed from what was chosen: no disk and no clock."""

from __future__ import annotations

import dataclasses
from collections import Counter

from .disk_reclaim_choice import allocated, goal, has_target, largest
from .disk_reclaim_walk import BLOCK
from .plan import MAX_ENTRIES, MAX_GROUPS, cap, make_plan, refusal
from .plan_text import bytes_text, clean

# with fewer files a share says nothing: one of one is all of them
SHARE_FROM = 10
# logs move between plan and act: so many files, or half of them
_LEEWAY_OBJECTS = 10
_LEEWAY = 0.5
_FILES_PER_SECOND = 50_000
_SHOWN = 5
_LONGEST_PATH = 8192
# what must be as it was planned; the files themselves come and go
_SELECTOR = (
    "rules", "backups", "allowed_roots", "target_free_bytes", "target_free_share", "truncate_bytes",
    "remove_empty_folders", "max_files", "max_bytes", "max_share",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Observed:
    """What is known when a plan is made.

    ``target`` and ``machine`` are those of host.py, ``roots`` the open ones, ``spaces`` {device: Space}, ``who`` tells
    who has a file open (device, inode), ``unseen`` how many processes cannot be looked into, ``holder`` who has the
    lock now.
    """

    target: dict
    machine: str
    roots: list
    choice: object
    spaces: dict
    who: object
    unseen: int = 0
    holder: dict | None = None


def shown(path):
    """Return a path, as os.fsdecode gives it, as one printable text; bytes that are no text become ``\\xff``."""
    return clean(path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"), _LONGEST_PATH)


def reclaim_plan(seen, params):
    """Return (plan, objects): the plan (plan.py), and what it calls the things that are to go.

    ``objects`` is {(device, inode): object} of the files that are listed one by one, {(op, title of the rule): object}
    of the others, and {"folders": object}.
    """
    choice = seen.choice
    changes, objects = _changes(choice)
    files = sum(len(batch.names) for batch in choice.batches)
    size = allocated(choice.batches)
    share, share_of = _largest_share(seen)
    plan = make_plan(
        module="mend_disk_reclaim",
        target=seen.target,
        risk="destroys" if choice.emptied or _of_backups(choice.removals) else "changes",
        changes=changes,
        # the share is that of one root only, so it stands in its cap and not here
        totals={"objects": files + len(choice.folders), "bytes": size},
        remains=_remains(seen) if changes else None,
        caps=_caps(files, size, share, share_of, params),
        identity={
            "machine": seen.machine,
            "roots": [[root.path, root.device, root.inode] for root in seen.roots],
            "selector": {name: params[name] for name in _SELECTOR},
        },
        tolerance={
            "objects": max(_LEEWAY, _LEEWAY_OBJECTS / files) if files else None,
            "bytes": _LEEWAY if files > _LEEWAY_OBJECTS else None,
        },
        expected_seconds=1 + files // _FILES_PER_SECOND if files else 0,
        undo={"none": "what is removed from a disk is gone"},
        notes=_notes(seen, files, params),
        refusals=_refusals(seen) if changes else (),
    )
    return plan, objects


def _changes(choice):
    parts = [("-", choice.removals), ("~", choice.emptied)]
    listed = min(MAX_GROUPS, len({(op, batch.rule.title) for op, batches in parts for batch in batches}) + 1)
    changes, objects, rest = [], {}, {}
    ops = {id(batch): op for op, batches in parts for batch in batches}
    for batch, position in largest(choice.batches, MAX_ENTRIES - listed):
        key, op = (batch.device, batch.inodes[position]), ops[id(batch)]
        objects[key] = shown(batch.path(batch.names[position]))
        change = {"op": op, "object": objects[key], "bytes": batch.blocks[position] * BLOCK, "group": batch.rule.title}
        changes.append(dict(change, before="open", after="empty") if op == "~" else change)
    changes.sort(key=lambda change: -change["bytes"])
    for op, batches in parts:
        for batch in batches:
            sums = rest.setdefault((op, batch.rule.title), [0, 0])
            sums[0] += len(batch.names)
            sums[1] += sum(batch.blocks) * BLOCK
    for change in changes:
        sums = rest[change["op"], change["group"]]
        sums[0] -= 1
        sums[1] -= change["bytes"]
    for (op, title), (count, size) in rest.items():
        if count:
            objects[op, title] = f"{count:,} more in {title}" + (", emptied" if op == "~" else "")
            entry = {"op": op, "object": objects[op, title], "objects": count, "bytes": size, "group": title}
            changes.append(entry)
    if choice.folders:
        objects["folders"] = f"{len(choice.folders):,} folders that become empty"
        changes.append({"op": "-", "object": objects["folders"], "objects": len(choice.folders), "bytes": 0})
    return changes, objects


def _of_backups(batches):
    return any(batch.rule.kind == "backups" for batch in batches)


def _largest_share(seen):
    """Return the largest share of a root's files that is to go, and which root that is.

    Of caches and temporary files all may go; and of few files a share says nothing.
    """
    going = Counter()
    for batch in seen.choice.removals:
        if batch.rule.kind in ("logs", "backups"):
            going[batch.root.path] += len(batch.names)
    shares = [
        (round(going[root.path] / root.files, 4), clean(root.path))
        for root in seen.roots
        if going[root.path] > SHARE_FROM
    ]
    return max(shares, default=(0, None))


def _caps(files, size, share, share_of, params):
    caps = [
        cap("files", params["max_files"], files, "raise disk_clean_max_files"),
        cap("bytes", params["max_bytes"], size, "raise disk_clean_max_bytes"),
    ]
    if share_of:
        words = "see whether the clock is right, then raise disk_clean_max_share"
        caps.append(cap(f"share of the files in {share_of}", params["max_share"], share, words))
    return caps


def _remains(seen):
    """What will be free, of each file system on which something changes."""
    remains = []
    for device, space in seen.spaces.items():
        here = [batch for batch in seen.choice.batches if batch.root.device == device]
        if here:
            paths = ", ".join(clean(root.path) for root in seen.roots if root.device == device)
            free = space.free_bytes + allocated(here)
            remains.append({"on the disk of": paths, "free_bytes": free, "now_free_bytes": space.free_bytes})
    return remains


def _refusals(seen):
    changed = {batch.root.path for batch in seen.choice.batches}
    return [
        refusal(
            "read_only",
            f"the file system of {clean(root.path)} is read-only",
            override="after an error the kernel makes it so: see dmesg, check the disk, mount it again",
        )
        for root in seen.roots
        if root.path in changed and root.is_read_only
    ]


def _notes(seen, files, params):
    choice, notes = seen.choice, []
    # where the target is met already, old files may well be there
    if not files and not choice.enough:
        notes.append("nothing to remove: no file that the rules mean is old enough and may go")
    notes += _target_notes(seen, params)
    for title, (rows, count) in sorted(choice.kept.items()):
        notes.append(f"kept: {count} of {title}, old as they are, because they are the newest of {_rows(rows)}")
    if choice.emptied:
        count = sum(len(batch.names) for batch in choice.emptied)
        notes.append(
            f"{count} open logs are emptied in place: what they say is lost, the space is free at once; a program that "
            "does not append goes on where it was, behind a hole"
        )
    notes += _held_notes(seen, params)
    for root in seen.roots:
        notes += _root_notes(root)
    if seen.unseen:
        notes.append(f"which files {seen.unseen} processes of other users have open cannot be seen; root can")
    if seen.holder:
        words = "locked now by run {run} of {holder} on {host} since {since}"
        notes.append(words.format(**seen.holder))
    return notes


def _rows(count):
    return "their row" if count == 1 else f"each of {count} rows"


def _target_notes(seen, params):
    if not has_target(params):
        return []
    notes = []
    for device, space in seen.spaces.items():
        paths = ", ".join(clean(root.path) for root in seen.roots if root.device == device)
        wanted_bytes, wanted_inodes = goal(space, params)
        here = [batch for batch in seen.choice.batches if batch.root.device == device]
        free = space.free_bytes + allocated(here)
        inodes = space.free_inodes + sum(len(one.names) for one in seen.choice.removals if one.root.device == device)
        if device in seen.choice.enough:
            notes.append(f"{bytes_text(space.free_bytes)} are free on the disk of {paths}, which is the target")
        elif free < wanted_bytes:
            notes.append(
                f"even then only {bytes_text(free)} of the {bytes_text(wanted_bytes)} that are the target will be free "
                f"on the disk of {paths}: diagnose_disk shows what else is large"
            )
        elif inodes < wanted_inodes:
            notes.append(f"even then only {inodes:,} of {wanted_inodes:,} inodes will be free on the disk of {paths}")
        else:
            notes.append(f"the largest go first, and no more than the target needs on the disk of {paths}")
    return notes


def _held_notes(seen, params):
    held = seen.choice.held
    if not held:
        return []
    held = sorted(held, key=lambda one: -one[3])
    size = sum(blocks for *_, blocks in held) * BLOCK
    names = ", ".join(
        f"{shown(batch.path(name))} by {seen.who(batch.device, inode)}" for batch, name, inode, _ in held[:_SHOWN]
    )
    way = "" if params["truncate_bytes"] is not None else "; disk_clean_truncate_bytes empties open logs"
    return [
        f"kept: {len(held)} old files ({bytes_text(size)}) are open, and removing them would free nothing: {names}{way}"
    ]


def _root_notes(root):
    path, notes = clean(root.path), []
    if root.linked:
        notes.append(f"kept: {root.linked} old files in {path} have several names, and removing one frees nothing")
    if root.future:
        notes.append(f"kept: {root.future} files in {path} are from the future: a clock was wrong when they were made")
    if root.elsewhere:
        names = ", ".join(map(shown, root.elsewhere[:_SHOWN]))
        notes.append(f"not entered: {len(root.elsewhere)} folders in {path} are other file systems or mounts: {names}")
    for why, count in sorted(root.missed.items()):
        notes.append(f"not seen: {count} folders in {path}: {why}")
    if not root.is_complete:
        notes.append(
            f"not all of {path} was looked at, because there is so much of it: what was seen may go, then run again or "
            "raise disk_clean_max_entries and disk_clean_max_seconds"
        )
    return notes
