"""run_change and run_read when all goes well, and everything that keeps a module from acting."""

import json
import os

import pytest
from ansible.module_utils.mendbook import errors
from ansible.module_utils.mendbook.change import run_read, skipped
from ansible.module_utils.mendbook.plan import cap, refusal
from change_lab import Procedure, act, receipt_for, run


def test_check_mode_plans_takes_no_lock_and_changes_nothing():
    procedure = Procedure()
    result = run(procedure, check=True)
    assert (result["changed"], result["state"], len(result["plan"]["changes"])) == (True, "planned", 3)
    assert procedure.log == ["open", "closed"]
    assert procedure.names == ["a", "b", "c"]


def test_check_mode_with_a_receipt_only_plans():
    procedure = Procedure()
    assert act(procedure, check=True)["state"] == "planned"
    assert procedure.names == ["a", "b", "c"]


def test_with_a_receipt_it_locks_acts_reads_back_and_exits_once():
    procedure = Procedure()
    result = act(procedure)
    assert procedure.log == ["open", "lock run-1", "unlocked", "closed"]
    assert result["done"] == [{"op": "-", "object": name, "bytes": 1} for name in "abc"]
    assert (result["changed"], result["state"], result["read_back"]) == (True, "done", {"left": []})
    assert result["figures"] == {"load_seconds": 1.5}


def test_the_prediction_of_check_mode_is_what_a_run_does():
    predicted = run(Procedure(), check=True)["plan"]
    result = act(Procedure())
    assert result["plan"] == predicted
    assert [entry["object"] for entry in result["done"]] == [change["object"] for change in predicted["changes"]]


@pytest.mark.parametrize("check", [True, False])
def test_nothing_to_do_is_no_change_with_and_without_check_mode(check):
    result = run(Procedure([]), check=check)
    assert (result["changed"], result["state"]) == (False, "nothing to do")
    assert not result.get("failed")


def test_without_a_receipt_it_refuses_and_names_the_gate():
    procedure = Procedure()
    result = run(procedure)
    assert (result["state"], result["mend"]["reason"], result["mend"]["rule"]) == ("refused", "refused", "receipt")
    assert "ANSIBLE_CONFIG" in result["msg"]
    assert result["changed"] is False and procedure.names == ["a", "b", "c"]


@pytest.mark.parametrize(
    "broken",
    [{}, {"plan": None}, {"plan": {"fingerprint": "x"}}, {"run": ""}, {"journal": None}, {"plan_sha256": None}],
)
def test_a_receipt_that_the_gate_has_not_made_is_refused(broken):
    procedure = Procedure()
    receipt = {**receipt_for(procedure), **broken} if broken else {}
    result = run(procedure, receipt=receipt)
    assert (result["mend"]["rule"], result["state"]) == ("receipt", "refused")
    assert procedure.names == ["a", "b", "c"]


def test_another_fingerprint_under_the_lock_is_drift():
    procedure = Procedure()
    receipt = receipt_for(procedure)
    procedure.plan_facts["identity"] = "another uuid"
    result = run(procedure, receipt=receipt)
    assert (result["mend"]["reason"], result["state"], result["changed"]) == ("drift", "refused", False)
    assert procedure.names == ["a", "b", "c"] and procedure.log[-2:] == ["unlocked", "closed"]


def test_totals_that_leave_the_tolerance_are_drift():
    procedure = Procedure()
    receipt = receipt_for(procedure)
    procedure.names.append("d")
    assert "objects was 3 and is now 4" in run(procedure, receipt=receipt)["msg"]
    assert len(procedure.names) == 4


def test_totals_within_the_tolerance_are_acted_on_with_the_fresh_plan():
    procedure = Procedure(tolerance={"objects": 0.5})
    receipt = receipt_for(procedure)
    procedure.names.append("d")
    assert len(run(procedure, receipt=receipt)["done"]) == 4


def test_what_another_run_has_done_meanwhile_is_nothing_to_do():
    procedure = Procedure()
    receipt = receipt_for(procedure)
    procedure.names.clear()
    result = run(procedure, receipt=receipt)
    assert (result["state"], result["changed"]) == ("nothing to do", False)


def test_a_cap_and_a_refusal_are_checked_again_under_the_lock():
    for facts in ({"caps": [cap("objects", 2, 3)]}, {"refusals": [refusal("age", "too old", override="-e y=1")]}):
        procedure = Procedure(**facts)
        result = act(procedure)
        assert result["mend"]["reason"] == "refused" and result["state"] == "refused"
        assert len(result["mend"]["details"]["refusals"]) == 1
        assert procedure.names == ["a", "b", "c"]


def test_check_mode_only_shows_a_refusal():
    result = run(Procedure(refusals=[refusal("age", "too old")]), check=True)
    assert not result.get("failed") and result["plan"]["refusals"][0]["rule"] == "age"


def test_a_lock_that_is_held_names_the_holder():
    class Held(Procedure):
        def lock(self, client, run):
            raise errors.Locked("held by run-0", details={"holder": "run-0", "pid": 7})

    result = act(Held())
    assert (result["mend"]["reason"], result["mend"]["details"], result["state"]) == (
        "locked",
        {"holder": "run-0", "pid": 7},
        "refused",
    )


def test_skipped_objects_are_reported_and_are_no_change():
    class Careful(Procedure):
        def act(self, client, plan, receipt):
            for change in plan["changes"]:
                yield skipped(change["object"], "in use")

    result = act(Careful())
    assert (result["changed"], result["state"]) == (False, "nothing to do")
    assert result["skipped_objects"][0] == {"object": "a", "reason": "in use"}
    # ansible would take it for a skipped task
    assert "skipped" not in result


def test_act_gets_all_of_a_large_plan_and_the_result_a_part_of_it():
    names = [f"n{number}" for number in range(2500)]
    procedure = Procedure(names)
    result = act(procedure)
    assert procedure.names == []
    assert len(result["done"]) == len(result["plan"]["changes"]) == 1000
    assert result["done"][-1]["objects"] == 1501


def test_diff_mode_returns_the_changes_as_lines():
    assert run(Procedure(), check=True, diff=True)["diff"]["prepared"] == "mend_x: list:1\n- a\n- b\n- c\n"
    assert "diff" not in run(Procedure(), check=True)


def test_progress_starts_with_the_module_s_process(tmp_path):
    path = tmp_path / "progress.jsonl"
    path.touch()
    procedure = Procedure()
    run(procedure, receipt=receipt_for(procedure, progress=str(path)))
    assert json.loads(path.read_text().splitlines()[0]) == {"pid": os.getpid(), "phase": "start"}


def test_reading_returns_the_facts_and_never_a_change():
    class Facts(Procedure):
        def observe(self, client):
            return {"backups": [{"key": "a"}]}

    result = run(Facts(), runner=run_read)
    assert (result["changed"], result["backups"]) == (False, [{"key": "a"}])
