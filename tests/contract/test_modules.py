"""Every module in library/ against module_rules, and the rules against modules that break them."""

from __future__ import annotations

import json

import pytest

from contract import content, module_rules
from contract.content import Module

OPTION = {"type": "str", "required": True, "description": ["The database, or env:NAME."]}
SOURCE = '''
from __future__ import annotations

DOCUMENTATION = r"""
a
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook.change import run_change

def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    run_change(module, object())
'''


def good_module(**changes: object) -> Module:
    facts = {"description": "x", "returned": "always", "type": "dict"}
    parts = {
        "name": "mend_a_b",
        "source": SOURCE,
        "spec": {"database": {"type": "str", "required": True}},
        "documentation": {"module": "mend_a_b", "short_description": "x", "description": ["x"], "author": ["x"]},
        "examples": "- name: Do it\n  mend_a_b:\n    database: estore\n",
        "returns": {key: facts for key in module_rules.CHANGE_RESULT},
    }
    return Module(**{**parts, **changes})


@pytest.fixture(scope="module")
def modules() -> dict[str, Module]:
    return content.modules()


def test_every_module_documents_the_options_that_it_takes(modules):
    for name, module in modules.items():
        found = module_rules.option_differences(module.documentation.get("options") or {}, module.spec)
        content.no_violation([f"{name}: {words}" for words in found])


def test_every_secret_option_is_masked_and_says_how_to_pass_one(modules):
    for name, module in modules.items():
        found = module_rules.secret_violations(module.documentation.get("options") or {}, module.spec)
        content.no_violation([f"{name}: {words}" for words in found])


@pytest.mark.parametrize("rule", ["return_violations", "example_violations", "shape_violations"])
def test_every_module_keeps_the_rule(modules, rule):
    violations = {name: getattr(module_rules, rule)(module) for name, module in modules.items()}
    content.no_violation([f"{name}: {words}" for name, found in violations.items() for words in found])


def test_every_file_in_library_is_a_module_of_ours():
    assert [name for name in content.module_names() if not name.startswith("mend_")] == []
    assert [
        path.name for path in (content.ROOT / "library").iterdir() if path.is_dir() and path.name != "__pycache__"
    ] == []


def test_the_keys_that_every_changing_module_documents_are_those_that_it_gives(capsys):
    from ansible.module_utils.basic import AnsibleModule
    from ansible.module_utils.mendbook.change import run_change
    from ansible.module_utils.mendbook.errors import MendError
    from ansible.module_utils.testing import patch_module_args

    class Broken:
        def open(self, params):
            raise MendError("cannot be opened")

    with patch_module_args({}), pytest.raises(SystemExit):
        run_change(AnsibleModule({"receipt": {"type": "dict"}}, supports_check_mode=True), Broken())
    given = set(json.loads(capsys.readouterr().out)) - {"changed", "failed", "msg", "invocation"}
    assert given == set(module_rules.CHANGE_RESULT)


def test_a_whole_module_has_no_violation():
    module = good_module()
    assert module_rules.shape_violations(module) == []
    assert module_rules.return_violations(module) == []
    assert module_rules.example_violations(module) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "database: documented, but not in ARGUMENT_SPEC"),
        ({"database": {"type": "str", "required": True}, "drop": {}}, "drop: not documented"),
        ({"database": {"type": "path", "required": True}}, "database: type 'str' documented, 'path' in ARGUMENT_SPEC"),
        ({"database": {"type": "str"}}, "database: required True documented, False in ARGUMENT_SPEC"),
        (
            {"database": {"type": "str", "required": True, "default": 1}},
            "database: default None documented, 1 in ARGUMENT_SPEC",
        ),
        ({"database": {"type": "str", "required": True, "choices": ["a"]}}, "database: choices differ"),
        ({"database": {"type": "str", "required": True, "aliases": ["db"]}}, "database: aliases differ"),
        ({"database": {"type": "str", "required": True, "options": {"x": {}}}}, "database.x: not documented"),
    ],
)
def test_a_difference_between_documentation_and_code_is_found(spec, words):
    assert words in module_rules.option_differences({"database": OPTION}, spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"s3_secret_key": {}}, "s3_secret_key: looks like a secret"),
        ({"uri": {"type": "str"}}, "uri: looks like a secret"),
        ({"password": {"no_log": True}}, "password: no_log, so its description must say"),
    ],
)
def test_a_secret_in_the_open_is_found(spec, words):
    (found,) = module_rules.secret_violations({"password": {"description": "Its password."}}, spec)
    assert found.startswith(words)


@pytest.mark.parametrize(
    ("changes", "rule", "words"),
    [
        ({"returns": {}}, "return_violations", "no RETURN"),
        ({"returns": {"plan": {"description": "x"}}}, "return_violations", "RETURN lacks done"),
        ({"returns": {"plan": {"description": "x"}}}, "return_violations", "RETURN plan lacks type"),
        ({"examples": ""}, "example_violations", "EXAMPLES has no task of mend_a_b"),
        ({"examples": "- name: [\n"}, "example_violations", "EXAMPLES is not YAML"),
        ({"examples": "- mend_a_b: {database: x}\n"}, "example_violations", "EXAMPLES has a task without a name"),
        (
            {"examples": "- name: x\n  mend_a_b: {database: x, db: y}\n"},
            "example_violations",
            "EXAMPLES: db: no such argument",
        ),
        (
            {"examples": "- name: x\n  mend_a_b: {}\n"},
            "example_violations",
            "EXAMPLES: database: required, but not given",
        ),
        ({"documentation": {}}, "shape_violations", "DOCUMENTATION lacks author"),
        ({"source": SOURCE.replace("True", "False")}, "shape_violations", "AnsibleModule without supports_check_mode"),
        ({"source": SOURCE.replace("run_change(", "print(")}, "shape_violations", "neither run_change nor run_read"),
        ({"source": SOURCE + "import mendbook.run\n"}, "shape_violations", "imports mendbook.run: not on a target"),
        ({"source": SOURCE + "x = 1\n" * 121}, "shape_violations", "127 lines of code"),
    ],
)
def test_a_module_that_breaks_a_rule_is_found(changes, rule, words):
    found = getattr(module_rules, rule)(good_module(**changes))
    assert [entry for entry in found if entry.startswith(words)], found


def test_reads_a_module_with_its_fragments_as_ansible_doc_does(tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "fragments").mkdir()
    (tmp_path / "ansible.cfg").write_text("[defaults]\nlibrary = library\ndoc_fragment_plugins = fragments\n")
    fragment = "options:\n  host: {description: Its name., type: str, required: true}\n"
    (tmp_path / "fragments" / "mend_x.py").write_text(
        f'class ModuleDocFragment:\n    DOCUMENTATION = """{fragment}"""\n'
    )
    texts = ['DOCUMENTATION = """', "module: mend_a_b", "short_description: x", "description: x", "author: x (@x)"]
    texts += ["extends_documentation_fragment: mend_x", '"""', 'ARGUMENT_SPEC = {"host": {"required": True}}']
    (tmp_path / "library" / "mend_a_b.py").write_text("\n".join(texts) + "\n")
    module = content.modules(tmp_path)["mend_a_b"]
    assert module.spec == {"host": {"required": True}}
    assert module_rules.option_differences(module.documentation["options"], module.spec) == []
    assert module_rules.option_differences(module.documentation["options"], {}) != []
