# SPDX-License-Identifier: MIT
"""The command line: one file for each verb under ``commands/``, loaded when needed; errors become exit codes here."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from mendbook.errors import MendError, StateUnknown

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# The one-line help stands here: reading it from the verbs' files would import them all for every --help.
VERBS = {
    "list": "Every procedure with its risk and one line.",
    "show": "What a procedure does, its variables, examples, how to undo it.",
    "run": "Run a procedure on an inventory.",
    "preflight": "Check the hosts of an inventory before anything is run on them.",
    "drill": "Prove a procedure on servers of its own.",
    "schedule": "Run a procedure or a drill by a timer: systemd, cron or Kubernetes.",
    "sandbox": "Start, look at and stop real servers on this machine.",
    "completion": "What teaches bash, zsh or fish to complete these words.",
    "path": "Folder of the Ansible content.",
}
USAGE = 64


class Verbs(click.Group):
    """Finds each verb's ``command`` in its own file, so that ``list`` does not pay for ``run``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"mendbook.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(name, help=words) for name, words in VERBS.items() if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # a shell that completes words is told nothing of those that are wrong
        if args and args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from mendbook.content import did_you_mean

            raise click.UsageError(f"there is no verb {args[0]!r}" + did_you_mean(args[0], list(VERBS)))
        return super().resolve_command(ctx, args)


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"mendbook {version('mendbook')}")
        ctx.exit()


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Version.")
def main() -> None:
    """Production runbooks as Ansible content: read the plan first, then do exactly that."""


def command_line(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: what a verb returned, or that of the error it raised."""
    try:
        answer: Any = main.main(args=arguments, prog_name="mendbook", standalone_mode=False)
        sys.stdout.flush()
        return answer if isinstance(answer, int) else 0
    except MendError as error:
        click.echo(f"mendbook: {error.msg}", err=True)
        return error.exit_code
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return USAGE
    except (KeyboardInterrupt, click.Abort):
        click.echo("mendbook: cancelled", err=True)
        return 130
    except BrokenPipeError:
        # the reader of our output (head, less) has seen enough; silence the interpreter's own complaint at exit
        sys.stderr.close()
        return 0
    except Exception:
        import traceback

        click.echo(traceback.format_exc(), err=True)
        click.echo("mendbook: this is a mistake in mendbook; if a run was under way, its end is UNKNOWN", err=True)
        return StateUnknown.exit_code
