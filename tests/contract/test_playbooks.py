"""Every playbook against playbook_rules, and the rules against playbooks that break them."""

from __future__ import annotations

import configparser
import copy

import pytest
import yaml

from contract import content, playbook_rules
from contract.role_rules import WAYS, used_variables

PLAYS = yaml.safe_load("""
- name: Restore MongoDB from S3
  hosts: "{{ mend_hosts | default('mongo') }}"
  gather_facts: false
  vars:
    mend_procedure: {risk: destroys, summary: Restore a database, runbooks: ["000"]}
  serial: 1
  any_errors_fatal: true
  roles:
    - role: mongo_x
""")
EXAMPLE = str(content.ROOT / "inventory" / "example")
OF_ANSIBLE = {
    "ansible_become",
    "ansible_connection",
    "ansible_docker_extra_env",
    "ansible_python_interpreter",
    "ansible_ssh_common_args",
    "ansible_user",
}
# containers has the groups that labels name
SHIPPED = ("example", "hosts", "endpoints")


@pytest.mark.parametrize("name", content.playbook_names())
def test_a_playbook_holds_settings_and_roles_only(name):
    content.no_violation(playbook_rules.play_violations(content.playbooks()[name], content.role_names()))


@pytest.mark.parametrize("name", content.playbook_names())
def test_a_playbooks_file_is_plain(name):
    content.no_violation(playbook_rules.file_violations(content.ROOT / "playbooks" / f"{name}.yml"))


@pytest.mark.parametrize("name", content.playbook_names())
def test_a_playbook_has_its_page_and_its_test(name):
    risk = content.playbooks()[name][0]["vars"]["mend_procedure"]["risk"]
    content.no_violation(playbook_rules.companion_violations(name, content.ROOT, risk))


@pytest.mark.parametrize("name", content.playbook_names())
def test_a_playbook_passes_the_syntax_check(name):
    path = content.ROOT / "playbooks" / f"{name}.yml"
    done = content.command("ansible-playbook", "-i", EXAMPLE, str(path), "--syntax-check")
    assert (done.returncode, done.stderr) == (0, "")


def test_every_key_of_ansible_cfg_exists():
    done = content.command("ansible-config", "validate", "-t", "all")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_misspelt_key_of_ansible_cfg_is_found(tmp_path):
    text = (content.ROOT / "ansible.cfg").read_text(encoding="utf-8")
    (tmp_path / "ansible.cfg").write_text(text.replace("network_group_modules", "network_groop_modules"))
    assert content.command("ansible-config", "validate", "-t", "all", root=tmp_path).returncode != 0


def test_ansible_cfg_carries_the_settings_for_fleets():
    found = configparser.ConfigParser(interpolation=None)
    found.read(content.ROOT / "ansible.cfg")
    ssh = found["ssh_connection"]
    assert (found["defaults"]["forks"], found["connection"]["pipelining"]) == ("20", "True")
    assert {"ControlMaster=auto", "ControlPersist=600s", "ServerAliveInterval=5"} <= set(ssh["ssh_args"].split())
    # a change that was cut off must not be started again by itself; linear is ansible's default
    assert "retries" not in ssh and "reconnection_retries" not in ssh and "strategy" not in found["defaults"]


def test_the_inventories_name_no_variable_that_nothing_reads():
    roles = content.roles()
    known = WAYS | {name for role in roles.values() for name in role.options}
    known |= {name for role in roles.values() for default in role.defaults.values() for name in used_variables(default)}
    set_there = {
        name
        for path in (content.ROOT / "inventory").rglob("group_vars/**/*.yml")
        for name in content.load_yaml(path) or {}
    }
    if roles:
        content.no_violation(sorted(set_there - known - OF_ANSIBLE))


def test_an_inventory_of_ours_has_a_group_for_every_playbook():
    inventories = [part for name in SHIPPED for part in ("-i", str(content.ROOT / "inventory" / name))]
    shown = content.command("ansible-inventory", *inventories, "--list")
    assert shown.returncode == 0, shown.stderr
    groups = set(yaml.safe_load(shown.stdout))
    wanted = {str(play["hosts"]).split("'")[1] for plays in content.playbooks().values() for play in plays}
    assert wanted <= groups


def test_a_whole_playbook_has_no_violation():
    assert playbook_rules.play_violations(PLAYS, ["mongo_x"]) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": []}, "tasks: a playbook holds only settings"),
        ({"pre_tasks": []}, "pre_tasks: a playbook holds only settings"),
        ({"no_log": True}, "no_log: a playbook holds only settings"),
        ({"check_mode": False}, "check_mode: a playbook holds only settings"),
        ({"hosts": "mongo"}, "hosts: 'mongo'"),
        ({"gather_facts": True}, "gather_facts is not false"),
        ({"serial": None}, "serial is not set"),
        ({"serial": 2}, "serial: 2"),
        ({"serial": "25%"}, "serial: '25%'"),
        ({"serial": ["25%", "100%"]}, "serial: ['25%', '100%']"),
        ({"serial": [1, 5]}, "serial: [1, 5]"),
        ({"any_errors_fatal": False}, "any_errors_fatal is not set"),
        ({"roles": []}, "a play without roles"),
        ({"roles": [{"role": "mongo_y"}]}, "role mongo_y: there is none"),
        ({"roles": [{"role": "mongo_x", "when": "true"}]}, "when: not on a role in a playbook"),
        ({"name": "Restore."}, "a play needs a name without a full stop"),
        ({"vars": {}}, "no vars.mend_procedure"),
    ],
)
def test_a_play_that_breaks_a_rule_is_found(change, words):
    plays = copy.deepcopy(PLAYS)
    plays[0].update(change)
    assert [found for found in playbook_rules.play_violations(plays, ["mongo_x"]) if found.startswith(words)]


@pytest.mark.parametrize(
    "change",
    [
        {"risk": "harmless"},
        {"summary": ""},
        {"summary": "Restore."},
        {"runbooks": [0]},
        {"runbooks": ["0"]},
        {"runbooks": []},
        {"repeats": "yes"},
        {"title": "x"},
    ],
)
def test_a_header_that_list_cannot_read_is_found(change):
    plays = copy.deepcopy(PLAYS)
    plays[0]["vars"]["mend_procedure"].update(change)
    (found,) = playbook_rules.play_violations(plays, ["mongo_x"])
    assert found.startswith(f"mend_procedure.{next(iter(change))}:")


def test_a_fleet_goes_canary_first_and_replicas_of_one_thing_one_by_one():
    plays = copy.deepcopy(PLAYS)
    plays[0]["serial"] = [1, "25%", "100%"]
    (found,) = playbook_rules.play_violations(plays, ["mongo_x"])
    assert "for independent hosts; what is in the group mongo may be replicas of one thing" in found
    plays[0]["hosts"] = "{{ mend_hosts | default('hosts') }}"
    assert playbook_rules.play_violations(plays, ["mongo_x"]) == []
    plays[0]["serial"] = 1
    assert playbook_rules.play_violations(plays, ["mongo_x"]) == []


def test_a_reading_playbook_needs_no_brakes():
    plays = copy.deepcopy(PLAYS)
    plays[0]["vars"]["mend_procedure"]["risk"] = "reads"
    del plays[0]["serial"], plays[0]["any_errors_fatal"]
    assert playbook_rules.play_violations(plays, ["mongo_x"]) == []


@pytest.mark.parametrize("plays", [None, [], {}, "text"])
def test_a_file_that_is_no_list_of_plays_is_found(plays):
    assert playbook_rules.play_violations(plays, []) == ["not a list of plays"]


def test_a_page_or_test_that_is_missing_is_found(tmp_path):
    assert len(playbook_rules.companion_violations("restore_x", tmp_path, "destroys")) == 2
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "restore_x.md").write_text("# Restore\n\n## Variables\n")
    found = playbook_rules.companion_violations("restore_x", tmp_path, "destroys")
    assert "docs/restore_x.md has no section '## How to undo it'" in found


def test_a_file_that_is_not_plain_is_found(tmp_path):
    path = tmp_path / "restore.yml"
    path.write_text("- hosts: !unsafe x\n")
    assert len(playbook_rules.file_violations(path)) == 3
