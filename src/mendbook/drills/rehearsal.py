# SPDX-License-Identifier: MIT
"""The drill that needs nothing of anybody's: a shop in the sandbox is backed up, goes on, is wrecked and comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError

from mendbook import sandbox
from mendbook.drills import picture, shop
from mendbook.drills.disaster import wreck
from mendbook.drills.phases import Drill, ObjectivesMissed
from mendbook.drills.recovery import recover
from mendbook.drills.writer import Writer
from mendbook.errors import Failed, VerifyFailed
from mendbook.report import duration, size
from mendbook.times import iso

_PREFIX = "daily/"
# orders that are placed after the backup: lost on purpose
_LOST = 25


def rehearse(drilled: Drill, seed: int, scale: float) -> None:
    """Run the phases; raises what goes wrong, ObjectivesMissed last of all."""
    drilled.subject = f"the sandbox's shop, seed {seed}, scale {scale:g}"
    with drilled.phase("sandbox") as found:
        box = sandbox.start(("mongo", "s3"))
        found.append("MongoDB as a replica set with authentication, and S3")
    with box:
        servers = box.status()
        try:
            _rehearse(drilled, servers, shop.Shop(seed, scale))
        except PyMongoError as error:
            raise Failed(f"the sandbox's MongoDB: {error}") from error


def _rehearse(drilled: Drill, servers: Mapping[str, Any], made: shop.Shop) -> None:
    with drilled.phase("shop") as found, _database(servers) as database:
        made.fill(database)
        before = picture.picture(database)
        stored = database.command("dbStats")["dataSize"]
        found.append(f"{made.documents:,} documents, {size(stored)}, content {picture.content_hash(before)}")
    with Writer(servers["mongo"]["uri"]) as writer:
        with drilled.phase("backup") as found:
            writer.wait_for(1)
            found.append(_back_up(drilled, servers))
        with drilled.phase("writes") as found:
            writer.wait_for(_LOST)
            writer.stop()
            found.append(f"{len(writer.acknowledged):,} orders since the backup began, each acknowledged")
    began = datetime.now(UTC)
    with drilled.phase("disaster") as found, _database(servers) as database:
        found += wreck(database)
    missed = recover(
        drilled,
        {
            "uri": servers["mongo"]["uri"],
            "database": shop.DATABASE,
            "prefix": _PREFIX,
            **_store(servers["s3"]),
            "time_fields": {"orders": "placedAt"},
            "began": iso(began),
            "last_write": iso(writer.acknowledged[-1].replace(tzinfo=UTC)),
        },
    )
    with drilled.phase("compare") as found, _database(servers) as database:
        found += _compare(drilled, database, before, writer.acknowledged)
    if missed:
        raise ObjectivesMissed(missed)


def _back_up(drilled: Drill, servers: Mapping[str, Any]) -> str:
    values = {"uri": servers["mongo"]["uri"], "database": shop.DATABASE, "prefix": _PREFIX, **_store(servers["s3"])}
    outcome = drilled.play("backup_mongo", {f"mongo_backup_{name}": value for name, value in values.items()})
    result = next(iter(outcome.raise_if_failed().hosts.values()))
    (made,) = (entry for entry in result.done if entry["op"] == "+")
    return f"{made['object']}, while orders come in"


def _store(store: Mapping[str, Any]) -> dict[str, Any]:
    """The bucket's options; ``run`` keeps what is secret in them out of every file."""
    return {
        "bucket": store["bucket"],
        "s3_endpoint_url": store["endpoint_url"],
        "s3_region": store["region"],
        "s3_path_style": True,
        "s3_access_key": store["access_key"],
        "s3_secret_key": store["secret_key"],
    }


@contextmanager
def _database(servers: Mapping[str, Any]) -> Iterator[Database[dict[str, Any]]]:
    """The shop's database by plain pymongo."""
    client: MongoClient[dict[str, Any]] = MongoClient(servers["mongo"]["uri"], serverSelectionTimeoutMS=10_000)
    with client:
        yield client[shop.DATABASE]


def _compare(
    drilled: Drill, database: Database[dict[str, Any]], before: dict[str, str], acknowledged: list[datetime]
) -> list[str]:
    """Look at what came back by a client that shares nothing with the procedures; VerifyFailed when it is not right."""
    differing = picture.differences(before, picture.picture(database))
    if differing:
        raise VerifyFailed(f"not as before the disaster: {', '.join(differing)}")
    live, by_id = {"_id": {"$gte": shop.LIVE_FROM}}, [("_id", 1)]
    kept = list(database["orders"].find(live, sort=by_id))
    lost = lost_seconds(kept, list(database["payments"].find(live, sort=by_id)), acknowledged)
    if drilled.rpo_seconds is None or abs(lost - drilled.rpo_seconds) > 0.001:
        raise VerifyFailed(f"RPO was measured as {drilled.rpo_seconds} s, and orders of {lost} s are gone")
    gone = len(acknowledged) - len(kept)
    return [f"{len(before)} collections as before, to the byte", f"orders of {duration(lost)} are lost: {gone:,}"]


def lost_seconds(orders: list[dict[str, Any]], payments: list[dict[str, Any]], acknowledged: list[datetime]) -> float:
    """The time of the orders that are gone; VerifyFailed when those that came back are not of one moment.

    ``acknowledged`` are the times of all orders as they were written, the n-th for order n.
    """
    written = list(enumerate(acknowledged[: len(orders)]))
    if orders != [shop.live_order(number, at) for number, at in written]:
        raise VerifyFailed("the orders that came back are not those that were acknowledged first")
    if len(orders) - len(payments) not in (0, 1) or payments != [
        shop.live_payment(number, at) for number, at in written[: len(payments)]
    ]:
        raise VerifyFailed("orders and payments are not of one moment, although the backup is a snapshot")
    if not orders:
        raise VerifyFailed("no order came back, and there was one before the backup began")
    return (acknowledged[-1] - acknowledged[len(orders) - 1]).total_seconds()
