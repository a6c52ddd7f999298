"""restore_mongo and a disk that is too small: refused by the plan, or the live data survives it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo, mongo_change, mongo_restore
from ansible.module_utils.mendbook.lock import MongoLease

import restore_lab
from mendbook.sandbox.services.mongo import Service
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 MB that only root may make."""
    if os.geteuid():
        words = "only root can mount a small file system"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class OnSmallDisk(Service):
    """mongod with its data on another file system."""

    disk: Path

    def _command(self, port: int, data: Path, key_file: Path) -> list[str]:
        return super()._command(port, self.disk, key_file)


def test_a_disk_that_fills_up_leaves_the_live_data(mongo_box, small_disk, backup, monkeypatch, record_fault):
    restore_lab.quick_writers(monkeypatch)
    # mongod ends itself when its disk is full; how long the driver waits for another primary is not what is tested
    monkeypatch.setattr(mongo, "_SELECTION_SECONDS", 1)
    monkeypatch.setattr(mongo_change, "MongoLease", partial(MongoLease, seconds=6))
    service = OnSmallDisk(name="small")
    service.disk = small_disk
    mongo_box.add(service)
    try:
        with pymongo.MongoClient(service.uri, serverSelectionTimeoutMS=1000) as client:
            lab = Lab(service.uri, client, "estore")
            live_data(lab.database)
            before = lab.picture()
            free = os.statvfs(small_disk)
            (small_disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize - (24 << 20)))
            path = backup(archive_of("estore", {"orders": noisy(40_000)}))
            refused = lab.restore(path=path)
            assert (refused["state"], refused["mend"]["rule"]) == ("refused", "space")
            assert lab.picture() == before
            result = lab.restore(path=path, ignore_space=True)
            assert (result["rc"], result["changed"]) == (1, False), result["state"]
            assert result["msg"]
        (small_disk / "ballast").unlink()
        service.restart()
        with pymongo.MongoClient(service.uri) as client:
            lab = Lab(service.uri, client, "estore")
            assert lab.picture() == before
            lab.expire_lock()
            assert lab.restore(path=backup(archive_of("estore", RESTORED), "good.archive"))["state"] == "done"
            assert len(lab.documents("orders")) == 20
            assert len({name.split("_")[4] for name in lab.leftovers()}) == 1, "what the failed one left is gone"
    finally:
        mongo_box.remove("small")
    record_fault("disk full while a backup is loaded", rounds=1, held="live data unchanged, the next run restores")
