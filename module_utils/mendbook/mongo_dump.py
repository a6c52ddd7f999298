# SPDX-License-Identifier: MIT
"""Dump one database as a stream: of one moment, from one member, into the archive that mongorestore reads.

`survey` says what would be read and whether it can be of one moment; `dump` reads it. Documents are never decoded;
memory does not depend on the data.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from . import mongo_dump_survey
from .dump_archive_writer import ArchiveWriter
from .errors import MendError, Refused
from .memory import return_large_blocks, share_one_heap
from .mongo_catalog import catalog
from .mongo_content import manifest_entry, now
from .mongo_dump_errors import in_words
from .mongo_dump_member import member
from .mongo_dump_privileges import ACCESS
from .mongo_dump_read import Job, Reading
from .mongo_dump_survey import Surveyed, listed, shape
from .mongo_dump_window import window_refusal
from .mongo_expect import quoted

survey = mongo_dump_survey.survey
TOOL_VERSION = "mendbook"


@dataclass(frozen=True)
class Dumped:
    """What a dump has written.

    ``cluster_time`` {"t", "i"} of the moment that everything is of, or None; ``consistency`` "snapshot" or
    "per_collection"; ``member`` "host:port"; ``started`` and ``finished`` aware datetimes (UTC); ``collections``
    {"db.name": manifest entry}, an entry that is not of the moment says ``"snapshot": false``; ``documents`` and
    ``bytes`` of BSON, users and roles included; ``access`` {"users", "roles"} how many, None when not asked for;
    ``notes`` texts for the operator and the manifest.
    """

    cluster_time: dict | None
    consistency: str
    member: str
    started: datetime
    finished: datetime
    collections: dict
    documents: int
    bytes: int
    access: dict | None = None
    notes: list = field(default_factory=list)


def dump(
    deployment,
    database,
    survey,
    write,
    *,
    consistency="snapshot",
    readers=2,
    level=1,
    max_bytes_per_second=0,
    estimated_bytes_per_second=None,
    progress=None,
):
    """Write the archive of ``database`` (its name) by ``write(bytes)``, gzip and all, and return the Dumped.

    ``survey`` is the Survey of the same deployment. ``consistency`` "snapshot" reads everything at one cluster time
    (capped collections excepted; a standalone cannot, and says so in the notes), "per_collection" each collection by
    itself. ``readers`` collections are read at a time, the largest first; ``level`` is ISA-L's (0 to 3).
    ``progress(documents, bytes)`` is called as they are written. ``write`` and ``progress`` are called by this thread.

    Raises Refused (rule "window") before the first byte when the snapshot would be gone too early, and MendError:
    rule "changed" (a collection was dropped, renamed, created or altered meanwhile), "window" (the snapshot is gone),
    "member" (the member was restarted or lost), or what mongo_errors has for the driver's other errors.
    """
    asked = "snapshot" if consistency == survey.consistency == "snapshot" else "per_collection"
    refusal = window_refusal(survey, asked, max_bytes_per_second, estimated_bytes_per_second)
    if refusal:
        raise Refused(f"refused: {refusal['msg']}; {refusal['override']}", rule="window", details=refusal)
    share_one_heap()
    return_large_blocks()
    started = now()
    with member(deployment, survey.member, database) as source:
        before = source.incarnation()
        jobs = _jobs(survey, asked)
        reading = Reading(source, deployment, jobs, readers, max_bytes_per_second)
        with in_words(deployment, survey, reading):
            archive = ArchiveWriter(
                write,
                [_listed(survey, one) for one in survey.collections.values()] + _access_listed(survey),
                server_version=survey.server_version,
                tool_version=TOOL_VERSION,
                level=level,
                concurrent_collections=max(4, readers),
            )
            for one in survey.collections.values():
                if one.type == "view":
                    archive.end((database, one.name))
            with closing(iter(reading)) as parts:
                for job, documents in parts:
                    if documents is None:
                        archive.end(job.namespace)
                        continue
                    archive.block(job.namespace, *documents)
                    documents = None  # it may be large, and the next one is there already
                    if progress:
                        progress(reading.documents, reading.bytes)
            _check_unchanged(source, deployment, survey)
            if source.incarnation() != before:
                raise MendError(f"{survey.member.name} was restarted while it was read: run it again", rule="member")
            archive.close()
    return _dumped(survey, source, asked, started, jobs, reading)


def _jobs(survey, consistency):
    """What is read, with every collection's own name in ``job.surveyed``; users and roles have none."""
    snapshot = consistency == "snapshot"
    jobs = [
        Job(
            namespace=(survey.database, one.data_name),
            find={"find": one.data_name, "collectionUUID": one.uuid},
            snapshot=snapshot and not one.capped,
            surveyed=one,
            time_field=_time_field(one, survey.time_fields),
        )
        for one in survey.collections.values()
        if one.type != "view"
    ]
    if survey.users_and_roles:
        for name in ACCESS:
            only = {"db": survey.database} if name != "system.version" else {"_id": "authSchema"}
            jobs.append(
                Job(
                    namespace=(survey.database, f"$admin.{name}"),
                    find={"find": name, "filter": only},
                    snapshot=snapshot,
                    source_database="admin",
                )
            )
    return jobs


def _time_field(one: Surveyed, time_fields):
    return time_fields.get(one.name) or (one.options.get("timeseries") or {}).get("timeField")


def _listed(survey, one: Surveyed):
    metadata: dict[str, Any] = {
        "options": one.options,
        "indexes": one.indexes,
        "uuid": one.uuid.hex if one.type == "collection" else None,
        "collectionName": one.name,
        "type": one.type,
    }
    return {"db": survey.database, "collection": one.name, "metadata": metadata, "type": one.type}


def _access_listed(survey):
    if not survey.users_and_roles:
        return []
    return [{"db": survey.database, "collection": f"$admin.{name}", "metadata": None, "type": ""} for name in ACCESS]


def _check_unchanged(source, deployment, survey):
    """MendError (rule "changed") when the catalogue is not what it was when the dump began."""
    with deployment.deadline():
        seen = catalog(source.database)
    before, entries = survey.collections, listed(survey.database, seen)
    for name in [*before, *(name for name in entries if name not in before)]:
        words = _difference(source, deployment, before.get(name), entries.get(name))
        if words:
            raise MendError(
                f"{quoted(name)} {words} while the database was dumped: run it again when that has ended",
                rule="changed",
                details={"collection": name},
            )


def _difference(source, deployment, before, entry):
    """What has happened to one collection, or None: ``before`` is a Surveyed, ``entry`` what is there now."""
    if entry is None:
        return "was dropped or renamed"
    if before is None:
        return "was created"
    if (entry.uuid, entry.type) != (before.uuid, before.type):
        return "was dropped and made anew, or replaced by another one"
    _specs, found = shape(source.database, entry, deployment.deadline)
    return next((f"got other {what}" for what in ("options", "indexes") if found[what] != before.shape[what]), None)


def _dumped(survey, source, consistency, started, jobs, reading):
    collections = {
        f"{survey.database}.{one.name}": manifest_entry(one.shape)
        for one in survey.collections.values()
        if one.type == "view"
    }
    counted = {job.name: job.total.count for job in jobs}
    for job in jobs:
        # users, roles and system.js are the server's to know: nothing could compare them by a manifest
        if job.surveyed and not job.name.startswith("system."):
            collections[f"{survey.database}.{job.name}"] = manifest_entry(
                job.surveyed.shape,
                counted[job.name] if job.measurements is None else job.measurements,
                job.total,
                job.newest,
                job.time_field,
                snapshot=job.snapshot or consistency != "snapshot",
            )
    moment = source.moment if consistency == "snapshot" else None
    return Dumped(
        cluster_time={"t": moment.time, "i": moment.inc} if moment else None,
        consistency=consistency,
        member=survey.member.name,
        started=started,
        finished=now(),
        collections=dict(sorted(collections.items())),
        documents=reading.documents,
        bytes=reading.bytes,
        access={kind: counted[f"$admin.system.{kind}"] for kind in ("users", "roles")}
        if survey.users_and_roles
        else None,
        notes=[*survey.notes, *_notes(survey, consistency)],
    )


def _notes(survey, consistency):
    """What is not of one moment, and why."""
    if survey.no_snapshot:
        return [survey.no_snapshot]
    if consistency != "snapshot":
        return ["each collection is as it was when its turn came, not all of one moment"]
    if survey.outside:
        names = ", ".join(quoted(name) for name in survey.outside)
        return [f"capped collections cannot be read in a snapshot and are as they were when their turn came: {names}"]
    return []
