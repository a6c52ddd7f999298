# SPDX-License-Identifier: MIT
"""``mendbook list``: every procedure with its risk and one line."""

from __future__ import annotations

import click

from mendbook import content


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each procedure.")
def command(as_json: bool) -> None:
    """List every procedure: its name, its risk (reads, changes or destroys), and what it is for."""
    found = list(content.procedures())
    if as_json:
        import json

        for each in found:
            facts = {"name": each.name, "risk": each.risk, "summary": each.summary, "runbooks": each.runbooks}
            click.echo(json.dumps(facts))
        return
    width = max((len(each.name) for each in found), default=0)
    for each in found:
        click.echo(f"{each.name:{width}}  {each.risk:8}  {each.summary}")
