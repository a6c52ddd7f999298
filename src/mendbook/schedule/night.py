# SPDX-License-Identifier: MIT
"""The run of a job as it will be on this machine: its user, its environment, what it may read and write; or why not."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mendbook.errors import InvalidInventory, InvalidVariable, Refused, UsageError
from mendbook.preflight import inventory
from mendbook.preflight.target import Target
from mendbook.results import plain
from mendbook.schedule.account import Account
from mendbook.schedule.job import Job, confirming, refuse_unconfirmed

# what systemd and a crontab of ours give, and nothing else
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
_SET = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_START_SECONDS = 60


@dataclass(frozen=True)
class Night:
    """Where a job runs.

    ``program`` are the words that start mendbook, ``variables`` are set for it. ``writable`` are the folders that it
    may write to, None when the user's own rights are all there is; ``makes`` are those of them that are made for it.
    ``credentials`` are files that systemd reads as root; ``own_tmp``: it does not see the /tmp of others.
    """

    program: tuple[str, ...]
    account: Account
    variables: Mapping[str, str]
    environment_file: Path | None = None
    writable: tuple[str, ...] | None = None
    makes: tuple[str, ...] = ()
    credentials: frozenset[str] = frozenset()
    own_tmp: bool = False


def check(job: Job, night: Night) -> None:
    """Refuse a job that would fail at every run, in words that say what to give."""
    file = night.environment_file
    given = {} if file is None else _given(file)
    environment = _environment(night, given or {})
    _start(night, environment)
    targets = _targets(job, night, environment)
    for target in targets:
        if job.order:
            refuse_unconfirmed(job.order.procedure, {**target.values, **job.order.variables})
        if target.wrong:
            raise InvalidVariable(f"{target.host}: {plain(target.wrong[0])}; every run of {job.unit} would fail")
    references = _each(job.references, (target.references for target in targets))
    _check_environment(references, file, given)
    for path in (word.removeprefix("file:") for word in references if word.startswith("file:")):
        _check_secret(path, night)
    for path in _each(job.writes, (target.writes for target in targets)):
        _check_write(path, night)


def _each(first: Iterable[str], more: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys([*first, *(word for words in more for word in words)]))


def _given(file: Path) -> dict[str, str] | None:
    """What the environment file sets, None when that cannot be read here; refused when others can."""
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise UsageError(f"the environment file {file} cannot be read: {error.strerror}") from error
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise Refused(f"{file} holds secrets and is open to others: chmod 600 {file}")
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return {name: re.sub(r"""^(['"])(.*)\1$""", r"\2", value) for name, value in _SET.findall(text)}


def _environment(night: Night, given: Mapping[str, str]) -> dict[str, str]:
    entry = night.account.entry
    who = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell}
    return {**who, "PATH": _PATH, "LANG": "C.UTF-8", **night.variables, **given}


def _start(night: Night, environment: Mapping[str, str]) -> None:
    """The program is started as the user, with the environment of the run."""
    other = night.account.other
    who = {} if other is None else inventory.owned_by(other)
    words = [*night.program, "--version"]
    try:
        done = subprocess.run(  # noqa: S603 - this program
            words, env=environment, capture_output=True, text=True, timeout=_START_SECONDS, check=False, cwd="/", **who
        )
    except OSError as error:
        raise UsageError(_no_start(night, str(error.strerror))) from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UsageError(_no_start(night, plain(said[-1])))


def _no_start(night: Night, why: str) -> str:
    return (
        f"{night.account.name} cannot start {' '.join(night.program)} with a timer's environment: {why}. Install "
        "mendbook where that user can read it, or give another --run-as"
    )


def _targets(job: Job, night: Night, environment: Mapping[str, str]) -> list[Target]:
    """The hosts of the run, each with what its tasks would take from here; NothingMatched when there are none."""
    order = job.order
    if order is None:
        return []
    timer = inventory.Timer(order.variables, environment, night.account.other, confirming(order.procedure))
    try:
        with inventory.read(order.sources, order.limit, order.procedure, timer) as side:
            return side.targets
    except InvalidInventory as error:
        raise InvalidInventory(
            f"read as the run will read it (by {night.account.name}, with no environment but --environment-file): "
            + error.msg
        ) from error


def _check_environment(references: Iterable[str], file: Path | None, given: Mapping[str, str] | None) -> None:
    names = [match[1] for word in references if (match := _ENVIRONMENT.fullmatch(word))]
    if given is None:
        return
    missing = ", ".join(name for name in names if not given.get(name))
    if missing and file is None:
        raise UsageError(
            f"a timer has no environment, and {missing} would be missing: put NAME='value' lines into a file that only "
            "its user can read and name it with --environment-file, or give file:/path"
        )
    if missing:
        raise UsageError(f"{missing} would be missing: {file} has no line NAME='value' for it")


def _check_secret(path: str, night: Night) -> None:
    reader = Account.of(None) if path in night.credentials else night.account
    if path not in night.credentials:
        _check_seen(path, night)
    why = reader.unreadable(path) if os.path.isabs(path) else "the path must be absolute"
    if why:
        raise UsageError(f"file:{path}: {why}; every run would fail for {night.account.name}")


def _check_seen(path: str, night: Night) -> None:
    if night.own_tmp and path.startswith(("/tmp/", "/var/tmp/")):  # noqa: S108
        raise UsageError(f"{path}: a unit has a /tmp of its own and would not find it; it must lie elsewhere")


def _check_write(path: str, night: Night) -> None:
    if not os.path.isabs(path):
        raise UsageError(f"{path} is written in whatever folder the run is in: give an absolute path")
    _check_seen(path, night)
    folder = os.path.dirname(path)
    real = Path(os.path.realpath(folder))
    if night.writable is not None:
        if any(real.is_relative_to(each) for each in night.makes):
            return
        if not any(real.is_relative_to(os.path.realpath(each)) for each in night.writable):
            raise UsageError(f"{path}: the unit sees the system read-only and could not write it: --writable {folder}")
    if why := night.account.unwritable(path):
        raise UsageError(f"{path} cannot be written: {why}")
