# SPDX-License-Identifier: MIT
"""``mendbook preflight``: what a run would stumble over, found before Ansible starts."""

from __future__ import annotations

import click

from mendbook import completion
from mendbook.commands.run import seconds


@click.command("preflight")
@click.argument("name", required=False, shell_complete=completion.procedures)
@click.option(
    "-i",
    "--inventory",
    multiple=True,
    required=True,
    envvar="ANSIBLE_INVENTORY",
    shell_complete=completion.files,
    help="As for run.",
)
@click.option("--limit", metavar="HOSTS", help="Only these hosts of the inventory.")
@click.option(
    "--timeout", metavar="TIME", callback=seconds, default="10s", show_default=True, help="How long a host may take."
)
@click.option(
    "--warn-free",
    metavar="PERCENT",
    type=click.IntRange(0, 100),
    default=10,
    show_default=True,
    help="Warn when less of the space or of the inodes is free.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as one JSON object.")
def command(
    name: str | None, inventory: tuple[str, ...], limit: str | None, timeout: float, warn_free: int, as_json: bool
) -> int:
    """Check every host of an inventory at once; with the procedure NAME its hosts, and what its modules need.

    Nothing is changed. Ends with 4 when something is unreachable, with 2 for another problem, else with 0.
    """
    import sys
    import time

    from mendbook import content
    from mendbook.preflight import fleet, report
    from mendbook.preflight import inventory as inventories
    from mendbook.preflight.judge_host import Limits
    from mendbook.runs import checked_limit, inventory_sources

    began = time.monotonic()
    procedure = None if name is None else content.procedure(name)
    modules = () if procedure is None else inventories.modules_of(procedure)
    with inventories.read(inventory_sources(inventory), checked_limit(limit), procedure) as side:
        targets = inventories.with_engines(side.targets, modules)
        seen = fleet.look(side, targets, timeout, Limits(free_share=warn_free / 100))
    took = time.monotonic() - began
    if as_json:
        import json

        click.echo(json.dumps(report.as_json(seen, took)))
    else:
        report.draw(seen, took, sys.stdout)
    return report.exit_code(seen)
