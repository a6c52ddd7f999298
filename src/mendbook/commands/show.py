# SPDX-License-Identifier: MIT
"""``mendbook show``: one procedure as its playbook and the argument specs of its roles tell it."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from typing import Any

import click

from mendbook import completion, content
from mendbook.content import Option, Procedure

_RISKS = {
    "reads": "reads only, changes nothing",
    "changes": "changes the target, in a way that can be reversed",
    "destroys": "replaces or removes data; wants the target's identity confirmed",
}
_MARKUP = re.compile(r"\b[CVOMBI]\(([^)]*)\)")


@click.command("show")
@click.argument("name", shell_complete=completion.procedures)
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
def command(name: str, as_json: bool) -> None:
    """Show the procedure NAME: what it does, its risk, its variables, examples, and how to undo it."""
    procedure = content.procedure(name)
    click.echo(json.dumps(_facts(procedure)) if as_json else "\n".join(_lines(procedure)))


def _facts(procedure: Procedure) -> dict[str, Any]:
    return {
        "name": procedure.name,
        "title": procedure.title,
        "risk": procedure.risk,
        "summary": procedure.summary,
        "runbooks": procedure.runbooks,
        "repeats": procedure.repeats,
        "on_calendar": procedure.header.get("on_calendar"),
        "roles": [role for role, _ in procedure.roles],
        "variables": {option.name: option.spec for option in procedure.options.values()},
        "examples": _examples(procedure),
        "undo": _undo(procedure),
    }


def _lines(procedure: Procedure) -> Iterator[str]:
    yield f"{procedure.name}: {procedure.summary}"
    yield ""
    for spec in procedure.specs.values():
        for text in _texts(spec.get("description")):
            yield from _wrapped(text, "  ")
    yield ""
    yield f"  risk      {procedure.risk}: {_RISKS[procedure.risk]}"
    yield f"  runbooks  {', '.join(procedure.runbooks) or 'none'}"
    if calendar := procedure.header.get("on_calendar"):
        yield f"  usually   at {calendar}: mendbook schedule {procedure.name} -i INVENTORY"
    again = "may change the target again" if procedure.repeats else "changes nothing when there is nothing left to do"
    if procedure.risk != "reads":
        yield f"  again     a second run {again}"
        yield f"  undo      {_undo(procedure)}"
    for heading, wanted in (("required", True), ("optional", False)):
        options = [option for option in procedure.options.values() if option.required is wanted]
        if options:
            yield from ("", f"Variables, {heading}:")
            for option in options:
                yield from _option(option)
    yield from ("", "Examples:")
    for example in _examples(procedure):
        yield f"  {example}"


def _option(option: Option) -> Iterator[str]:
    facts = [option.type if option.type != "list" else f"list of {option.spec.get('elements', 'raw')}"]
    if "choices" in option.spec:
        facts.append("one of " + ", ".join(str(choice) for choice in option.spec["choices"]))
    if "default" in option.spec:
        facts.append(f"default {json.dumps(option.spec['default'])}")
    yield f"  {option.name} ({'; '.join(facts)})"
    yield from _wrapped(option.description, "      ")


def _examples(procedure: Procedure) -> list[str]:
    """The plan first, then the run; then what the playbook itself gives as examples."""
    words = ["mendbook", "run", procedure.name, "-i", "INVENTORY"]
    for option in procedure.options.values():
        if option.required:
            words += ["-e", f"{option.name}=..."]
    run = shlex.join(words)
    if any(f"{role}_confirm" in procedure.options for role, _ in procedure.roles):
        return [f"{run} --check", f"{run} --confirm TARGET", *procedure.examples]
    return [f"{run} --check", run, *procedure.examples] if procedure.risk != "reads" else [run, *procedure.examples]


def _undo(procedure: Procedure) -> str:
    if procedure.risk == "reads":
        return "nothing to undo"
    reverse = f"undo_{procedure.name}"
    if any(each.name == reverse for each in content.procedures(procedure.root)):
        return f"mendbook run {reverse}; the plan and the report print it with its variables"
    return "the plan says how, or why not"


def _texts(description: Any) -> list[str]:
    return [str(text) for text in description] if isinstance(description, list) else [str(description or "")]


def _wrapped(text: str, indent: str) -> list[str]:
    """Ansible's markup taken out: C(text) is text."""
    return textwrap.wrap(_MARKUP.sub(r"\1", text), width=100, initial_indent=indent, subsequent_indent=indent)
