# SPDX-License-Identifier: MIT
"""What is deleted for each backup that goes, in which order, and what earlier runs have left (pure).

The object goes before its manifest. A run that is killed in between leaves a manifest without its object, which
nothing takes for a backup and which the next run removes. The other way round an object would be left of which nobody
can say whether it is whole, and under a key of the operator's own not even that it is a backup.
"""

from __future__ import annotations

import dataclasses

from ansible.module_utils.mendbook import manifest, s3_mark
from ansible.module_utils.mendbook.plan_text import age_text
from ansible.module_utils.mendbook.s3_backup import Entry, iso
from ansible.module_utils.mendbook.s3_drill_record import is_record
from ansible.module_utils.mendbook.s3_series import is_ours

MARKS = "marks of dead runs"
RECORDS = "records of drills without proof"
MANIFESTS = "manifests without their version"
MARKERS = "delete markers"
LOCKS = "versions of the lock"
# the mark of a run that lives is renewed every hour, and a lock three times a minute
MARK_SECONDS = 86400


@dataclasses.dataclass(frozen=True)
class Removal:
    """One entry of the plan: ``pieces`` (Entry and DeleteMarker) are deleted in their order.

    ``key`` is the backup's, which must not be in use; None where no backup goes with it.
    """

    object: str
    group: str
    reason: str
    pieces: tuple
    key: str | None = None
    before: dict | None = None

    @property
    def bytes(self):
        return sum(getattr(piece, "size", 0) for piece in self.pieces)


class Listed:
    """What was listed, by key; ``versions`` says whether older versions and delete markers are looked at, too."""

    def __init__(self, entries, markers, versions):
        self.versions = versions
        self.entries, self.markers = {}, {}
        for entry in entries:
            if versions or (entry.current and not entry.deleted):
                self.entries.setdefault(entry.key, []).append(entry)
        for marker in markers if versions else ():
            self.markers.setdefault(marker.key, []).append(marker)

    def all_of(self, key):
        """Return every piece of a key: its versions, the oldest first, and then its delete markers.

        In this order nothing that was deleted or replaced comes to life again.
        """
        return (*reversed(self.entries.get(key, ())), *self.markers.get(key, ()))

    def keys(self):
        return sorted(set(self.entries) | set(self.markers))


def backup_removals(verdicts, listed):
    """Return the Removals of the Verdicts that go, the oldest first, so that a stop at any point keeps the newest."""
    staying = {verdict.backup.key for verdict in verdicts if not verdict.goes}
    by_key = {}
    for verdict in sorted((v for v in verdicts if v.goes), key=lambda v: (v.backup.finished, v.backup.last_modified)):
        by_key.setdefault(verdict.backup.key, []).append(verdict)
    removals = []
    for key, going in by_key.items():
        order = {entry.version_id: number for number, entry in enumerate(listed.all_of(key))}
        going.sort(key=lambda v: order.get(v.backup.version_id, -1))
        for verdict in going[:-1]:
            removals.append(_backup_removal(verdict, listed, [verdict.backup.manifest_entry]))
        last, beside = going[-1], [going[-1].backup.manifest_entry]
        if key not in staying:
            # with its last version everything goes that is about the key
            own = {verdict.backup.manifest_entry for verdict in going[:-1]}
            manifests = listed.all_of(manifest.manifest_key(key))
            beside = [*listed.markers.get(key, ()), *(piece for piece in manifests if piece not in own)]
        removals.append(_backup_removal(last, listed, beside))
    return removals


def leftover_removals(verdicts, removals, listed, records, rules, now):
    """Return the Removals of what lies beside backups and is of no use to anybody any more."""
    taken = {piece for removal in removals for piece in removal.pieces}
    attached = {verdict.backup.manifest_entry for verdict in verdicts}
    judged = {verdict.backup.key for verdict in verdicts}
    staying = {verdict.backup.key for verdict in verdicts if not verdict.goes}
    going = {removal.key for removal in removals} - staying
    proofs = {(record.key, record.run) for record in records if record.verified}
    found = []
    for key in listed.keys():
        pieces = tuple(piece for piece in listed.all_of(key) if piece not in taken)
        if not pieces:
            continue
        age = (now - max(piece.last_modified for piece in pieces)).total_seconds()
        about, mark = manifest.object_key(key), s3_mark.parse_key(key)
        if mark and mark[1] == s3_mark.IN_USE and age > MARK_SECONDS:
            found.append(Removal(key, MARKS, f"run {mark[2]} has not renewed it for {age_text(age)}", pieces))
        elif mark and is_record(pieces[0]):
            gone = mark[0] in going or mark[0] not in listed.entries
            if gone and (mark[0], mark[2]) not in proofs and age > rules.max_age:
                found.append(Removal(key, RECORDS, f"its backup is gone, it is {age_text(age)} old", pieces))
        elif s3_mark.is_lock(key):
            # each renewal has left one
            old = (p for p in pieces if (now - p.last_modified).total_seconds() > MARK_SECONDS)
            stale = tuple(p for p in old if isinstance(p, Entry) and not p.current)
            if stale:
                found.append(Removal(key, LOCKS, f"{len(stale)} of runs that have ended", stale))
        elif about in staying:
            # versions of a manifest that are about no version of the object that is there
            stale = tuple(p for p in pieces if isinstance(p, Entry) and not p.current and p not in attached)
            if stale and age > rules.unfinished_age:
                found.append(Removal(key, MANIFESTS, "the versions of the object are gone", stale))
        elif about and about not in listed.entries and about not in judged and key in listed.entries:
            if age > rules.unfinished_age:
                found.append(Removal(key, MANIFESTS, "its object was deleted", pieces))
        elif key not in listed.entries and (about or mark or is_ours(key) or listed.all_of(manifest.manifest_key(key))):
            found.append(Removal(key, MARKERS, "there is nothing any more that they hide", pieces))
    return found


def _backup_removal(verdict, listed, beside):
    backup = verdict.backup
    pieces = [entry for entry in listed.entries.get(backup.key, ()) if entry.version_id == backup.version_id]
    pieces += [piece for piece in beside if piece is not None]
    return Removal(
        object=backup.key + (f" (version {backup.version_id})" if backup.version_id else ""),
        group=verdict.group,
        reason=verdict.due,
        pieces=tuple(pieces),
        key=backup.key,
        before={"finished" if backup.complete else "written": iso(backup.finished), "because": verdict.due},
    )
