# SPDX-License-Identifier: MIT
"""`mendbook sandbox start|status|stop`: real servers on this machine, from Python packages."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click

from mendbook import sandbox
from mendbook.errors import NothingMatched
from mendbook.sandbox.service import service_class

_WATCH_SECONDS = 0.5
_services = click.argument(
    "services", nargs=-1, type=click.Choice(sandbox.kinds()), metavar=" ".join(f"[{kind}]" for kind in sandbox.kinds())
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print connection strings and keys as JSON.")


def _place(command: Callable[..., None]) -> Callable[..., None]:
    """The two options that say which sandbox is meant."""
    name = click.option(
        "--name", default="default", show_default=True, help="Several sandboxes are told apart by name."
    )
    directory = click.option(
        "--directory", type=click.Path(path_type=Path), help="A folder of your own instead of a name; new or empty."
    )
    return name(directory(command))


def _programs(command: Callable[..., None]) -> Callable[..., None]:
    """One option per service that names another server program (--mongod, --weed)."""
    for kind in reversed(sandbox.kinds()):
        program = service_class(kind).program
        command = click.option(f"--{program}", f"program_{kind}", metavar="PATH", help=f"Use this {program}.")(command)
    return command


@click.group("sandbox")
def command() -> None:
    """Start real servers on 127.0.0.1 for drills and trials: no root, no containers."""


@command.command("start")
@_services
@_place
@_programs
@click.option("--foreground", is_flag=True, help="Stay, and stop everything on Ctrl-C.")
@click.option("--owner-pid", type=int, metavar="PID", help="Stop when this process dies.")
@_as_json
def start(
    services: tuple[str, ...],
    name: str,
    directory: Path | None,
    foreground: bool,
    owner_pid: int | None,
    as_json: bool,
    **programs: str | None,
) -> None:
    """Start SERVICES (all of them if none is named); into a sandbox that runs already, add them."""
    folder = _folder(name, directory)
    if owner_pid is not None and not sandbox.is_running(owner_pid):
        raise sandbox.SandboxError(f"there is no process {owner_pid}: nothing was started")
    kinds = services or sandbox.kinds()
    wanted = [service_class(kind)(binary=programs[f"program_{kind}"]) for kind in dict.fromkeys(kinds)]
    if services and not foreground and owner_pid is None and sandbox.status_in(folder)["running"]:
        with sandbox.attached(folder, _say) as running:
            running.add_all(wanted)
            _print(running.status(), as_json)
        return
    box = sandbox.start(wanted, directory=folder, progress=_say)
    if foreground:
        _stay(box, as_json)
    else:
        box.detach(owner_pid)
        _print(box.status(), as_json)


def _stay(box: sandbox.Sandbox, as_json: bool) -> None:
    """Until Ctrl-C, TERM or HUP, or until the servers are gone."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with box:
        try:
            for ending in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(ending, interrupt)
            _print(box.status(), as_json)
            _say("press Ctrl-C to stop")
            while box.status()["running"]:
                time.sleep(_WATCH_SECONDS)
        except KeyboardInterrupt:
            box.stop()
            _say("stopped, everything removed")
            return
    _say("the sandbox was stopped by another command")


@command.command("status")
@_services
@_place
@_as_json
def status(services: tuple[str, ...], name: str, directory: Path | None, as_json: bool) -> None:
    """Say what runs and how to reach it; the exit code is 7 when it does not run."""
    folder = _folder(name, directory)
    found = sandbox.status_in(folder)
    if services:
        found = {key: value for key, value in found.items() if not isinstance(value, dict) or key in services}
    missing = [service for service in services if not found.get(service, {}).get("running")]
    if as_json or found["running"]:
        _print(found, as_json)
    if not found["running"]:
        raise NothingMatched(f"no sandbox runs in {folder}; `mendbook sandbox start` starts one")
    if missing:
        raise NothingMatched(f"{' and '.join(missing)} does not run in the sandbox in {folder}")


@command.command("stop")
@_services
@_place
def stop(services: tuple[str, ...], name: str, directory: Path | None) -> None:
    """Stop SERVICES (everything if none is named) and remove their data. Stopping what does not run is no error."""
    folder = _folder(name, directory)
    if services and sandbox.status_in(folder)["running"]:
        with sandbox.attached(folder) as box:
            for service in services:
                if service in box.names:
                    box.remove(service)
                    _say(f"{service}: stopped, its data removed")
            left = box.names
        if left:
            return
    _say("stopped, everything removed" if sandbox.stop_in(folder) else f"no sandbox runs in {folder}")


def _folder(name: str, directory: Path | None) -> Path:
    return sandbox.named_folder(name) if directory is None else directory.expanduser().resolve()


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print(found: dict[str, Any], as_json: bool) -> None:
    """JSON with every credential, or one line per service without."""
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, facts in found.items():
        if isinstance(facts, dict):
            where = facts.get("endpoint_url") or f"{facts['host']}:{facts['port']}"
            state = f"process {facts['pid']}" if facts["running"] else "DEAD"
            click.echo(f"{name}\t{where}\t{state}")
    place = found["directory"]
    which = "" if place == str(sandbox.named_folder("default")) else f" --directory {shlex.quote(place)}"
    click.echo(f"folder\t{place}\t(credentials: mendbook sandbox status{which} --json)")
