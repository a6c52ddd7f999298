"""restore_mongo among clients that write: refused, and named."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_restore_guards, mongo_restore_replace, mongo_writers

from waiting import until

pytestmark = pytest.mark.e2e


def test_clients_that_write_are_refused_and_named(lab, backup, monkeypatch):
    monkeypatch.undo()  # look for them as long as the product does
    stop, written = threading.Event(), []

    def write() -> None:
        with pymongo.MongoClient(lab.uri, appname="the shop") as client:
            while not stop.wait(0.05):
                written.append(client[lab.database.name]["orders"].update_one({"_id": 1}, {"$inc": {"n": 1}}))

    def sleep_while_it_writes(seconds: float) -> None:
        before = len(written)
        time.sleep(seconds)
        # on a machine that stands still the shop does, too; the second of these was certainly begun meanwhile
        until(lambda: len(written) > before + 1)

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=sleep_while_it_writes)
    monkeypatch.setattr(mongo_writers, "time", clock)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        planned = lab.plan(path=backup)
        refused = lab.act(planned, path=backup)
        allowed = lab.restore(path=backup, allow_writers=True)
    finally:
        stop.set()
        writer.join()
    assert any("the shop" in note for note in planned["plan"]["notes"]), planned["plan"]["notes"]
    assert (refused["state"], refused["mend"]["rule"]) == ("refused", "writers")
    assert allowed["state"] == "done", allowed.get("msg")
    assert any("kept in the old data only" in str(warning) for warning in allowed["warnings"])


@pytest.mark.parametrize("when", ["before the load", "after the load"])
def test_one_write_at_any_time_until_the_swap_is_refused(lab, backup, monkeypatch, when):
    load = mongo_restore_replace.load

    def load_beside_a_client(*args: Any, **kwargs: Any) -> Any:
        loaded = load(*args, **kwargs) if when == "after the load" else None
        lab.database["orders"].update_one({"_id": 1}, {"$inc": {"n": 1}})
        return loaded or load(*args, **kwargs)

    monkeypatch.setattr(mongo_restore_replace, "load", load_beside_a_client)
    result = lab.restore(path=backup)
    assert (result["rc"], result["state"], result["mend"]["rule"]) == (1, "refused", "writers")
    assert f"{lab.database.name}.orders, 1 writes" in result["msg"]
    assert lab.documents("orders")[1] == {"_id": 1, "value": "live", "n": 1}
    assert lab.leftovers() == [] and not lab.locked()


def test_a_long_load_is_ended_soon_after_a_client_begins_to_write(lab, backup, monkeypatch):
    load = mongo_restore_replace.load
    looks = []

    def load_that_never_ends(*_args: Any, cancelled: Any, **_kwargs: Any) -> Any:
        cancelled()
        lab.database["orders"].update_one({"_id": 1}, {"$inc": {"n": 1}})
        # how long the server needs for a look is not the product's to promise, how soon it looks is
        monkeypatch.setattr(mongo_restore_guards, "writers", looking)
        until(cancelled)

    def looking(*args: Any, **kwargs: Any) -> Any:
        looks.append(kwargs)
        return mongo_writers.writers(*args, **kwargs)

    monkeypatch.setattr(mongo_restore_guards, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(mongo_restore_replace, "load", load_that_never_ends)
    result = lab.restore(path=backup)
    assert (result["state"], result["mend"]["rule"]) == ("refused", "writers")
    assert len(looks) == 1
    monkeypatch.setattr(mongo_restore_replace, "load", load)
    assert lab.restore(path=backup)["state"] == "done"
