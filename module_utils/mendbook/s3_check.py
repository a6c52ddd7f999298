# SPDX-License-Identifier: MIT
"""What mend_s3_backup_check tells: whether there are backups, new enough, as large as ever, and proven."""

from __future__ import annotations

import contextlib
import datetime
import fnmatch
import posixpath
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.mendbook import s3
from ansible.module_utils.mendbook.errors import MendError, VerifyFailed
from ansible.module_utils.mendbook.s3_backup import iso
from ansible.module_utils.mendbook.s3_catalogue import catalogue
from ansible.module_utils.mendbook.s3_check_rules import (
    FAILED,
    IN_THE_MAKING,
    OK,
    WARNING,
    Limits,
    check_row,
    make_row,
    verdict,
    worst,
)
from ansible.module_utils.mendbook.s3_check_text import exposition
from ansible.module_utils.mendbook.s3_clock import TOLERANCE_SECONDS, store_clock
from ansible.module_utils.mendbook.s3_drill_record import read_records
from ansible.module_utils.mendbook.s3_errors import place, shown, status_of
from ansible.module_utils.mendbook.s3_new import is_made_here
from ansible.module_utils.mendbook.s3_prune_rules import is_backup, is_live
from ansible.module_utils.mendbook.s3_series import row_name, rows, series

UPLOAD_AGE = datetime.timedelta(days=1)
# each costs a request
MAX_STRANGERS = 20
READERS = 8


class BackupCheck:
    """The reading procedure behind the module; ``params`` are its options."""

    def __init__(self, params):
        self._params = params
        self.warnings = []

    @contextlib.contextmanager
    def open(self, params):
        """Yield the S3 client."""
        check_limits(params)
        with s3.connect(params) as client:
            yield client

    def observe(self, client):
        """Return the facts of the module's RETURN; VerifyFailed with the same facts when a check has failed."""
        params, bucket, prefix = self._params, self._params["bucket"], self._params["prefix"]
        clock = store_clock(client, bucket)
        found = catalogue(client, bucket, prefix, pattern=params["pattern"], params=params)
        records, notes = read_records(client, bucket, found.entries, params)
        records = [record for record in records if self._matches(record.key)]
        rows = _rows([backup for backup in found if is_backup(backup)], records)
        limits = _limits(params)
        now = clock.now()
        checks = [entry for row in rows for entry in check_row(row, limits, now)]
        if not rows:
            checks.append(_none(found))
        checks.append(_clock(clock))
        uploads, unseen = self._uploads(client, now)
        checks += uploads
        leftovers, unlooked = self._leftovers(client, found, now)
        checks.append(leftovers)
        facts = {
            "bucket": bucket,
            "prefix": prefix,
            "checked": iso(now),
            "checked_timestamp": int(now.timestamp()),
            "status": worst(checks),
            "checks": checks,
            "series": [_row_facts(row, limits, now) for row in rows],
            "notes": [*found.notes, *notes, *unseen, *unlooked],
        }
        if params["prometheus"]:
            facts["prometheus"] = exposition(facts)
        self.warnings = [_sentence(entry) for entry in checks if entry["status"] == WARNING]
        failed = [_sentence(entry) for entry in checks if entry["status"] == FAILED]
        if failed:
            raise VerifyFailed(f"{place(bucket, prefix)}: {'; '.join(failed)}.", rule="check", details=facts)
        return facts

    def _matches(self, key):
        return fnmatch.fnmatchcase(posixpath.basename(key), self._params["pattern"])

    def _uploads(self, client, now):
        """Return ([a verdict on uploads in parts that nobody ended], notes when they may not be listed)."""
        bucket, prefix = self._params["bucket"], self._params["prefix"]
        doing = f"list the unfinished uploads under {place(bucket, prefix)}"
        following, found = {}, []
        while following is not None:
            try:
                page = s3.call(
                    lambda: client.list_multipart_uploads(Bucket=bucket, Prefix=prefix, **following),  # noqa: B023
                    doing,
                    "s3:ListBucketMultipartUploads",
                    client.meta.endpoint_url,
                    bucket,
                )
            except MendError as error:
                if error.__cause__ is None or status_of(error.__cause__) not in (403, 405, 501):
                    raise
                return [], ["unfinished uploads were not seen: the store or the permissions forbid it"]
            found += [upload for upload in page.get("Uploads", []) if self._matches(upload["Key"])]
            more = page.get("NextKeyMarker"), page.get("NextUploadIdMarker")
            following = (
                dict(zip(("KeyMarker", "UploadIdMarker"), more)) if page.get("IsTruncated") and all(more) else None
            )
        old = [upload for upload in found if now - upload["Initiated"] > UPLOAD_AGE]
        if not old:
            return [verdict("uploads", None, OK, 0, 0, "no upload was left unfinished")], []
        oldest = min(old, key=lambda upload: upload["Initiated"])
        words = "{} uploads were left unfinished and cost space, the oldest ({}) since {}"
        words = words.format(len(old), shown(oldest["Key"]), iso(oldest["Initiated"]))
        return [verdict("uploads", None, WARNING, len(old), 0, words)], []

    def _leftovers(self, client, found, now):
        """Return (a verdict on objects that backups made and never gave a manifest, notes).

        Their names do not tell, where the operator chose them: only the metadata of each do.
        """
        strangers = [
            backup
            for backup in found
            if backup.complete is None
            and is_live(backup)
            and not is_backup(backup)
            # backups stand at the prefix itself, and what lies in folders below it may be millions
            and "/" not in backup.key[len(found.prefix) :]
            and now - backup.last_modified > IN_THE_MAKING
        ]
        with ThreadPoolExecutor(READERS) as readers:
            made = readers.map(
                lambda backup: is_made_here(client, backup.bucket, backup.key, self._params), strangers[:MAX_STRANGERS]
            )
            left = [backup for backup, ours in zip(strangers, made) if ours]
        notes = []
        if len(strangers) > MAX_STRANGERS:
            notes.append(
                f"of {len(strangers)} objects without a manifest only the newest {MAX_STRANGERS} were looked at"
            )
        if not left:
            return verdict("leftovers", None, OK, 0, 0, "no object of a backup is without its manifest"), notes
        words = "{} were begun by backups and never finished, such as {}, of {}: they have no manifest, so remove them"
        words = words.format(len(left), shown(left[0].key), iso(left[0].last_modified))
        return verdict("leftovers", None, WARNING, len(left), 0, words), notes


def check_limits(params):
    """Raise MendError (rule options) when the limits cannot be meant; contacts nothing."""
    if not params["bucket"]:
        raise MendError("S3 options: bucket is empty: name the bucket that holds the backups.", rule="options")
    for name in ("max_age_seconds", "interval_seconds", "gap_window_seconds", "drill_max_age_seconds"):
        if params[name] < 1:
            raise MendError(f"Options: {name} must be at least 1.", rule="options")
    if params["grace_seconds"] < 0:
        raise MendError("Options: grace_seconds must not be negative.", rule="options")
    if not 0 <= params["min_size_share"] < 1 < params["max_size_share"]:
        raise MendError("Options: min_size_share is below 1, and max_size_share above it.", rule="options")


def _limits(params):
    return Limits(
        max_age=params["max_age_seconds"],
        grace=params["grace_seconds"],
        interval=params["interval_seconds"],
        gap_window=params["gap_window_seconds"],
        min_size_share=params["min_size_share"],
        max_size_share=params["max_size_share"],
        drill_max_age=params["drill_max_age_seconds"],
        without_drill=params["without_drill"],
    )


def _rows(backups, records):
    """Return the Rows of what can be restored; one of which only drills or deleted versions are left is no row."""
    found = rows([backup for backup in backups if is_live(backup)])
    for (name, database), members in list(found.items()):
        if database == "" and not any(backup.complete for backup in members):
            # of which database it is nobody knows: it is told beside the newest ones
            beside = [row for row in found if row[0] == name and row[1]]
            newest = max(beside, key=lambda row: max(backup.finished for backup in found[row]))
            found[newest] = found[newest] + found.pop((name, database))
    row_of = {backup.key: row for row, members in found.items() for backup in members}

    def is_about(record, row):
        if record.key in row_of:
            return row_of[record.key] == row
        # of which database a backup was that is gone nobody knows: then its drill proves nothing, and may yet warn
        return series(record.key) == row[0] and (row[1] is None or not record.verified)

    return [
        make_row(row_name(row), found[row], [record for record in records if is_about(record, row)])
        for row in sorted(found, key=row_name)
    ]


def _none(found):
    words = f"there is no backup under {place(found.bucket, found.prefix)}"
    if len(found):
        words += f": none of {len(found)} objects has a manifest, and without one nobody knows whether it is whole"
    return verdict("age", None, FAILED, None, None, words)


def _clock(clock):
    words = clock.words()
    status = WARNING if words else OK
    return verdict("clock", None, status, clock.ahead_seconds, TOLERANCE_SECONDS, words or "the clocks agree")


def _row_facts(row, limits, now):
    newest = row.newest
    return {
        "name": row.name,
        "newest": newest
        and {
            "key": newest.key,
            "version_id": newest.version_id,
            "finished": iso(newest.finished),
            "size_bytes": newest.size,
        },
        "last_finished_timestamp": newest and int(newest.finished.timestamp()),
        "age_seconds": newest and int((now - newest.finished).total_seconds()),
        "size_bytes": newest and newest.size,
        "median_size_bytes": row.median_bytes,
        "complete": len(row.complete),
        "unfinished": len(row.unfinished),
        "missed_runs": row.missed(limits, now),
        "last_verified_drill": row.proof
        and {"key": row.proof.key, "run": row.proof.run, "at": iso(row.proof.finished)},
        "last_verified_drill_timestamp": row.proof and int(row.proof.finished.timestamp()),
    }


def _sentence(entry):
    return (f"{shown(entry['series'])}: " if entry["series"] else "") + entry["words"]
