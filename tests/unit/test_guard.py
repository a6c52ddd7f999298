"""What the gate refuses to act on, and that every refusal names its value and the lawful way to go on."""

import pytest
from ansible.module_utils.mendbook.guard import (
    confirmation,
    guard,
    is_held,
    unknown_variables,
    unknown_variables_text,
)
from ansible.module_utils.mendbook.plan import cap, make_plan, refusal

TARGET = "rs0@db1:27017/estore"


def plan(risk="destroys", target=TARGET, **changed):
    facts = {
        "module": "mend_x",
        "target": {"kind": "database", "id": target},
        "risk": risk,
        "changes": [{"op": "~", "object": "a"}],
        "identity": None,
        "undo": {"none": "test"},
    }
    return make_plan(**{**facts, **changed})


def rules(made, **facts):
    return [entry["rule"] for entry in guard(made, **{"confirm": None, "variable": None, **facts})]


def test_the_right_confirmation_opens_the_gate():
    assert rules(plan(), confirm=TARGET) == []


@pytest.mark.parametrize("confirm", [None, "", "yes", True, "rs0@db1:27017/other", TARGET.upper(), TARGET + " "])
def test_a_missing_or_wrong_confirmation_does_not(confirm):
    assert rules(plan(), confirm=confirm) == ["confirm"]


def test_a_confirmation_of_another_target_is_repeated_in_the_words():
    (entry,) = guard(plan(), confirm="rs0@db2:27017/estore", variable="mongo_restore_confirm")
    assert "is not rs0@db2:27017/estore" in entry["msg"]
    assert entry["override"] == f"add -e mongo_restore_confirm={TARGET}"


@pytest.mark.parametrize("risk", ["reads", "changes"])
def test_nothing_is_confirmed_where_nothing_is_destroyed(risk):
    assert rules(plan(risk)) == []


def test_a_target_that_the_command_line_would_split_is_confirmed_as_json():
    words = confirmation(plan(target="host's disk {{ x }}"), "disk_clean_confirm")
    assert words == """add -e '{"disk_clean_confirm": "host'"'"'s disk {{ x }}"}'"""


def test_outside_a_role_the_option_is_named():
    assert confirmation(plan(), None) == f'set the option confirm to "{TARGET}"'


@pytest.mark.parametrize("value", [True, "true", "True", "yes", "on", 1, "1", "maybe", "fasle", "", [], {"a": 1}, 2])
def test_a_hold_holds_and_so_does_what_nobody_can_read(value):
    assert is_held(value)
    assert rules(plan("changes"), hold=value) == ["hold"]


@pytest.mark.parametrize("value", [None, False, "false", "False", "no", "off", 0, "0"])
def test_the_text_false_is_false(value):
    assert not is_held(value)
    assert rules(plan("changes"), hold=value) == []


def test_a_timeout_on_the_task_is_refused():
    assert rules(plan("changes"), timeout=30) == ["timeout"]


def test_everything_that_speaks_against_it_is_said_at_once():
    made = plan(caps=[cap("files", 1, 2, "-e x_max_files=2")], refusals=[refusal("age", "old", 9, 5, "-e x_age=9")])
    found = guard(made, confirm="wrong", variable="x_confirm", hold="yes", timeout=5)
    assert [entry["rule"] for entry in found] == ["age", "cap files", "hold", "timeout", "confirm"]
    assert all(entry["override"] and entry["value"] is not None and entry["limit"] is not None for entry in found)


def test_an_unknown_variable_of_the_role_is_found_with_what_was_meant():
    declared = {"mongo_restore_uri", "mongo_restore_keep_seconds"}
    set_names = ["mongo_restore_uri", "mongo_restore_kepe_seconds", "mongo_restore_zzz", "mongo_restored", "mongo_uri"]
    found = unknown_variables("mongo_restore", declared, set_names)
    assert [name for name, _ in found] == ["mongo_restore_kepe_seconds", "mongo_restore_zzz"]
    assert "mongo_restore_kepe_seconds (did you mean mongo_restore_keep_seconds?)" in unknown_variables_text(
        "mongo_restore", found
    )


def test_private_names_and_registers_are_not_the_roles_variables():
    assert unknown_variables("mongo_restore", set(), ["__mongo_restore_result", "ansible_mongo_restore_x"]) == []
