"""mongo_restore_proof: how much of the loaded data is looked at before the swap, and what that finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bson
import pytest
from ansible.module_utils.mendbook import mongo_load

from restore_lab import RESTORED, Lab, archive_of, numbered, unchanged

pytestmark = pytest.mark.e2e


@pytest.fixture
def large(tmp_path: Path) -> str:
    path = tmp_path / "large.archive"
    path.write_bytes(archive_of("estore", {"orders": numbered(3500), "coupons": numbered(7)}))
    return str(path)


@pytest.mark.parametrize(
    ("proof", "least", "most"), [("full", 3507, 3507), ("sample", 507, 1007), ("count", 0, 0), (None, 3507, 3507)]
)
def test_the_result_says_how_much_was_compared(lab: Lab, large: str, proof: str | None, least: int, most: int) -> None:
    result = lab.restore(path=large, proof=proof)
    assert result["state"] == "done", result.get("msg")
    assert (result["read_back"]["documents"], result["read_back"]["proof"]) == (3507, [proof or "full"])
    assert least <= result["read_back"]["compared"] <= most
    said = [note for note in result["plan"]["notes"] if "not by reading back every document" in note]
    assert len(said) == (proof in ("sample", "count"))


def after_loading(monkeypatch: pytest.MonkeyPatch, lab: Lab, change: Any) -> None:
    """Somebody changes the side collections when they are loaded and not proven yet."""
    real = mongo_load.prove

    def prove(database: Any, side: Any, *rest: Any) -> Any:
        if side.collection.name == "orders":
            change(lab.database[side.name])
        return real(database, side, *rest)

    monkeypatch.setattr(mongo_load, "prove", prove)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda orders: orders.update_one({"_id": 0}, {"$set": {"value": "other"}}), "1 are not what was sent"),
        (lambda orders: orders.delete_one({"_id": 3}), "20 documents were sent and 19 are there"),
        (lambda orders: orders.insert_one({"_id": "more"}), "20 documents were sent and 21 are there"),
    ],
)
def test_a_wrong_document_in_the_sample_ends_the_restore(lab, backup, monkeypatch, change, words):
    after_loading(monkeypatch, lab, change)
    with unchanged(lab):
        result = lab.restore(path=backup, proof="sample")
    assert (result["rc"], result["changed"], result["mend"]["reason"]) == (1, False, "verify")
    assert words in result["msg"]


def test_a_sample_is_no_proof_of_what_it_did_not_look_at(lab, large, monkeypatch):
    # every second document or fewer is picked, from the first on
    after_loading(monkeypatch, lab, lambda orders: orders.update_one({"_id": 1}, {"$set": {"value": "other"}}))
    assert lab.restore(path=large, proof="sample")["state"] == "done"
    assert lab.restore(path=large, proof="full")["mend"]["reason"] == "verify"


def test_text_that_is_not_utf_8_stops_no_sample(lab, tmp_path):
    strange = bson.encode({"_id": 1, "text": "xx"}).replace(b"xx", b"\xff\xfe")
    (tmp_path / "strange.archive").write_bytes(archive_of("estore", {**RESTORED, "strange": [strange]}))
    result = lab.restore(path=str(tmp_path / "strange.archive"), proof="sample")
    assert (result["state"], result["read_back"]["compared"]) == ("done", 28), result.get("msg")


def test_another_proof_is_refused_before_anything_is_read(lab, playbook, backup):
    variables = {"mongo_restore_database": lab.database.name, "mongo_restore_path": backup}
    with unchanged(lab):
        played = playbook("restore_mongo", variables={**variables, "mongo_restore_proof": "half"})
    assert played.rc == 2
    assert "full, sample, count" in played.stdout
