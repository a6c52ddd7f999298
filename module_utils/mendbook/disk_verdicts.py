# SPDX-License-Identifier: MIT
"""What a look at the disks means: a verdict for each threshold, and what is to blame. Pure."""

from __future__ import annotations

from .plan_text import bytes_text, clean
from .verdicts import line, verdict

# the thresholds, with what they are worth unless an option says otherwise
LIMITS = {
    "max_used_share": 0.9,
    "min_free_bytes": 0,
    "max_inodes_share": 0.9,
    "max_deleted_open_bytes": 1_000_000_000,
    "max_read_only": 0,
}
_LISTED = 5
_WORTH_SAYING = 10_000_000
# so much of a file system may lie in what is no file of it: its own tables, files that grow while they are read
_UNEXPLAINED_SHARE = 0.05


def judged(rows, ignored):
    """Return the file systems that thresholds are for: neither images, which are full by nature, nor ignored ones."""
    return [one for one in rows if one["kind"] != "image" and one["path"] not in ignored]


def verdicts(seen, params):
    """Return the verdicts (verdicts.py) on a look; those on a file system have its ``mount``.

    ``seen`` has file_systems, largest, deleted_open (each {} when it was not read) and wished_read_only; ``params`` has
    the thresholds of LIMITS, and ignore.
    """
    found = []
    rows = judged(seen["file_systems"], params["ignore"])
    for one in rows:
        found += _of_file_system(one, seen["largest"], params)
    found.append(_of_deleted(seen["deleted_open"], params["max_deleted_open_bytes"]))
    stuck = [one["mount"] for one in rows if _is_stuck(one, seen["wished_read_only"])]
    says = f"read-only: {', '.join(stuck[:_LISTED])}" if stuck else "all take writes that are to"
    found.append(verdict("max_read_only", len(stuck), params["max_read_only"], says))
    return found


def _of_deleted(held, limit):
    value = held.get("bytes")
    says = "not read" if value is None else f"{bytes_text(value)} are deleted and still open"
    if value is not None and value <= limit and not held["is_complete"]:
        # what is not seen is not called good
        value, says = None, f"{says}, as far as this user may see"
    return verdict("max_deleted_open_bytes", value, limit, says, _holder(held), no_answer=not held)


def _is_stuck(one, wished):
    return one["read_only"] and one["kind"] == "disk" and one["path"] not in wished


def _of_file_system(one, largest, params):
    mount, found = one["mount"], []
    is_walked = largest.get("mount") == mount

    def add(check, value, says, lists, **facts):
        blamed = next(iter(largest[lists]), None) if is_walked else None
        found.append(verdict(check, value, params[check], f"{mount}: {says}", blamed, mount=mount, **facts))

    if one["size_bytes"] is None:
        add("max_used_share", None, one["problem"], "folders", no_answer=one["no_answer"])
        return found
    size, free = bytes_text(one["size_bytes"]), bytes_text(one["free_bytes"])
    says = f"{one['used_share']:.0%} used, {free} of {size} free"
    add("max_used_share", one["used_share"], says, "folders")
    if params["min_free_bytes"]:
        add("min_free_bytes", one["free_bytes"], says, "folders")
    if one["inodes"]:
        says = f"{one['inodes_used_share']:.0%} of its inodes used, {one['inodes_free']} free"
        add("max_inodes_share", one["inodes_used_share"], says, "most_files")
    return found


def _holder(held):
    if not held.get("largest"):
        return None
    first = held["largest"][0]
    holder = first["holders"][0]
    return {
        "path": first["path"],
        "bytes": first["bytes"],
        **{name: holder[name] for name in ("command", "pid", "unit", "container")},
    }


def blamed(culprit):
    """Return a culprit in a few words; None for none."""
    if not culprit:
        return None
    if "pid" in culprit:
        return f"{holder_text(culprit)} with {bytes_text(culprit['bytes'])}"
    return f"{culprit['path']} ({bytes_text(culprit['bytes'])}, {culprit['inodes']} inodes)"


def holder_text(holder):
    """Return who holds a file, as a person says it."""
    home = f"container {holder['container'][:12]}" if holder["container"] else holder["unit"]
    return f"{holder['command'] or 'a process'} (pid {holder['pid']}{f', {home}' if home else ''})"


def unexplained(row, largest, held):
    """Return the bytes in use on a file system that lie in none of its files; None when not all of it was read."""
    if not largest["is_complete"] or not largest["is_whole"] or row["used_bytes"] is None:
        return None
    return max(0, row["used_bytes"] - largest["bytes"] - held.get("by_mount", {}).get(row["mount"], 0))


def summary(seen, found, facts):
    """Return the whole in a few sentences for a person, each a printable line."""
    rows = judged(seen["file_systems"], ())
    lines = [f"{facts['target']['id']}: {len(rows)} file systems"]
    for one in rows[:_LISTED]:
        if one["size_bytes"] is not None:
            inodes = "" if one["inodes"] is None else f", {one['inodes_used_share']:.0%} of inodes"
            mode = ", read-only" if one["read_only"] else ""
            size = f"{bytes_text(one['free_bytes'])} of {bytes_text(one['size_bytes'])} free"
            lines.append(f"{one['mount']}: {one['used_share']:.0%} used, {size}{inodes}{mode} ({one['type']})")
    bad = [one for one in found if one["verdict"] != "ok"]
    lines += [line(one, blamed(one["culprit"])) for one in bad]
    if not bad:
        lines.append(f"ok: all {len(found)} thresholds are kept")
    for part in (_largest_lines(seen["largest"]), _held_lines(seen["deleted_open"]), _log_lines(seen["logs"])):
        lines += part
    return [clean(text, 400) for text in lines + seen["unseen"]]


def _largest_lines(largest):
    if not largest:
        return []
    lines = []
    for name, words in (("folders", "folders"), ("files", "files")):
        lines.append(f"largest {words} below {largest['path']}:")
        lines += [f"  {bytes_text(one['bytes'])} {one['path']}" for one in largest[name][:_LISTED]]
    for one in largest["hidden"][:_LISTED]:
        if one["bytes"] >= _WORTH_SAYING:
            lines.append(f"{bytes_text(one['bytes'])} lie hidden under what is mounted at {one['path']}")
    spare = largest["unexplained_bytes"] or 0
    if spare > _UNEXPLAINED_SHARE * (largest["used_bytes"] or 0):
        lines.append(f"{bytes_text(spare)} of {largest['mount']} are in use and lie in none of its files")
    return lines


def _held_lines(held):
    shown = [one for one in held.get("largest", ())[:_LISTED] if one["bytes"]]
    return [
        f"deleted, still open: {one['path']} {bytes_text(one['bytes'])}, held by {holder_text(one['holders'][0])}"
        for one in shown
    ]


def _log_lines(logs):
    lines = []
    for one in logs.get("places", ()):
        lines.append(f"{one['kind']}s in {one['path']}: {bytes_text(one['bytes'])}")
    for one in logs.get("not_rotated", ())[:_LISTED]:
        lines.append(f"not rotated: {one['path']} {bytes_text(one['bytes'])}")
    return lines
