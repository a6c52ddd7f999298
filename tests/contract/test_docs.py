"""The pages say what the code does: generated tables are current, links lead somewhere, exit codes are real."""

from __future__ import annotations

import pytest

import docs_tables
from contract import content, markdown_rules

SPECS = """
argument_specs:
  main:
    short_description: Restore it
    options:
      mongo_x_proof: {type: str, default: "", choices: [full, count], description: "How C(it|this) is proven."}
      mongo_x_names: {type: list, elements: str, default: [], description: [Only these., All otherwise.]}
      mongo_x_database: {type: str, required: true, description: The database.}
      mongo_x_drop: {type: bool, default: false, description: Drop it.}
"""
PLAYBOOK = """
- name: Restore
  hosts: mongo
  vars: {mend_procedure: {risk: destroys, summary: Restore it, runbooks: ["000", "004"]}}
  roles: [mongo_x]
"""


@pytest.fixture
def tree(tmp_path):
    """A tree with one procedure and its page."""
    for folder in ("playbooks", "roles/mongo_x/meta", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "playbooks" / "restore_x.yml").write_text(PLAYBOOK)
    (tmp_path / "roles" / "mongo_x" / "meta" / "argument_specs.yml").write_text(SPECS)
    (tmp_path / "docs" / "restore_x.md").write_text("# X\n<!-- variables:begin -->\n<!-- variables:end -->\nend\n")
    return tmp_path


def test_generated_tables_are_current():
    stale = [path for path, text in docs_tables.pages().items() if path.read_text(encoding="utf-8") != text]
    content.no_violation([f"{path.name} is stale: make docs" for path in stale])


def test_every_command_and_option_has_help():
    nameless = []
    for words, command in docs_tables.commands(docs_tables.command_line(), "mendbook"):
        nameless += [] if command.help else [words]
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.help:
                nameless.append(f"{words} {parameter.opts[0]}")
    content.no_violation(nameless)


def test_the_exit_codes_in_the_readme_are_those_of_the_code():
    import mendbook.errors

    tree = [mendbook.errors.MendError]
    for kind in tree:
        tree += kind.__subclasses__()
    told = markdown_rules.table_codes((content.ROOT / "README.md").read_text(encoding="utf-8"), "## Exit codes")
    assert set(told) == {0, 10} | {kind.exit_code for kind in tree}


def pages():
    return [name for name in content.tracked_files() if name.endswith(".md")]


# one test for all: the workers would not agree on the names of tests if a page came while they collect them
def test_links_lead_somewhere():
    content.no_violation([words for page in pages() for words in markdown_rules.link_violations(content.ROOT / page)])


def test_the_list_of_pages_has_every_page():
    listed = (content.ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    generated = [f"{name}.md" for name in content.playbook_names()]
    names = [name.removeprefix("docs/") for name in pages() if name.startswith("docs/") and name != "docs/README.md"]
    content.no_violation([name for name in names if name not in generated and f"({name})" not in listed])


def test_a_table_says_type_default_and_choices_with_the_required_ones_first(tree):
    page = docs_tables.pages(tree)[tree / "docs" / "restore_x.md"].splitlines()
    assert page[0] == "# X" and page[-1] == "end"
    assert page[4:8] == [
        "| `mongo_x_database` | str | **required** | The database. |",
        '| `mongo_x_proof` | str | `""` | How `it\\|this` is proven. One of `full`, `count`. |',
        "| `mongo_x_names` | list of str | `[]` | Only these. All otherwise. |",
        "| `mongo_x_drop` | bool | `false` | Drop it. |",
    ]


def test_a_stale_table_is_found_and_written_once(tree, capsys):
    assert docs_tables.run(check=True, root=tree) == 1
    assert capsys.readouterr().err == "docs/restore_x.md is stale: make docs\n"
    assert docs_tables.run(check=False, root=tree) == 0
    assert docs_tables.run(check=True, root=tree) == 0
    specs = tree / "roles" / "mongo_x" / "meta" / "argument_specs.yml"
    specs.write_text(specs.read_text().replace("Drop it.", "Drop all."))
    assert docs_tables.run(check=True, root=tree) == 1


@pytest.mark.parametrize(
    "text", ["# X\n", "<!-- variables:begin -->\n", "<!-- variables:begin -->\n<!-- variables:end -->\n" * 2]
)
def test_a_page_without_markers_is_named(tree, text):
    (tree / "docs" / "restore_x.md").write_text(text)
    with pytest.raises(ValueError, match=r"docs/restore_x\.md needs the lines <!-- variables:begin -->"):
        docs_tables.pages(tree)


def test_a_link_to_nowhere_is_found(tmp_path):
    page = tmp_path / "a.md"
    page.write_text("[a](a.md) [site](https://example.com/x) [b](b.md#part)\n```\n[c](c.md)\n```\n")
    assert markdown_rules.link_violations(page) == ["a.md: b.md is not there"]


def test_codes_are_read_from_the_named_table_only():
    text = "\n## Exit codes\n| code | words |\n|---|---|\n| 0 | done |\n| `75` | locked |\n\n## Other\n| 9 | x |\n"
    assert markdown_rules.table_codes(text, "## Exit codes") == {0: "done", 75: "locked"}
