"""restore_mongo and a disk that is too small: refused by the plan, or the live data survives it."""

from __future__ import annotations

from functools import partial

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo, mongo_change, mongo_restore
from ansible.module_utils.mendbook.lock import MongoLease
from small_disk import small_server

import restore_lab
from restore_lab import RESTORED, Lab, archive_of, live_data, noisy, unchanged

pytestmark = pytest.mark.faults

YEARS = 10 * 366 * 86400


def test_too_little_space_is_refused_with_both_numbers_unless_told(lab, backup, monkeypatch):
    path = backup(archive_of("estore", {"orders": noisy(50)}))
    room = {"free_bytes": 1000, "total_bytes": 10**9, "msg": "1000 of 10^9 bytes are free"}
    monkeypatch.setattr(mongo_restore, "free_space", lambda *_: room)
    with unchanged(lab):
        result = lab.restore(path=path)
    assert (result["state"], result["mend"]["rule"]) == ("refused", "space")
    assert "1.0 kB free" in result["msg"] and "-e mongo_restore_ignore_space=true" in result["msg"]
    assert lab.restore(path=path, ignore_space=True)["state"] == "done"


def test_a_disk_that_fills_up_leaves_the_live_data(mongo_box, tmp_path, backup, monkeypatch, record_fault):
    restore_lab.quick_writers(monkeypatch)
    with small_server(mongo_box, tmp_path / "disk") as service:
        with pymongo.MongoClient(service.uri) as client:
            lab = Lab(service.uri, client, "estore")
            live_data(lab.database)
            before = lab.picture()
            service.leave_free(24 << 20)
            path = backup(archive_of("estore", {"orders": noisy(40_000)}))
            refused = lab.restore(path=path)
            assert (refused["state"], refused["mend"]["rule"]) == ("refused", "space")
            assert lab.picture() == before
        # mongod ends itself when its disk is full; how long the driver waits for another primary is not what is tested
        monkeypatch.setattr(mongo, "_SELECTION_SECONDS", 1)
        monkeypatch.setattr(mongo_change, "MongoLease", partial(MongoLease, seconds=6))
        result = lab.restore(path=path, ignore_space=True)
        assert (result["rc"], result["changed"]) == (1, False), result["state"]
        assert result["msg"]
        monkeypatch.undo()
        restore_lab.quick_writers(monkeypatch)
        service.make_room()
        service.restart()
        with pymongo.MongoClient(service.uri) as client:
            lab = Lab(service.uri, client, "estore")
            assert lab.picture() == before
            lab.expire_lock()
            assert lab.restore(path=backup(archive_of("estore", RESTORED), "good.archive"))["state"] == "done"
            assert len(lab.documents("orders")) == 20
            assert len({name.split("_")[4] for name in lab.leftovers()}) == 1, "what the failed one left is gone"
    record_fault("disk full while a backup is loaded", rounds=1, held="live data unchanged, the next run restores")
