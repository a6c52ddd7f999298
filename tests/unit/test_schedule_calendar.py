"""Calendar expressions: what cron says for them, what it cannot say, and what systemd makes of the same words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendbook import content
from mendbook.errors import UsageError
from mendbook.schedule import on_calendar
from mendbook.schedule.on_calendar import to_cron

ANALYZE = shutil.which("systemd-analyze")
with_systemd = pytest.mark.skipif(
    ANALYZE is None and not os.environ.get("CI"), reason="systemd-analyze is not installed"
)


@pytest.mark.parametrize(
    ("expression", "fields", "zone"),
    [
        ("*-*-* 00:00:00", "0 0 * * *", None),
        ("*-*-* 00:00:00 UTC", "0 0 * * *", "UTC"),
        ("daily utc", "0 0 * * *", "UTC"),
        ("HOURLY", "0 * * * *", None),
        ("weekly Europe/Berlin", "0 0 * * 1", "Europe/Berlin"),
        ("quarterly", "0 0 1 1,4,7,10 *", None),
        ("minutely", "* * * * *", None),
        ("Mon..Fri 06:30", "30 6 * * 1-5", None),
        ("Sat,Sun", "0 0 * * 0,6", None),
        ("sunday 3:5", "5 3 * * 0", None),
        ("*:0/15", "0,15,30,45 * * * *", None),
        ("8..18/5:30:00", "30 8,13,18 * * *", None),
        ("*-1/3-01 04:00", "0 4 1 1,4,7,10 *", None),
        ("02-29", "0 0 29 2 *", None),
        ("*-*-1,2,3,15 12:00", "0 12 1-3,15 * *", None),
        ("*-*-* 00:00:0/60", "0 0 * * *", None),
    ],
)
def test_a_calendar_is_said_in_five_fields(expression, fields, zone):
    assert to_cron(expression) == on_calendar.Cron(fields, zone)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("*-*-* 00:00:30", "seconds"),
        ("*-*-* *:*:*", "seconds"),
        ("2030-*-* 00:00", "the year 2030"),
        ("*-*~01 00:00", "end of the month"),
        ("Fri *-*-13", "a weekday together with a day of the month"),
    ],
)
def test_what_cron_cannot_say_is_refused_with_the_part_and_the_way_out(expression, said):
    with pytest.raises(UsageError, match=said) as caught:
        to_cron(expression)
    assert "--format systemd" in caught.value.msg


@pytest.mark.parametrize(
    "expression",
    ["", " ", "25:00", "0:60", "*-13-01", "*-*-32", "*-0-1", "Mun", "Fri..Mon", "*:5..1", "*:*/15", "*:0/0", "1:2:3:4"]
    + ["daily daily", "Mon weekly", "Mon..Tue..Wed", "12", "0 0 * * *", "@daily", "00:00 Nowhere/City", "-", "1-2-3-4"],
)
def test_what_is_no_calendar_is_refused(expression):
    with pytest.raises(UsageError, match="write for example"):
        to_cron(expression)
    with pytest.raises(UsageError, match="for example"):
        on_calendar.check(expression)


@pytest.mark.parametrize("expression", ["*-*-* 00:00\nOnCalendar=minutely", "--help", "*-02-30", "2001-01-01"])
@with_systemd
def test_a_second_line_an_option_and_a_day_that_never_comes_are_refused(expression):
    with pytest.raises(UsageError, match="calendar|never comes"):
        on_calendar.check(expression)


@with_systemd
def test_what_only_systemd_can_say_is_right_where_systemd_is(monkeypatch):
    on_calendar.check("*-*~01 00:00")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="end of the month"):
        on_calendar.check("*-*~01 00:00")
    on_calendar.check("Mon..Fri 06:30 UTC")


def test_every_usual_time_of_a_procedure_can_be_said_by_every_format():
    usual = {each.name: each.header["on_calendar"] for each in content.procedures() if "on_calendar" in each.header}
    page = (Path(__file__).resolve().parents[2] / "docs" / "schedule.md").read_text(encoding="utf-8")
    for name, calendar in usual.items():
        on_calendar.check(calendar)
        assert to_cron(calendar).zone == "UTC"
        assert re.search(rf"^\| {name}\b.* \| `{re.escape(calendar)}` \|", page, re.MULTILINE), name


def _part(least, most):
    number = st.integers(least, most)
    span = st.tuples(number, number).map(lambda ends: f"{min(ends)}..{max(ends)}")
    item = st.one_of(number.map("{:02}".format), span)
    # systemd 252 leaves out the first moment after midnight when a step does not divide the hour
    count = most - least + 1
    even = [step for step in range(2, count) if count % step == 0]
    step = st.sampled_from(even).flatmap(
        lambda by: st.integers(least, least + by - 1).map(lambda first: f"{first}/{by}")
    )
    return st.one_of(st.just("*"), step, st.lists(item, min_size=1, max_size=3).map(",".join))


_DAYS = st.lists(st.sampled_from(["Mon", "tue", "Wednesday", "Thu..Sat", "Sun"]), min_size=1, max_size=3).map(",".join)
_TIMES = st.tuples(_part(0, 23), _part(0, 59)).map(lambda parts: f"{parts[0]}:{parts[1]}:00")
_DATES = st.lists(st.integers(1, 28).map(str), min_size=1, max_size=3).map(",".join)
_CALENDARS = st.one_of(
    st.tuples(_DAYS, _TIMES).map(" ".join),
    st.tuples(_part(1, 12), _DATES, _TIMES).map(lambda parts: f"*-{parts[0]}-{parts[1]} {parts[2]}"),
)


@with_systemd
@settings(max_examples=25, deadline=None)
@given(_CALENDARS)
def test_cron_and_systemd_mean_the_same_moments(calendar):
    base = datetime(2028, 2, 27, 22, 58, 30, tzinfo=UTC)
    words = [
        ANALYZE,
        "calendar",
        "--iterations=4",
        f"--base-time={base:%Y-%m-%d %H:%M:%S} UTC",
        "--",
        f"{calendar} UTC",
    ]
    said = subprocess.run(words, capture_output=True, text=True, check=True, env={"TZ": "UTC", "LANG": "C"}).stdout
    theirs = [datetime.fromisoformat(found) for found in re.findall(r"(?:elapse|#\d+): \w+ (\S+ \S+) UTC", said)]
    assert theirs
    ours = _moments(to_cron(calendar).fields, base.replace(tzinfo=None), len(theirs))
    assert ours == theirs


def _moments(fields, base, count):
    """The next moments of five fields, by going through days and minutes as cron(8) says it does."""
    minutes, hours, days, months, weekdays = fields.split()
    found, day = [], base.date()
    while len(found) < count:
        on_day = _in(day.day, days) and _in(day.month, months) and _in(day.isoweekday() % 7, weekdays)
        for minute in range(24 * 60 if on_day else 0):
            moment = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minute)
            if moment > base and _in(moment.hour, hours) and _in(moment.minute, minutes):
                found.append(moment)
        day += timedelta(days=1)
    return found[:count]


def _in(number, field):
    for item in field.split(","):
        first, _, last = item.partition("-")
        if item == "*" or int(first) <= number <= int(last or first):
            return True
    return False
