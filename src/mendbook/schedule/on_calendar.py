# SPDX-License-Identifier: MIT
"""systemd's calendar expressions (systemd.time(7)): are they right, and what they are in cron's five fields.

systemd itself judges where it is installed; the part of its language that cron has is read here, too.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from mendbook.errors import UsageError

_WORDS = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAY = re.compile("|".join(f"{day}|{day[:3]}" for day in _WEEKDAYS))
_JUDGE_SECONDS = 20


@dataclass(frozen=True)
class Cron:
    """A calendar in cron's words: ``fields`` is ``minute hour day month weekday``, ``zone`` None for the local time."""

    fields: str
    zone: str | None


def check(expression: str) -> None:
    """Refuse what is no calendar expression, and one that never comes (UsageError)."""
    if "\n" in expression or not expression.strip():
        raise UsageError(f"{expression!r} is no calendar expression: write for example '*-*-* 00:00:00 UTC' or daily")
    program = shutil.which("systemd-analyze")
    if program is None:
        # then only what is read here is known to be right
        to_cron(expression)
        return
    judged = subprocess.run(  # noqa: S603 - the expression is one argument after --
        [program, "calendar", "--", expression], capture_output=True, text=True, timeout=_JUDGE_SECONDS, check=False
    )
    if judged.returncode != 0:
        said = judged.stderr.strip().splitlines() or [f"{expression!r} is no calendar expression"]
        raise UsageError(f"{said[0]} (see: man systemd.time; for example '*-*-* 00:00:00 UTC' or daily)")
    if re.search(r"Next elapse: never", judged.stdout):
        raise UsageError(f"{expression!r} never comes")


def to_cron(expression: str) -> Cron:
    """The same moments in cron's five fields, or UsageError that says which part cron cannot say."""
    weekdays, date, time, zone = _parts(expression)
    year, month, day = _date(date, expression)
    hour, minute, second = _time(time, expression)
    if year != "*":
        raise _cannot(expression, f"the year {year}")
    if _values(second, 0, 59, expression) != {0}:
        raise _cannot(expression, "seconds")
    on = _weekday_values(weekdays, expression)
    days = _values(day, 1, 31, expression)
    if len(on) < 7 and len(days) < 31:
        # cron runs on every day that is one or the other, systemd on days that are both
        raise _cannot(expression, "a weekday together with a day of the month")
    fields = (
        _field(_values(minute, 0, 59, expression), 60),
        _field(_values(hour, 0, 23, expression), 24),
        _field(days, 31),
        _field(_values(month, 1, 12, expression), 12),
        _field(on, 7),
    )
    return Cron(" ".join(fields), zone)


def _parts(expression: str) -> tuple[str, str, str, str | None]:
    """Weekdays, date, time and time zone; what is left out is every day, midnight, and no zone."""
    words = expression.split()
    zone = words.pop() if len(words) > 1 and _is_zone(words[-1]) else None
    if len(words) == 1 and words[0].lower() in _WORDS:
        words = _WORDS[words[0].lower()].split()
    weekdays = words.pop(0) if words and words[0][0].isalpha() else ""
    date = words.pop(0) if words and "-" in words[0] and ":" not in words[0] else ""
    time = words.pop(0) if words and ":" in words[0] else ""
    if words or not (weekdays or date or time):
        raise _unreadable(expression)
    return weekdays, date or "*-*-*", time or "00:00:00", "UTC" if zone and zone.upper() == "UTC" else zone


def _is_zone(word: str) -> bool:
    """Such as UTC, CET or Europe/Berlin; no weekday and no word for a calendar."""
    small = word.lower()
    if not re.fullmatch(r"[a-z][a-z0-9_+/-]*", small) or small in _WORDS or _WEEKDAY.fullmatch(small):
        return False
    import zoneinfo

    try:
        zoneinfo.ZoneInfo("UTC" if word.upper() == "UTC" else word)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return False
    return True


def _date(text: str, expression: str) -> tuple[str, str, str]:
    if "~" in text:
        raise _cannot(expression, "days counted from the end of the month")
    parts = text.split("-")
    if len(parts) == 2:
        parts = ["*", *parts]
    if len(parts) != 3:
        raise _unreadable(expression)
    return parts[0], parts[1], parts[2]


def _time(text: str, expression: str) -> tuple[str, str, str]:
    parts = text.split(":")
    if len(parts) == 2:
        parts.append("00")
    if len(parts) != 3:
        raise _unreadable(expression)
    return parts[0], parts[1], parts[2]


def _values(text: str, least: int, most: int, expression: str) -> frozenset[int]:
    """The numbers that one part stands for: ``*``, ``5``, ``1..5``, ``0/15``, ``8..18/2`` and lists of them."""
    if text == "*":
        return frozenset(range(least, most + 1))
    found: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"([0-9]{1,2})(?:\.\.([0-9]{1,2}))?(?:/([0-9]{1,2}))?", item)
        if match is None:
            raise _unreadable(expression)
        first, step = int(match[1]), int(match[3] or 0)
        last = int(match[2]) if match[2] else most if step else first
        if not least <= first <= last <= most or (match[3] and step == 0):
            raise _unreadable(expression)
        found |= set(range(first, last + 1, step or 1))
    return frozenset(found)


def _weekday_values(text: str, expression: str) -> frozenset[int]:
    """Cron's numbers of the weekdays (0 is Sunday); no weekday means each of them."""
    if not text:
        return frozenset(range(7))
    found: set[int] = set()
    for item in text.lower().rstrip(",").split(","):
        ends = item.split("..")
        if not 1 <= len(ends) <= 2 or not all(_WEEKDAY.fullmatch(end) for end in ends):
            raise _unreadable(expression)
        first, last = (next(n for n, day in enumerate(_WEEKDAYS) if day.startswith(end)) for end in (ends[0], ends[-1]))
        if first > last:
            raise _unreadable(expression)
        found |= {(number + 1) % 7 for number in range(first, last + 1)}
    return frozenset(found)


def _field(values: frozenset[int], count: int) -> str:
    """``*`` for all, else the numbers with runs of three or more as a range: every cron reads that."""
    if len(values) == count:
        return "*"
    parts: list[str] = []
    run: list[int] = []
    for number in [*sorted(values), 99]:
        if run and number != run[-1] + 1:
            parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(each) for each in run]
            run = []
        run.append(number)
    return ",".join(parts)


def _cannot(expression: str, what: str) -> UsageError:
    return UsageError(f"cron cannot say {expression!r}: {what}. A systemd timer can: --format systemd")


def _unreadable(expression: str) -> UsageError:
    return UsageError(
        f"{expression!r} cannot be read as a calendar with a time in whole minutes; "
        "write for example '*-*-* 00:00:00 UTC', 'Mon..Fri 06:30' or hourly"
    )
