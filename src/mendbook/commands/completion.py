# SPDX-License-Identifier: MIT
"""``mendbook completion``: what teaches a shell to complete mendbook's words; click's own, with one addition."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

_VARIABLE = "_MENDBOOK_COMPLETE"
_TAKEN = "        if [[ $type == 'dir' ]]; then"
_ASKED = "    response=$(env COMP_WORDS="
_GIVEN = "COMPREPLY+=($value)"
# bash takes drill:NAME and name=value for three words, and replaces only the last of them
_JOINED = """\
    local -a words=("${COMP_WORDS[0]}")
    local word before last="" cut="" line=${COMP_LINE#"${COMP_WORDS[0]}"} i
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        before=$line
        [[ $word ]] && before=${line%%%%"$word"*} && line=${line#*"$word"}
        if ((i > 1)) && [[ -z $before && ($word == [:=] || $last == [:=]) ]]; then
            words[${#words[@]} - 1]+=$word
            cut=${words[${#words[@]} - 1]%%"${word#[:=]}"}
        else
            words+=("$word")
            cut=""
        fi
        last=$word
    done
    local -a COMP_WORDS=("${words[@]}")
    local COMP_CWORD=$((${#words[@]} - 1))

"""


class _Bash(BashComplete):
    """No blank is put behind ``name=``: the value follows. Words with a colon or an equals sign are whole."""

    source_template = (
        BashComplete.source_template.replace(
            _TAKEN, "        [[ $value == *= ]] && compopt -o nospace 2>/dev/null\n" + _TAKEN
        )
        .replace(_ASKED, _JOINED + _ASKED)
        .replace(_GIVEN, 'COMPREPLY+=("${value#"$cut"}")')
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
