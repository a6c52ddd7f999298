"""Who writes into a database right now, counted by the server; against a real one."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_writers
from ansible.module_utils.mendbook.mongo import connect
from ansible.module_utils.mendbook.mongo_writers import counters, writers

pytestmark = pytest.mark.e2e


def params(uri: str) -> dict[str, Any]:
    return {"uri": uri, "connect_timeout_seconds": 30, "operation_timeout_seconds": 60}


@pytest.fixture(scope="module")
def mongo(sandbox):
    return sandbox.status()["mongo"]


@pytest.fixture
def user(mongo_client, mongo):
    """Make a user with roles; the connection string."""
    made = []

    def make(*roles):
        made.append(f"user{uuid4().hex[:8]}")
        mongo_client.admin.command("createUser", made[-1], pwd="pw", roles=list(roles))
        return f"mongodb://{made[-1]}:pw@127.0.0.1:{mongo['port']}/?authSource=admin"

    yield make
    for name in made:
        mongo_client.admin.command("dropUser", name)


def test_writers_are_measured_by_anybody_and_named_with_cluster_monitor(user, mongo, mongo_client, monkeypatch):
    database = mongo_client["written"]
    database.quiet.insert_one({})
    stop, wrote = threading.Event(), threading.Semaphore(0)

    def write():
        with pymongo.MongoClient(mongo["uri"], appname="checkout") as shop:
            while not stop.wait(0.01):
                shop["written"].orders.insert_one({})
                wrote.release()

    def between_two_looks(seconds):
        time.sleep(seconds)
        # however slow the machine is
        while wrote.acquire(blocking=False):
            pass
        assert all(wrote.acquire(timeout=60) for _ in range(3))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        monkeypatch.setattr(mongo_writers, "time", SimpleNamespace(monotonic=time.monotonic, sleep=between_two_looks))
        roles = [{"role": "readWrite", "db": "written"}, {"role": "dbAdmin", "db": "written"}]
        with connect(params(user(*roles)), "run-2") as deployment:
            found, unknown = writers(deployment, deployment.client["written"], seconds=0.5)
        assert [one["namespace"] for one in found] == ["written.orders"]
        assert found[0]["writes"] >= 3 and found[0]["writes_per_second"] > 0 and found[0]["who"] == []
        assert "clusterMonitor" in unknown
        with connect(params(user(*roles, {"role": "clusterMonitor", "db": "admin"})), "run-3") as deployment:
            found, unknown = writers(deployment, deployment.client["written"], seconds=0.5)
        assert found[0]["who"][0].startswith("checkout (user root, from 127.0.0.1")
        assert not any("mendbook" in who for who in found[0]["who"])
        assert unknown is None
    finally:
        stop.set()
        thread.join()
        monkeypatch.undo()
    with connect(params(mongo["uri"])) as deployment:
        assert writers(deployment, deployment.client["written"], seconds=0.2) == ([], None)
    mongo_client.drop_database("written")


def test_writes_of_every_kind_since_the_counters_were_read_are_found(mongo, mongo_client, database):
    database.create_collection("measured", timeseries={"timeField": "at"})
    database.create_collection("log", capped=True, size=4096)
    for name in ("quiet", "gone", "bought", "fresh"):
        database[name].insert_one({"_id": 1})
    database.drop_collection("fresh")
    with connect(params(mongo["uri"])) as deployment:
        before = counters(deployment, deployment.client[database.name])
        database["measured"].insert_one({"at": datetime.now(UTC)})
        database["log"].insert_one({})
        database.drop_collection("gone")
        database["gone"].insert_one({"_id": 2})
        database["fresh"].insert_one({"_id": 3})
        with mongo_client.start_session() as session, session.start_transaction():
            database["bought"].update_one({"_id": 1}, {"$set": {"paid": True}}, session=session)
        list(database["quiet"].find())
        database["quiet"].create_index("name")
        found, _unknown = writers(deployment, deployment.client[database.name], seconds=0, since=before)
    written = {one["namespace"].split(".")[1]: one["writes"] for one in found}
    assert written == {"measured": 1, "log": 1, "gone": 1, "fresh": 1, "bought": 1}


def test_counters_of_another_tenure_are_not_compared(mongo, database):
    database["orders"].insert_one({})
    with connect(params(mongo["uri"])) as deployment:
        target = deployment.client[database.name]
        before = counters(deployment, target)._replace(tenure=["another server"], writes={})
        began = time.monotonic()
        assert writers(deployment, target, seconds=0, since=before)[0] == []
    assert time.monotonic() - began >= 1, "it has to look for a second itself"
