# SPDX-License-Identifier: MIT
"""Which backup is meant (pure): the newest complete one, the one before a moment, a named one, or what latest means."""

from __future__ import annotations

import difflib
import posixpath

from ansible.module_utils.mendbook.errors import MendError, Nothing, Refused
from ansible.module_utils.mendbook.manifest import moment
from ansible.module_utils.mendbook.s3_backup import iso
from ansible.module_utils.mendbook.s3_errors import place, shown


def choose(found, *, key=None, version_id=None, at=None, latest=False, database=None):
    """Return the Backup that is meant among those of the Catalogue ``found``.

    A named ``key`` (with ``version_id``, else its current version) is taken as it is named; ``latest`` is what the key
    named latest stands for; otherwise it is the newest backup that a manifest calls complete, at or before ``at`` (ISO
    text) when given, and only when there is none the newest that nothing speaks against. With ``database`` those that
    their manifest says to be of others are left out: neighbours under one prefix are no backups of this one.
    Nothing when there is no such backup; Refused (rule incomplete) when the one that is meant is not complete.
    """
    if latest:
        return _usable(_latest(found))
    if key:
        return _usable(_named(found, key, version_id))
    ours = [b for b in found.backups if not _others(b, database)]
    candidates = [b for b in ours if not b.deleted and (at is None or b.finished <= moment(at))]
    for complete in (True, None):
        for backup in candidates:
            if backup.complete is complete:
                return backup
    raise _no_candidate(found, ours, candidates, at, database)


def passed_over(found, chosen, database=None):
    """Return the backups finished later than ``chosen``, which nobody has named, with why each was not taken."""
    return [
        {"key": b.key, "version_id": b.version_id, "finished": iso(b.finished), "reason": _why_not(b, database)}
        for b in found.backups
        if b.finished > chosen.finished
    ]


def _others(backup, database):
    """Return the databases that the backup is of instead of ``database``; empty when it is, or nothing says so."""
    databases = (backup.manifest or {}).get("databases", []) if database else []
    return [] if database in databases else databases


def _why_not(backup, database):
    if backup.deleted:
        return f"deleted at {iso(backup.deleted)}"
    others = _others(backup, database)
    if others:
        return f"it is of another database: {_listed(others)}, not {shown(database)}"
    return backup.reason or "later than what was asked for"


def _listed(names):
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(shown(name) for name in sorted(names)[:10]) + more


def _named(found, key, version_id, named_by=""):
    for pointer in found.pointers:
        if pointer.key == key and not named_by:
            return _pointed(found, pointer)
    versions = [b for b in found.backups if b.key == key]
    if version_id:
        for backup in versions:
            if backup.version_id == version_id:
                return backup
        words = "{0}There is no version {1} of {2}; there are {3}."
        known = ", ".join(shown(b.version_id) for b in versions[:5] if b.version_id) or "no versions"
        raise Nothing(words.format(named_by, shown(version_id), place(found.bucket, key), known), rule="key")
    for backup in versions:
        if backup.current and not backup.deleted:
            return backup
    if versions and versions[0].deleted:
        words = "{0}{1} was deleted at {2}. Its newest version of {3} is still there: name it with version_id {4}."
        newest = versions[0]
        where = place(found.bucket, key)
        msg = words.format(named_by, where, iso(newest.deleted), iso(newest.last_modified), shown(newest.version_id))
        raise Nothing(msg, rule="key")
    if not key.startswith(found.prefix):
        words = "{0}{1} is not under the prefix {2!r}, and only there was looked: set the prefix to where it lies."
        raise Nothing(words.format(named_by, place(found.bucket, key), shown(found.prefix)), rule="key")
    words = "{0}There is no backup {1}. {2}"
    raise Nothing(words.format(named_by, place(found.bucket, key), _nearest(found, key)), rule="key")


def _latest(found):
    candidates = [p for p in found.pointers] + [
        b for b in found.backups if b.current and not b.deleted and posixpath.basename(b.key).split(".")[0] == "latest"
    ]
    if not candidates:
        deleted = [b for b in found.backups if b.deleted and posixpath.basename(b.key).split(".")[0] == "latest"]
        words = "There is no latest under {0}{1}. {2}"
        gone = f" any more: {shown(deleted[0].key)} was deleted at {iso(deleted[0].deleted)}" if deleted else ""
        raise Nothing(words.format(place(found.bucket, found.prefix), gone, _nearest(found, "latest")), rule="latest")
    nearest_to_prefix = min(c.key.count("/") for c in candidates)
    candidates = [c for c in candidates if c.key.count("/") == nearest_to_prefix]
    if len(candidates) > 1:
        words = "Several keys are named latest: {0}. Name the one that is meant with key."
        raise Refused(words.format(", ".join(sorted(shown(c.key) for c in candidates)[:10])), rule="latest")
    return candidates[0] if hasattr(candidates[0], "finished") else _pointed(found, candidates[0])


def _pointed(found, pointer):
    if isinstance(pointer.target, MendError):
        raise pointer.target
    key, version_id = pointer.target
    beside = posixpath.join(posixpath.dirname(pointer.key), key)
    known = {b.key for b in found.backups}
    named_by = f"{place(found.bucket, pointer.key)} names {shown(key)}. "
    # a pointer may say the whole key, or the name of its neighbour
    return _named(found, beside if key not in known and beside in known else key, version_id, named_by)


def _usable(backup):
    if backup.complete is False:
        words = "The backup {0} is not complete: {1}. Choose another with key or at."
        where = place(backup.bucket, backup.key, backup.version_id)
        raise Refused(words.format(where, backup.reason), rule="incomplete")
    return backup


def _no_candidate(found, ours, candidates, at, database):
    where = place(found.bucket, found.prefix)
    if not found.backups:
        return Nothing(f"There is no backup under {where}. Check bucket and prefix.", rule="empty")
    if not ours:
        words = "No backup under {0} is of the database {1}: they are of {2}. Check the name and the prefix."
        others = {name for b in found.backups for name in _others(b, database)}
        return Nothing(words.format(where, shown(database), _listed(others)), rule="source_database")
    if database:
        where += f" of the database {shown(database)}"
    if candidates:
        newest = candidates[0]
        words = "No backup under {0}{1} is complete: all {2} have something against them. The newest, {3}: {4}."
        until = f" at or before {at}" if at else ""
        msg = words.format(where, until, len(candidates), shown(newest.key), newest.reason)
        return Nothing(msg, rule="incomplete")
    if at and any(not b.deleted for b in ours):
        oldest = [b for b in ours if not b.deleted][-1]
        words = "No backup under {0} was finished at or before {1}. The oldest is {2}, of {3}."
        return Nothing(words.format(where, at, shown(oldest.key), iso(oldest.finished)), rule="at")
    words = "Every backup under {0} was deleted. Versions are still there: name one with key and version_id."
    return Nothing(words.format(where), rule="deleted")


def _nearest(found, wanted):
    keys = sorted({b.key for b in found.backups if not b.deleted})
    if not keys:
        return f"Nothing lies under {place(found.bucket, found.prefix)}. Check bucket and prefix."
    name = posixpath.basename(wanted)
    names = {posixpath.basename(k): k for k in keys[:5000]}
    near = [names[n] for n in difflib.get_close_matches(name, names, n=3, cutoff=0.5)]
    newest = next(b for b in found.backups if not b.deleted)
    words = "The nearest keys are {}. ".format(", ".join(shown(k) for k in near)) if near else ""
    return f"{words}The newest is {shown(newest.key)}, of {iso(newest.finished)}."
