"""What is true of every module in library/: its documentation says what its code takes and gives."""

from __future__ import annotations

import ast
import re
from typing import Any

import yaml

from contract.content import Module, action

# what run_change exits with (module_utils/mendbook/change.py)
CHANGE_RESULT = ("plan", "done", "skipped_objects", "read_back", "figures", "state", "mend")
SECRET_NAME = re.compile(r"password|secret|token|private_key|access_key|customer_key|^uri$")
MAX_CODE_LINES = 120


def option_differences(documented: dict[str, Any], spec: dict[str, Any], where: str = "") -> list[str]:
    """How documented options and an argument spec differ, also inside options; [] when they agree."""
    found = [f"{where}{name}: not documented" for name in sorted(set(spec) - set(documented))]
    found += [f"{where}{name}: documented, but not in ARGUMENT_SPEC" for name in sorted(set(documented) - set(spec))]
    for name in sorted(set(spec) & set(documented)):
        code, text = spec[name], documented[name]
        for fact, fallback in (("type", "str"), ("elements", None), ("default", None), ("required", False)):
            if code.get(fact, fallback) != text.get(fact, fallback):
                difference = f"{text.get(fact, fallback)!r} documented, {code.get(fact, fallback)!r} in ARGUMENT_SPEC"
                found.append(f"{where}{name}: {fact} {difference}")
        for fact in ("choices", "aliases"):
            if sorted(map(str, code.get(fact) or ())) != sorted(map(str, text.get(fact) or ())):
                found.append(f"{where}{name}: {fact} differ")
        if code.get("options") or text.get("suboptions"):
            found += option_differences(text.get("suboptions") or {}, code.get("options") or {}, f"{where}{name}.")
    return found


def secret_violations(documented: dict[str, Any], spec: dict[str, Any]) -> list[str]:
    """Options that carry secrets are masked by ansible, and their documentation says how to pass one safely."""
    found = []
    for name, option in sorted(spec.items()):
        if SECRET_NAME.search(name) and "no_log" not in option:
            found.append(f"{name}: looks like a secret, so it must say no_log: True (or False, with a reason)")
        said = " ".join(as_list((documented.get(name) or {}).get("description")))
        if option.get("no_log") and "env:" not in said:
            found.append(f"{name}: no_log, so its description must say that env:NAME is taken")
    return found


def return_violations(module: Module) -> list[str]:
    found = [] if module.returns else ["no RETURN"]
    if "run_change" in called_names(module.source):
        found += [f"RETURN lacks {key}" for key in CHANGE_RESULT if key not in module.returns]
    for key, value in sorted(module.returns.items()):
        found += [f"RETURN {key} lacks {fact}" for fact in ("description", "returned", "type") if not value.get(fact)]
    return found


def example_violations(module: Module) -> list[str]:
    """At least one runnable task of this module, with arguments that it takes."""
    try:
        tasks = yaml.safe_load(module.examples) or []
    except yaml.YAMLError as error:
        return [f"EXAMPLES is not YAML: {error}"]
    if not isinstance(tasks, list) or not any(action(task)[0] == module.name for task in tasks):
        return [f"EXAMPLES has no task of {module.name}"]
    found = [f"EXAMPLES has a task without a name: {task}" for task in tasks if not task.get("name")]
    for task in tasks:
        name, arguments = action(task)
        if name == module.name:
            found += [f"EXAMPLES: {words}" for words in argument_violations(arguments, module.spec)]
    return found


def argument_violations(arguments: Any, spec: dict[str, Any], where: str = "") -> list[str]:
    """Arguments that the spec does not know, and required ones that are not given."""
    if not isinstance(arguments, dict):
        return [f"{where or 'arguments'}: not a mapping"]
    found = [f"{where}{name}: no such argument" for name in sorted(set(arguments) - set(spec) - spec_aliases(spec))]
    for name, option in sorted(spec.items()):
        given = arguments.get(
            name, next((arguments[alias] for alias in option.get("aliases") or () if alias in arguments), None)
        )
        if option.get("required") and given is None:
            found.append(f"{where}{name}: required, but not given")
        if option.get("options"):
            for entry in given if isinstance(given, list) else [given]:
                if isinstance(entry, dict):
                    found += argument_violations(entry, option["options"], f"{where}{name}.")
    return found


def shape_violations(module: Module) -> list[str]:
    """The file's own shape: documentation, check mode, length, and nothing that is not on a target."""
    found = []
    for fact in ("short_description", "description", "author"):
        if not module.documentation.get(fact):
            found.append(f"DOCUMENTATION lacks {fact}")
    if module.documentation.get("module") != module.name:
        found.append(f"DOCUMENTATION names {module.documentation.get('module')!r}")
    tree = ast.parse(module.source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and called(node) == "AnsibleModule"]
    checked = [keyword for call in calls for keyword in call.keywords if keyword.arg == "supports_check_mode"]
    if not any(isinstance(keyword.value, ast.Constant) and keyword.value.value is True for keyword in checked):
        found.append("AnsibleModule without supports_check_mode=True: ansible would skip it under --check")
    if not {"run_change", "run_read"} & called_names(module.source):
        found.append("neither run_change nor run_read: every module has the one shape")
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [f"imports {name}: not on a target" for name in names if name.split(".")[0] == "mendbook"]
    if code_lines(module.source, tree) > MAX_CODE_LINES:
        found.append(
            f"{code_lines(module.source, tree)} lines of code, {MAX_CODE_LINES} allowed: move deciding to module_utils"
        )
    return found


def code_lines(source: str, tree: ast.Module) -> int:
    """Lines of a module that are neither empty, nor comment, nor one of the documentation texts."""
    texts: set[int] = set()
    for node in tree.body:
        text = (
            isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        )
        if text and node.end_lineno:
            texts.update(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(1 for number, line in lines if number not in texts and line.strip() and not line.strip().startswith("#"))


def called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def called_names(source: str) -> set[str]:
    return {called(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)}


def spec_aliases(spec: dict[str, Any]) -> set[str]:
    return {alias for option in spec.values() for alias in option.get("aliases") or ()}


def as_list(value: Any) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value or "")]
