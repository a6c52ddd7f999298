"""A restore in a process of its own, that a test may stop at any of its steps; and what a stopped one must leave."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn

from ansible.module_utils.mendbook import mongo_load, mongo_restore, mongo_restore_replace, mongo_side, mongo_swap
from ansible.module_utils.mendbook.lock import MongoLease
from ansible.module_utils.mendbook.mongo_batch import BatchWriter
from ansible.module_utils.mendbook.mongo_swap_steps import Steps

from restore_lab import Lab, live_data, numbered
from waiting import until

KINDS = ("metrics", "orders", "sessions", "open_orders", "audit")
WAYS = ("the same restore again", "undo", "finish", "another restore")


def fill(lab: Lab) -> None:
    """The live data before each round: every kind that the backup has, with other content."""
    live_data(lab.database)
    database = lab.database
    database.create_collection("metrics", timeseries={"timeField": "t", "metaField": "m"})
    noon = datetime(2026, 1, 1, 12)
    database["metrics"].insert_many([{"t": noon, "m": number, "v": "live"} for number in range(3)])
    database["sessions"].create_index("at", expireAfterSeconds=10**9)
    database["sessions"].insert_many(numbered(3, "live"))


def content(lab: Lab) -> dict[str, Any]:
    """The picture without what is new each time that the same measurements are inserted: the hash of buckets."""
    seen = lab.picture()
    for name in [name for name in seen if name.startswith("system.buckets.")]:
        measured = lab.database[name.removeprefix("system.buckets.")].find({}, {"_id": 0})
        seen[name] = (sorted(map(str, measured)), *seen[name][1:])
    return seen


def instrument(at_step: Callable[[str], None]) -> None:
    """Call ``at_step`` after every step that the run takes at the server; only ever used in a child process."""

    def after(owner: Any, name: str, label: str) -> None:
        original = getattr(owner, name)

        def step(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            at_step(label)
            return result

        setattr(owner, name, step)

    after(MongoLease, "_acquire", "lock")
    after(mongo_swap, "begin", "marker")
    after(mongo_load, "create", "create a side collection")
    after(mongo_side, "build", "build indexes")
    after(BatchWriter, "insert", "insert")
    after(mongo_load, "prove", "read back")
    after(mongo_restore_replace, "load", "loaded")
    after(mongo_restore, "read_back", "read back what is live")
    begin = Steps.__init__

    def with_hook(self: Any, database: Any, token: Any, lease: Any, hook: Any = None) -> None:
        begin(self, database, token, lease, at_step)

    Steps.__init__ = with_hook  # type: ignore[method-assign]


class Child:
    """One acting run in a forked process; ``result()`` is what it printed, None when it was killed."""

    def __init__(self, lab: Lab, path: str, at_step: Callable[[str, int], None] | None = None, **options: Any) -> None:
        planned = lab.plan(path=path, **options)
        assert planned["rc"] == 0, planned["msg"]
        self._lab = lab
        reading, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(reading)
            self._act(lab, planned, writing, at_step, path=path, **options)
        os.close(writing)
        self._output = os.fdopen(reading)
        self.status: int | None = None

    @staticmethod
    def _act(lab: Lab, planned: dict[str, Any], writing: int, at_step: Any, **options: Any) -> NoReturn:
        steps = 0

        def counted(label: str) -> None:
            nonlocal steps
            steps += 1
            at_step(label, steps)

        try:
            if at_step:
                instrument(counted)
            result = lab.act(planned, **options)
            os.write(writing, json.dumps({**result, "steps": steps}).encode())
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)

    def result(self) -> dict[str, Any] | None:
        text = self._output.read()
        self._output.close()
        self.status = os.waitpid(self.pid, 0)[1]
        if not text:
            # what it had sent when it died is done before the server sees that it is gone
            until(lambda: not _connected(self._lab))
        return json.loads(text) if text else None


def _connected(lab: Lab) -> list[Any]:
    """The connections of mendbook, also those that do nothing now."""
    everybody = {"$currentOp": {"allUsers": True, "idleConnections": True}}
    return list(lab.database.client.admin.aggregate([everybody, {"$match": {"appName": {"$regex": "^mendbook"}}}]))


def dies_at(number: int) -> Callable[[str, int], None]:
    def at_step(label: str, step: int) -> None:
        if step == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return at_step


def end(lab: Lab, way: str, backups: dict[str, str], old: Any, new: Any) -> str:
    """End what a dead run left by one command, and prove it by another client; how it ended."""
    if way == "the same restore again":
        result = lab.restore(path=backups["real"])
        assert result["state"] in ("done", "nothing to do"), result.get("msg")
        assert content(lab) == new
        assert lab.restore(path=backups["real"])["state"] == "nothing to do"
        ended = "new"
    elif way == "another restore":
        result = lab.restore(path=backups["other"])
        assert result["state"] == "done", result.get("msg")
        assert lab.documents("orders")[0] == {"_id": 0, "value": "other"}
        ended = "other"
    else:
        result = lab.undo(way)
        assert result["state"] in ("done", "nothing to do"), result.get("msg")
        seen = content(lab)
        assert seen == old or (way == "finish" and seen == new), f"neither old nor new after {result['state']}"
        assert lab.undo(way)["state"] == "nothing to do"
        ended = "old" if seen == old else "new"
        # the next run is not in anybody's way
        assert lab.restore(path=backups["other"])["state"] == "done"
    assert not lab.locked()
    assert lab.undo("drop")["state"] in ("done", "nothing to do")
    assert [name for name in lab.leftovers() if not name.startswith("__mend_m_")] == []
    return ended
