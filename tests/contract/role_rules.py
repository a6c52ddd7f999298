"""What is true of every role: one truth for its variables, tasks that read as the runbook, nothing that hides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jinja2
import jinja2.nodes
import yaml

from contract.content import BLOCK_KEYS, Module, Role, action, flat_tasks
from contract.module_rules import argument_violations

# what ansible itself defines in any task, as far as our roles need it
MAGIC = {
    "inventory_hostname",
    "inventory_dir",
    "playbook_dir",
    "role_path",
    "omit",
    "item",
    "hostvars",
    "groups",
    "group_names",
}
MAGIC |= {
    "lookup",
    "query",
    "q",
    "now",
    "undef",
    "ansible_check_mode",
    "ansible_diff_mode",
    "ansible_loop",
    "play_hosts",
}
# how an endpoint, and the S3 store beside a database, are reached: facts of the inventory, and of no role
WAYS = {"mend_via", "mend_s3_via"}
MAGIC |= WAYS
# keywords whose text is an expression without braces
EXPRESSIONS = ("when", "until", "failed_when", "changed_when", "that")
# each of these would let a mend_* task act unseen, end the gate without the module, or hide why it failed
FORBIDDEN_ON_MEND = {"timeout", "no_log", "async", "poll", "ignore_errors", "ignore_unreachable", "until", "retries"}
MAX_TASK_LINES = 40


def spec_violations(role: Role) -> list[str]:
    """argument_specs.yml is whole, and defaults/main.yml holds the same values."""
    if "main" not in role.specs:
        return ["meta/argument_specs.yml has no entry point main"]
    found = [
        f"entry point {name} lacks short_description"
        for name, entry in role.specs.items()
        if not entry.get("short_description")
    ]
    declared = {name: option["default"] for name, option in role.options.items() if "default" in option}
    for name, option in sorted(role.options.items()):
        if not name.startswith(f"{role.name}_"):
            found.append(f"{name}: does not begin with {role.name}_")
        found += [f"{name}: lacks {fact}" for fact in ("type", "description") if not option.get(fact)]
        if option.get("required") and "default" in option:
            found.append(f"{name}: required, and has a default")
    for name in sorted(set(declared) | set(role.defaults)):
        if name not in role.defaults:
            found.append(f"{name}: default in argument_specs.yml, none in defaults/main.yml")
        elif name not in declared:
            found.append(f"{name}: in defaults/main.yml, no default in argument_specs.yml")
        elif (type(declared[name]), declared[name]) != (type(role.defaults[name]), role.defaults[name]):
            found.append(f"{name}: default {declared[name]!r}, but {role.defaults[name]!r} in defaults/main.yml")
    return found


def variable_violations(role: Role) -> list[str]:
    """Every variable that tasks read is declared, and every declared one is read."""
    tasks = [task for tasks in role.tasks.values() for task in flat_tasks(tasks)]
    registered = {task["register"] for task in tasks if "register" in task}
    found = [
        f"register {name}: must begin with __{role.name}_"
        for name in sorted(registered)
        if not name.startswith(f"__{role.name}_")
    ]
    read: set[str] = set()
    for task in tasks:
        own = set(task.get("vars") or {}) | {(task.get("loop_control") or {}).get("loop_var")}
        read |= used_variables(task) - own
    unknown = read - set(role.options) - registered - MAGIC
    found += [f"{name}: read in tasks, not declared in argument_specs.yml" for name in sorted(unknown)]
    return found + [f"{name}: declared, but no task reads it" for name in sorted(set(role.options) - read)]


def task_violations(role: Role, modules: dict[str, Module]) -> list[str]:
    found = []
    for file, tasks in role.tasks.items():
        if not isinstance(tasks, list):
            found.append(f"{file}: not a list of tasks")
            continue
        found += [f"{file}: {words}" for task in flat_tasks(tasks) for words in one_task_violations(task, modules)]
        found += [f"{file}: tags inside a role" for task in all_levels(tasks) if "tags" in task]
        if own_lines(tasks) > MAX_TASK_LINES:
            found.append(
                f"{file}: {own_lines(tasks)} lines beside modules' arguments, {MAX_TASK_LINES} allowed: split by step"
            )
    return found


def one_task_violations(task: dict[str, Any], modules: dict[str, Module]) -> list[str]:
    name = str(task.get("name") or "")
    found = [f"task without a name: {sorted(task)}"] if not name else []
    if name.endswith("."):
        found.append(f"{name!r} ends with a full stop")
    if "}}" in name and not name.rstrip().endswith("}}"):
        found.append(f"{name!r}: a variable stands only at the end of a name")
    if "ansible.builtin.set_fact" in task or "set_fact" in task:
        found.append(f"{name!r}: set_fact means that a module is missing")
    module, arguments = action(task)
    if not module:
        return found
    found += [f"{name!r}: {key} is forbidden on {module}" for key in sorted(FORBIDDEN_ON_MEND & set(task))]
    if "check_mode" in task and task["check_mode"] is not True:
        found.append(f"{name!r}: check_mode {task['check_mode']} is forbidden on {module}: the run's --check decides")
    if module not in modules:
        return [*found, f"{name!r}: there is no module {module}"]
    if "receipt" in (arguments or {}):
        found.append(f"{name!r}: receipt is the gate's to give")
    return found + [f"{name!r}: {words}" for words in argument_violations(arguments, modules[module].spec)]


def name_violations(names: list[str]) -> list[str]:
    """No role's name is the beginning of another's, or their variables could not be told apart."""
    pairs = [(short, long) for short in names for long in names if long.startswith(f"{short}_")]
    return [f"role {short} is the beginning of role {long}" for short, long in pairs]


def handler_violations(name: str, handlers: list[dict[str, Any]]) -> list[str]:
    return [
        f"{name}: handler {handler.get('name')!r} is not 'Restart ...'"
        for handler in handlers
        if not str(handler.get("name")).startswith("Restart ")
    ]


def used_variables(value: Any, expression: bool = False) -> set[str]:
    """The names that the templates and expressions inside a task take from outside."""
    if isinstance(value, dict):
        return {name for key, part in value.items() for name in used_variables(part, key in EXPRESSIONS)}
    if isinstance(value, list):
        return {name for part in value for name in used_variables(part, expression)}
    if not isinstance(value, str) or not (expression or "{" in value):
        return set()
    text = "{{ " + value + " }}" if expression and "{{" not in value else value
    # the names in the parsed text: jinja2.meta would compile it and stumble over ansible's filters
    names = list(jinja2.Environment(autoescape=True).parse(text).find_all(jinja2.nodes.Name))
    return {name.name for name in names if name.ctx == "load"} - {name.name for name in names if name.ctx != "load"}


def all_levels(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        yield task
        for key in BLOCK_KEYS:
            yield from all_levels(task.get(key) or [])


def own_lines(tasks: list[dict[str, Any]]) -> int:
    """How long the tasks are without the arguments of our modules, which are one line each."""
    total = 0
    for task in flat_tasks(tasks):
        module = action(task)[0]
        kept = {key: value for key, value in task.items() if key.removeprefix("ansible.legacy.") != module}
        total += len(yaml.safe_dump(kept).splitlines()) + (1 if module else 0)
    return total
