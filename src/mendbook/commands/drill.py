# SPDX-License-Identifier: MIT
"""``mendbook drill``: prove on servers of its own that a procedure still does what it promises, and keep a history."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mendbook import completion
from mendbook.errors import UsageError

if TYPE_CHECKING:
    from mendbook.drills.store import Store

_STORE = {
    "endpoint-url": "Address of an S3 server other than that of AWS.",
    "region": "Region of the bucket.",
    "profile": "Profile of the AWS configuration that holds the credentials.",
    "role-arn": "Role to assume for the bucket.",
    "ca-file": "Certificates of the authority that signed the S3 server's certificate.",
    "access-key": "Access key; without one AWS_ACCESS_KEY_ID, a profile or a role of the machine.",
    "secret-key": "Secret key, as env:NAME or file:/path.",
    "session-token": "Token of temporary credentials, as env:NAME or file:/path.",
    "sse-customer-key": "Key of server-side encryption with a customer's key, as env:NAME or file:/path.",
}
_FILE = click.Path(dir_okay=False, path_type=Path)


def _span(ctx: click.Context, param: click.Parameter, value: str) -> float:
    from mendbook.times import span

    try:
        return span(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def _scale(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter("must be a number above 0", ctx, param)
    return value


def _store_options(command: Callable[..., int]) -> Callable[..., int]:
    for name, help in reversed(_STORE.items()):
        command = click.option(f"--s3-{name}", metavar="TEXT", help=help)(command)
    return command


@click.command("drill")
@click.argument("name", required=False, shell_complete=completion.drills)
@click.option("--rto", default="4h", show_default=True, callback=_span, help="Longest time to verified data.")
@click.option("--rpo", default="24h", show_default=True, callback=_span, help="Most time of writes that may be lost.")
@click.option("--seed", type=int, help="Make the shop of this number again; 1 by default.")
@click.option("--scale", type=float, callback=_scale, help="Size of the shop; 1, the default, is about 13 MB.")
@click.option("--backup", metavar="s3://BUCKET/PREFIX", help="Restore the newest backup there into a scratch server.")
@click.option("--database", help="The database in that backup.")
@click.option("--key", help="This backup instead of the newest complete one of the database.")
@click.option("--pattern", metavar="GLOB", help="Only keys whose last part matches this are backups.")
@click.option("--critical", multiple=True, metavar="COLLECTION", help="Must hold something; may be repeated.")
@click.option("--time-field", multiple=True, metavar="COLLECTION=FIELD", help="Where a record's time is; the _id else.")
@_store_options
@click.option("--s3-path-style", is_flag=True, help="Address the bucket in the path instead of in the host name.")
@click.option("--junit", type=_FILE, help="Write a JUnit file, also of a failed drill.")
@click.option("--markdown", type=_FILE, help="Append a summary to this file ($GITHUB_STEP_SUMMARY).")
@click.option("--history", is_flag=True, help="Show the drills before instead; with --backup those kept there.")
@click.option("--history-file", type=_FILE, help="The history; drills.jsonl in the state folder by default.")
@click.option("--latest", type=click.IntRange(min=1), help="How many drills of the history; 20 by default.")
@click.option("--svg", type=_FILE, help="Write the trend of the history as a chart.")
@click.option("--no-record", is_flag=True, help="Write no record, neither into the history nor beside the backup.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, one for each phase and one for the result.")
def command(
    name: str | None,
    rto: float,
    rpo: float,
    seed: int | None,
    scale: float | None,
    backup: str | None,
    database: str | None,
    key: str | None,
    pattern: str | None,
    critical: tuple[str, ...],
    time_field: tuple[str, ...],
    junit: Path | None,
    markdown: Path | None,
    history: bool,
    history_file: Path | None,
    latest: int | None,
    svg: Path | None,
    no_record: bool,
    as_json: bool,
    **s3: Any,
) -> int:
    """Drill the procedure NAME: make a shop in a sandbox, back it up, wreck it, bring it back, measure RTO and RPO.

    With --backup: restore a backup of your own into a scratch server. Your bucket is only read, but for a mark while it
    is in use and the drill's record beside the backup.
    """
    store = check(click.get_current_context().params)
    if history:
        from mendbook.drills.showing import show_history

        return show_history(name, store, history_file, latest or 20, svg, as_json)
    from mendbook.content import did_you_mean
    from mendbook.drills import NAMES

    if name not in NAMES:
        there = "there are drills of " + ", ".join(NAMES)
        raise UsageError(
            f"there is no drill of {name!r}" + did_you_mean(name, list(NAMES), there) if name else f"name one: {there}"
        )
    from mendbook.drills.phases import Drill
    from mendbook.drills.record import Objectives
    from mendbook.drills.showing import Outputs, perform

    outputs = Outputs(junit, markdown, None if no_record else store, history_file, not no_record, as_json)
    outputs.check()
    drilled = Drill(name, Objectives(rto, rpo))
    if store is None:
        from mendbook.drills.rehearsal import rehearse

        return perform(drilled, outputs, lambda: rehearse(drilled, 1 if seed is None else seed, scale or 1.0))
    from mendbook.drills.scratch import restore_into_scratch

    variables: dict[str, Any] = {"key": key or "", "pattern": pattern or "*", "critical": list(critical)}
    variables["time_fields"] = dict(_pair(word) for word in time_field)
    return perform(drilled, outputs, lambda: restore_into_scratch(drilled, store, _named(database), variables))


def check(params: Mapping[str, Any]) -> Store | None:
    """Refuse options that cannot be meant, before anything is started; the bucket that --backup names, if it does."""
    given = {f"--{name.replace('_', '-')}": value for name, value in params.items()}
    _refuse_pointless(given, params["history"], params["backup"])
    for word in params["time_field"]:
        _pair(word)
    return _store(params["backup"], {name: value for name, value in params.items() if name.startswith("s3_")})


def _refuse_pointless(given: dict[str, Any], history: bool, backup: str | None) -> None:
    """An option that would mean nothing here was meant for something: it is an error, and nothing is started."""
    wrong: tuple[str, ...]
    drill: tuple[str, ...] = ("--seed", "--scale", "--key", "--database", "--pattern", "--critical", "--time-field")
    drill += ("--junit", "--markdown")
    if history:
        wrong, why = drill, "belongs to a drill, and --history only shows those before"
    elif backup:
        wrong, why = ("--seed", "--scale", "--latest", "--svg"), "has no meaning for a drill with --backup"
        if not given["--database"]:
            raise UsageError("--backup needs --database: the name of the database in the backup")
    else:
        wrong, why = ("--key", "--database", "--pattern", "--critical", "--time-field"), "belongs to --backup"
        if given["--latest"] or given["--svg"]:
            wrong, why = ("--latest", "--svg"), "belongs to --history"
    for option in wrong:
        if given[option] not in (None, ()):
            raise UsageError(f"{option} {why}")


def _store(backup: str | None, s3: dict[str, Any]) -> Store | None:
    """The bucket that --backup names; a secret in plain text is refused, as ``run`` does."""
    from mendbook.variables import is_secret

    options = {name: value for name, value in s3.items() if value}
    if backup is None:
        if options:
            raise UsageError(f"--{next(iter(options)).replace('_', '-')} belongs to --backup")
        return None
    for name, value in options.items():
        if is_secret(name, value, None):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{flag} is a secret and would stand in the process list; give {flag} env:NAME or file:/path"
            )
    if options.get("s3_ca_file"):
        options["s3_ca_file"] = str(Path(options["s3_ca_file"]).expanduser().absolute())
    from mendbook.drills.store import Store

    return Store.at(backup, options)


def _pair(word: str) -> tuple[str, str]:
    collection, equals, field = word.partition("=")
    if not (collection and equals and field):
        raise UsageError(f"--time-field takes COLLECTION=FIELD, not {word!r}")
    return collection, field


def _named(database: str | None) -> str:
    assert database  # noqa: S101 - _refuse_pointless has asked for it
    return database
