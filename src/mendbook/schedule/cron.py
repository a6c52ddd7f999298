# SPDX-License-Identifier: MIT
"""A job as a file for /etc/cron.d: one line that any cron reads the same way."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from mendbook.errors import UsageError
from mendbook.schedule.files import File, marked
from mendbook.schedule.job import Job
from mendbook.schedule.on_calendar import to_cron
from mendbook.schedule.text import render

# Vixie's cron and its heirs give up on a longer command, and with it on the whole file.
_LONGEST = 998


@dataclass(frozen=True)
class Line:
    """Where the line runs: ``program`` are the words that start mendbook, ``account`` is who runs them."""

    program: tuple[str, ...]
    folder: Path
    account: str
    variables: Mapping[str, str] = field(default_factory=dict)
    environment_file: Path | None = None


def paths(unit: str, folder: Path) -> list[Path]:
    return [folder / unit]


def units(job: Job, where: Line) -> list[File]:
    """The one file; UsageError for a calendar or a value that cron cannot hold."""
    calendar = to_cron(job.calendar)
    text = render(
        "cron.j2",
        summary=" ".join(job.summary.split()),
        zone=calendar.zone,
        fields=calendar.fields,
        account=where.account,
        command=_command(job, where),
    )
    return [marked(path, text, job.asked) for path in paths(job.unit, where.folder)]


def warnings(job: Job, now: datetime | None = None) -> list[str]:
    """What this machine's cron will do otherwise than asked; ``now`` is a local time."""
    zone = to_cron(job.calendar).zone
    now = now or datetime.now().astimezone()
    if zone is None or now.utcoffset() == now.astimezone(ZoneInfo(zone)).utcoffset():
        return []
    return [
        f"this machine's time is not that of {zone}: Debian's cron does not read CRON_TZ and starts at that hour of "
        "the local time. A systemd timer keeps to the zone"
    ]


def _command(job: Job, where: Line) -> str:
    """The shell's line: silent when all went well, else what was said goes to the journal and to cron's mail."""
    words = [f"{name}={shlex.quote(value)}" for name, value in where.variables.items()]
    # a run ends by its own time limit, a drill has none
    limit = [] if "--timeout" in job.arguments else ["timeout", str(job.timeout_seconds)]
    words.append(shlex.join([*limit, *where.program, *job.arguments]))
    run = " ".join(words)
    if where.environment_file:
        run = f"set -a; . {shlex.quote(str(where.environment_file))}; {run}"
    if not run.isprintable() or re.search(r"\\[\\%]", run):
        # a line cannot hold a line's end, and crons differ in what a second backslash means
        raise UsageError(
            "cron cannot hold a value with a line's end, a tab, or a backslash before a backslash or a percent sign: "
            "put it into a file, -e @FILE.yml"
        )
    said = f'printf \'%s\\n\' "$said" "exit code $?" | logger -s -t {job.unit} -p cron.err'
    # an unescaped % would end the command
    line = f"said=$({run} 2>&1) || {said}".replace("%", "\\%")
    if len(line.encode()) > _LONGEST:
        raise UsageError(f"cron reads at most {_LONGEST} bytes of a command: put variables into a file, -e @FILE.yml")
    return line
