"""A dump of a replica set while its members step down, are killed, restart, or fall behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_dump
from ansible.module_utils.mendbook.errors import MendError
from pymongo.database import Database
from pymongo.errors import PyMongoError

import mendbook.sandbox
from dump_lab import connected, take
from mendbook.sandbox.services.mongo import Service
from waiting import until

pytestmark = pytest.mark.faults

DOCUMENTS = 24


@pytest.fixture(scope="module")
def three() -> Iterator[Service]:
    with mendbook.sandbox.start((Service(members=3),)) as box:
        service = box.services["mongo"]
        with pymongo.MongoClient(service.uri) as client:
            # nobody takes over but whom a test lets step up, also where the machine stands still for a while
            config = client.admin.command("replSetGetConfig")["config"]
            config["settings"]["electionTimeoutMillis"] = 30_000
            client.admin.command("replSetReconfig", {**config, "version": config["version"] + 1})
        yield service


@pytest.fixture
def database(three: Service) -> Iterator[Database[Any]]:
    """Data of more bytes than the queues of a dump hold, on every member of a set that is whole."""
    with pymongo.MongoClient(three.uri) as client:
        until(lambda: len(client.secondaries) == 2 and client.primary)
        name = f"dumped_{uuid4().hex[:8]}"
        found = client.get_database(name, write_concern=pymongo.WriteConcern(3))
        found["large"].insert_many([{"_id": n, "noise": os.urandom(1 << 20)} for n in range(DOCUMENTS)])
        found["small"].insert_many([{"_id": n} for n in range(100)])
        yield found
        until(lambda: client.primary)
        client.drop_database(name)


def direct(three: Service, port: int) -> pymongo.MongoClient[Any]:
    return three._client(port, login=True)


def returned(three: Service, port: int) -> int:
    """How many documents a member has given out since it started, by its own count."""
    with direct(three, port) as client:
        return client.admin.command("serverStatus")["metrics"]["document"]["returned"]


def step_down(three: Service, client: pymongo.MongoClient[Any]) -> None:
    """Let the primary hand its office to a secondary that has caught up, and be there for the next time."""
    before = client.primary
    assert before
    try:
        client.admin.command("replSetStepDown", 60, secondaryCatchUpPeriodSecs=50)
    except PyMongoError:
        pass  # the connection is closed with the answer
    until(lambda: client.primary not in (None, before))
    with direct(three, before[1]) as old:
        old.admin.command("replSetFreeze", 0)


def port_of(member: str) -> int:
    return int(member.rpartition(":")[2])


def test_a_secondary_is_read_and_the_primary_left_alone(three: Service, database: Any, tmp_path: Path) -> None:
    before = {port: returned(three, port) for port in three.ports}
    taken = take(three.uri, database.name, tmp_path / "a.gz")
    given = {port: returned(three, port) - before[port] for port in three.ports}
    primary, read = database.client.primary[1], port_of(taken.dumped.member)
    assert read != primary
    assert given[read] >= DOCUMENTS + 100 and all(given[port] < 50 for port in three.ports if port != read), given


def test_the_primary_is_read_when_asked_for(three: Service, database: Any, tmp_path: Path) -> None:
    taken = take(three.uri, database.name, tmp_path / "a.gz", params={"read_preference": "primary"})
    assert port_of(taken.dumped.member) == database.client.primary[1]


def test_a_member_that_the_uri_names_alone_is_the_one_that_is_read(
    three: Service, database: Any, tmp_path: Path
) -> None:
    (_host, port), _other = sorted(database.client.secondaries)
    uri = three._uri([port], login=True, directConnection="true")
    taken = take(uri, database.name, tmp_path / "a.gz")
    assert port_of(taken.dumped.member) == port and taken.dumped.consistency == "snapshot"


@pytest.mark.parametrize("preference", ["secondary_preferred", "primary"])
def test_a_dump_goes_on_through_an_election(
    three: Service, database: Any, tmp_path: Path, preference: str, record_fault: Callable[..., None]
) -> None:
    def elect(number: int) -> None:
        if number == 1:
            step_down(three, database.client)
            database["small"].insert_one({"_id": "after the election"})

    params = {"read_preference": preference}
    taken = take(three.uri, database.name, tmp_path / "a.gz", params=params, readers=1, on_block=elect)
    assert taken.dumped.collections[f"{database.name}.large"]["count"] == DOCUMENTS
    assert taken.dumped.collections[f"{database.name}.small"]["count"] == 100
    record_fault(f"election while the {preference.partition('_')[0]} is dumped", rounds=1, held="whole, of one moment")


def test_a_member_that_is_killed_ends_the_dump_and_another_one_is_read_next(
    three: Service, database: Any, tmp_path: Path, record_fault: Callable[..., None]
) -> None:
    killed = []

    def kill(number: int) -> None:
        if number == 1:
            three.member(killed[0]).kill()

    try:
        with pytest.raises(MendError) as caught:
            surveyed: Callable[[Any], None] = lambda survey: killed.append(survey.member.address[1])  # noqa: E731
            take(three.uri, database.name, tmp_path / "a.gz", on_block=kill, surveyed=surveyed)
        assert caught.value.rule == "member"
        assert f":{killed[0]}" in caught.value.msg and "run it again" in caught.value.msg
        taken = take(three.uri, database.name, tmp_path / "b.gz")
        assert port_of(taken.dumped.member) != killed[0]
        assert taken.dumped.collections[f"{database.name}.large"]["count"] == DOCUMENTS
    finally:
        three.restart()
    record_fault("the member that is read is killed", rounds=1, held="named, no archive; the next run reads another")


def test_what_was_acknowledged_is_waited_for_where_a_secondary_is_behind(
    three: Service, database: Any, tmp_path: Path, record_fault: Callable[..., None]
) -> None:
    found: list[Any] = []
    locked = [direct(three, port) for _host, port in sorted(database.client.secondaries)]
    try:
        for client in locked:
            client.admin.command("fsync", lock=True)
        database["small"].with_options(write_concern=pymongo.WriteConcern(1)).insert_one({"_id": "the last order"})
        dumping = threading.Thread(target=lambda: found.append(take(three.uri, database.name, tmp_path / "a.gz")))
        dumping.start()
        dumping.join(1)
        assert dumping.is_alive() and not found, "it waits"
    finally:
        for client in locked:
            client.admin.command("fsyncUnlock")
            client.close()
    dumping.join(120)
    assert found[0].dumped.collections[f"{database.name}.small"]["count"] == 101
    record_fault("a secondary is behind when the dump begins", rounds=1, held="waited for, nothing acknowledged lacks")


def test_a_secondary_that_does_not_catch_up_is_named(three: Service, database: Any, tmp_path: Path) -> None:
    locked = [direct(three, port) for _host, port in sorted(database.client.secondaries)]
    try:
        for client in locked:
            client.admin.command("fsync", lock=True)
        database["small"].with_options(write_concern=pymongo.WriteConcern(1)).insert_one({"_id": "the last order"})
        with pytest.raises(MendError) as caught, connected(three.uri, operation_timeout_seconds=8) as deployment:
            mongo_dump.survey(deployment, database.name, {})
        assert caught.value.rule == "member" and "does not catch up" in caught.value.msg
    finally:
        for client in locked:
            client.admin.command("fsyncUnlock")
            client.close()
