# SPDX-License-Identifier: MIT
"""Read a database as a manifest describes it: shape, order-free sums of raw documents, newest record; locks nothing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from uuid import UUID

from bson import Binary, ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import errors as driver

from .errors import MendError
from .mongo_catalog import BUCKETS, CODEC, catalog
from .mongo_compare import extended
from .mongo_expect import quoted
from .mongo_raw import sum_collection

# A record may be dated this far ahead of us before it counts as one from the future.
CLOCK_SKEW = timedelta(minutes=5)
# server errors that say: what was read is not there under this name any more
GONE = (26, 43, 175, 246, 361)
DATES = CodecOptions(tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_CLAMP)


def shapes(database, names=None, seen=None, deadline=nullcontext):
    """``{name: entry}`` with type, options, indexes and ``building`` (names of unfinished indexes) of the user's own
    collections, views and time-series (``names``: only these, absent ones are left out), in extended JSON.

    ``seen`` is a Catalog that was read already, ``deadline`` makes the context that bounds one command.
    """
    live = (seen or catalog(database)).live()
    found = {}
    for name in live if names is None else names:
        if name in live:
            indexes, building = [], []
            if live[name].type != "view":
                with deadline():
                    indexes, building = index_specs(database, name)
            found[name] = shape_of(live[name], indexes, building)
    return found


def shape_of(entry, indexes, building):
    """One entry of `shapes`: of an Entry of the catalogue and what `index_specs` says."""
    return {
        "type": entry.type,
        "options": extended(entry.options),
        "indexes": [extended(spec) for spec in indexes],
        "building": building,
    }


def index_specs(database, name):
    """(specifications with BSON values, names of those that are still being built)."""
    command = {"listIndexes": name, "includeBuildUUIDs": True}
    try:
        # a collection has at most 64 indexes, so there is never a second batch
        reply = database.command(command, codec_options=CODEC, read_preference=database.read_preference)
    except driver.OperationFailure as error:
        if error.code in GONE:
            raise changed(name) from None
        raise
    specs, building = [], []
    for one in reply["cursor"]["firstBatch"]:
        if "buildUUID" in one:
            one = one["spec"]
            building.append(one["name"])
        specs.append(one)
    return specs, building


class Reader:
    """Reads whole collections raw, several at a time, within a rate, and stops them all when one fails.

    ``max_bytes_per_second`` 0 is no limit; ``on_progress(documents)`` gets the number read so far after each batch.
    """

    def __init__(self, max_bytes_per_second=0, on_progress=None, workers=2):
        self.documents = 0
        self.bytes = 0
        self._rate = max_bytes_per_second
        self._on_progress = on_progress
        self._workers = workers
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._started = None

    def fold(self, database, data_name, uuid, session=None):
        """The DocumentSum of one collection; MendError (rule "changed") when ``uuid`` is no longer at ``data_name``."""
        if isinstance(uuid, UUID):
            uuid = Binary.from_uuid(uuid)
        try:
            return sum_collection(database, data_name, uuid, on_reply=self.account, session=session)
        except driver.OperationFailure as error:
            if error.code in GONE:
                raise changed(data_name) from None
            raise

    def fold_all(self, database, wanted):
        """``{name: DocumentSum}`` for ``wanted`` = ``{name: (data name, uuid)}``; the first error stops all of them."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="verify")
        try:
            reads = {name: pool.submit(self.fold, database, *place) for name, place in wanted.items()}
            done, _ = wait(reads.values(), return_when=FIRST_EXCEPTION)
            for read in done:
                read.result()
            return {name: read.result() for name, read in reads.items()}
        finally:
            self.stop()
            pool.shutdown(cancel_futures=True)
            self._stop.clear()

    def stop(self):
        """Let every reader end with its next reply."""
        self._stop.set()

    def account(self, documents, size):
        """Count what one reply has brought and wait as the rate asks; MendError when the others have stopped."""
        with self._lock:
            if self._started is None:
                self._started = time.monotonic()
            self.documents += documents
            self.bytes += size
            if self._on_progress:
                self._on_progress(self.documents)
            due = self._started + self.bytes / self._rate if self._rate else 0
        if self._stop.wait(max(0.0, due - time.monotonic())):
            raise MendError("stopped: another collection could not be read")


def data_place(seen, name):
    """(name of the collection that holds the documents of ``name``, its UUID); a time-series keeps them in buckets."""
    entry = seen.by_name[name]
    return (BUCKETS + name if entry.type == "timeseries" else name), entry.uuid


def newest(collection, field=None, before=None):
    """The latest time in ``field`` (``None``: inside an ``_id`` of type ObjectId) that is not after ``before``.

    A datetime in UTC, or ``None`` when no document has one. ``before`` is now and some skew when not given: one record
    dated 2099 must not make a dead feed look alive.
    """
    before = before or now() + CLOCK_SKEW
    query = newest_query(field, before)
    found = collection.with_options(codec_options=DATES).find_one(
        query["filter"], query["projection"], sort=list(query["sort"].items())
    )
    return newest_in(found, field, before)


def newest_query(field, before):
    """Filter, projection and sort of the find that gives `newest_in` its document."""
    path = field or "_id"
    limit = before if field else ObjectId(int(before.timestamp()).to_bytes(4, "big") + b"\xff" * 8)
    projection = {path: 1} if path == "_id" else {path: 1, "_id": 0}
    return {"filter": {path: {"$lte": limit}}, "projection": projection, "sort": {path: -1}}


def newest_in(found, field, before):
    """The latest time that is not after ``before`` in the document that `newest_query` has found, or ``None``."""
    path = field or "_id"
    times = [] if found is None else list(_times(found, path.split(".")))
    return max((time for time in times if time <= before), default=None)


def date_fields(collection):
    """Names of the top-level fields that hold a date in one document of the collection, to offer them."""
    found = collection.with_options(codec_options=DATES).find_one({}) or {}
    return [name for name, value in found.items() if isinstance(value, datetime)]


def _times(value, path):
    if isinstance(value, list):
        for one in value:
            yield from _times(one, path)
    elif not path:
        if isinstance(value, ObjectId):
            yield value.generation_time
        elif isinstance(value, datetime):
            yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _times(value[path[0]], path[1:])


def time_field(entry, name, time_fields=None):
    """The field with the time of a collection's records: as named, a time-series' own, else ``None`` for ``_id``."""
    if name in (time_fields or {}):
        return time_fields[name]
    return ((entry.get("options") or {}).get("timeseries") or {}).get("timeField")


def manifest_of(database, names=None, *, contents=True, time_fields=None, reader=None, before=None):
    """The ``collections`` part of a backup manifest, computed from what ``database`` holds now.

    ``{"db.name": {type, options, indexes, count, sum, newest}}``, options and indexes as relaxed extended JSON. ``sum``
    is None for views, for capped collections (their oldest documents go at any time) and without ``contents``;
    ``count`` is None for views. A time-series counts measurements, and ``sum`` and ``buckets`` are of its buckets.
    ``newest`` is an ISO time or "unknown"; ``newest_field`` stands beside it when the time is not that of ``_id``.
    """
    seen = catalog(database)
    found = shapes(database, names, seen)
    reader = reader or Reader()
    places = {name: data_place(seen, name) for name, entry in found.items() if contents and has_sum(entry)}
    sums = reader.fold_all(database, places)
    return {
        f"{database.name}.{name}": _entry(database[name], entry, sums.get(name), time_fields, before)
        for name, entry in found.items()
    }


def has_sum(entry):
    """Whether an entry's contents can be compared by sum: a view has none, a capped collection loses its oldest."""
    return entry["type"] != "view" and not (entry.get("options") or {}).get("capped")


def _entry(collection, entry, total, time_fields, before):
    if entry["type"] == "view":
        return manifest_entry(entry)
    buckets = total.count if entry["type"] == "timeseries" and total else None
    counted = total.count if total and buckets is None else collection.count_documents({})
    field = time_field(entry, collection.name, time_fields)
    return manifest_entry(entry, counted, total, newest(collection, field, before), field)


def manifest_entry(shape, count=None, total=None, latest=None, field=None, snapshot=True):
    """What a manifest says of one collection: its shape, and what was read of it.

    ``total`` is the DocumentSum of its documents, of a time-series' buckets; ``latest`` the time of its newest record,
    in ``field`` where that is not ``_id``. ``snapshot`` False: it was not read at the moment that all others are of.
    """
    made = {"type": shape["type"], "options": shape["options"], "indexes": shape["indexes"], "count": count}
    if shape["type"] == "timeseries" and total:
        made["buckets"] = total.count
    made["sum"] = total.hex() if total and has_sum(shape) else None
    made["newest"] = iso(latest) if latest else "unknown"
    if field:
        made["newest_field"] = field
    if not snapshot:
        made["snapshot"] = False
    return made


def now():
    """This moment in UTC."""
    return datetime.now(timezone.utc)


def iso(moment):
    """``2026-03-01T00:00:00Z``, with milliseconds when there are some."""
    text = moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "")
    return (text[:-4] if text.endswith(".000") else text) + "Z"


def changed(name):
    return MendError(
        f"{quoted(name)} was dropped, renamed or replaced while it was read: run it again when that has ended",
        rule="changed",
    )
