# SPDX-License-Identifier: MIT
"""What mend_disk_info tells: how full the disks are, what takes the space, and who holds what is deleted."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial

from . import disk_mounts, host
from .disk_ask import SILENT, ask
from .disk_logs import PLACES, logs
from .disk_open import deleted_open
from .disk_space import MAX_NAME, look
from .disk_verdicts import judged, summary, unexplained, verdicts
from .disk_walk import walk
from .errors import Nothing, Refused
from .plan_text import clean
from .verdicts import culprit, overall, require

_FSTAB = "/etc/fstab"
# the logs are few beside all else
_LOG_SECONDS = 10
_ASKED = {"largest": "the largest folders", "deleted_open": "deleted files", "logs": "the logs"}


class DiskInfo:
    """The reading procedure of mend_disk_info (change.py says what each method promises)."""

    def __init__(self, params):
        self.params = params

    @contextmanager
    def open(self, params):
        if params["limit"] < 1:
            raise Refused("limit is the length of each list, 1 or more", rule="limit")
        if params["path"] is not None and not os.path.isabs(params["path"]):
            raise Refused(f"path must be absolute, and {clean(params['path'])} is not", rule="path")
        with open(disk_mounts.MOUNTINFO, "rb") as file:
            yield disk_mounts.parse(file.read())

    def observe(self, mounts):
        visible = disk_mounts.visible(mounts)
        rows = look(mounts, self.params["timeout_seconds"])
        start, unseen = self._start(rows, visible)
        works = {"deleted_open": partial(deleted_open, self.params["limit"])}
        seconds = self.params["walk_seconds"]
        if seconds:
            works["logs"] = partial(logs, PLACES, min(seconds, _LOG_SECONDS), self.params["limit"])
            if start is not None:
                points = disk_mounts.points_below(start, visible)
                works["largest"] = partial(walk, start, points, seconds, self.params["limit"])
        seen = {"deleted_open": {}, "logs": {}, "largest": {}}
        # each of them says something every second, as long as the disk answers
        for name, answer in ask(works, self.params["timeout_seconds"] + 1):
            if answer is SILENT:
                unseen.append(f"{_ASKED[name]}: no answer any more; what was seen until then is shown")
            else:
                seen[name] = answer
        seen["deleted_open"] = _deleted(seen["deleted_open"], visible)
        seen["logs"] = _logs(seen["logs"], self.params["min_log_bytes"])
        seen["largest"] = _largest(seen["largest"], rows, visible, seen["deleted_open"])
        seen.update(file_systems=rows, wished_read_only=_wished_read_only(), unseen=unseen + _unseen(seen, seconds))
        return self._facts(seen)

    def _start(self, rows, visible):
        """Return where to look for the largest (None: nowhere), and what to say when that is not what was wanted."""
        path = self.params["path"]
        if path is None:
            fullest = _fullest(rows, self.params["ignore"])
            if fullest is None:
                return None, ["no file system's largest folders were looked for: none is a disk"]
            return fullest["path"], []
        answers = [answer for _, answer in ask({path: partial(_resolve, path)}, self.params["timeout_seconds"])]
        problem = "no answer" if answers[0] is SILENT else answers[0]["problem"]
        if problem:
            raise Nothing(f"nothing to look at: {clean(path)}: {problem}", rule="path")
        path = answers[0]["path"]
        mount = disk_mounts.mount_of(path, visible)
        if mount and disk_mounts.may_hang(mount, visible):
            raise Refused(
                f"{clean(path)} lies on a file system of another machine or of a program ({clean(mount.type)}), whose "
                "files are not read here: run this where its disk is",
                rule="remote",
            )
        return path, []

    def _facts(self, seen):
        found = verdicts(seen, self.params)
        facts = {
            "verdict": overall(found),
            "culprit": culprit(found),
            "verdicts": found,
            "target": host.target(),
            **{name: seen[name] for name in ("largest", "deleted_open", "logs", "unseen")},
        }
        facts["summary"] = summary(seen, found, facts)
        own = ("path", "is_folder", "no_answer")
        facts["file_systems"] = [
            {name: value for name, value in row.items() if name not in own} for row in seen["file_systems"]
        ]
        if self.params["fail"]:
            require(found, {name: facts[name] for name in ("summary", "verdicts", "culprit")})
        return facts


def _resolve(path):
    """Yield where a path leads, or why there is nothing to read."""
    try:
        real = os.path.realpath(path)
        os.scandir(real).close()
        yield {"path": real, "problem": None}
    except OSError as error:
        yield {"path": path, "problem": error.strerror}


def _fullest(rows, ignored):
    """The file system to look at when none is named: the fullest disk, by space or by inodes."""
    disks = [
        one
        for one in judged(rows, ignored)
        if one["kind"] in ("disk", "overlay") and one["size_bytes"] and one["is_folder"]
    ]
    return max(disks, key=lambda one: max(one["used_share"], one["inodes_used_share"] or 0), default=None)


def _wished_read_only():
    try:
        with open(_FSTAB, encoding="utf-8", errors="surrogateescape") as file:
            return disk_mounts.wished_read_only(file.read())
    except OSError:
        return set()


def _deleted(held, visible):
    """The deleted files with the mount that they lie on, as far as it is one of ours."""
    if not held:
        return {}
    points = {group[0].device: clean(group[0].point, MAX_NAME) for group in disk_mounts.file_systems(visible)}
    for one in held["largest"]:
        one["path"] = clean(one["path"], MAX_NAME)
        one["mount"] = points.get(one.pop("device"))
        for holder in one["holders"]:
            holder.update({name: holder[name] and clean(holder[name]) for name in ("command", "unit", "container")})
    by_mount = {points[int(device)]: size for device, size in held.pop("by_device").items() if int(device) in points}
    # without root's rights other users' processes may not even be listed
    is_complete = held["is_complete"] and not held["unseen_processes"] and os.geteuid() == 0
    return {**held, "by_mount": by_mount, "is_complete": is_complete}


def _logs(found, min_bytes):
    if not found:
        return {}
    largest = [{**one, "path": clean(one["path"], MAX_NAME)} for one in found["largest"]]
    not_rotated = [one for one in largest if not one["is_rotated"] and one["bytes"] >= min_bytes]
    return {**found, "largest": largest, "not_rotated": not_rotated}


def _largest(found, rows, visible, held):
    """What was found to be largest, with names that can be printed, and what of the space is still not explained."""
    if not found:
        return {}
    mount = disk_mounts.mount_of(found["path"], visible)
    row = next((one for one in rows if mount and one["path"] == mount.point), None)
    for name in ("files", "folders", "most_files", "hidden", "unseen"):
        found[name] = [{**one, "path": clean(one["path"], MAX_NAME)} for one in found[name]]
    # an overlay has the numbers of the disk that it writes to, on which others lie, too
    is_whole = bool(row) and row["kind"] != "overlay" and mount.root == "/" and mount.point == found["path"]
    found.update(
        path=clean(found["path"], MAX_NAME),
        mount=row and row["mount"],
        used_bytes=row and row["used_bytes"],
        is_whole=is_whole,
    )
    found["unexplained_bytes"] = unexplained(row, found, held) if row else None
    found.pop("device")
    return found


def _unseen(seen, seconds):
    """What was not seen, as sentences."""
    lines = []
    largest, held, found_logs = seen["largest"], seen["deleted_open"], seen["logs"]
    if largest and largest["unseen_count"]:
        reasons = ", ".join(f"{count} times {why}" for why, count in largest["unseen_count"].items())
        some = ", ".join(one["path"] for one in largest["unseen"][:5])
        lines.append(f"not all of {largest['path']} was read in {seconds} s ({reasons}), among it {some}")
    if largest and not largest["links_told"]:
        lines.append(f"so many hard links lie in {largest['path']} that some of them were counted twice")
    if held and not held["is_complete"]:
        lines.append(f"open files of {held['unseen_processes']} processes were not seen: that needs root (become)")
    if found_logs and found_logs["unseen_folders"]:
        lines.append(f"{found_logs['unseen_folders']} folders of logs were not seen: that needs root (become)")
    return lines
