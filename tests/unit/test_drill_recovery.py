"""The playbook's tasks become a drill's phases: what each found, what stays unknown, where it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from mendbook.drills.phases import Drill
from mendbook.drills.record import BackupTaken, Objectives
from mendbook.drills.recovery import recover
from mendbook.errors import Refused, VerifyFailed
from mendbook.events import Progressed, TaskEnded, TaskStarted
from mendbook.outcome import HostResult, Outcome

CHOSEN = {
    "bucket": "estore",
    "key": "daily/b.gz",
    "version_id": "v1",
    "size_bytes": 1_000_000,
    "sha256": "0" * 64,
    "finished": "2026-03-01T00:00:00Z",
    "age_seconds": 7200,
    "collections": {"estore.orders": {"count": 5}},
}
MEASURED = {
    "rto_seconds": 12.0,
    "rpo_seconds": 90.0,
    "rpo_from": "data",
    "newest": {"collection": "orders", "field": "placedAt", "at": "2026-03-01T00:00:00Z"},
    "objectives": {"rto_seconds": 60.0, "rpo_seconds": 60.0},
    "notes": [],
}
STEPS = {
    "mend_s3_backup_info": {"facts": {"chosen": CHOSEN, "passed_over": []}},
    "mend_mongo_restore": {"word": "done", "figures": {"documents": 1234, "document_bytes": 5_000_000}},
    "mend_mongo_verify": {"facts": {"summary": {"checks": 9, "collections": 3, "documents": 1234}}},
    "mend_mongo_recovery_info": {"facts": MEASURED},
}
MISSED = {"exit_code": 5, "rule": "objectives", "reason": "verify", "details": MEASURED, "msg": "objectives missed: x"}


def drilled(monkeypatch, steps):
    """A drill whose playbook says these things; the variables that it was given, and what came of it."""
    given, made = {}, Drill("restore_mongo", Objectives(60.0, 60.0))

    def play(procedure, variables, on_event):
        given.update(variables, procedure=procedure)
        last = None
        for module, said in steps.items():
            named = f"ansible.legacy.{module}"
            on_event(TaskStarted("drill", "A task", named))
            on_event(Progressed("drill", "load", 1, None, "documents"))
            last = HostResult("drill", **{"word": "done", **said, "module": named})
            on_event(TaskEnded("drill", "A task", last))
        code = last.exit_code
        return Outcome(procedure, "run", False, last.word, code, {"drill": last}, 1.0, Path("journal"))

    monkeypatch.setattr(made, "play", play)
    return made, given, lambda: recover(made, {"bucket": "estore"})


def test_each_task_is_a_phase_with_what_it_found(monkeypatch):
    made, given, run = drilled(monkeypatch, STEPS)
    assert run() is None
    assert [(phase.name, phase.found) for phase in made.phases] == [
        ("find", "daily/b.gz, 1 MB, 2 h 0 min old"),
        ("restore", "1,234 documents, 5 MB, all read back"),
        ("verify", "9 checks of 3 collections, 1,234 documents"),
        ("measure", "RTO 12 s, RPO 1 min 30 s by the newest record, orders.placedAt"),
    ]
    assert made.backup == BackupTaken("estore", "daily/b.gz", "v1", 1_000_000, "0" * 64, "2026-03-01T00:00:00Z")
    assert (made.verified, made.documents, made.bytes, made.notes) == (True, 1234, 5_000_000, [])
    assert (made.rto_seconds, made.rpo_seconds, made.rpo_from) == (12.0, 90.0, "the newest record, orders.placedAt")
    assert given["procedure"] == "drill_restore_mongo" and given["mongo_drill_bucket"] == "estore"
    assert given["mongo_drill_rto_seconds"] == 60.0


def test_a_missed_objective_is_an_answer_and_all_phases_have_ended(monkeypatch):
    made, _, run = drilled(monkeypatch, {**STEPS, "mend_mongo_recovery_info": MISSED})
    assert run() == "objectives missed: x"
    assert made.phases[-1].name == "measure" and made.verified


@pytest.mark.parametrize(
    ("module", "said", "error", "current"),
    [
        ("mend_mongo_restore", {"exit_code": 6, "rule": "scratch", "msg": "not scratch"}, Refused, "restore"),
        ("mend_mongo_verify", {"exit_code": 5, "rule": "count", "msg": "not equal"}, VerifyFailed, "verify"),
        ("mend_mongo_recovery_info", {"exit_code": 5, "rule": "other", "msg": "no"}, VerifyFailed, "measure"),
    ],
)
def test_whatever_else_goes_wrong_is_raised_and_the_drill_knows_where(monkeypatch, module, said, error, current):
    names = list(STEPS)
    steps = {**{name: STEPS[name] for name in names[: names.index(module)]}, module: said}
    made, _, run = drilled(monkeypatch, steps)
    with pytest.raises(error, match=said["msg"]):
        run()
    assert made.current == current and made.phases[-1].name != current


def test_what_could_not_be_proven_and_what_was_passed_over_is_noted(monkeypatch):
    over = [{"key": "daily/c.gz", "reason": "it has 0 bytes"}]
    find = {"facts": {"chosen": {**CHOSEN, "collections": {}}, "passed_over": over}}
    made, _, run = drilled(monkeypatch, {**STEPS, "mend_s3_backup_info": find})
    run()
    passed_over, unproven = made.notes
    assert passed_over == "passed over the newer daily/c.gz: it has 0 bytes" and "cannot be known" in unproven


def test_what_of_the_time_fields_is_not_in_the_data_is_noted(monkeypatch):
    measured = {**MEASURED, "notes": ['time_fields names "nocoll", which is not there']}
    made, _, run = drilled(monkeypatch, {**STEPS, "mend_mongo_recovery_info": {"facts": measured}})
    run()
    assert made.notes == ['time_fields names "nocoll", which is not there']


def test_a_restore_that_did_nothing_proves_nothing(monkeypatch):
    steps = {name: STEPS[name] for name in list(STEPS)[:1]} | {"mend_mongo_restore": {"word": "nothing to do"}}
    made, _, run = drilled(monkeypatch, steps)
    run()
    assert not made.verified and made.phases[-1].found == "nothing to do"


@pytest.mark.parametrize(
    ("source", "newest", "words"),
    [
        ("manifest", {"collection": "orders", "field": None}, "the newest record in the manifest, of orders"),
        ("finished", None, "the time when the backup was finished: no record has a time"),
        (None, None, None),
    ],
)
def test_the_rpo_says_by_what_it_was_measured(monkeypatch, source, newest, words):
    measured = {**MEASURED, "rpo_from": source, "newest": newest, "rpo_seconds": None if source is None else 90.0}
    made, _, run = drilled(monkeypatch, {**STEPS, "mend_mongo_recovery_info": {**MISSED, "details": measured}})
    run()
    assert made.rpo_from == words
    assert made.phases[-1].found.startswith("RTO 12 s, RPO unknown" if source is None else "RTO 12 s, RPO 1 min 30 s")
