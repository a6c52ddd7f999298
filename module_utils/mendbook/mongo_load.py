# SPDX-License-Identifier: MIT
"""Loads a dump into side collections: raw batches, indexes as soon as a collection is in, and every document read back.

Threads: the caller's reads the dump and waits; ``workers`` insert; two build indexes; one reads back. Whatever fails
stops all of them and is raised in the caller's thread; the side collections are then the caller's to drop
(mongo_side.drop_side_collections).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from .dump_metadata import Batch
from .dump_queue import ByteQueue, Stopped
from .dump_sums import DocumentSum
from .errors import MendError
from .held_signals import held_signals
from .mongo_batch import BatchWriter
from .mongo_ids import fold_for_server
from .mongo_proof import PROOFS, Sample, prove
from .mongo_side import build, create, prepare, verify_shape

# Batches that wait or are being sent; the driver makes two copies of what it sends, and a document may have 16 MB.
_QUEUE_BYTES = 16 << 20
# The server runs at most three builds at a time.
_INDEX_BUILDERS = 2
_WAIT_SECONDS = 0.2
# How long a failed load waits for its threads; one in the middle of an index build ends when its collection is dropped.
_END_SECONDS = 5


@dataclass(frozen=True)
class Loaded:
    """One collection that stands complete in its side collection.

    ``sum`` is the order-free sum of its ``count`` documents as they were sent, and ``proof`` says how the server's
    were compared with it: "full" (every document), "sample" or "count"; ``compared`` is how many documents were, byte
    by byte. ``ttl`` maps index names to the real expireAfterSeconds, which are parked; ``expire_after_seconds`` is the
    same for a clustered or time-series collection. The swap puts both back.
    """

    name: str
    side: str
    data_name: str  # where the documents are: system.buckets.<side> for a time-series
    type: str
    uuid: Any  # of the side collection; of its buckets for a time-series
    count: int
    bytes: int
    sum: int
    proof: str
    compared: int
    indexes: int
    ttl: dict = field(default_factory=dict)
    expire_after_seconds: Any = None

    @property
    def hex(self):
        """The sum in the manifest's form."""
        return f"{self.sum:032x}"


def load(database, dump, sides, *, workers=2, proof="full", progress=None, cancelled=None):
    """Load collections of ``dump`` into new side collections of ``database`` and prove them; ``{(db, name): Loaded}``.

    ``sides`` maps keys of ``dump.collections`` to names of side collections that do not exist yet; views have no data
    and are refused. ``progress(phase, done, total, unit)`` is called from this thread (phases "load" in bytes of the
    source, "index" in collections, "proof" in documents). ``cancelled()`` is asked several times a second: true, or an
    exception out of it, ends the load.

    Raises MendError for a damaged dump, for data that violates a unique index, for a refusal of the server;
    VerifyFailed when what was read back is not what was sent. Memory stays bounded whatever the size of the dump.
    """
    if proof not in PROOFS:
        raise ValueError(f"proof must be one of {', '.join(PROOFS)}")
    run = _Load(database, dump, sides, workers, proof, progress or (lambda *_step: None), cancelled or (lambda: False))
    return run.run()


class _Work:
    """What is known about one collection while it is loaded."""

    def __init__(self, side, proof):
        self.side = side
        self.expected = DocumentSum()
        self.sample = Sample() if proof == "sample" else None
        self.pending = 0  # batches that were read and not yet inserted
        self.ended = False
        self.dump_count = None


class _Load:
    def __init__(self, database, dump, sides, workers, proof, progress, cancelled):
        self._database = database
        self._dump = dump
        self._proof = proof
        self._progress = progress
        self._cancelled = cancelled
        self._work = {}
        for key, name in sides.items():
            collection = dump.collections[key]
            if collection.type == "view":
                raise ValueError(f"{key} is a view")
            self._work[collection.namespace] = _Work(prepare(collection, name), proof)
        self._writer = BatchWriter(database)
        self._batches = ByteQueue(_QUEUE_BYTES, until_released=True)
        self._to_index = ByteQueue(0)
        self._to_prove = ByteQueue(0)
        self._queues = (self._batches, self._to_index, self._to_prove)
        self._lock = threading.Lock()
        self._error = None
        self._indexed = 0
        self._proven = 0
        self._workers = workers
        self._threads = []
        self._create_options = {}

    def run(self):
        try:
            self._create_sides()
            return self._run_threads()
        except BaseException as error:
            self._stop()
            deadline = time.monotonic() + _END_SECONDS
            for thread in self._threads:
                thread.join(max(0, deadline - time.monotonic()))
            if isinstance(error, Stopped) and self._error:
                raise self._error from None
            raise

    def _create_sides(self):
        sides = [work.side for work in self._work.values()]
        for side in sides:
            self._check_cancelled()
            # one that is made after it was looked for would stay, and no marker would say that it is ours
            with held_signals():
                create(self._database, side)
        uuids = {}
        for entry in self._database.list_collections(filter={"name": {"$in": [side.data for side in sides]}}):
            uuids[entry["name"]] = entry["info"].get("uuid")
        for side in sides:
            side.uuid = uuids[side.data]
        if self._database.client.admin.command("hello").get("setName"):
            # a member that is down must not hold up the build for ever
            self._create_options = {"commitQuorum": "majority"}

    def _run_threads(self):
        inserters = self._start(self._insert_batches, self._workers)
        others = self._start(self._build_indexes, _INDEX_BUILDERS) + self._start(self._prove_collections, 1)
        self._read_dump()
        self._batches.end()
        self._wait_for(inserters)
        self._to_index.end()
        self._to_prove.end()
        self._wait_for(others)
        verify_shape(self._database, [work.side for work in self._work.values()])
        self._report()
        return {work.side.collection.key: self._loaded(work) for work in self._work.values()}

    # -- the caller's thread

    def _read_dump(self):
        for item in self._dump.iterate(include=frozenset(self._work)):
            work = self._work[item.namespace]
            if not isinstance(item, Batch):
                with self._lock:
                    work.ended, work.dump_count = True, item.count
                    ready = not work.pending
                if ready:
                    self._complete(work)
                continue
            with self._lock:
                work.pending += 1
            if work.side.collection.capped:
                # its order is its meaning, so only one thread may insert
                self._insert(work, item, ordered=True)
            else:
                self._put((work, item), len(item.data))
            item = None  # it may be large, and the next one is made now
            self._report()
            self._check_cancelled()

    def _put(self, item, size):
        while True:
            try:
                return self._batches.put(item, size, timeout=_WAIT_SECONDS)
            except TimeoutError:
                self._report()
                self._check_cancelled()

    def _wait_for(self, threads):
        for thread in threads:
            while thread.is_alive():
                thread.join(_WAIT_SECONDS)
                self._report()
                self._check_cancelled()
        if self._error:
            raise self._error

    def _check_cancelled(self):
        if self._error:
            raise self._error
        if self._cancelled():
            raise MendError("cancelled while the backup was being loaded; live data is unchanged", rule="cancelled")

    def _report(self):
        self._progress("load", self._dump.bytes_read, self._dump.size, "bytes")
        if self._indexed:
            self._progress("index", self._indexed, len(self._work), "collections")
        if self._proven:
            self._progress("proof", self._proven, sum(w.expected.count for w in self._work.values()), "documents")

    def _stop(self):
        """Wake every thread; one that waits for the server ends with its command, or when its collection is dropped."""
        for queue in self._queues:
            queue.fail(Stopped())

    # -- the other threads

    def _start(self, target, number):
        def guarded():
            try:
                target()
            except Stopped:
                pass
            except BaseException as error:
                with self._lock:
                    if self._error is None:
                        self._error = error
                self._stop()

        threads = [
            threading.Thread(target=guarded, name=f"mendbook-{target.__name__}", daemon=True) for _ in range(number)
        ]
        for thread in threads:
            thread.start()
        self._threads += threads
        return threads

    def _insert_batches(self):
        while True:
            work, batch = self._batches.get()
            size = len(batch.data)
            self._insert(work, batch, ordered=False)
            # nothing may be kept while the next one is waited for
            work = batch = None
            self._batches.release(size)

    def _insert(self, work, batch, ordered):
        data, total, count = fold_for_server(batch.data)
        if count != batch.count:
            raise MendError(f"{work.side.label}: a batch of {batch.count} documents has {count}", rule="archive")
        self._writer.insert(work.side.data, data, count, work.side.collection.key, ordered, work.side.uuid)
        if work.sample is not None:
            work.sample.pick(data)
        with self._lock:
            work.expected.add_folded(total, count, len(data))
            work.pending -= 1
            ready = work.ended and not work.pending
        if ready:
            self._complete(work)

    def _complete(self, work):
        """All documents are in: build and read back at the same time."""
        if work.expected.count != work.dump_count:
            raise MendError(
                f"{work.side.label}: {work.expected.count} documents were sent, the dump has {work.dump_count}",
                rule="archive",
            )
        self._to_index.put(work)
        self._to_prove.put(work)

    def _build_indexes(self):
        while True:
            work = self._to_index.get()
            build(self._database, work.side, self._create_options if work.side.collection.type != "timeseries" else {})
            with self._lock:
                self._indexed += 1

    def _prove_collections(self):
        def count(documents):
            self._proven += documents
            if self._error:
                raise Stopped

        while True:
            work = self._to_prove.get()
            prove(self._database, work.side, work.expected, self._proof, work.sample, count)

    def _loaded(self, work):
        side, expected = work.side, work.expected
        compared = {"full": expected.count, "sample": len(work.sample or ()), "count": 0}[self._proof]
        return Loaded(
            name=side.collection.name, side=side.name, data_name=side.data, type=side.collection.type, uuid=side.uuid,
            count=expected.count, bytes=expected.bytes, sum=expected.sum, proof=self._proof, compared=compared,
            indexes=len(side.indexes), ttl=side.ttl, expire_after_seconds=side.expire_after_seconds,
        )  # fmt: skip
