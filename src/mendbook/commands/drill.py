# SPDX-License-Identifier: MIT
"""``mendbook drill``: prove on servers of its own that a procedure still does what it promises."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mendbook.drill import Phase


@click.command("drill")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, one for each phase and one for the result.")
def command(name: str, as_json: bool) -> None:
    """Drill the procedure NAME: start a sandbox, break something in it, mend it, and compare by another client."""
    import json

    from mendbook import live
    from mendbook.drill import Drill, drill
    from mendbook.errors import MendError
    from mendbook.report import duration

    def tell(phase: Phase) -> None:
        if as_json:
            click.echo(json.dumps({"phase": phase.name, "seconds": phase.seconds, "found": phase.found}))
        else:
            click.echo(f"  {phase.name:10} {duration(phase.seconds):>8}  {phase.found}")

    began = time.monotonic()
    # in a log the lines of the phases are enough
    view = live.Bars(sys.stderr) if sys.stderr.isatty() and not as_json else None
    drilled = Drill(tell, view)
    word, error = "passed", ""
    try:
        drill(name, drilled)
    except MendError as raised:
        word, error = "FAILED", raised.msg
        raise
    finally:
        if view is not None:
            view.close()
        seconds = round(time.monotonic() - began, 3)
        if as_json:
            click.echo(json.dumps({"drill": name, "result": word.lower(), "seconds": seconds, "error": error or None}))
        elif error:
            click.echo(f"drill of {name}: FAILED in the phase {drilled.current!r} after {duration(seconds)}")
        else:
            click.echo(f"drill of {name}: {word} in {duration(seconds)}")
