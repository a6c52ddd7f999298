# SPDX-License-Identifier: MIT
"""The objects that a lock in S3 is made of: read with their age, written on a condition, listed."""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import json

from . import s3
from .errors import MendError
from .manifest import moment
from .s3_errors import FAILURES, code_of, place, shown, status_of
from .s3_mark import is_lock, lock_key, locked_prefix
from .s3_new import content_md5
from .s3_options import encryption_arguments

# a lock that claims more is believed no longer
LONGEST_SECONDS = 600
# S3 tells whole seconds, and its machines need not agree on them
_SLACK_SECONDS = 2
_MAX_BYTES = 64 << 10


class NoConditions(Exception):
    """The store says that it does not know conditional writes."""


@dataclasses.dataclass(frozen=True)
class Making:
    """A key that a run named in its lock before it wrote there, and when it can have begun to (aware datetimes).

    An unfinished upload does not say who has begun it, so this is how that of a dead run is known.
    """

    key: str
    since: datetime.datetime
    until: datetime.datetime

    def covers(self, key, begun):
        """Whether an upload to this key that was begun then may be of that run."""
        slack = datetime.timedelta(seconds=_SLACK_SECONDS)
        return key == self.key and self.since - slack <= begun <= self.until + slack

    def to_entry(self):
        return {"key": self.key, "since": self.since.isoformat(), "until": self.until.isoformat()}


@dataclasses.dataclass(frozen=True)
class Seen:
    """A lock object as S3 told of it; ``etag`` is None when it is not there, ``entry`` {} when it cannot be read.

    An empty one has been given up.
    """

    key: str
    now: datetime.datetime
    etag: str | None = None
    entry: dict = dataclasses.field(default_factory=dict)
    age_seconds: float = 0.0

    def is_held(self, default_seconds):
        """Whether somebody holds it; ``default_seconds`` is the lease of an entry that does not say its own."""
        return bool(self.etag) and not self.entry.get("released") and self._remaining(default_seconds) >= 0

    def facts(self, default_seconds):
        """Return run, holder, host, pid, since and remaining_seconds, fit for a message."""
        facts = {name: shown(self.entry.get(name, "unknown")) for name in ("run", "holder", "host", "since")}
        facts["pid"] = self.entry["pid"] if isinstance(self.entry.get("pid"), int) else 0
        facts["remaining_seconds"] = round(max(0.0, self._remaining(default_seconds)), 1)
        return facts

    def making(self, default_seconds):
        """Return the Makings of its run and of those before it whose end nobody has seen; the newest is last."""
        written = self.now - datetime.timedelta(seconds=self.age_seconds)
        ended = written if self.entry.get("released") else written + self._lease(default_seconds)
        if self.entry.get("shared"):
            # written once, when it began; its share is what was renewed
            ended = self.now
        listed = self.entry.get("making")
        found = [_making(told, ended) for told in listed] if isinstance(listed, list) else []
        return [one for one in found if one is not None]

    def _remaining(self, default_seconds):
        return self._lease(default_seconds).total_seconds() + _SLACK_SECONDS - self.age_seconds

    def _lease(self, default_seconds):
        told = self.entry.get("seconds")
        known = isinstance(told, (int, float)) and 0 < told <= LONGEST_SECONDS
        return datetime.timedelta(seconds=told if known else default_seconds)


class LockObjects:
    """The lock objects of one prefix; every call is tried again while S3 is busy, and raises MendError in words."""

    def __init__(self, client, bucket, prefix, params):
        self.key = lock_key(prefix)
        self.prefix = prefix
        self._client, self._bucket = client, bucket
        self._encryption = encryption_arguments(params or {})

    def read(self, key):
        """Return the object as Seen."""

        def get():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key)
            except FAILURES as error:
                if _is_missing(error):
                    return error.response, None
                raise
            with answer["Body"] as body:
                return answer, body.read(_MAX_BYTES)

        answer, text = self._call(get, "read", "s3:GetObject", key)
        now = _date(answer, key)
        if text is None:
            return Seen(key, now)
        age = (now - answer["LastModified"]).total_seconds()
        return Seen(key, now, answer["ETag"], _entry(text) if text else {"released": True}, age)

    def write(self, key, entry, patience_seconds=s3.PATIENCE_SECONDS, **condition):
        """Write the entry (None: nothing, not even an object) and return the ETag, None when the condition is not met.

        A try whose answer got lost may be the reason why the next one's condition is not met. Raises NoConditions.
        """
        body = b"" if entry is None else json.dumps(entry).encode()
        arguments = dict(self._encryption, ContentMD5=content_md5(body), ContentType="application/json", **condition)

        def put():
            try:
                return self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **arguments)["ETag"]
            except FAILURES as error:
                if condition and status_of(error) == 501:
                    raise NoConditions from error
                if condition and (status_of(error) in (409, 412) or _is_missing(error)):
                    return None
                raise

        return self._call(put, "write", "s3:PutObject", key, patience_seconds)

    def delete(self, key):
        """Delete an object, or raise MendError when that is not allowed."""
        self._call(
            lambda: self._client.delete_object(Bucket=self._bucket, Key=key), "delete", "s3:DeleteObject", key, 5
        )

    def shares(self):
        """Return Seen of the objects of single runs that may still count: not empty, and young enough."""
        return [self.read(listed.key) for listed in self._young(_stem(self.prefix)) if listed.key != self.key]

    def elsewhere(self):
        """Return [(prefix, Seen)] of the locks of other prefixes, below this one and above, that may still count.

        Above are all beginnings of this prefix, with a slash or without: a run of such a one may write below this one.
        """
        below = [(locked_prefix(listed.key), listed) for listed in self._young(self.prefix) if is_lock(listed.key)]
        found = [(prefix, listed) for prefix, listed in below if prefix != self.prefix]
        for end in range(len(self.prefix)):
            above = self.prefix[:end]
            # credentials may see this prefix alone
            found += [(above, listed) for listed in _if_told([], self._young, _stem(above))]
        return [(prefix, _if_told(listed, self.read, listed.key)) for prefix, listed in found]

    def _young(self, stem):
        """Return Seen, without their entries, of the objects under ``stem`` that may still count as locks."""
        following, found = {}, []
        while following is not None:
            page = self._list(stem, following)
            now = _date(page, stem)
            for listed in page.get("Contents", []):
                age = (now - listed["LastModified"]).total_seconds()
                if listed["Size"] and age <= LONGEST_SECONDS + _SLACK_SECONDS:
                    found.append(Seen(listed["Key"], now, listed["ETag"], {}, age))
            more = page.get("NextContinuationToken")
            following = {"ContinuationToken": more} if more else None
        return found

    def _list(self, stem, following):
        def ask():
            return self._client.list_objects_v2(Bucket=self._bucket, Prefix=stem, **following)

        return self._call(ask, "list", "s3:ListBucket", stem)

    def _call(self, operation, verb, action, key, patience_seconds=s3.PATIENCE_SECONDS):
        doing = f"{verb} the lock {place(self._bucket, key)}"
        endpoint = self._client.meta.endpoint_url
        return s3.call(operation, doing, action, endpoint, self._bucket, key, s3.Patience(patience_seconds))


def _stem(prefix):
    """Return how the keys of all locks of a prefix begin."""
    return lock_key(prefix)[: -len("json")]


def _if_told(otherwise, ask, *what):
    try:
        return ask(*what)
    except MendError as error:
        if status_of(error.__cause__) != 403:
            raise
        return otherwise


def _is_missing(error):
    return status_of(error) == 404 and code_of(error) != "NoSuchBucket"


def _date(answer, key):
    try:
        return email.utils.parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        raise MendError(
            f"Cannot tell how old the lock {shown(key)} is: S3 answers without a Date. "
            "Something between here and the store takes the header away.",
            rule="lock",
        ) from None


def _making(told, ended):
    """Return the Making that an entry tells of, or None: whoever can write to the bucket can write an entry."""
    try:
        return Making(str(told["key"]), moment(told["since"]), moment(told["until"]) if "until" in told else ended)
    except (KeyError, TypeError, ValueError):
        return None


def _entry(text):
    try:
        entry = json.loads(text)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
