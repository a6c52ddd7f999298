# SPDX-License-Identifier: MIT
"""What a drill has written beside a backup, KEY.drill.RUN.json: whether it restored the backup and proved the data.

Whoever can write to the bucket can write a record, so one makes a backup be kept and never be removed.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import posixpath
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.mendbook import manifest, s3, s3_mark
from ansible.module_utils.mendbook.errors import MendError, Nothing
from ansible.module_utils.mendbook.s3_backup import CLOCK_TOLERANCE
from ansible.module_utils.mendbook.s3_errors import shown

MAX_BYTES = 1 << 20
SCHEMA = 1
READERS = 8


@dataclasses.dataclass(frozen=True)
class DrillRecord:
    """One drill of the backup ``key``; ``verified`` when the restored data was proven, whatever the objectives."""

    key: str
    run: str
    finished: datetime.datetime
    verified: bool
    version_id: str | None
    sha256: str | None

    def is_about(self, backup):
        """Whether the drill has restored the very bytes of this Backup."""
        if posixpath.basename(self.key) != posixpath.basename(backup.key):
            return False
        if self.sha256 and backup.sha256:
            return self.sha256 == backup.sha256
        return self.version_id is not None and self.version_id == backup.version_id


def parse(data, entry):
    """Return the DrillRecord in ``data``, the bytes of the listed ``entry``; MendError (rule record) if it is none."""
    key, _kind, run = s3_mark.parse_key(entry.key)
    try:
        content = json.loads(data.decode("utf-8"))
        schema, verified, about = content["schema"], content["verified"], content["backup"]
        finished = manifest.moment(content["finished"])
        named, sha256, version_id = about["key"], about.get("sha256"), about.get("version_id")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _bad(entry, "it is not the JSON that a drill writes") from None
    if schema != SCHEMA:
        raise _bad(entry, f"its schema is not {SCHEMA}")
    if not isinstance(verified, bool) or not all(isinstance(text, (str, type(None))) for text in (sha256, version_id)):
        raise _bad(entry, "it is not the JSON that a drill writes")
    if not isinstance(named, str) or posixpath.basename(named) != posixpath.basename(key):
        raise _bad(entry, "it is about another backup")
    if finished > entry.last_modified + CLOCK_TOLERANCE:
        raise _bad(entry, "it says that the drill ended after it was written")
    return DrillRecord(key, run, finished, verified, version_id, sha256)


def read_records(client, bucket, entries, params):
    """Return (the DrillRecords among the listed ``entries``, notes about those that cannot be used).

    MendError when S3 does not let one be read: what it proves cannot be known then.
    """

    def read(entry):
        try:
            return parse(s3.get_small(client, bucket, entry.key, MAX_BYTES, params), entry)
        except Nothing:
            return None
        except MendError as error:
            if error.rule not in ("record", "size"):
                raise
            return error

    wanted = [entry for entry in entries if is_record(entry) and entry.current and not entry.deleted]
    with ThreadPoolExecutor(READERS) as readers:
        found = [one for one in readers.map(read, wanted) if one]
    records = [one for one in found if isinstance(one, DrillRecord)]
    notes = [one.msg for one in found if isinstance(one, MendError)]
    return records, notes[:3] + ([f"and {len(notes) - 3} more drill records cannot be used"] if len(notes) > 3 else [])


def is_record(entry):
    """Whether the listed object is a drill's record, by its key."""
    parsed = s3_mark.parse_key(entry.key)
    return bool(parsed) and parsed[1] == s3_mark.DRILL


def _bad(entry, what):
    return MendError(f"the drill's record {shown(entry.key)} is not used: {what}", rule="record")
