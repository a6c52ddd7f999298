# SPDX-License-Identifier: MIT
"""``mendbook completion``: what teaches a shell to complete mendbook's words; click's own, with one addition."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

_VARIABLE = "_MENDBOOK_COMPLETE"
_TAKEN = "        if [[ $type == 'dir' ]]; then"


class _Bash(BashComplete):
    """No blank is put behind ``name=``: the value follows."""

    source_template = BashComplete.source_template.replace(
        _TAKEN, "        [[ $value == *= ]] && compopt -o nospace 2>/dev/null\n" + _TAKEN
    )


_SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": ZshComplete, "fish": FishComplete}


@click.command("completion")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
def command(shell: str) -> None:
    """Print what makes SHELL (bash, zsh or fish) complete procedures, drills, options, variables and files.

    For bash put this into ~/.bashrc: eval "$(mendbook completion bash)"; for zsh the same into ~/.zshrc;
    for fish: mendbook completion fish > ~/.config/fish/completions/mendbook.fish
    """
    from mendbook.cli import main

    click.echo(_SHELLS[shell](main, {}, "mendbook", _VARIABLE).source())
