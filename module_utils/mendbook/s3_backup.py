# SPDX-License-Identifier: MIT
"""One backup in a bucket, and the judgement whether it is complete (pure: listings and manifests in, backups out)."""

from __future__ import annotations

import dataclasses
import datetime
import posixpath

from ansible.module_utils.mendbook import manifest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_errors import shown

# clocks of the writer and of S3 may differ; a manifest cannot have been written before the backup was finished
CLOCK_TOLERANCE = datetime.timedelta(minutes=5)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One version of one object as listed; ``deleted`` is the moment of the delete marker above it, or None."""

    key: str
    version_id: str | None
    etag: str
    size: int
    last_modified: datetime.datetime
    current: bool = True
    deleted: datetime.datetime | None = None
    storage_class: str | None = None


@dataclasses.dataclass(frozen=True)
class DeleteMarker:
    """A delete marker as listed; ``current`` when it hides its key, otherwise a version lies above it."""

    key: str
    version_id: str
    last_modified: datetime.datetime
    current: bool = True


@dataclasses.dataclass(frozen=True)
class ReadManifest:
    """A manifest object that was fetched: its parsed content, or the MendError that says why there is none."""

    entry: Entry
    content: dict | MendError


@dataclasses.dataclass(frozen=True)
class Backup:
    """One version of one backup.

    ``complete`` is True (a manifest beside it agrees), False (``reason`` says why) or None (cannot be known). Times
    are aware datetimes; ``size`` is bytes; ``manifest`` is without its collections until read_manifest() fetched it.
    """

    bucket: str
    key: str
    version_id: str | None
    etag: str | None
    size: int | None
    last_modified: datetime.datetime
    finished: datetime.datetime
    finished_from: str
    sha256: str | None
    complete: bool | None
    reason: str | None
    notes: tuple[str, ...] = ()
    manifest: dict | None = None
    manifest_entry: Entry | None = None
    current: bool = True
    deleted: datetime.datetime | None = None
    storage_class: str | None = None

    def to_facts(self, now):
        """Return the backup as JSON-able facts; ages are seconds before ``now`` (an aware datetime)."""
        described = self.manifest or {}
        facts = {
            name: getattr(self, name)
            for name in ("bucket", "key", "version_id", "etag", "finished_from", "sha256", "complete", "reason")
        }
        facts.update(
            size_bytes=self.size,
            last_modified=iso(self.last_modified),
            finished=iso(self.finished),
            age_seconds=int((now - self.finished).total_seconds()),
            notes=list(self.notes),
            current=self.current,
            deleted=self.deleted and iso(self.deleted),
            storage_class=self.storage_class,
            manifest={
                name: described.get(name)
                for name in ("tool", "source", "started", "cluster_time", "consistency", "collection_count")
            }
            if self.manifest
            else None,
        )
        return facts


def iso(moment):
    """Return a moment as 2026-11-20T00:00:00Z."""
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def judge_key(bucket, entries, manifests):
    """Return the backups of one key: ``entries`` newest first, and its ``manifests`` (ReadManifest) newest first."""
    of_entry = {}
    # a manifest that names its version goes first: one whose version is gone must not take the place of another's own
    for find in (_named, _described):
        for read in manifests:
            entry = find(entries, read)
            if entry is not None:
                of_entry.setdefault(entry.version_id, read)
    return [_judge(bucket, entry, of_entry.get(entry.version_id)) for entry in entries]


def missing_object(bucket, key, read):
    """Return the incomplete backup that stands for a manifest whose object is not there."""
    content = read.content if isinstance(read.content, dict) else None
    return Backup(
        bucket=bucket,
        key=key,
        version_id=None,
        etag=None,
        size=None,
        last_modified=read.entry.last_modified,
        finished=read.entry.last_modified,
        finished_from="last_modified",
        sha256=None,
        complete=False,
        reason="its manifest is here, the object is not",
        manifest=content,
        manifest_entry=read.entry,
    )


def _named(entries, read):
    """Return the entry whose version a manifest names, or None."""
    named = read.content["object"].get("version_id") if isinstance(read.content, dict) else None
    return next((entry for entry in entries if named and entry.version_id == named), None)


def _described(entries, read):
    """Return the entry that a manifest is about: the version it names, else the newest that was there before it."""
    named = _named(entries, read)
    if named:
        return named
    for entry in entries:
        if entry.last_modified <= read.entry.last_modified:
            return entry
    # a copied bucket: manifests may arrive before their objects
    return entries[0] if entries else None


def _judge(bucket, entry, read):
    complete, reason, notes = _verdict(entry, read)
    content = read.content if read and isinstance(read.content, dict) else None
    return Backup(
        bucket=bucket,
        key=entry.key,
        version_id=entry.version_id,
        etag=entry.etag,
        size=entry.size,
        last_modified=entry.last_modified,
        finished=manifest.moment(content["finished"]) if complete else entry.last_modified,
        finished_from="manifest" if complete else "last_modified",
        sha256=content["object"]["sha256"] if content else None,
        complete=complete,
        reason=reason,
        notes=notes,
        manifest=content,
        manifest_entry=read.entry if read else None,
        current=entry.current,
        deleted=entry.deleted,
        storage_class=entry.storage_class,
    )


def _verdict(entry, read):
    """Return (complete, reason, notes) of an entry and the manifest that describes it, if any."""
    if entry.size == 0:
        return False, "it has 0 bytes", ()
    if read is None:
        return None, "no manifest beside it, so whether it is complete cannot be known", ()
    if isinstance(read.content, MendError):
        return False, read.content.msg.rstrip("."), ()
    described = read.content["object"]
    if posixpath.basename(described["key"]) != posixpath.basename(entry.key):
        return False, "its manifest is about another object, {}".format(shown(described["key"])), ()
    if described["size"] != entry.size:
        return False, "it has {} bytes, its manifest says {}".format(entry.size, described["size"]), ()
    finished = manifest.moment(read.content["finished"])
    if finished > read.entry.last_modified + CLOCK_TOLERANCE:
        words = "its manifest says it was finished at {0}, but was itself written at {1}"
        return False, words.format(iso(finished), iso(read.entry.last_modified)), ()
    started = read.content.get("started")
    if started and manifest.moment(started) > finished:
        return False, "its manifest says it was started after it was finished", ()
    notes = []
    if described["key"] != entry.key:
        notes.append("its manifest was written for the key {}: it was moved or copied".format(shown(described["key"])))
    if described.get("version_id") and entry.version_id and described["version_id"] != entry.version_id:
        notes.append("its manifest names another version: only its SHA-256 can tell that it is the same")
    return True, None, tuple(notes)
