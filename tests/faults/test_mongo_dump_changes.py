"""What others do to a database while it is dumped, and what it is like before: each is named, none is a backup."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_dump
from ansible.module_utils.mendbook.errors import Cancelled, MendError, Nothing, Refused
from ansible.module_utils.mendbook.mongo_dump_window import WINDOW
from ansible.module_utils.mendbook.mongo_swap import Swap
from pymongo.database import Database
from swap_database import Held, fill_old, picture, prepared

import mendbook.sandbox
from dump_lab import connected, fill, take
from mendbook.sandbox.services.mongo import Service
from waiting import until

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def uri() -> Iterator[str]:
    with mendbook.sandbox.start(("mongo",)) as box:
        yield box.status()["mongo"]["uri"]


@pytest.fixture
def database(uri: str) -> Iterator[Database[Any]]:
    """Two collections, of which the larger one is read first, and is more than the queues of a dump hold."""
    with pymongo.MongoClient(uri) as client:
        found = client[f"changed_{uuid4().hex[:8]}"]
        fill(found, "large", 24)
        found["orders"].insert_many([{"_id": number} for number in range(100)])
        found.create_collection("series", timeseries={"timeField": "at"})
        found.create_collection("open_orders", viewOn="orders", pipeline=[])
        yield found
        client.drop_database(found.name)


def drop_and_make(name: str) -> Callable[[Database[Any]], Any]:
    def act(database: Database[Any]) -> None:
        database[name].drop()
        database[name].insert_one({"_id": 1})

    return act


def rename_away_and_back(database: Database[Any]) -> None:
    """Afterwards everything has the name and the UUID that it had, so the dump is as good as it looks."""
    database["orders"].rename("elsewhere")
    database["elsewhere"].rename("orders")


CHANGES = {
    "dropped, not read yet": ("orders", "was dropped", lambda d: d["orders"].drop()),
    "dropped, while it is read": ("large", "was dropped", lambda d: d["large"].drop()),
    "renamed": ("orders", "was dropped, renamed or replaced", lambda d: d["orders"].rename("elsewhere")),
    "replaced": ("orders", "was dropped", drop_and_make("orders")),
    "created": ("new", "was created", lambda d: d.create_collection("new")),
    "an index more": ("orders", "got other indexes", lambda d: d["orders"].create_index("x")),
    "an index more on what is read": ("large", "got other indexes", lambda d: d["large"].create_index("x")),
    "a validator": ("orders", "got other options", lambda d: d.command("collMod", "orders", validator={"_id": 1})),
    "a view, dropped": ("open_orders", "was dropped", lambda d: d["open_orders"].drop()),
    "a view, altered": (
        "open_orders",
        "got other options",
        lambda d: d.command("collMod", "open_orders", viewOn="large", pipeline=[]),
    ),
    "a time-series, dropped": ("series", "was dropped", lambda d: d["series"].drop()),
    "all of it": ("", "was dropped", lambda d: d.client.drop_database(d.name)),
}


def is_whole(path: Path) -> bool:
    """Whether a reader could take this for an archive."""
    try:
        return bool(gzip.decompress(path.read_bytes()))
    except EOFError:
        return False


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_while_it_is_dumped_is_named(
    database: Database[Any], uri: str, tmp_path: Path, change: str, record_fault: Callable[..., None]
) -> None:
    name, words, act = CHANGES[change]
    path = tmp_path / "a.gz"
    with pytest.raises(MendError) as caught:
        take(uri, database.name, path, readers=1, on_block=lambda number: act(database) if number == 1 else None)
    assert caught.value.rule == "changed"
    assert name in caught.value.msg and words in caught.value.msg and "run it again" in caught.value.msg
    assert not is_whole(path)
    record_fault(f"a collection changed while it is dumped: {change}", rounds=1, held="refused, no archive")


def test_what_is_as_it_was_again_is_dumped(database: Database[Any], uri: str, tmp_path: Path) -> None:
    def act(number: int) -> None:
        if number == 1:
            rename_away_and_back(database)

    try:
        taken = take(uri, database.name, tmp_path / "a.gz", readers=1, on_block=act)
    except MendError as error:
        # the server may have no history of it under the new catalogue
        assert error.rule == "changed"
    else:
        assert taken.dumped.collections[f"{database.name}.orders"]["count"] == 100


def test_a_change_between_the_plan_and_the_dump_is_named(database: Database[Any], uri: str, tmp_path: Path) -> None:
    with pytest.raises(MendError) as caught:
        take(uri, database.name, tmp_path / "a.gz", surveyed=lambda survey: database["orders"].create_index("x"))
    assert caught.value.rule == "changed" and '"orders" got other indexes' in caught.value.msg


def test_an_index_that_is_being_built_is_in_the_dump(tmp_path: Path) -> None:
    stop = {"configureFailPoint": "hangAfterStartingIndexBuild"}
    with mendbook.sandbox.start((Service(arguments=["--setParameter", "enableTestCommands=1"]),)) as box:
        with pymongo.MongoClient(box.services["mongo"].uri) as client:
            client.admin.command({**stop, "mode": "alwaysOn"})
            client["built"]["orders"].insert_one({"_id": 1})
            building = threading.Thread(target=client["built"]["orders"].create_index, args=("x",))
            building.start()
            try:
                until(lambda: len(list(client["built"]["orders"].list_indexes())) == 2)
                taken = take(box.services["mongo"].uri, "built", tmp_path / "a.gz")
            finally:
                client.admin.command({**stop, "mode": "off"})
                building.join(60)
    (entry,) = taken.dumped.collections.values()
    assert [index["name"] for index in entry["indexes"]] == ["_id_", "x_1"]


# the moment that is gone


def test_a_moment_that_is_gone_is_said_with_what_would_be_needed(
    database: Database[Any], uri: str, tmp_path: Path, record_fault: Callable[..., None]
) -> None:
    admin = database.client.admin

    def outlast(number: int) -> None:
        if number != 1:
            return
        admin.command({"setParameter": 1, WINDOW: 0})
        # the dump's moment is no later than this
        now = admin.command("hello")["lastWrite"]["opTime"]["ts"]
        until(lambda: _is_gone(database, now))

    try:
        with pytest.raises(MendError) as caught:
            take(uri, database.name, tmp_path / "a.gz", readers=1, on_block=outlast)
    finally:
        admin.command({"setParameter": 1, WINDOW: 300})
    assert caught.value.rule == "window"
    assert WINDOW in caught.value.msg and "for 300 s" in caught.value.msg and "per_collection" in caught.value.msg
    record_fault("the snapshot's window passed", rounds=1, held="said, with the parameter and its value")


def _is_gone(database: Database[Any], moment: Any) -> bool:
    """Whether the server has forgotten this moment; it moves on only with writes."""
    database.client["other"]["noise"].insert_one({})
    concern = {"level": "snapshot", "atClusterTime": moment}
    try:
        database.command({"find": "large", "limit": 1, "projection": {"_id": 1}, "readConcern": concern})
    except pymongo.errors.OperationFailure as error:
        return error.code == 239
    return False


def test_what_would_take_too_long_is_refused_before_the_first_byte(
    database: Database[Any], uri: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.gz"
    with pytest.raises(Refused) as caught:
        take(uri, database.name, path, estimated_bytes_per_second=1000)
    assert caught.value.rule == "window"
    assert f"setParameter: 1, {WINDOW}: " in caught.value.msg and "per_collection" in caught.value.msg
    assert path.read_bytes() == b""
    taken = take(uri, database.name, path, estimated_bytes_per_second=1000, consistency="per_collection")
    assert taken.dumped.consistency == "per_collection"


# whoever ends it


def test_a_killed_cursor_is_said(database: Database[Any], uri: str, tmp_path: Path) -> None:
    def killed() -> bool:
        found = [one["cursor"]["cursorId"] for one in _idle_cursors(database) if one["ns"].endswith(".large")]
        return bool(found and database.command({"killCursors": "large", "cursors": found})["cursorsKilled"])

    def kill(number: int) -> None:
        # the cursor is idle as soon as the reader waits for this writer
        if number == 1:
            until(killed)

    with pytest.raises(MendError) as caught:
        take(uri, database.name, tmp_path / "a.gz", readers=1, on_block=kill)
    assert caught.value.rule == "member" and "run it again" in caught.value.msg, caught.value.msg


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Cancelled("cancelled by SIGTERM")])
def test_a_writer_that_fails_stops_the_readers_and_leaves_no_cursor(
    database: Database[Any], uri: str, error: Exception
) -> None:
    def fail(data: bytes) -> None:
        raise error

    with connected(uri) as deployment:
        survey = mongo_dump.survey(deployment, database.name, {})
        before = _threads()
        with pytest.raises(type(error)):
            mongo_dump.dump(deployment, database.name, survey, fail)
        until(lambda: _threads() <= before)
    until(lambda: not _idle_cursors(database))


def _threads() -> set[threading.Thread]:
    """Those that are at work, but for the driver's own, which come and go as it likes."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("pymongo")}


def _idle_cursors(database: Database[Any]) -> list[dict[str, Any]]:
    idle = [{"$currentOp": {"idleCursors": True, "allUsers": True}}, {"$match": {"type": "idleCursor"}}]
    return [one for one in database.client.admin.aggregate(idle) if one["ns"].startswith(f"{database.name}.")]


def test_a_capped_collection_that_overtakes_its_reader_is_named(
    database: Database[Any], uri: str, tmp_path: Path
) -> None:
    log = database.create_collection("log", capped=True, size=40 << 20)
    log.insert_many([{"_id": number, "filler": bytes(1 << 20)} for number in range(30)])

    def overwrite(number: int) -> None:
        if number == 1:
            log.insert_many([{"_id": 100 + n, "filler": bytes(1 << 20)} for n in range(60)])

    with pytest.raises(MendError) as caught:
        take(uri, database.name, tmp_path / "a.gz", readers=1, on_block=overwrite)
    assert caught.value.rule == "changed" and "log is capped and was overwritten" in caught.value.msg


# what is refused before anything is read


def test_a_database_that_is_not_there_is_nothing_and_the_likely_one_is_named(
    database: Database[Any], uri: str, tmp_path: Path
) -> None:
    with pytest.raises(Nothing) as caught:
        take(uri, database.name[:-1], tmp_path / "a.gz")
    assert "did you mean" in caught.value.msg and database.name in caught.value.msg


@pytest.mark.parametrize("name", ["admin", "config", "local"])
def test_the_servers_own_databases_are_refused(uri: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="the server's own database"):
        take(uri, name, tmp_path / "a.gz")


def test_a_name_that_no_restore_could_bring_back_is_refused(database: Database[Any], uri: str, tmp_path: Path) -> None:
    database.command({"create": "a..b"})
    with pytest.raises(Refused, match="a collection name with an empty part.*rename it"):
        take(uri, database.name, tmp_path / "a.gz")


def test_a_database_that_is_half_restored_is_refused_and_a_whole_one_is_dumped_without_its_old_set(
    uri: str, tmp_path: Path
) -> None:
    def stop(step: str) -> None:
        if step.startswith("rename"):
            raise RuntimeError(step)

    with pymongo.MongoClient(uri) as client:
        database = client["half"]
        fill_old(database)
        swap = prepared(database, Held(), stop)
        with pytest.raises(RuntimeError):
            swap.forward()
        with pytest.raises(Refused) as caught:
            take(uri, database.name, tmp_path / "a.gz")
        assert caught.value.rule == "restore" and "mongo_undo_action=finish" in caught.value.msg
        Swap.latest(database, Held()).recover(finish=True)
        assert any(name.startswith("__mend_o_") for name in database.list_collection_names())
        taken = take(uri, database.name, tmp_path / "a.gz")
        assert set(taken.dumped.collections) == {f"half.{name}" for name in picture(database)}
        client.drop_database(database.name)
