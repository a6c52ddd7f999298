"""mongo_restore_piecewise: one collection at a time, each of them whole whatever happens, and the next run goes on."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_restore_pieces, mongo_restore_replace

from restore_child import Child, content, dies_at, fill
from restore_lab import Lab, archive_of, numbered, unchanged

pytestmark = pytest.mark.faults

PIECEWISE = {"piecewise": True, "keep_seconds": 0}
THREE = {"orders": numbered(20), "coupons": numbered(7), "users": numbered(11)}
TWICE = {"v": 2, "key": {"value": 1}, "name": "unique_value", "unique": True}


def names_in(result: dict[str, Any]) -> list[str]:
    return [change["object"].partition(".")[2] for change in result["plan"]["changes"]]


def data_of(lab: Lab) -> dict[str, int]:
    """How many documents that come from the backup each collection has."""
    return {
        name: lab.database[name].count_documents({"value": "restored"})
        for name in sorted(lab.database.list_collection_names())
        if not name.startswith(("__mend", "system."))
    }


def no_data_left(lab: Lab) -> bool:
    return all(name.startswith("__mend_m_") for name in lab.leftovers())


def test_old_data_goes_before_the_next_collection_is_loaded(lab, backup, monkeypatch):
    loads: list[list[str]] = []
    real = mongo_restore_replace.load

    def load(database: Any, dump: Any, sides: Any, **options: Any) -> Any:
        loads.append([name for _db, name in sides])
        assert no_data_left(lab), "room for one collection is all there is"
        return real(database, dump, sides, **options)

    monkeypatch.setattr(mongo_restore_replace, "load", load)
    path = backup(archive_of("estore", THREE, views={"few": {"viewOn": "orders", "pipeline": [{"$limit": 2}]}}))
    result = lab.restore(path=path, extra="aside", **PIECEWISE)
    assert result["state"] == "done", result["msg"]
    assert loads == [["orders"], ["coupons"], ["users"]]
    assert data_of(lab) == {"coupons": 7, "few": 2, "orders": 20, "users": 11}
    assert (result["read_back"]["documents"], result["figures"]["documents"]) == (38, 38)
    assert no_data_left(lab) and not lab.locked()
    notes = " · ".join(result["plan"]["notes"])
    assert "one collection at a time (4)" in notes and "not atomic over collections" in notes and "no undo" in notes
    assert result["plan"]["undo"].keys() == {"none"}
    assert lab.undo()["mend"]["rule"] == "kept"
    again = lab.restore(path=path, extra="aside", **PIECEWISE)
    assert (again["state"], loads) == ("nothing to do", [["orders"], ["coupons"], ["users"]])


def test_old_data_that_is_to_be_kept_is_refused(lab, backup):
    with unchanged(lab):
        result = lab.restore(path=backup(archive_of("estore", THREE)), piecewise=True)
    assert (result["rc"], result["mend"]["reason"], result["mend"]["rule"]) == (1, "refused", "piecewise")
    assert "-e mongo_restore_keep_seconds=0" in result["msg"]


@pytest.mark.parametrize("damage", ["a flipped bit at the end", "a manifest that lies"])
def test_a_backup_that_is_bad_at_its_end_is_refused_before_its_beginning_is_live(lab, backup, damage):
    data = bytearray(archive_of("estore", THREE))
    manifest = None
    if damage == "a flipped bit at the end":
        data[data.rindex(b"restored")] ^= 1
    else:
        lie = {"estore.users": {"type": "collection", "count": 12}}
        manifest = {"collections": lie, "finished": "2999-01-01T00:00:00Z"}
    with unchanged(lab):
        result = lab.restore(path=backup(bytes(data), manifest=manifest), **PIECEWISE)
    assert (result["rc"], result["changed"], result["mend"]["rule"]) == (
        1,
        False,
        "manifest" if manifest else "archive",
    )


def failing_third(backup: Any) -> str:
    collections = {**THREE, "users": [{"_id": n, "value": "restored"} for n in range(2)]}
    return backup(archive_of("estore", collections, indexes={"users": [TWICE]}), "bad.archive")


def test_a_failure_in_between_is_partial_and_says_which_are_new(lab, backup):
    lab.database["users"].insert_many(numbered(4, "live"))
    result = lab.restore(path=failing_third(backup), **PIECEWISE)
    assert (result["rc"], result["changed"], result["state"]) == (1, True, "partial")
    assert (result["mend"]["reason"], result["mend"]["rule"]) == ("partial", "mongo_index")
    assert result["mend"]["details"]["restored"] == ["orders", "coupons"]
    assert result["mend"]["details"]["left"] == ["users"]
    assert "stopped with 2 of 3 collections restored (orders, coupons)" in result["msg"]
    assert [one["object"].partition(".")[2] for one in result["done"]] == ["orders", "coupons"]
    assert data_of(lab) == {"coupons": 7, "live_view": 0, "notes": 0, "orders": 20, "users": 0}
    assert len(lab.documents("users")) == 4
    assert no_data_left(lab) and not lab.locked()


def test_a_failure_at_the_first_collection_has_changed_nothing(lab, backup):
    path = backup(archive_of("estore", {"orders": numbered(2), "users": []}, indexes={"orders": [TWICE]}))
    with unchanged(lab):
        result = lab.restore(path=path, **PIECEWISE)
    assert (result["rc"], result["changed"], result["state"]) == (1, False, "failed (nothing changed)")
    assert result["mend"]["rule"] == "mongo_index"


def stopped_after(lab: Lab, path: str, monkeypatch: pytest.MonkeyPatch, number: int) -> dict[str, Any]:
    """A run that fails when it has restored so many collections; the next one is undisturbed."""
    real, loads = mongo_restore_replace.load, [0]

    def load(*arguments: Any, **options: Any) -> Any:
        loads[0] += 1
        if loads[0] > number:
            raise pymongo.errors.OperationFailure("made up")
        return real(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(mongo_restore_replace, "load", load)
        return lab.restore(path=path, **PIECEWISE)


def test_the_next_run_goes_on_where_the_last_one_stopped(lab, backup, monkeypatch):
    path = backup(archive_of("estore", THREE))
    stopped = stopped_after(lab, path, monkeypatch, 2)
    assert (stopped["state"], stopped["mend"]["reason"]) == ("partial", "partial"), stopped["msg"]
    planned = lab.plan(path=path, **PIECEWISE)
    assert names_in(planned) == ["users"]
    assert any("left as they are: coupons, orders" in note for note in planned["plan"]["notes"])
    before = lab.database["orders"].options(), lab.database.command("listCollections")["cursor"]["firstBatch"]
    result = lab.restore(path=path, **PIECEWISE)
    assert result["state"] == "done" and data_of(lab)["users"] == 11
    uuids = {one["name"]: one["info"].get("uuid") for one in before[1]}
    after = {one["name"]: one["info"].get("uuid") for one in lab.database.list_collections()}
    assert [after[name] == uuids[name] for name in ("orders", "coupons")] == [True, True]


@pytest.mark.parametrize(
    "change",
    [
        lambda orders: orders.update_one({"_id": 1}, {"$set": {"value": "other"}}),
        lambda orders: orders.delete_one({"_id": 1}),
        lambda orders: orders.drop(),
        lambda orders: (orders.drop(), orders.insert_many(numbered(20))),
    ],
    ids=["changed", "lost", "dropped", "made again"],
)
def test_what_was_touched_since_is_restored_again(lab, backup, monkeypatch, change):
    path = backup(archive_of("estore", THREE))
    stopped_after(lab, path, monkeypatch, 2)
    change(lab.database["orders"])
    result = lab.restore(path=path, **PIECEWISE)
    assert (result["state"], names_in(result)) == ("done", ["orders", "users"])
    assert data_of(lab)["orders"] == 20


def test_another_backup_or_another_name_is_not_taken_for_what_was_restored(lab, backup, monkeypatch):
    path = backup(archive_of("estore", THREE))
    stopped_after(lab, path, monkeypatch, 2)
    assert names_in(lab.plan(path=backup(archive_of("estore", THREE), "copy"), **PIECEWISE)) == list(THREE)
    swapped = {"orders": "coupons", "coupons": "orders"}
    assert names_in(lab.plan(path=path, rename=swapped, **PIECEWISE)) == ["coupons", "orders", "users"]


def test_markers_of_data_that_is_gone_are_dropped_by_a_later_run(lab, backup):
    first = backup(archive_of("estore", THREE))
    assert lab.restore(path=first, **PIECEWISE)["state"] == "done"
    assert len(lab.leftovers()) == 3
    second = backup(archive_of("estore", THREE), "second")
    for _ in range(2):
        assert lab.restore(path=second)["state"] in ("done", "nothing to do")
    assert lab.restore(path=first)["state"] == "done"
    markers = [name for name in lab.leftovers() if name.startswith("__mend_m_")]
    assert len(markers) == 2, "those of the two whole restores"


def test_it_waits_for_the_space_of_what_was_dropped_and_not_for_ever(lab, backup, monkeypatch):
    path = backup(archive_of("estore", THREE))
    answers = iter([10**9, 0, 0, 10**9])
    looks: list[int] = []

    def free_space(*_: Any) -> dict[str, Any]:
        looks.append(next(answers, 0))
        return {"free_bytes": looks[-1]}

    monkeypatch.setattr(mongo_restore_pieces, "free_space", free_space)
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(mongo_restore_pieces, "time", clock)
    result = lab.restore(path=path, **PIECEWISE)
    assert (result["state"], result["mend"]["rule"]) == ("partial", "space"), result["msg"]
    assert result["mend"]["details"]["restored"] == ["orders", "coupons"]
    assert looks[:4] == [10**9, 0, 0, 10**9] and len(looks) > 6, "it looks again and again"


def test_a_client_that_writes_between_two_collections_stops_the_run(lab, backup, monkeypatch):
    real, loads = mongo_restore_replace.load, [0]

    def load(*arguments: Any, **options: Any) -> Any:
        loads[0] += 1
        if loads[0] == 2:
            lab.database["coupons"].insert_one({"_id": "written"})
        return real(*arguments, **options)

    monkeypatch.setattr(mongo_restore_replace, "load", load)
    result = lab.restore(path=backup(archive_of("estore", THREE)), **PIECEWISE)
    assert (result["state"], result["mend"]["rule"]) == ("partial", "writers"), result["msg"]
    assert "coupons" in result["msg"] and result["mend"]["details"]["restored"] == ["orders"]
    assert lab.database["coupons"].find_one({"_id": "written"})


def test_kill_at_each_step_leaves_every_collection_whole_and_the_next_run_ends_it(
    lab, backups, record_fault, fault_rounds
):
    options = {"path": backups["real"], **PIECEWISE}
    fill(lab)
    old = content(lab)
    undisturbed = Child(lab, options["path"], lambda label, step: None, **PIECEWISE).result()
    assert undisturbed and undisturbed["state"] == "done", undisturbed
    new, steps = content(lab), undisturbed["steps"]
    changing = [name for name in old.keys() | new.keys() if old.get(name) != new.get(name)]
    kills = mixed = 0
    for step in range(1, steps + 1, fault_rounds(7, 1)):
        fill(lab)
        child = Child(lab, options["path"], dies_at(step), **PIECEWISE)
        assert child.result() is None and child.status == signal.SIGKILL, f"it must die at step {step} of {steps}"
        kills += 1
        lab.expire_lock()
        if kills % 2:
            # whatever the middle of a swap looks like, one command makes it whole
            assert lab.undo()["state"] in ("done", "nothing to do", "refused")
            seen = content(lab)
            sides = {"old" if seen.get(name) == old.get(name) else "new" for name in changing}
            assert all(seen.get(name) in (old.get(name), new.get(name)) for name in changing), f"step {step}"
            mixed += len(sides) == 2
            lab.expire_lock()
        result = lab.restore(**options)
        assert result["state"] in ("done", "nothing to do"), result["msg"]
        assert content(lab) == new and no_data_left(lab) and not lab.locked()
    assert kills > 9 and mixed, "no kill came between two collections"
    record_fault(
        "kill -9 of a restore of one collection at a time", rounds=kills, held="each whole, ended by the next run"
    )


def test_a_signal_between_collections_says_what_is_new(lab, backup):
    path = backup(archive_of("estore", THREE))

    def terminated(label: str, step: int) -> None:
        if label == "insert" and lab.database["orders"].find_one({"value": "restored"}):
            os.kill(os.getpid(), signal.SIGTERM)

    result = Child(lab, path, terminated, **PIECEWISE).result()
    assert result and result["state"] == "partial", result
    assert "cancelled by SIGTERM" in result["msg"] and result["mend"]["details"]["restored"] == ["orders"]
    assert data_of(lab)["orders"] == 20 and data_of(lab)["coupons"] == 0
    assert no_data_left(lab) and not lab.locked()
    assert lab.restore(path=path, **PIECEWISE)["state"] == "done"
