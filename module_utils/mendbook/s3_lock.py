# SPDX-License-Identifier: MIT
"""One run at a time among the backups under a prefix of a bucket: the lock is an object there."""

from __future__ import annotations

from . import lock, s3_lock_object
from .errors import MendError
from .s3_errors import place
from .s3_lock_share import Share

SECONDS = 60
_TRIES = 5
# so many fit into an entry, whatever the keys are; each backup forgets those of which nothing is left
_MOST_MAKINGS = 16


class S3Lease(lock.Lease):
    """A lease on s3://bucket/prefix for ``run``, held while the ``with`` block runs.

    The object PREFIX.mendbook-lock.json says who holds it. It is made with If-None-Match and changed with If-Match, so
    of many at once the store lets one through. Whether it is still held is told by S3 alone: the age of the object is
    its Last-Modified against the Date of the same answer, so clocks of the machines that ask do not matter, and an
    owner's own clock only measures how long it has not been able to renew. It is given back by overwriting, so
    s3:DeleteObject is not needed; in a bucket with versions each renewal (three in ``seconds``) leaves a small one.

    A store that ignores conditions would let two runs in, so each start tries two writes that must be refused. Where
    one is not, the lock is an object for each run (s3_lock_share.py), which needs only a listing that shows what was
    written before; refusing instead would mean no backups at all on such a store.

    ``params`` are options of the module (STORE_SPEC), of which a lock heeds the encryption by the store.
    ``key`` is what the run is going to write, when nobody could tell by its name that it did. ``making`` are such keys
    of the runs before (Making): each holder writes them down anew until one has seen that nothing is left of them.
    """

    _advice = "look who holds the lock, then run again"

    def __init__(self, client, bucket, prefix, run, seconds=SECONDS, *, params=None, who=None, key=None):
        super().__init__(place(bucket, prefix), run, who, seconds)
        self.making = []
        self._key, self._own, self._remembers = key, [], False
        self._there = s3_lock_object.LockObjects(client, bucket, prefix, params)
        self._etag = None
        self._share = None

    def _acquire(self):
        for _try in range(_TRIES):
            asked_at = lock.steady_now()
            seen = self._there.read(self._there.key)
            if seen.entry.get("owner") == self.owner:
                # the answer to the last try got lost
                self._etag = seen.etag
                break
            if seen.is_held(self.seconds):
                raise lock.locked(self.name, seen.facts(self.seconds), self.seconds)
            self._entry = {**self._who, "seconds": self.seconds, "since": seen.now.isoformat(), "renewal": 0}
            self._own = [{"key": self._key, "since": self._entry["since"]}] if self._key else []
            self.keep_making(seen.making(self.seconds))
            self._remembers = bool(self._entry["making"])
            try:
                if self._write({"IfMatch": seen.etag} if seen.etag else {"IfNoneMatch": "*"}):
                    break
            except s3_lock_object.NoConditions:
                return self._take_share()
        else:
            raise MendError(f"Cannot lock {self.name}: its lock changes faster than it can be read.", rule="lock")
        self._good_for(asked_at)
        if not self._conditions_hold():
            # what the others remember stays
            self._there.write(self._there.key, {**seen.entry, "released": True})
            self._take_share()
        elif lock.steady_now() - asked_at > self.seconds / 3:
            self._renew()

    def keep_making(self, making):
        """Remember these of ``making`` and forget the others, in the bucket when the lease is renewed or given back."""
        self.making = making[-_MOST_MAKINGS:]
        self._entry["making"] = [one.to_entry() for one in self.making] + self._own

    def _conditions_hold(self):
        """Whether the store refuses two writes whose conditions are wrong."""
        wrong = ({"IfNoneMatch": "*"}, {"IfMatch": '"{}"'.format("0" * 32)})
        try:
            return not any(self._there.write(self._there.key, self._entry, **condition) for condition in wrong)
        except s3_lock_object.NoConditions:
            return False

    def _take_share(self):
        self._share = Share(self._there, self.owner)
        self._good_for(lock.steady_now())
        self._share.take(self._entry, self.name, self.seconds)
        self._remember(shared=True)
        self._renew()

    def _remember(self, **entry):
        """Write down for the next holder what a share, which goes with its run, does not keep."""
        if self._remembers:
            self._there.write(self._there.key, {**self._entry, "released": True, **entry})

    def _write(self, condition):
        etag = self._there.write(self._there.key, self._entry, patience_seconds=self.seconds / 2, **condition)
        self._etag = etag or self._etag
        return etag

    def _renew(self):
        with self._renewing:
            asked_at = lock.steady_now()
            self._entry["renewal"] += 1
            if self._share is None:
                self._renew_object(asked_at)
            else:
                # nothing refuses a renewal that comes too late, when somebody may have taken the lease for over
                self.check()
                self._share.hold(self._entry, self.seconds / 2)
                self.check()
                self._good_for(asked_at)

    def _renew_object(self, asked_at):
        if self._write({"IfMatch": self._etag}):
            self._good_for(asked_at)
            return
        seen = self._there.read(self._there.key)
        if seen.entry.get("owner") == self.owner:
            # a write whose answer got lost; the lease is ours all the same, since the renewal before
            self._etag = seen.etag
            return
        found = seen.facts(self.seconds)
        self._lost = f"run {found['run']} on {found['host']} has it now" if seen.entry else "its object is gone"

    def _failures(self):
        return MendError

    def _release(self):
        if self._lost:
            return
        try:
            with self._renewing:
                if self._share is not None:
                    self._remember()
                    self._share.leave()
                else:
                    self._entry["released"] = True
                    self._write({"IfMatch": self._etag})
        except MendError:
            pass  # nobody waits longer than the rest of the lease


def holder(client, bucket, prefix, params=None):
    """Return who holds the lease of s3://bucket/prefix, as JSON, or None; takes nothing and changes nothing.

    Keys: run, holder, host, pid, since (ISO, S3's time), remaining_seconds.
    """
    there = s3_lock_object.LockObjects(client, bucket, prefix, params)
    for seen in (there.read(there.key), *there.shares()):
        if seen.is_held(SECONDS):
            return seen.facts(SECONDS)
    return None


def making(client, bucket, prefix, params=None):
    """Return what the lease of s3://bucket/prefix would have as ``making`` if it were taken now; changes nothing."""
    there = s3_lock_object.LockObjects(client, bucket, prefix, params)
    return there.read(there.key).making(SECONDS)


def held_elsewhere(client, bucket, prefix, params=None):
    """Return {other prefix: who holds its lease}, of those whose runs may write below ``prefix``, too.

    A run takes its lease before it writes, so of what was listed before this was asked, nobody works on that which
    begins with none of these prefixes.
    """
    there = s3_lock_object.LockObjects(client, bucket, prefix, params)
    return {other: seen.facts(SECONDS) for other, seen in there.elsewhere() if seen.is_held(SECONDS)}
