# SPDX-License-Identifier: MIT
"""``mendbook run``: a procedure on an inventory, watched, and summed up in words or as JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mendbook import completion
from mendbook.errors import MendError

if TYPE_CHECKING:
    from mendbook.events import Event
    from mendbook.outcome import Outcome

_CHANGED = 10


def seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """``90``, ``90s``, ``15m``, ``2h`` or ``1d``, as seconds."""
    from mendbook.times import span

    try:
        return None if value is None else span(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


@click.command("run")
@click.argument("name", shell_complete=completion.procedures)
@click.option(
    "-i",
    "--inventory",
    multiple=True,
    required=True,
    envvar="ANSIBLE_INVENTORY",
    shell_complete=completion.files,
    help="Inventory file or folder, or hosts with a comma; may be repeated.",
)
@click.option(
    "-e",
    "--variable",
    "words",
    multiple=True,
    metavar="K=V|@FILE",
    shell_complete=completion.variables,
    help="Variables; may be repeated.",
)
@click.option("--confirm", metavar="TARGET", help="The target's identity, as the plan prints it.")
@click.option("--check", is_flag=True, help="Only show the plan; nothing is changed.")
@click.option("--diff", is_flag=True, help="Show every change with its before and after.")
@click.option("--limit", metavar="HOSTS", help="Only these hosts of the inventory.")
@click.option("--timeout", metavar="TIME", callback=seconds, help="Stop after this time (90s, 15m, 2h).")
@click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout, the outcome last.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write a JUnit file, also of a failure.")
@click.option("--exit-code", is_flag=True, help=f"End with {_CHANGED} when something changed (or would).")
def command(
    name: str,
    inventory: tuple[str, ...],
    words: tuple[str, ...],
    confirm: str | None,
    check: bool,
    diff: bool,
    limit: str | None,
    timeout: float | None,
    as_json: bool,
    junit: Path | None,
    exit_code: bool,
) -> int:
    """Run the procedure NAME. First with --check: the plan says what would be changed and what to confirm.

    Secrets are given as -e NAME=env:VARIABLE or -e NAME=file:/path, never in plain text.
    """
    from mendbook import content, live, variables
    from mendbook.runs import run

    view = None if as_json else live.view()
    tell = _print_json if view is None else view
    outcome: Outcome | None = None
    error: MendError | None = None
    try:
        outcome = run(
            name,
            inventory=inventory,
            check=check,
            diff=diff,
            limit=limit,
            variables=variables.from_words(words, content.procedure(name)),
            confirm=confirm,
            timeout_seconds=timeout,
            on_event=tell,
        )
    except MendError as raised:
        error, outcome = raised, raised.outcome
    finally:
        if view is not None:
            view.close()
    code = error.exit_code if error else outcome.exit_code if outcome else 2
    if code == 0 and exit_code and outcome and outcome.changed:
        code = _CHANGED
    _finish(outcome, error, code, as_json, inventory, diff)
    if junit is not None:
        _write_junit(junit, name, outcome, error)
    return code


def _write_junit(path: Path, name: str, outcome: Outcome | None, error: MendError | None) -> None:
    from mendbook.errors import Failed
    from mendbook.junit import of_run, write

    try:
        write(path, f"mendbook run {name}", of_run(outcome, error))
    except OSError as failed:
        raise Failed(f"--junit {path}: {failed.strerror}; the run itself ended as its summary says") from failed


def _finish(
    outcome: Outcome | None, error: MendError | None, code: int, as_json: bool, inventory: tuple[str, ...], diff: bool
) -> None:
    if as_json:
        from mendbook.events import Ended

        word = outcome.word if outcome else "error"
        _print_json(Ended(word, code, outcome, error.msg if error else None))
        return
    if outcome is not None:
        from mendbook.report import summary

        click.echo(summary(outcome, inventory, diff))
    if error is not None:
        from mendbook.results import plain

        click.echo(f"mendbook: {plain(error.msg)}", err=True)


def _print_json(event: Event) -> None:
    from mendbook.events import as_json

    click.echo(as_json(event))
