"""Every file of the tree against tree_rules, and the rules against files that break them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from contract import content, tree_rules

# path: why the file is still one thing at that length
LONG_FILES: dict[str, str] = {}
# real data of other programs, and its names
DATA = ("tests/data/",)


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [name for name in content.tracked_files() if not name.startswith(DATA)]


@pytest.fixture(scope="module")
def texts(names) -> dict[str, str]:
    found = {}
    for name in names:
        raw = (content.ROOT / name).read_bytes()
        if b"\0" not in raw:
            found[name] = raw.decode("utf-8")
    return found


def test_every_file_name_says_what_is_inside(names):
    content.no_violation([found for name in names for found in tree_rules.name_violations(name)])


def test_nothing_in_the_tree_belongs_to_one_machine(texts):
    machine = str(content.ROOT)
    content.no_violation(
        [found for name, text in texts.items() for found in tree_rules.text_violations(name, text, machine)]
    )


def test_no_source_file_is_long_without_a_reason(names):
    sources = tree_rules.source_files(content.ROOT, names)
    lengths = {name: len(text.splitlines()) for name, text in sources.items()}
    content.no_violation(tree_rules.length_violations(lengths, LONG_FILES))


def test_comments_keep_the_rules(names):
    sources = tree_rules.source_files(content.ROOT, names)
    content.no_violation(
        [found for name, text in sources.items() for found in tree_rules.comment_violations(name, text)]
    )


def test_nothing_points_back(names):
    sources = tree_rules.source_files(content.ROOT, names)
    content.no_violation(
        [found for name, text in sources.items() for found in tree_rules.import_violations(name, text)]
    )


def test_no_two_test_files_have_one_name(names):
    counted = Counter(
        Path(name).name for name in names if name.startswith("tests/") and Path(name).name.startswith("test_")
    )
    content.no_violation([name for name, count in counted.items() if count > 1])


@pytest.mark.parametrize(
    "path", ["src/mendbook/utils.py", "library/mend_helpers.py", "module_utils/mendbook/lock_manager.py", "common/x.py"]
)
def test_a_name_that_says_nothing_is_found(path):
    assert tree_rules.name_violations(path) != []


@pytest.mark.parametrize(
    "path", ["src/mendbook/utility_bill.py", "module_utils/mendbook/commonplace.py", "docs/restore_mongo.md"]
)
def test_a_name_that_only_looks_so_is_left_alone(path):
    assert tree_rules.name_violations(path) == []


def test_yaml_ends_in_yml():
    assert tree_rules.name_violations("playbooks/x.yaml") != []


@pytest.mark.parametrize(
    "text", [*tree_rules.REGISTRIES, *tree_rules.MACHINE_PATHS, "cd /srv/checkout/x", "/" + "home/anna/x"]
)
def test_a_place_on_one_machine_is_found(text):
    assert len(tree_rules.text_violations("x.md", f"see {text} there", "/srv/checkout")) == 1


def test_a_long_file_is_found_and_so_is_a_stale_reason():
    assert tree_rules.length_violations({"a.py": 301}, {}) == ["a.py: 301 lines, 300 allowed"]
    assert tree_rules.length_violations({"a.py": 301}, {"a.py": "one table"}) == []
    assert len(tree_rules.length_violations({"a.py": 300}, {"a.py": "one table", "b.py": "gone"})) == 2


@pytest.mark.parametrize("line", ["# TO" + "DO later", "x = 1  # FIX" + "ME", "# -----", "# ===== Section ====="])
def test_a_comment_that_breaks_a_rule_is_found(line):
    assert tree_rules.comment_violations("x.py", f"\n{line}\n") != []


def test_a_todo_with_its_issue_is_left_alone():
    assert tree_rules.comment_violations("x.py", "# TO" + "DO #12: replay\n") == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("library/mend_a.py", "from mendbook.run import run"),
        ("module_utils/mendbook/a.py", "import mendbook"),
        ("plugins/action/mend.py", "    import mendbook.secrets"),
        ("src/mendbook/run.py", "from ansible.module_utils.mendbook import lock"),
    ],
)
def test_an_import_that_points_back_is_found(path, line):
    assert len(tree_rules.import_violations(path, f"import os\n{line}\n")) == 1


def test_relative_and_target_side_imports_are_left_alone():
    assert tree_rules.import_violations("module_utils/mendbook/a.py", "from .errors import MendError\n") == []
    assert tree_rules.import_violations("library/mend_a.py", "from ansible.module_utils.mendbook.lock import x\n") == []
