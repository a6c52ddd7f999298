# SPDX-License-Identifier: MIT
"""Reads collections raw, several at a time, all at one cluster time, and hands their documents over in order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bson import Binary

from .dump_queue import ByteQueue, Stopped
from .dump_sums import DocumentSum
from .mongo_content import CLOCK_SKEW, DATES, Reader, newest_in, newest_query, now
from .mongo_raw import fold_array, replies

# what waits for the writer; a single larger document is let through alone
_QUEUE_BYTES = 8 << 20


@dataclass
class Job:
    """One collection to read: where its documents go in the archive, the find command, and what was found."""

    namespace: tuple  # (db, data name)
    find: dict
    snapshot: bool
    surveyed: Any = None
    time_field: str | None = None
    source_database: str | None = None
    total: DocumentSum = field(default_factory=DocumentSum)
    measurements: int | None = None
    newest: datetime | None = None

    @property
    def name(self):
        """As the user knows it."""
        return self.surveyed.name if self.surveyed else self.namespace[1]

    @property
    def bytes(self):
        return self.surveyed.bytes if self.surveyed else 0


class Reading:
    """Iterates over ``(job, [buffers of documents])`` and, once for each job, ``(job, None)`` at its end.

    ``documents`` and ``bytes`` count what was handed over. Leaving the iteration stops the readers.
    """

    def __init__(self, member, deployment, jobs, readers=2, max_bytes_per_second=0):
        self.documents = 0
        self.bytes = 0
        self._member = member
        self._patience_ms = int(1000 * (deployment.params.get("operation_timeout_seconds") or 60))
        self._jobs = sorted(jobs, key=lambda job: -job.bytes)
        self._readers = readers
        self._pace = Reader(max_bytes_per_second)
        self._queue = ByteQueue(_QUEUE_BYTES, until_released=True)
        self._before = now() + CLOCK_SKEW
        # the job that an error came from
        self.failed = None

    def __iter__(self):
        pool = ThreadPoolExecutor(self._readers, thread_name_prefix="dump")
        left = len(self._jobs)
        try:
            for job in self._jobs:
                pool.submit(self._run, job)
            while left:
                job, documents, count, size = self._queue.get()
                if documents is None:
                    left -= 1
                else:
                    self.documents += count
                    self.bytes += size
                yield job, documents
                documents = None  # it may be large, and the next one is there already
                self._queue.release(size)
        finally:
            self._pace.stop()
            self._queue.fail(Stopped())
            pool.shutdown(cancel_futures=True)

    def _run(self, job):
        if self.failed:
            return
        try:
            with self._member.session() as session:
                self._look(job, session)
                self._read(job, session)
            self._queue.put((job, None, 0, 0))
        except BaseException as error:
            self.failed = self.failed or job
            self._queue.fail(error)

    def _look(self, job, session):
        """What is asked for beside the documents, before them: nothing that comes later may be in it."""
        if job.surveyed is None:
            return
        name, beside = job.surveyed.name, {"readConcern": self._member.read_concern(job.snapshot)}
        query = newest_query(job.time_field, self._before)
        find = {"find": name, **query, "limit": 1, "singleBatch": True, **beside}
        if not job.time_field:
            # by _id it comes from an index at once; by another field it may take a scan of the whole collection
            find["maxTimeMS"] = self._patience_ms
        found = self._first_batch(find, session)
        job.newest = newest_in(found[0] if found else None, job.time_field, self._before)
        if job.surveyed.type == "timeseries":
            counted = self._first_batch(
                {"aggregate": name, "pipeline": [{"$count": "n"}], "cursor": {}, **beside}, session
            )
            job.measurements = counted[0]["n"] if counted else 0

    def _first_batch(self, command, session):
        return self._member.command(command, session=session, codec_options=DATES)["cursor"]["firstBatch"]

    def _read(self, job, session):
        find = dict(job.find, readConcern=self._member.read_concern(job.snapshot))
        if "collectionUUID" in find:
            find["collectionUUID"] = Binary.from_uuid(find["collectionUUID"])
        database = self._member.database
        if job.source_database:
            database = self._member.client.get_database(job.source_database, read_preference=database.read_preference)
        average = job.bytes // job.surveyed.count if job.surveyed and job.surveyed.count else 1024
        with closing(replies(database, find, job.total, average, session)) as arrays:
            for array in arrays:
                documents = []
                added, count = fold_array(array, documents.append)
                size = sum(map(len, documents))
                job.total.add_folded(added, count, size)
                if count > 1:
                    documents = [b"".join(documents)]
                array = None
                self._pace.account(count, size)
                if count:
                    self._queue.put((job, documents, count, size), size)
                documents = None
