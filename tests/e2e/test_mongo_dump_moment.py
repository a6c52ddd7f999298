"""One point in time: what clients write while a dump is read is in it as a whole or not at all."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.database import Database

from dump_lab import fill, take

pytestmark = pytest.mark.e2e

# more than the queues of a dump hold: what is read after it cannot be read before its first block is written
AHEAD_MEBIBYTES = 24
STOCK = 1000


@pytest.fixture
def uri(sandbox: Any) -> str:
    return sandbox.status()["mongo"]["uri"]


@pytest.fixture
def shop(database: Database[Any]) -> Database[Any]:
    """Stock in two collections, the first of which is so large that the second one is read much later."""
    fill(database, "a_warehouse", AHEAD_MEBIBYTES)
    database["a_warehouse"].insert_one({"_id": "stock", "stock": STOCK})
    database["b_store"].insert_one({"_id": "stock", "stock": 0})
    return database


def transfer(database: Database[Any], number: int) -> None:
    """Move stock from the one collection to the other, in one transaction."""

    def both(session: Any) -> None:
        database["a_warehouse"].update_one({"_id": "stock"}, {"$inc": {"stock": -number}}, session=session)
        database["b_store"].update_one({"_id": "stock"}, {"$inc": {"stock": number}}, session=session)

    with database.client.start_session() as session:
        session.with_transaction(both)


def stocks(taken: Any, database: Database[Any]) -> tuple[int, int]:
    found = []
    for name in ("a_warehouse", "b_store"):
        (one,) = [one for one in taken.decoded(database.name, name) if one["_id"] == "stock"]
        found.append(one["stock"])
    return found[0], found[1]


def once(act: Any) -> Any:
    """An ``on_block`` that acts at the first block."""
    return lambda number: act() if number == 1 else None


def test_what_is_written_after_the_start_is_not_in_it(shop: Database[Any], uri: str, tmp_path: Path) -> None:
    taken = take(uri, shop.name, tmp_path / "a.gz", readers=1, on_block=once(lambda: transfer(shop, 7)))
    assert stocks(taken, shop) == (STOCK, 0)
    assert shop["b_store"].find_one() == {"_id": "stock", "stock": 7}, "the transfer was done while it was read"


def test_without_a_snapshot_the_same_dump_shows_half_a_transfer(shop: Database[Any], uri: str, tmp_path: Path) -> None:
    # so that the other tests are known to see it
    shop["a_warehouse"].delete_one({"_id": "stock"})
    shop["a_warehouse"].update_one({"_id": 0}, {"$set": {"_id": 0, "stock": STOCK}})

    def move() -> None:
        shop["a_warehouse"].update_one({"_id": 0}, {"$inc": {"stock": -7}})
        shop["b_store"].update_one({"_id": "stock"}, {"$inc": {"stock": 7}})

    options: dict[str, Any] = {"readers": 1, "consistency": "per_collection"}
    taken = take(uri, shop.name, tmp_path / "a.gz", on_block=once(move), **options)
    (warehouse,) = [one for one in taken.decoded(shop.name, "a_warehouse") if one["_id"] == 0]
    (store,) = taken.decoded(shop.name, "b_store")
    assert warehouse["stock"] + store["stock"] == STOCK + 7
    assert taken.dumped.consistency == "per_collection" and taken.dumped.cluster_time is None
    assert any("not all of one moment" in note for note in taken.dumped.notes)
    assert not any("snapshot" in entry for entry in taken.dumped.collections.values())


def test_all_that_was_acknowledged_before_the_start_is_in_it(database: Database[Any], uri: str, tmp_path: Path) -> None:
    for number in range(5):
        database["orders"].with_options(write_concern=pymongo.WriteConcern(1)).insert_one({"_id": number})
        taken = take(uri, database.name, tmp_path / f"{number}.gz")
        assert taken.dumped.collections[f"{database.name}.orders"]["count"] == number + 1


def test_count_newest_and_measurements_are_of_the_moment_too(database: Database[Any], uri: str, tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    fill(database, "a_large", AHEAD_MEBIBYTES)
    series = database.create_collection("b_series", timeseries={"timeField": "at"})
    series.insert_many([{"at": start + timedelta(seconds=n)} for n in range(10)])
    database["c_orders"].insert_many([{"at": start} for _ in range(3)])

    def write() -> None:
        series.insert_many([{"at": start + timedelta(days=1)} for _ in range(5)])
        database["c_orders"].insert_one({"at": start + timedelta(days=1)})

    taken = take(
        uri,
        database.name,
        tmp_path / "a.gz",
        params={"time_fields": {"c_orders": "at"}},
        readers=1,
        on_block=once(write),
    )
    entries = {name.partition(".")[2]: entry for name, entry in taken.dumped.collections.items()}
    assert entries["b_series"]["count"] == 10 and entries["b_series"]["newest"] == "2026-01-01T00:00:09Z"
    assert entries["c_orders"]["count"] == 3 and entries["c_orders"]["newest"] == "2026-01-01T00:00:00Z"
    assert series.count_documents({}) == 15


def test_a_capped_collection_is_not_of_the_moment_and_says_so(
    database: Database[Any], uri: str, tmp_path: Path
) -> None:
    fill(database, "a_large", AHEAD_MEBIBYTES)
    capped = database.create_collection("b_log", capped=True, size=1 << 16)
    capped.insert_one({"_id": 1})
    taken = take(uri, database.name, tmp_path / "a.gz", readers=1, on_block=once(lambda: capped.insert_one({"_id": 2})))
    assert [one["_id"] for one in taken.decoded(database.name, "b_log")] == [1, 2]
    entry = taken.dumped.collections[f"{database.name}.b_log"]
    assert (entry["snapshot"], entry["count"], entry["sum"]) == (False, 2, None)
    assert taken.dumped.consistency == "snapshot"
    assert taken.dumped.collections[f"{database.name}.a_large"].get("snapshot") is None


@contextmanager
def writers(database: Database[Any], number: int) -> Iterator[dict[str, Any]]:
    """So many clients that move stock to and fro without a pause; what they did, and what went wrong."""
    seen: dict[str, Any] = {"transfers": 0, "errors": []}
    stop = threading.Event()
    lock = threading.Lock()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        try:
            while not stop.is_set():
                transfer(database, chance.randrange(-9, 10))
                with lock:
                    seen["transfers"] += 1
        except Exception as error:
            seen["errors"].append(error)

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_no_dump_ever_shows_half_a_transfer_and_the_writers_go_on(
    shop: Database[Any], uri: str, tmp_path: Path
) -> None:
    seen_stocks = set()
    with writers(shop, 2) as seen:
        for number in range(6):
            before = seen["transfers"]

            def wait(block: int, before: int = before) -> None:
                # the dump goes on only when something was written since it began
                while block == 1 and seen["transfers"] < before + 5 and not seen["errors"]:
                    threading.Event().wait(0.01)

            taken = take(uri, shop.name, tmp_path / f"{number}.gz", on_block=wait)
            found = stocks(taken, shop)
            assert sum(found) == STOCK, f"dump {number} has half a transfer: {found}"
            seen_stocks.add(found)
    assert not seen["errors"]
    assert len(seen_stocks) > 1, "the writers have changed something between the dumps"


def test_two_dumps_at_once_do_not_disturb_each_other(shop: Database[Any], uri: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda number: take(uri, shop.name, tmp_path / f"{number}.gz"), range(2))
    assert first.dumped.collections == second.dumped.collections
