# SPDX-License-Identifier: MIT
"""``mendbook schedule``: a procedure or a drill by a timer, as systemd units, a cron file or a Kubernetes CronJob."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mendbook import completion
from mendbook.commands.run import seconds
from mendbook.errors import UsageError

if TYPE_CHECKING:
    from mendbook.schedule.files import File
    from mendbook.schedule.job import Job

_FORMATS = ("systemd", "cron", "kubernetes")
# the formats that an option is for, where it is not for all
_ONLY = {
    "user": ("systemd",),
    "writable": ("systemd",),
    "on_failure": ("systemd",),
    "run_as": ("systemd", "cron"),
    "environment_file": ("systemd", "cron"),
    "image": ("kubernetes",),
    "config_map": ("kubernetes",),
    "secret": ("kubernetes",),
}


@click.command("schedule")
@click.argument("name", shell_complete=completion.scheduled)
@click.argument("drill_options", nargs=-1, metavar="[-- DRILL OPTIONS]")
@click.option("--on-calendar", "calendar", metavar="TIMES", help="systemd's words for it: '*-*-* 02:00:00 UTC', daily.")
@click.option("--format", "kind", type=click.Choice(_FORMATS), default="systemd", show_default=True, help="For whom.")
@click.option("-i", "--inventory", multiple=True, shell_complete=completion.files, help="As for run.")
@click.option(
    "-e",
    "--variable",
    "words",
    multiple=True,
    metavar="K=V|@FILE",
    shell_complete=completion.variables,
    help="As for run.",
)
@click.option("--confirm", metavar="TARGET", help="As for run; needed by what destroys.")
@click.option("--limit", metavar="HOSTS", help="As for run.")
@click.option(
    "--timeout", metavar="TIME", callback=seconds, default="12h", show_default=True, help="When a run has to be over."
)
@click.option("--label", metavar="WORD", help="Tells several schedules of one procedure apart.")
@click.option("--run-as", metavar="USER", help="Whose the run is; you, if nobody is named. (systemd, cron)")
@click.option("--user", is_flag=True, help="Units of your own user manager, without root. (systemd)")
@click.option(
    "--environment-file",
    type=click.Path(path_type=Path),
    help="A private file of NAME='value' lines for what variables and the inventory take as env:NAME. (systemd, cron)",
)
@click.option(
    "--writable",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="A folder that the run writes to, beside its state; may be repeated. (systemd)",
)
@click.option("--on-failure", metavar="UNIT", help="The unit that is started when a run fails. (systemd)")
@click.option("--image", help="The image with mendbook in it. (kubernetes)")
@click.option("--config-map", metavar="NAME", help="The ConfigMap to be seen as /etc/mendbook. (kubernetes)")
@click.option(
    "--secret", metavar="NAME", help="The Secret of env:NAME, also to be seen as /run/secrets/mendbook. (kubernetes)"
)
@click.option("--install", is_flag=True, help="Write the files instead of printing them.")
@click.option("--remove", is_flag=True, help="Take the files away again.")
@click.option("--directory", type=click.Path(path_type=Path), help="Another folder for the files.")
def command(name: str, kind: str, install: bool, remove: bool, **given: Any) -> None:
    """Print or install what runs NAME at certain times: a procedure, or the drill of one as drill:PROCEDURE.

    Without --on-calendar a procedure that says how often it is usually run is run that often.
    """
    for option, kinds in _ONLY.items():
        if given[option] and kind not in kinds:
            raise UsageError(f"--{option.replace('_', '-')} is for --format {' or '.join(kinds)}")
    if install and remove:
        raise UsageError("--install and --remove are opposites: one of them")
    if given["user"] and given["run_as"]:
        raise UsageError("--user is for your own user manager, which runs nothing as anybody else: leave --run-as out")
    folder = _folder(kind, given["directory"], given["user"])
    if remove:
        _remove(name, kind, folder, given)
        return
    files = _files(_job(name, kind, given), kind, folder, given)
    if install:
        _install(name, kind, folder, files, given)
        return
    for number, file in enumerate(files):
        click.echo(f"{chr(10) if number else ''}# {file.path}\n{file.text}", nl=False)
    _say("nothing was written: " + ("kubectl apply -f - takes it" if kind == "kubernetes" else "--install does it"))


def _folder(kind: str, directory: Path | None, user: bool) -> Path:
    """Where the files belong; for a cluster, which is no folder, the one that it is read from."""
    if directory is not None:
        return directory.expanduser().absolute()
    if user:
        base = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
        return Path(base) / "systemd" / "user"
    return Path({"systemd": "/etc/systemd/system", "cron": "/etc/cron.d"}.get(kind, ""))


def _job(name: str, kind: str, given: dict[str, Any]) -> Job:
    from mendbook.schedule import job, on_calendar

    if given["calendar"] is not None:
        on_calendar.check(given["calendar"])
    times = {"calendar": given["calendar"], "timeout_seconds": int(given["timeout"]), "label": given["label"]}
    if name.startswith(job.DRILL):
        for option in ("inventory", "words", "confirm", "limit"):
            if given[option]:
                raise UsageError(
                    f"a drill makes its own servers: options of its own stand after -- and not in {option}"
                )
        return job.of_drill(name, options=given["drill_options"], **times)
    if given["drill_options"]:
        raise UsageError(
            f"{' '.join(given['drill_options'])}: only a drill takes words after its name ({job.DRILL}NAME)"
        )
    return job.of_procedure(
        name,
        inventory=given["inventory"],
        words=given["words"],
        confirm=given["confirm"],
        limit=given["limit"],
        here=kind != "kubernetes",
        **times,
    )


def _files(job: Job, kind: str, folder: Path, given: dict[str, Any]) -> list[File]:
    from mendbook.schedule import cron, kubernetes, night, systemd
    from mendbook.schedule.account import Account

    if kind == "kubernetes":
        if not given["image"]:
            raise UsageError("a CronJob needs --image: one with mendbook on its PATH")
        return kubernetes.units(job, kubernetes.Pod(given["image"], folder, given["config_map"], given["secret"]))
    environment_file = given["environment_file"] and given["environment_file"].expanduser().absolute()
    account = None if given["user"] else _account(given["run_as"])
    names = ("MENDBOOK_CONTENT", "MENDBOOK_STATE")
    variables = {name: os.path.abspath(os.environ[name]) for name in names if os.environ.get(name)}
    run = night.Night(_program(), Account.of(account), variables, environment_file)
    if kind == "cron":
        for warning in cron.warnings(job):
            _say(warning)
        files = cron.units(job, cron.Line(run.program, folder, str(account), variables, environment_file))
        night.check(job, run)
        return files
    plain = {name: value for name, value in variables.items() if name != "MENDBOOK_STATE"}
    state = variables.get("MENDBOOK_STATE")
    if account and state and not os.path.isdir(state):
        raise UsageError(f"MENDBOOK_STATE: {state} is no folder; a unit can write only into one that is there")
    where = systemd.Unit(
        run.program, folder, account, plain, state, environment_file, given["on_failure"], given["writable"]
    )
    files = systemd.units(job, where)
    night.check(job, systemd.hardened(run, job, where) if account else run)
    return files


def _program() -> tuple[str, ...]:
    """The words that start this mendbook from anywhere."""
    beside = Path(sys.executable).with_name("mendbook")
    return (str(beside),) if beside.is_file() else (sys.executable, "-m", "mendbook")


def _account(name: str | None) -> str:
    import pwd

    from mendbook.content import did_you_mean

    if name is None:
        return pwd.getpwuid(os.geteuid()).pw_name
    known = [entry.pw_name for entry in pwd.getpwall()]
    if name not in known:
        raise UsageError(f"this machine has no user {name!r}" + did_you_mean(name, known))
    return name


def _install(name: str, kind: str, folder: Path, files: list[File], given: dict[str, Any]) -> None:
    from mendbook.schedule import files as on_disk
    from mendbook.schedule import systemctl
    from mendbook.schedule.job import unit_name

    if kind == "kubernetes" and given["directory"] is None:
        raise UsageError("a cluster is no folder: kubectl apply -f - takes what is printed, or name a --directory")
    written = on_disk.install(files)
    for path in written:
        click.echo(f"wrote {path}")
    if not written:
        click.echo(f"nothing to do: {' and '.join(str(file.path) for file in files)} stand there just so")
    elif kind == "systemd" and given["directory"] is None:
        _tell_systemd(systemctl.after_install(unit_name(name, given["label"]), given["user"]))


def _remove(name: str, kind: str, folder: Path, given: dict[str, Any]) -> None:
    from mendbook.schedule import cron, kubernetes, systemctl, systemd
    from mendbook.schedule import files as on_disk
    from mendbook.schedule.job import unit_name

    unit = unit_name(name, given["label"])
    paths = {"systemd": systemd, "cron": cron, "kubernetes": kubernetes}[kind].paths(unit, folder)
    theirs = kind == "systemd" and given["directory"] is None
    on_disk.check_removable(paths)
    if theirs:
        _tell_systemd(systemctl.before_removal(unit, given["user"]))
    for path in on_disk.remove(paths):
        click.echo(f"removed {path}")
    if theirs:
        _tell_systemd(systemctl.after_removal(given["user"]))


def _tell_systemd(commands: list[list[str]]) -> None:
    from mendbook.schedule import systemctl

    for line in systemctl.tell(commands):
        _say(f"systemd does not run here; where it does: {line}")


def _say(line: str) -> None:
    click.echo(line, err=True)
