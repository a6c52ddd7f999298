"""backup_mongo of a server that has no space left: the moment when a backup is wanted most."""

from __future__ import annotations

import pymongo
import pytest
from small_disk import small_server

import backup_lab

pytestmark = pytest.mark.faults


def test_a_server_without_space_is_backed_up_and_nothing_is_written_to_it(mongo_box, store, tmp_path):
    with (
        small_server(mongo_box, tmp_path / "disk") as service,
        backup_lab.backup_lab(service.uri, store.s3, store.facts) as lab,
    ):
        lab.database["orders"].insert_many({"_id": n, "text": "x" * 200} for n in range(5000))
        # what the server has not written yet would be written, and end it, during the backup or without one
        lab.database.client.admin.command("fsync")
        service.leave_free(1 << 20)
        try:
            result = lab.backup()
            assert result["state"] == "done", result.get("msg")
            (key,) = lab.whole()
            entry = lab.manifest(key)["collections"][f"{lab.database.name}.orders"]
            assert entry["count"] == 5000
            assert lab.database["orders"].count_documents({}) == 5000
            with pytest.raises(pymongo.errors.PyMongoError):
                # the proof that the disk was full: this much has no place any more
                lab.database["more"].insert_many({"text": "x" * 1_000_000} for _ in range(400))
        finally:
            service.make_room()
            # it dies of the full disk, and may still be about to
            service.kill()
            service.restart()
