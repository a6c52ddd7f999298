# SPDX-License-Identifier: MIT
"""ansible-runner, driven: a private folder that disappears, an environment of our own, events in, an exit code out."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mendbook import environment

# How often a wish to stop is noticed and progress is read.
POLL_SECONDS = 0.1
_LAUNCHER = Path(__file__).resolve().parent / "launch" / "ansible-playbook"
_KILLED = 254
# A socket's path must be shorter than 108 bytes.
_LONGEST_FOLDER = 95
# ansible-core 2.21 puts a socket of its own two folders below TMPDIR.
_LONGEST_TMPDIR = 70


@dataclass(frozen=True)
class Order:
    """What ansible-playbook is to do; every path is absolute."""

    content: Path
    playbook: str
    inventory: Sequence[str]
    variables: Path
    check: bool
    diff: bool
    limit: str | None


@contextmanager
def private_folder() -> Iterator[Path]:
    """A 0700 folder for one run, removed with everything in it."""
    folder = Path(tempfile.mkdtemp(prefix="mendbook-"))
    if len(str(folder)) > _LONGEST_FOLDER:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="mendbook-", dir="/tmp"))  # noqa: S108 - mkdtemp makes it private
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def play(
    order: Order,
    folder: Path,
    own: Mapping[str, str],
    on_event: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
) -> int:
    """Run ansible-playbook in ``folder`` and return its exit code, 254 when a signal ended it.

    ``own`` are environment variables of this run; ``should_stop`` is called every POLL_SECONDS.
    """
    # imported here: they cost a third of a second that `list` and `show` need not pay
    from ansible_runner.config.runner import RunnerConfig  # type: ignore[import-untyped]
    from ansible_runner.runner import Runner  # type: ignore[import-untyped]

    config = RunnerConfig(
        private_data_dir=str(folder),
        project_dir=str(order.content),
        playbook=order.playbook,
        inventory=list(order.inventory),
        envvars={"ANSIBLE_CALLBACK_PLUGINS": _callbacks(order.content)},
        quiet=True,
    )
    config.prepare()
    # set here because prepare() forgets settings that are not in a file
    config.pexpect_timeout = POLL_SECONDS
    config.suppress_output_file = True
    config.command = [sys.executable, "-P", str(_LAUNCHER), *_arguments(order)]
    local = folder / "tmp"
    local.mkdir(mode=0o700)
    names = {"ANSIBLE_LOCAL_TEMP": str(local), "MENDBOOK_PARENT": str(os.getpid()), **own}
    if len(tempfile.gettempdir()) > _LONGEST_TMPDIR:
        names["TMPDIR"] = str(local)
    config.env = environment.for_run(config.env, order.content, names)
    failures: list[Exception] = []

    def take(event: dict[str, Any]) -> bool:
        # ansible-runner swallows or misreports what its handlers raise; False: nothing of the event stays on disk
        try:
            on_event(event)
        except Exception as error:  # noqa: BLE001
            failures.append(error)
        return False

    runner = Runner(config, event_handler=take, cancel_callback=should_stop)
    runner.run()
    if failures:
        raise failures[0]
    # None: a signal ended ansible-playbook
    return _KILLED if runner.rc is None else int(runner.rc)


def _callbacks(content: Path) -> str:
    """ansible-runner replaces callback_plugins of ansible.cfg by its own folder; ours must be named again."""
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    parser.read(content / "ansible.cfg")
    named = parser.get("defaults", "callback_plugins", fallback="")
    return ":".join(str((content / part).resolve()) for part in named.split(":") if part)


def _arguments(order: Order) -> list[str]:
    arguments = ["-e", f"@{order.variables}"]
    for source in order.inventory:
        arguments += ["-i", source]
    if order.check:
        arguments.append("--check")
    if order.diff:
        arguments.append("--diff")
    if order.limit is not None:
        arguments.append(f"--limit={order.limit}")
    return [*arguments, order.playbook]
