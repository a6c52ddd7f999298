# SPDX-License-Identifier: MIT
"""What a dump of one database would read, from which member, and whether it can be of one moment; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymongo import errors as driver

from .dump_metadata import check_namespace
from .errors import MendError, Nothing, Refused
from .mongo import MINIMUM_VERSION
from .mongo_catalog import BUCKETS, PREFIX, Entry, catalog, is_ours
from .mongo_content import index_specs, shape_of
from .mongo_dump_member import Choice, chosen, member
from .mongo_dump_privileges import Dumping
from .mongo_dump_window import BYTES_PER_SECOND, MEASURED_FROM_BYTES, measure, window_seconds
from .mongo_expect import nearest, parse_time_fields, quoted
from .mongo_leftovers import foreign
from .mongo_verify import interrupted_restore

# the only system collection that holds an application's own data
SYSTEM_DUMPED = ("system.js",)


@dataclass(frozen=True)
class Surveyed:
    """One collection, view or time-series; ``options`` and ``indexes`` in BSON values, ``shape`` as in a manifest."""

    name: str
    type: str  # "collection", "view" or "timeseries"
    options: dict
    indexes: list
    uuid: Any  # of the collection that holds the documents; None for a view
    data_name: str
    bytes: int
    count: int | None  # estimated; None for views and time-series
    shape: dict

    @property
    def capped(self):
        return bool(self.options.get("capped"))


@dataclass(frozen=True)
class Survey:
    """What `survey` has found; data alone, so that a plan can be computed from it.

    ``collections`` {name: Surveyed} in the order of their names. ``consistency`` is the best that can be had:
    "snapshot", or "per_collection" with the reason in ``no_snapshot``; ``outside`` names the collections that no
    snapshot can hold. ``window_seconds`` is None where it is unknown (or there is none). ``bytes_per_second`` is
    measured where the database is large, else assumed. ``seconds`` is the estimate for everything at that speed.
    """

    database: str
    server_version: str
    member: Choice
    collections: dict
    users_and_roles: bool
    time_fields: dict
    consistency: str
    no_snapshot: str | None
    window_seconds: int | None
    bytes_per_second: int
    measured: bool
    notes: tuple = ()

    @property
    def bytes(self):
        return sum(one.bytes for one in self.collections.values())

    @property
    def count(self):
        """Documents by the server's own estimate; of a time-series none are known."""
        return sum(one.count or 0 for one in self.collections.values())

    @property
    def seconds(self):
        return self.bytes / self.bytes_per_second

    @property
    def outside(self):
        return [name for name, one in self.collections.items() if one.capped]

    def facts(self):
        """The survey as JSON, without the collections one by one."""
        views = [name for name, one in self.collections.items() if one.type == "view"]
        return {
            "collections": len(self.collections) - len(views),
            "views": len(views),
            "count": self.count,
            "bytes": self.bytes,
            "member": self.member.name,
            "secondary": self.member.role == "secondary",
            "why_member": self.member.why,
            "lag_seconds": self.member.lag_seconds,
            "consistency": self.consistency,
            "no_snapshot": self.no_snapshot,
            "window_seconds": self.window_seconds,
            "outside": self.outside,
            "bytes_per_second": self.bytes_per_second,
            "seconds": round(self.seconds, 1),
        }


def survey(deployment, database, params):
    """The Survey of ``database`` (its name), read from the member that a dump would read.

    Of ``params``: ``users_and_roles``, ``read_preference`` ("secondary_preferred" or "primary"), ``time_fields``.
    Raises Refused for a mongos, an old server, a database or collection that no dump can hold, and missing
    privileges by name; Nothing when the database has no collections.
    """
    _refuse_unfit(deployment, database)
    choice = chosen(deployment, params.get("read_preference") or "secondary_preferred")
    dumping = Dumping(deployment, database)
    dumping.require_catalogue()
    with member(deployment, choice, database) as source:
        with deployment.deadline():
            seen = catalog(source.database)
            _refuse_half_restored(deployment.client[database], seen)
            strangers = foreign(source.database, seen)
        entries = listed(database, seen)
        if not entries:
            raise Nothing(_no_database(deployment, source, database), rule="database")
        dumping.require_dump(entries, params.get("users_and_roles"))
        collections = {name: _surveyed(source, entry, deployment) for name, entry in entries.items()}
        total = sum(one.bytes for one in collections.values())
        measured = measure(source, collections) if total >= MEASURED_FROM_BYTES else None
        window, notes = window_seconds(source, deployment)
        notes += [
            f"{quoted(name)} begins with {PREFIX}, which mendbook keeps for itself, and is left out: rename it"
            for name in strangers
        ]
    time_fields = parse_time_fields(params.get("time_fields"))
    notes += [
        f"time_fields names {quoted(name)}, which is not there{nearest(name, collections)}"
        for name in time_fields
        if name not in collections
    ]
    no_snapshot = None
    if choice.role == "standalone":
        no_snapshot = "a standalone server has no history: each collection is read as it is when its turn comes"
    return Survey(
        database=database,
        server_version=".".join(str(part) for part in deployment.version),
        member=choice,
        collections=collections,
        users_and_roles=bool(params.get("users_and_roles")),
        time_fields=time_fields,
        consistency="per_collection" if no_snapshot else "snapshot",
        no_snapshot=no_snapshot,
        window_seconds=window,
        bytes_per_second=measured or BYTES_PER_SECOND,
        measured=measured is not None,
        notes=tuple(notes),
    )


def listed(database, seen):
    """``{name: Entry}`` of all that a dump of ``database`` (its name) holds of the Catalog ``seen``, as mongodump does.

    Without mendbook's own, and without what a running $out or mapReduce builds and the server itself drops.
    """
    found = {}
    for name, entry in sorted(seen.by_name.items()):
        if is_ours(name) or (name.startswith("system.") and name not in SYSTEM_DUMPED) or entry.options.get("temp"):
            continue
        try:
            check_namespace(database, name, "the dump")
        except MendError as error:
            raise Refused(f"refused: {error.msg}, so no restore could bring it back; rename it", rule="names") from None
        if entry.type == "timeseries" and entry.uuid is None:
            raise Refused(
                f"refused: the time-series {quoted(name)} keeps no buckets that could be read; this server is too new",
                rule="mongo_timeseries_version",
            )
        found[name] = entry
    return found


def shape(database, entry, deadline):
    """(index specifications with BSON values, shape for a manifest) of one Entry."""
    indexes, building = [], []
    if entry.type != "view":
        with deadline():
            indexes, building = index_specs(database, entry.name)
    return indexes, shape_of(entry, indexes, building)


def _refuse_unfit(deployment, database):
    if deployment.kind == "mongos":
        raise Refused("refused: this is a mongos, and sharded clusters are not supported", rule="mongo_sharded")
    if deployment.version[:2] < MINIMUM_VERSION:
        version = ".".join(str(part) for part in deployment.version[:2])
        raise Refused(
            f"refused: MongoDB {version} cannot find a collection by its UUID, as a dump of one moment must; 6.0 can",
            rule="mongo_version",
        )
    if database in ("admin", "config", "local"):
        raise Refused(f"refused: {database} is the server's own database and no application's", rule="database")


def _refuse_half_restored(database, seen):
    """What a swap has not finished is neither the old nor the new data, and its TTL indexes are not the user's."""
    for check in interrupted_restore(database, seen):
        raise Refused(f"refused: {quoted(database.name)}: {check.words}", rule="restore")


def _surveyed(source, entry: Entry, deployment):
    indexes, found = shape(source.database, entry, deployment.deadline)
    data_name = BUCKETS + entry.name if entry.type == "timeseries" else entry.name
    size = count = None
    if entry.type != "view":
        with deployment.deadline():
            stats = source.command({"collStats": data_name})
        size, count = stats["size"], stats.get("count")
    return Surveyed(entry.name, entry.type, entry.options, indexes, entry.uuid, data_name, int(size or 0), count, found)


def _no_database(deployment, source, database):
    with deployment.deadline():
        try:
            names = source.client.list_database_names()
        except driver.OperationFailure:
            names = []
    names = [one for one in names if one not in ("admin", "config", "local")]
    if database in names:
        return f"{quoted(database)} has no collections: there is nothing to dump"
    return f"{quoted(database)} is not on this server{nearest(database, names)}"
