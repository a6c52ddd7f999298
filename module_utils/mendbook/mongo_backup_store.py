# SPDX-License-Identifier: MIT
"""What a backup has to know of its bucket before anything is written: what is there, and what time it is there."""

from __future__ import annotations

import datetime
import email.utils
import time

from . import manifest, s3, s3_pointer
from .errors import MendError, Nothing
from .mongo_backup_key import key_name
from .s3_catalogue import catalogue
from .s3_errors import place

LATEST = "latest"


class StoreClock:
    """The time of the store, from one answer's Date, on a clock that nobody sets meanwhile.

    A manifest that says it was finished after the store wrote it is no manifest (s3_backup.py), so a backup is dated
    by the clock that the catalogue judges it by. Without a Date it is this machine's time.
    """

    def __init__(self, headers, now=None, monotonic=time.monotonic):
        here = now or datetime.datetime.now(datetime.timezone.utc)
        try:
            self._base = email.utils.parsedate_to_datetime(headers["date"])
        except (KeyError, TypeError, ValueError):
            self._base = here
        self._monotonic = monotonic
        self._began = monotonic()
        self.ahead_seconds = round((here - self._base).total_seconds())

    def now(self):
        """Return the store's time, an aware datetime."""
        return self._base + datetime.timedelta(seconds=self._monotonic() - self._began)


def store_clock(client, bucket):
    """Return the StoreClock; `Nothing` when there is no such bucket, MendError when it cannot be reached."""
    endpoint = client.meta.endpoint_url
    answer = s3.call(
        lambda: client.head_bucket(Bucket=bucket), f"reach {place(bucket)}", "s3:ListBucket", endpoint, bucket
    )
    return StoreClock(answer["ResponseMetadata"]["HTTPHeaders"])


def is_taken(client, bucket, key):
    """Whether an object or a manifest stands under the key."""
    names = {key, manifest.manifest_key(key)}
    page = s3.call(
        lambda: client.list_objects_v2(Bucket=bucket, Prefix=key),
        f"look for {place(bucket, key)}",
        "s3:ListBucket",
        client.meta.endpoint_url,
        bucket,
    )
    return any(entry["Key"] in names for entry in page.get("Contents", []))


def previous_backup(client, params, source_id):
    """Return {key, finished, size_bytes, seconds} of the newest complete backup of this very database, or None."""
    # a shell pattern; of what it means otherwise a name has nothing left but these letters
    pattern = key_name(params["database"]) + "-*"
    for backup in catalogue(client, params["bucket"], params["prefix"], pattern=pattern, params=params):
        described = backup.manifest or {}
        if not backup.complete or backup.deleted or (described.get("source") or {}).get("id") != source_id:
            continue
        started = described.get("started") and manifest.moment(described["started"])
        return {
            "key": backup.key,
            "finished": described["finished"],
            "size_bytes": backup.size,
            "seconds": (backup.finished - started).total_seconds() if started else None,
        }
    return None


def pointer_now(client, params):
    """Return what ``latest`` under the prefix names: {"key"}, or None when there is none, or {"foreign": why}."""
    bucket, key = params["bucket"], params["prefix"] + LATEST
    try:
        data = s3.get_small(client, bucket, key, s3_pointer.MAX_BYTES, params)
        target = s3_pointer.parse(data, key, bucket)
    except Nothing:
        return None
    except MendError as error:
        if error.rule not in ("size", "pointer"):
            raise
        return {"foreign": error.msg}
    return {"key": target[0]} if target else {"foreign": f"{place(bucket, key)} is no text: it may be a dump itself"}
