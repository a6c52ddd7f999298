"""Write the tables that are generated: of variables, of procedures and of the command line.

They stand in README.md and docs/ between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``; the truth is in
roles/*/meta/argument_specs.yml, the headers of playbooks/ and the commands of ``mendbook``. With ``--check`` nothing is
written, and the exit code is 1 when a page is not what would be written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from mendbook.content import Procedure, procedures

ROOT = Path(__file__).resolve().parent.parent
# ansible's markup for names and values: C(--check), V(false), O(path), M(mend_mongo_undo), and B and I for emphasis
MARKUP = re.compile(r"\b([CVOM])\(([^)]*)\)")
EMPHASIS = re.compile(r"\b[BI]\(([^)]*)\)")


def cell(text: str) -> str:
    """Text of a table's cell, in Markdown and on one line."""
    text = EMPHASIS.sub(r"**\1**", MARKUP.sub(r"`\2`", text))
    return " ".join(text.split()).replace("|", "\\|")


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def shown_type(option: dict[str, Any]) -> str:
    kind = str(option.get("type", "str"))
    return f"{kind} of {option['elements']}" if option.get("elements") else kind


def shown_default(option: dict[str, Any]) -> str:
    if option.get("required"):
        return "**required**"
    if "default" not in option:
        return ""
    value = option["default"]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`" if text else '`""`'


def variable_table(procedure: Procedure) -> list[str]:
    """The variables of a procedure's roles, the required ones first."""
    rows = []
    for option in sorted(procedure.options.values(), key=lambda option: not option.required):
        words = cell(option.description)
        if option.spec.get("choices"):
            words += f" One of {', '.join(f'`{choice}`' for choice in option.spec['choices'])}."
        rows.append([f"`{option.name}`", shown_type(option.spec), cell(shown_default(option.spec)), words])
    return table(["variable", "type", "default", "what it does"], rows)


def procedure_table(docs: str, root: Path = ROOT) -> list[str]:
    """Every procedure with its page, in the folder ``docs`` as seen from the table's own page."""
    rows = [
        [f"[{each.name}]({docs}{each.name}.md)", cell(each.summary), each.risk, ", ".join(each.runbooks)]
        for each in procedures(root)
    ]
    return table(["procedure", "what it does", "risk", "runbooks"], rows)


def commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group with the words to type, groups before their commands."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        yield f"{prefix} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")


def command_table(group: click.Group) -> list[str]:
    """Every command with its options, from the commands themselves."""
    rows = []
    for words, command in commands(group, "mendbook"):
        arguments = [
            name if p.required or name.startswith("[") else f"[{name}]"
            for p in command.params
            if (name := argument_name(p))
        ]
        rows.append([f"`{' '.join([words, *arguments])}`", cell(click_help(command))])
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                rows.append([f"&nbsp;&nbsp;`{', '.join(parameter.opts)}`", cell(parameter.help or "")])
    return table(["command", "what it does"], rows)


def argument_name(parameter: click.Parameter) -> str:
    return str(parameter.metavar or parameter.name).upper() if isinstance(parameter, click.Argument) else ""


def click_help(command: click.Command) -> str:
    """A command's help up to its first empty line."""
    return (command.help or "").partition("\n\n")[0]


def replaced(text: str, name: str, lines: list[str]) -> str:
    """``text`` with ``lines`` between the markers of ``name``; ValueError when it has no such markers."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"needs the lines {begin} and {end} exactly once")
    before, rest = text.split(begin)
    return "\n".join([f"{before}{begin}", *lines, f"{end}{rest.split(end)[1]}"])


def pages(root: Path = ROOT) -> dict[Path, str]:
    """Each page with a generated table and the text that it should have; ValueError names a page without markers."""
    wanted: dict[Path, tuple[str, Callable[[], list[str]]]] = {
        root / "README.md": ("procedures", lambda: procedure_table("docs/", root)),
        root / "docs" / "README.md": ("procedures", lambda: procedure_table("", root)),
        root / "docs" / "command_line.md": ("commands", lambda: command_table(command_line())),
    }
    for procedure in procedures(root):
        wanted[root / "docs" / f"{procedure.name}.md"] = ("variables", partial(variable_table, procedure))
    found = {}
    for path, (name, lines) in wanted.items():
        if not path.exists():
            continue
        try:
            found[path] = replaced(path.read_text(encoding="utf-8"), name, lines())
        except ValueError as error:
            raise ValueError(f"{path.relative_to(root)} {error}") from None
    return found


def command_line() -> click.Group:
    from mendbook.cli import main  # here, so that the tables of variables need no command line

    return main


def run(check: bool, root: Path = ROOT) -> int:
    """Write the pages, or with ``check`` only say which are stale; the number of the process's exit."""
    stale = [path for path, text in pages(root).items() if path.read_text(encoding="utf-8") != text]
    for path in stale:
        if check:
            print(f"{path.relative_to(root)} is stale: make docs", file=sys.stderr)
        else:
            path.write_text(pages(root)[path], encoding="utf-8")
            print(f"wrote {path.relative_to(root)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(run("--check" in sys.argv[1:]))
