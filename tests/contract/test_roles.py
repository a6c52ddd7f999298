"""Every role against role_rules, and the rules against roles that break them."""

from __future__ import annotations

import copy

import pytest

from contract import content, role_rules
from contract.content import Role
from contract.test_modules import good_module

MODULES = {"mend_a_b": good_module(spec={"database": {"required": True}, "confirm": {}})}
TASK = {
    "name": "Restore the database",
    "mend_a_b": {"database": "{{ mongo_x_database }}"},
    "register": "__mongo_x_result",
}
OPTION = {"type": "str", "description": "x", "default": "estore"}


def good_role() -> Role:
    specs = {"main": {"short_description": "x", "options": {"mongo_x_database": dict(OPTION)}}}
    return Role("mongo_x", specs, {"mongo_x_database": "estore"}, {"main.yml": [copy.deepcopy(TASK)]})


@pytest.fixture(scope="module")
def modules():
    return content.modules()


@pytest.mark.parametrize("name", content.role_names())
def test_a_roles_defaults_are_those_of_its_argument_specs(name):
    content.no_violation(role_rules.spec_violations(content.role(name)))


@pytest.mark.parametrize("name", content.role_names())
def test_a_role_declares_the_variables_that_it_reads(name):
    content.no_violation(role_rules.variable_violations(content.role(name)))


@pytest.mark.parametrize("name", content.role_names())
def test_a_roles_tasks_keep_the_rules(name, modules):
    content.no_violation(role_rules.task_violations(content.role(name), modules))


@pytest.mark.parametrize("name", content.role_names())
def test_a_roles_handlers_only_restart(name):
    path = content.ROOT / "roles" / name / "handlers" / "main.yml"
    content.no_violation(role_rules.handler_violations(name, content.load_yaml(path) if path.exists() else []))


def test_no_roles_name_is_the_beginning_of_anothers():
    content.no_violation(role_rules.name_violations(content.role_names()))
    assert role_rules.name_violations(["mongo", "mongo_restore"]) == [
        "role mongo is the beginning of role mongo_restore"
    ]


def test_a_whole_role_has_no_violation():
    role = good_role()
    assert role_rules.spec_violations(role) == []
    assert role_rules.variable_violations(role) == []
    assert role_rules.task_violations(role, MODULES) == []


@pytest.mark.parametrize(
    ("options", "defaults", "words"),
    [
        ({"mongo_x_database": OPTION}, {}, "mongo_x_database: default in argument_specs.yml, none in defaults"),
        ({}, {"mongo_x_database": "estore"}, "mongo_x_database: in defaults/main.yml, no default"),
        ({"mongo_x_database": OPTION}, {"mongo_x_database": "shop"}, "mongo_x_database: default 'estore'"),
        ({"mongo_x_n": {**OPTION, "default": 1}}, {"mongo_x_n": True}, "mongo_x_n: default 1"),
        ({"mongo_y": OPTION}, {"mongo_y": "estore"}, "mongo_y: does not begin with mongo_x_"),
        ({"mongo_x_a": {"type": "str"}}, {}, "mongo_x_a: lacks description"),
        (
            {"mongo_x_a": {**OPTION, "required": True}},
            {"mongo_x_a": "estore"},
            "mongo_x_a: required, and has a default",
        ),
    ],
)
def test_a_default_that_is_not_the_documented_one_is_found(options, defaults, words):
    role = Role("mongo_x", {"main": {"short_description": "x", "options": options}}, defaults, {})
    assert [found for found in role_rules.spec_violations(role) if found.startswith(words)]


def test_a_role_without_argument_specs_is_found():
    assert role_rules.spec_violations(Role("mongo_x", {}, {}, {})) != []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mend_a_b": {"database": "{{ mongo_x_databse }}"}}, "mongo_x_databse: read in tasks, not declared"),
        ({"mend_a_b": {"database": "x"}}, "mongo_x_database: declared, but no task reads it"),
        ({"when": "mongo_x_dorp | bool"}, "mongo_x_dorp: read in tasks, not declared"),
        ({"when": ["not mongo_x_dorp"]}, "mongo_x_dorp: read in tasks, not declared"),
        ({"loop": "{{ mongo_x_list | default([]) }}"}, "mongo_x_list: read in tasks, not declared"),
        ({"name": "Restore {{ mongo_x_naem }}"}, "mongo_x_naem: read in tasks, not declared"),
        ({"register": "result"}, "register result: must begin with __mongo_x_"),
    ],
)
def test_an_undeclared_or_unread_variable_is_found(change, words):
    role = good_role()
    role.tasks["main.yml"][0].update(change)
    assert [found for found in role_rules.variable_violations(role) if found.startswith(words)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"timeout": 60}, "timeout is forbidden"),
        ({"until": "x is success", "retries": 3}, "until is forbidden"),
        ({"no_log": True}, "no_log is forbidden"),
        ({"no_log": False}, "no_log is forbidden"),
        ({"async": 10, "poll": 1}, "async is forbidden"),
        ({"ignore_errors": True}, "ignore_errors is forbidden"),
        ({"check_mode": False}, "check_mode False is forbidden"),
        ({"check_mode": "{{ mongo_x_database }}"}, "check_mode {{ mongo_x_database }} is forbidden"),
        ({"mend_a_b": {"database": "x", "drop": True}}, "drop: no such argument"),
        ({"mend_a_b": {}}, "database: required, but not given"),
        ({"mend_a_b": {"database": "x", "receipt": {}}}, "receipt is the gate's to give"),
        ({"mend_a_b": "database=x"}, "not a mapping"),
        ({"mend_c_d": {}}, ""),
        ({"name": ""}, "task without a name"),
        ({"name": "Restore it."}, "ends with a full stop"),
        ({"name": "Restore {{ mongo_x_database }} now"}, "only at the end of a name"),
        ({"ansible.builtin.set_fact": {"a": 1}}, "set_fact means that a module is missing"),
        ({"tags": ["restore"]}, "tags inside a role"),
    ],
)
def test_a_task_that_breaks_a_rule_is_found(change, words):
    role = good_role()
    role.tasks["main.yml"][0].update(change)
    if "mend_c_d" in change:
        del role.tasks["main.yml"][0]["mend_a_b"]
        words = "there is no module mend_c_d"
    assert [found for found in role_rules.task_violations(role, MODULES) if words in found]


@pytest.mark.parametrize("keyword", [{"no_log": True}, {"timeout": 5}, {"check_mode": False}, {"ignore_errors": True}])
@pytest.mark.parametrize("part", ["block", "rescue", "always"])
def test_a_forbidden_keyword_on_a_block_is_found(keyword, part):
    role = Role("mongo_x", {}, {}, {"main.yml": [{"block": [], part: [{"block": [TASK]}], **keyword}]})
    assert [found for found in role_rules.task_violations(role, MODULES) if "is forbidden on mend_a_b" in found]


def test_a_task_by_its_long_name_is_looked_at_too():
    task = {"name": "Restore it", "ansible.legacy.mend_a_b": {"drop": True}, "no_log": True}
    found = role_rules.task_violations(Role("mongo_x", {}, {}, {"main.yml": [task]}), MODULES)
    assert len(found) == 3


def test_a_long_file_of_tasks_is_found_and_long_arguments_are_not():
    task = {**TASK, "mend_a_b": {"database": "x", "confirm": "y"}}
    assert role_rules.task_violations(Role("mongo_x", {}, {}, {"main.yml": [task] * 10}), MODULES) == []
    found = role_rules.task_violations(Role("mongo_x", {}, {}, {"main.yml": [task] * 20}), MODULES)
    assert [entry for entry in found if "split by step" in entry]


def test_a_handler_that_does_more_than_restart_is_found():
    assert role_rules.handler_violations("mongo_x", [{"name": "Remove data"}]) != []


@pytest.mark.parametrize(
    ("role", "options"),
    [("mongo_restore", ("path", "bucket", "key", "at")), ("mongo_verify", ("bucket", "manifest_file"))],
)
def test_of_two_ways_the_one_in_the_inventory_can_be_emptied_for_a_run(role, options):
    """``-e mongo_restore_bucket= -e mongo_restore_path=...``: an empty value counts as none."""
    task = content.role(role).tasks["main.yml"][0]
    _, given = content.action(task)
    assert {name: given[name] for name in options} == {
        name: f"{{{{ {role}_{name} | default(omit, true) }}}}" for name in options
    }
