"""The gate says no: before anything is changed, with the rule, its value and the lawful way, and the journal has it."""

from __future__ import annotations

import pytest
from gate_lab import Gate, trial

from local_inventory import LOCAL

pytestmark = pytest.mark.e2e


@pytest.fixture
def gate(core_bins, tmp_path, short_folder):
    return Gate(core_bins, tmp_path, short_folder)


def test_what_is_against_the_rules_is_refused_in_words_and_changes_nothing(gate):
    a, target = gate.of(), str(gate.of())
    refused = [
        ("receipt", trial("receipt", a, receipt={"run": "r", "plan": {}, "plan_sha256": "x", "journal": "y"})),
        ("async", trial("async", a, task_async=60, task_poll=0)),
        ("async", trial("polled", a, task_async=60, task_poll=1)),
        ("timeout", trial("timeout", a, task_timeout=60)),
        ("cap files", trial("cap", a, cap=1)),
        ("age", trial("own refusal", a, refuse=True)),
        ("hold", trial("hold", a, task_vars={"mend_hold": True})),
        ("hold", trial("hold templated", a, task_vars={"case": 7, "mend_hold": "{{ case > 5 }}"})),
        ("hold", trial("hold misspelt", a, task_vars={"mend_hold": "flase"})),
        ("hold", trial("hold undefined", a, task_vars={"mend_hold": "{{ not_defined_anywhere }}"})),
        ("hold", trial("hold elsewhere", a, task_delegate_to="c")),
        ("confirm", trial("unconfirmed", a, risk="destroys")),
        ("confirm", trial("wrongly confirmed", a, risk="destroys", confirm="yes")),
        ("drift", trial("drift", a, drift="identity")),
        ("drift", trial("grown", a, drift="totals")),
        ("secrets", trial("no secret", a, password="env:MEND_TEST_NOT_SET")),
        ("plan", {"name": "rogue", "mend_rogue": {"path": f"{a}/rogue"}}),
    ]
    for _, task in refused:
        task["ignore_errors"] = True
    with gate.inventory.open("a") as file:
        file.write("[kept]\nc mend_hold=true\n")
    seen = gate.play([task for _, task in refused])
    assert seen.rc == 0, seen.output
    assert gate.files() == []
    for rule, task in refused:
        result = seen.results[task["name"]]
        assert result["_status"] == "ignored" and not result["changed"], result
        assert result["mend"]["rule"] == rule, result
        assert result["mend"]["reason"] == {"drift": "drift", "secrets": None}.get(rule, "refused")
        assert result["state"] == ("failed (nothing changed)" if rule == "secrets" else "refused")
    for name, words in {
        "cap": "files is 2, over the cap of 1 (-e trial_cap=2)",
        "own refusal": "the backup is too old (-e trial_max_age=90)",
        "hold": "set mend_hold to false in the inventory",
        "timeout": "take timeout off the task",
        "unconfirmed": f'the target {target} is not confirmed (set the option confirm to "{target}")',
        "wrongly confirmed": "is not yes, which the confirmation names",
        "grown": "was 2 and is now 3",
        "no secret": "the variable MEND_TEST_NOT_SET is not set on the control node",
    }.items():
        assert words in seen.results[name]["msg"], name
    # what had a plan was refused by the gate, what drifted by the module under its lock
    assert [event["refusals"][0]["rule"] for event in seen.events("refused")] == [
        "timeout", "cap files", "age", "hold", "hold", "hold", "hold", "confirm", "confirm"
    ]  # fmt: skip
    assert [event["reason"] for event in seen.events("end")] == ["drift", "drift"]


def test_what_is_allowed_goes_through(gate):
    tasks = [
        trial("text false", gate.of(), names=["1"], task_vars={"mend_hold": "false"}),
        trial("templated no", gate.of(), names=["2"], task_vars={"case": 3, "mend_hold": "{{ case > 5 }}"}),
        trial("confirmed", gate.of(), names=["3"], risk="destroys", confirm=str(gate.of())),
        trial("at the cap", gate.of(), names=["4"], cap=1),
        trial("tolerated", gate.of(), names=["5"], drift="within tolerance"),
        trial("elsewhere", gate.of(), names=["0"], task_delegate_to="not.in.the.inventory", task_vars=LOCAL),
        trial("done by others", gate.of(), names=["6"], drift="gone"),
    ]
    seen = gate.play(tasks, "-e", "mend_hold=no")
    assert seen.rc == 0, seen.output
    assert gate.files() == ["0", "1", "2", "3", "4", "5", "more"]
    assert (seen.results["done by others"]["state"], seen.results["done by others"]["changed"]) == (
        "nothing to do",
        False,
    )


def test_extra_variables_hold_as_text_does(gate):
    seen = gate.play([trial("held", gate.of())], "-e", "mend_hold=yes")
    assert seen.rc == 2 and seen.results["held"]["mend"]["rule"] == "hold"
    assert gate.files() == []


def test_a_variable_that_the_role_does_not_know_is_refused_with_the_one_that_was_meant(gate):
    with gate.inventory.open("a") as file:
        file.write("trial_make_rsik=changes\n")
    options = ["-e", f"trial_make_folder={gate.of()}", "-e", "trial_make_cofnirm=x"]
    seen = gate.play([], *options, roles=["trial_make"])
    assert seen.rc == 2 and gate.files() == [] and not seen.events("begin")
    result = seen.results["trial_make : Make files"]
    assert result["mend"]["rule"] == "variable"
    assert "trial_make_cofnirm (did you mean trial_make_confirm?)" in result["msg"]
    assert "trial_make_rsik (did you mean trial_make_risk?)" in result["msg"]


def test_a_role_is_confirmed_by_its_own_variable(gate):
    folder, task = f"trial_make_folder={gate.of()}", "trial_make : Make files"
    line = f"add -e trial_make_confirm={gate.of()}"
    planned = gate.play([], "-e", folder, "--check", roles=["trial_make"])
    assert planned.rc == 0 and f"  note     to act, {line}\n" in planned.output
    missing = gate.play([], "-e", folder, roles=["trial_make"])
    assert missing.rc == 2 and line in missing.results[task]["msg"] and gate.files() == []
    confirmed = gate.play([], "-e", folder, *line.split()[1:], roles=["trial_make"])
    assert confirmed.rc == 0 and gate.files() == ["one", "two"], confirmed.output


def test_no_journal_no_change(gate):
    gate.state.write_text("a file where a folder is needed")
    seen = gate.play([trial("act", gate.of(), task_ignore_errors=True), {"name": "look", "mend_look": {"folder": "/"}}])
    assert seen.rc == 0, seen.output
    assert seen.results["act"]["mend"] == {"reason": "refused", "rule": "journal", "details": {}}
    assert "no journal, no change" in seen.results["act"]["msg"]
    assert gate.files() == []
    # reading needs no journal
    assert seen.results["look"]["_status"] == "ok"
    bad_name = gate.play([trial("act", gate.of())], env={"MENDBOOK_RUN": "../../etc/x"})
    assert bad_name.rc == 2 and bad_name.results["act"]["mend"]["rule"] == "journal" and gate.files() == []
