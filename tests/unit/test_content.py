"""What playbooks and roles say of themselves, and what is said when they say nonsense."""

from pathlib import Path

import pytest

from mendbook import content
from mendbook.errors import MendError, UnknownProcedure

NOTES = Path(__file__).resolve().parents[1] / "e2e" / "content"


def tree(root, playbook, specs=None, defaults=None):
    (root / "playbooks").mkdir()
    (root / "playbooks" / "mend_it.yml").write_text(playbook)
    role = root / "roles" / "it_mend"
    for folder, text in (("meta/argument_specs.yml", specs), ("defaults/main.yml", defaults)):
        if text is not None:
            (role / folder).parent.mkdir(parents=True, exist_ok=True)
            (role / folder).write_text(text)
    return root


def play(header="{risk: reads, summary: Look}", roles="[it_mend]"):
    return f"- name: Mend it\n  hosts: all\n  vars: {{mend_procedure: {header}}}\n  roles: {roles}\n"


def test_a_procedure_is_a_playbook_with_a_play_header():
    assert [each.name for each in content.procedures(NOTES)] == ["look_around", "undo_write_note", "write_note"]


def test_options_come_from_the_argument_specs_of_the_roles():
    options = content.procedure("write_note", NOTES).options
    assert options["note_write_seconds"].type == "float"
    assert not options["note_write_confirm"].required


def test_variables_that_defaults_refer_to_belong_to_the_procedure():
    assert content.procedure("write_note", NOTES).borrowed == {"note_path"}


def test_an_entry_point_of_tasks_from_has_its_own_specs(tmp_path):
    specs = "argument_specs: {main: {options: {it_mend_a: {}}}, verify: {options: {it_mend_b: {type: int}}}}"
    root = tree(tmp_path, play(roles="[{role: it_mend, tasks_from: verify.yml}]"), specs)
    assert list(content.procedure("mend_it", root).options) == ["it_mend_b"]


def test_a_role_without_specs_has_no_options(tmp_path):
    assert content.procedure("mend_it", tree(tmp_path, play())).options == {}


def test_examples_are_the_command_lines_of_the_heading_comment():
    assert content.procedure("write_note", NOTES).examples == (
        "ansible-playbook playbooks/write_note.yml -i inventory --check",
    )


@pytest.mark.parametrize("name", ["wriet_note", "write_notes", "Write_Note"])
def test_a_misspelt_procedure_is_an_error_that_names_the_right_one(name):
    with pytest.raises(UnknownProcedure, match="write_note"):
        content.procedure(name, NOTES)


@pytest.mark.parametrize(
    "name", ["../playbooks/write_note", "/etc/passwd", "write_note.yml", "", "-e", "not_a_procedure"]
)
def test_only_the_plain_name_of_a_procedure_chooses_a_playbook(name):
    with pytest.raises(UnknownProcedure):
        content.procedure(name, NOTES)


def test_a_risk_that_does_not_exist_is_an_error(tmp_path):
    root = tree(tmp_path, play(header="{risk: harmless, summary: x}"))
    with pytest.raises(MendError, match="'harmless', not one of reads, changes, destroys"):
        list(content.procedures(root))


def test_a_playbook_that_is_not_yaml_is_named(tmp_path):
    with pytest.raises(MendError, match=r"mend_it\.yml cannot be read"):
        list(content.procedures(tree(tmp_path, "- name: [")))


def test_a_template_that_does_not_parse_borrows_nothing(tmp_path):
    root = tree(tmp_path, play(), defaults='it_mend_a: "{{ broken"')
    assert content.procedure("mend_it", root).borrowed == frozenset()


def test_a_content_folder_without_ansible_cfg_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MENDBOOK_CONTENT", str(tmp_path))
    with pytest.raises(MendError, match="holds no ansible.cfg"):
        content.content_root()


def test_the_checkout_is_the_content_when_nothing_is_installed(monkeypatch):
    monkeypatch.delenv("MENDBOOK_CONTENT", raising=False)
    assert (content.content_root() / "playbooks" / "restore_mongo.yml").is_file()
