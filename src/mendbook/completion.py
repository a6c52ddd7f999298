# SPDX-License-Identifier: MIT
"""What the shell offers while a command line is typed: procedures, drills, variables of the procedure, files."""

from __future__ import annotations

from collections.abc import Iterable

from click import Context, Parameter
from click.shell_completion import CompletionItem


def procedures(ctx: Context, param: Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of procedures, with what they do where the shell shows it."""
    from mendbook import content
    from mendbook.errors import MendError

    try:
        return _items(((each.name, each.summary) for each in content.procedures()), incomplete)
    except MendError:
        return []


def drills(ctx: Context, param: Parameter, incomplete: str) -> list[CompletionItem]:
    """The procedures that there is a drill of."""
    from mendbook.drills import NAMES

    return _items(((name, "") for name in NAMES), incomplete)


def scheduled(ctx: Context, param: Parameter, incomplete: str) -> list[CompletionItem]:
    """The procedures, and the drills as ``drill:PROCEDURE``."""
    from mendbook.drills import NAMES
    from mendbook.schedule.job import DRILL

    return procedures(ctx, param, incomplete) + _items(((DRILL + name, "") for name in NAMES), incomplete)


def variables(ctx: Context, param: Parameter, incomplete: str) -> list[CompletionItem]:
    """``name=`` of the variables of the procedure named before, ``name=choice`` after the sign, files after ``@``."""
    from mendbook import content
    from mendbook.errors import MendError

    if incomplete.startswith("@"):
        return files(ctx, param, incomplete)
    # click puts a name beside the parameters when the command line ends with an option that wants a value
    procedure = ctx.params.get("name") or next(iter(ctx.args), "")
    try:
        options = content.procedure(procedure).options
    except MendError:
        return []
    name, sign, _ = incomplete.partition("=")
    if not sign:
        return _items(((f"{each.name}=", each.description) for each in options.values()), incomplete)
    chosen = options.get(name)
    if chosen is None:
        return []
    words = ("true", "false") if chosen.type == "bool" else map(str, chosen.spec.get("choices") or ())
    return _items(((f"{name}={word}", "") for word in words), incomplete)


def files(ctx: Context, param: Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell's own names of files and folders."""
    return [CompletionItem(incomplete, type="file")]


def _items(found: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name, help=words or None) for name, words in found if name.startswith(incomplete)]
