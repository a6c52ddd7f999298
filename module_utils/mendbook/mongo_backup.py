# SPDX-License-Identifier: MIT
"""Back up as one change: the dump streams into an upload, the manifest is written last, and all is read back."""

from __future__ import annotations

import json
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

from . import manifest, mongo_backup_debris, mongo_options, s3, s3_clock, s3_lock, s3_new
from .change import done, skipped
from .errors import MendError, Nothing, Partial, Refused, Unknown
from .memory import share_one_heap
from .mongo import connect
from .mongo_backup_key import backup_key, check_key
from .mongo_backup_manifest import manifest_of, packed
from .mongo_backup_plan import Observed, backup_plan, expected_bytes, pointer_object
from .mongo_backup_store import LATEST, is_taken, pointer_now, previous_backup, read_back
from .mongo_dump import dump, survey
from .progress import Progress
from .s3_catalogue import catalogue
from .s3_errors import place
from .s3_options import check_store, shown_endpoint
from .s3_upload import Upload, put_small

# a migration that goes on is no reason to go on for ever; an election is over by then
TRIES = 3
_PAUSE_SECONDS = 2
# the database was altered while it was read, or the member that was read from is gone
_AGAIN = ("changed", "member")

Client = namedtuple("Client", "deployment s3")


class Backup:
    """The procedure of mend_mongo_backup (change.py says what each method promises)."""

    def __init__(self, params):
        self.params = params
        self.figures = {}
        self.warnings = []
        self._seen = None
        self._lease = None
        self._clock = None
        self._made = None

    def secrets(self, params):
        return mongo_options.secrets_in(params)

    @contextmanager
    def open(self, params):
        share_one_heap()
        _check_options(params)
        receipt = params.get("receipt") or {}
        with s3.connect(params) as client, connect(params, receipt.get("run")) as deployment:
            yield Client(deployment, client)

    @contextmanager
    def lock(self, client, run):
        params = self.params
        with s3_lock.S3Lease(
            client.s3, params["bucket"], params["prefix"], run, params=params, key=params["key"]
        ) as lease:
            self._lease = lease
            yield

    def observe(self, client):
        params, bucket = self.params, self.params["bucket"]
        deployment = client.deployment
        found = survey(deployment, params["database"], params)
        self._clock = s3_clock.store_clock(client.s3, bucket)
        holder = None if self._lease else s3_lock.holder(client.s3, bucket, params["prefix"], params)
        there = catalogue(client.s3, bucket, params["prefix"], params=params)
        key = self._key(there)
        # what a run that is at work has not finished yet is none
        debris, notes = ([], []) if holder else self._debris(client, there)
        source_id = deployment.target_id(params["database"])
        self._seen = Observed(
            store={
                "endpoint": shown_endpoint(client.s3.meta.endpoint_url),
                "bucket": bucket,
                "prefix": params["prefix"],
            },
            key=key,
            taken=is_taken(there, key),
            source={
                "id": source_id,
                "address": deployment.address,
                "version": found.server_version,
                "identity": deployment.identity(),
            },
            survey=found,
            previous=previous_backup(there, source_id),
            debris=debris,
            pointer=pointer_now(client.s3, params) if params["latest"] else None,
            holder=holder,
            clock=self._clock.words(),
            notes=there.notes + notes,
        )
        return self._seen

    def plan(self, observed, params):
        return backup_plan(observed, params)

    def act(self, client, plan, receipt):
        seen, params = self._seen, self.params
        began = time.monotonic()
        uploads = [one for one in seen.debris if one.upload_id]
        yield from self._remove(client, uploads)
        with Progress(receipt) as progress:
            dumped = self._make(client, progress)
        self.figures["total_seconds"] = round(time.monotonic() - began, 3)
        yield done("+", place(params["bucket"], seen.key), count=dumped.documents, bytes=self._made["object"]["size"])
        if params["latest"]:
            self._check_lock()
            described = {name: self._made["object"][name] for name in ("key", "version_id")}
            data = json.dumps(described).encode()
            put_small(client.s3, params["bucket"], params["prefix"] + LATEST, data, params)
            yield done("~" if seen.pointer else "+", pointer_object(seen.store))
        # last, when a newer and whole backup is there in any case
        yield from self._remove(client, [one for one in seen.debris if one not in uploads])

    def read_back(self, client, plan):
        return read_back(client.s3, self.params, self._made)

    # -- the steps of act

    def _key(self, there):
        params = self.params
        planned = ((params.get("receipt") or {}).get("plan") or {}).get("target")
        if planned:
            return planned["facts"]["key"]
        if params["key"]:
            return params["key"]
        at = self._clock.now()
        while is_taken(there, key := backup_key(params["prefix"], params["database"], at)):
            # another one of the same second
            at += timedelta(seconds=1)
        # a prefix may make it what no backup can be called
        check_key(key, params["prefix"])
        return key

    def _debris(self, client, there):
        params, lease = self.params, self._lease
        making = lease.making if lease else s3_lock.making(client.s3, params["bucket"], params["prefix"], params)
        debris, notes, making = mongo_backup_debris.find(client.s3, params, there, making)
        if lease:
            lease.keep_making(making)
        return debris, notes

    def _remove(self, client, debris):
        for one in debris:
            self._check_lock()
            try:
                mongo_backup_debris.remove(client.s3, self.params, one)
            except MendError as error:
                yield skipped(one.object, error.msg)
            else:
                yield done("-", one.object, bytes=one.bytes)

    def _make(self, client, progress):
        """Dump, upload and describe, again when the database was altered meanwhile; return the Dumped."""
        found = self._seen.survey
        for attempt in range(1, TRIES + 1):
            self.figures["tries"] = attempt
            try:
                if attempt > 1:
                    time.sleep(_PAUSE_SECONDS * (attempt - 1))
                    found = survey(client.deployment, self.params["database"], self.params)
                return self._try(client, found, progress)
            except MendError as error:
                if error.rule not in _AGAIN or attempt == TRIES:
                    raise
                self.warnings.append(f"the dump was started again: {error.msg}")
        raise AssertionError("the last try returns or raises")

    def _try(self, client, found, progress):
        seen, params = self._seen, self.params
        started, began = self._clock.now(), time.monotonic()

        def moved(documents, size):
            self._check_lock()
            # an estimate: that it is reached is not the end
            progress.update("dump", size, max(found.bytes, size + 1), "bytes")

        expected = max(found.bytes, expected_bytes(found, seen.previous))
        completing = described = None
        try:
            with Upload(client.s3, params["bucket"], seen.key, params, expected_bytes=expected) as upload:
                dumped = dump(
                    client.deployment,
                    params["database"],
                    found,
                    upload.write,
                    consistency=params["consistency"],
                    readers=params["readers"],
                    level=params["compression_level"],
                    max_bytes_per_second=params["max_bytes_per_second"],
                    progress=moved,
                )
                self._check_lock()
                completing = True
                uploaded = _to_its_end(upload.finish)
            self._check_lock()
            made = manifest_of(seen.source, dumped, uploaded, started=started, finished=self._clock.now())
            described = packed(made)
            key = manifest.manifest_key(seen.key)
            _to_its_end(
                lambda: put_small(client.s3, params["bucket"], key, described, params, only_new=True, retain=True)
            )
        except BaseException as error:
            if not completing or not self._is_whole(client, described, error):
                raise
        # as a reader gets it
        self._made = manifest.parse(described, place(params["bucket"], key))
        self.figures.update(
            dump_seconds=round(time.monotonic() - began, 3),
            documents=dumped.documents,
            document_bytes=dumped.bytes,
            object_bytes=uploaded.size,
            parts_sent_again=upload.resent,
        )
        return dumped

    def _check_lock(self):
        try:
            self._lease.check()
        except Unknown as lost:
            # what was made so far is whole, or nothing that anybody could take for a backup
            raise MendError(lost.msg, rule=lost.rule, details=lost.details) from lost

    def _is_whole(self, client, described, error):
        """After a failure at the end: whether the manifest is there all the same; if not, the object goes again."""
        bucket, key = self.params["bucket"], self._seen.key
        try:
            if described is not None and _manifest_now(client.s3, self.params, key) == described:
                return True
            head = s3_new.head(client.s3, bucket, key, self.params)
            if head is not None and s3_new.was_made_here(head, bucket, key):
                mongo_backup_debris.delete(client.s3, bucket, key, head.get("VersionId"))
        except MendError as failure:
            said = error.msg if isinstance(error, MendError) else f"{type(error).__name__}: {error}"
            raise Partial(
                f"{said} The object {place(bucket, key)} may be there without its manifest, so it is no backup, and it "
                f"could not be removed: {failure.msg} The next backup or prune_backups removes it.",
                rule=getattr(error, "rule", None),
            ) from error
        return False


def _to_its_end(operation):
    """Return operation(); a signal that comes meanwhile is raised when S3 has answered, and what is there is known."""
    with ThreadPoolExecutor(1, "mend-backup") as pool:
        return pool.submit(operation).result()


def _manifest_now(client, params, key):
    name = manifest.manifest_key(key)
    try:
        return s3.get_small(client, params["bucket"], name, manifest.MAX_BYTES, params)
    except Nothing:
        return None


def _check_options(params):
    if not params["bucket"]:
        raise Refused("bucket is empty: name the bucket that takes the backups", rule="options")
    for name, least in (("readers", 1), ("max_bytes_per_second", 0)):
        if params[name] < least:
            raise Refused(f"{name} is {params[name]}, and must be {least} or more", rule="options")
    check_store(params)
    if params["key"]:
        check_key(params["key"], params["prefix"])
