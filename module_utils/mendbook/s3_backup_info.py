# SPDX-License-Identifier: MIT
"""What mend_s3_backup_info tells: the catalogue, the backup that would be taken, and whether its bytes are right."""

from __future__ import annotations

import contextlib
import datetime
import time

from ansible.module_utils.mendbook import s3
from ansible.module_utils.mendbook.errors import MendError, VerifyFailed
from ansible.module_utils.mendbook.s3_catalogue import catalogue, read_manifest
from ansible.module_utils.mendbook.s3_choice import choose, passed_over
from ansible.module_utils.mendbook.s3_options import check_pick
from ansible.module_utils.mendbook.s3_reference import reference
from ansible.module_utils.mendbook.s3_stream import ObjectSource

MAX_NAMESPACES = 1000


class BackupInfo:
    """The reading procedure behind the module; ``params`` are its options."""

    def __init__(self, params):
        self._params = params

    @contextlib.contextmanager
    def open(self, params):
        """Yield the S3 client."""
        check_pick(params)
        if params["limit"] < 1:
            raise MendError("S3 options: limit must be at least 1.", rule="options")
        with s3.connect(params) as client:
            yield client

    def observe(self, client):
        """Return the facts of the module's RETURN; MendError has what helps to choose another backup in its details."""
        params = self._params
        now = datetime.datetime.now(datetime.timezone.utc)
        found = catalogue(client, params["bucket"], params["prefix"], pattern=params["pattern"], params=params)
        facts = _catalogue_facts(found, now, params["limit"])
        try:
            chosen = choose(
                found,
                key=params["key"],
                version_id=params["version_id"],
                at=params["at"],
                latest=params["latest"],
                database=params["database"],
            )
            chosen = read_manifest(client, chosen, params)
            facts["chosen"] = _chosen_facts(chosen, now)
            # what was named was taken by its name, and nothing was passed over for it
            named = params["key"] or params["latest"]
            facts["passed_over"] = [] if named else passed_over(found, chosen, params["database"])[: params["limit"]]
            facts["verified"] = verify(client, chosen, params) if params["verify"] else None
        except MendError as error:
            error.details = dict(_short(facts), **error.details)
            raise
        return facts


def verify(client, backup, params):
    """Read every byte of a backup and return what that showed; VerifyFailed when they are not the promised ones."""
    known = reference(client, backup, params, whole_multipart=True)
    source = ObjectSource(client, backup, params, known)
    began = time.monotonic()
    try:
        for _part in source:
            pass
    except VerifyFailed as error:
        error.details = dict(error.details, verified=_verified_facts(source, known, "differs", began))
        raise
    return _verified_facts(source, known, "matches" if known.name else "nothing to compare with", began)


def _short(facts):
    """Return the part of the facts that a person who reads a failure needs."""
    columns = ("key", "version_id", "finished", "complete", "reason")
    newest = [{column: backup[column] for column in columns} for backup in facts["backups"][:10]]
    return {"counts": facts["counts"], "notes": facts["notes"], "newest": newest}


def _verified_facts(source, known, result, began):
    return {
        "result": result,
        "compared_with": known.name,
        "why_not": known.why,
        "sha256": source.sha256,
        "read_bytes": source.bytes_read,
        "seconds": round(time.monotonic() - began, 3),
    }


def _catalogue_facts(found, now, limit):
    counts = {"complete": 0, "incomplete": 0, "unknown": 0, "deleted": 0}
    for backup in found.backups:
        word = {True: "complete", False: "incomplete", None: "unknown"}[backup.complete]
        counts["deleted" if backup.deleted else word] += 1
    return {
        "bucket": found.bucket,
        "prefix": found.prefix,
        "counts": counts,
        "backups": [backup.to_facts(now) for backup in found.backups[:limit]],
        "pointers": [
            {
                "key": pointer.key,
                "names": None if isinstance(pointer.target, MendError) else pointer.target[0],
                "problem": pointer.target.msg if isinstance(pointer.target, MendError) else None,
            }
            for pointer in found.pointers[:limit]
        ],
        "notes": found.notes,
    }


def _chosen_facts(chosen, now):
    facts = chosen.to_facts(now)
    collections = (chosen.manifest or {}).get("collections") or {}
    facts["collections"] = {
        namespace: {field: described.get(field) for field in ("type", "count", "newest")}
        for namespace, described in sorted(collections.items())[:MAX_NAMESPACES]
    }
    return facts
