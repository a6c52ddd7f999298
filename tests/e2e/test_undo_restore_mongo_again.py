"""undo_restore_mongo after several restores, and its look for writers."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.mendbook import mongo_restore_options, mongo_undo

from restore_lab import RESTORED, archive_of, numbered

pytestmark = pytest.mark.e2e


@pytest.fixture
def restored_twice(lab, tmp_path):
    """Two restores, one after the other; orders have 20 documents, then 9."""
    for name, data in (("first", RESTORED), ("second", {"orders": numbered(9)})):
        path = tmp_path / name
        path.write_bytes(archive_of("estore", data))
        assert lab.restore(path=str(path))["state"] == "done"
    return lab


def test_each_restore_is_taken_back_by_itself_and_named_by_its_own_run(restored_twice):
    lab = restored_twice
    live = {**lab.documents("orders")}
    assert lab.undo()["state"] == "done" and len(lab.documents("orders")) == 20
    planned = lab.undo(check=True)
    assert (planned["changed"], planned["plan"]["changes"]) == (False, [])
    first, second = planned["plan"]["notes"]
    assert first == "nothing to undo: the newest restore was taken back already"
    assert "(run 20260101T000000Z-000001, " in second
    token = second.rpartition("=")[2]
    assert lab.undo(token=token)["state"] == "done"
    assert len(lab.documents("orders")) == 30 and len(live) == 9
    (note,) = lab.undo(check=True)["plan"]["notes"]
    assert note == "nothing to undo: no restore is live that has kept its old data"


def test_a_plan_looks_for_writers_for_a_while_and_a_run_that_acts_waits_for_nothing(restored_twice, monkeypatch):
    looks: list[dict[str, Any]] = []
    real = mongo_undo.writers

    def writers(*arguments: Any, **options: Any) -> Any:
        looks.append(options)
        return real(*arguments, **options)

    monkeypatch.setattr(mongo_undo, "writers", writers)
    assert restored_twice.undo()["state"] == "done"
    assert [look.get("seconds") for look in looks] == [None, 0]
    assert all(look["since"] for look in looks)


def test_a_client_that_writes_while_the_plan_looks_is_in_the_plan(restored_twice, monkeypatch):
    real = mongo_undo.writers

    def writers(*arguments: Any, **options: Any) -> Any:
        restored_twice.database["orders"].insert_one({"_id": "late"})
        return real(*arguments, **options)

    monkeypatch.setattr(mongo_undo, "writers", writers)
    notes = restored_twice.undo(check=True)["plan"]["notes"]
    assert any(note.startswith(f"being written: {restored_twice.database.name}.orders") for note in notes)


@pytest.mark.parametrize(
    ("name", "reason"), [("config", "refused"), ("admin", "refused"), ("a b", "refused"), ("", "nothing")]
)
def test_a_database_that_no_restore_changes_is_refused_by_the_name_of_the_variable(lab, name, reason):
    result = lab.undo(database=name)
    assert (result["rc"], result["mend"]["reason"], result["mend"]["rule"]) == (1, reason, "database")
    assert "mongo_undo_database" in result["msg"]


def test_what_was_to_be_kept_beyond_all_calendars_can_be_undone(lab, tmp_path, monkeypatch):
    path = tmp_path / "orders.archive"
    path.write_bytes(archive_of("estore", {"orders": numbered(9)}))
    before = lab.picture()
    # as a run has left it that did not refuse this
    monkeypatch.setattr(mongo_restore_options, "MOST_KEEP_SECONDS", 10**15)
    assert lab.restore(path=str(path), keep_seconds=10**12)["state"] == "done"
    assert lab.undo()["state"] == "done"
    assert lab.picture() == before
