"""The store's time, whatever this machine's clock says."""

from __future__ import annotations

import datetime

import pytest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_clock import StoreClock

DATE = "Fri, 20 Nov 2026 12:00:00 GMT"
NOON = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)


def clock(ahead_seconds, passed=(0, 0)):
    ticks = iter(passed)
    return StoreClock(DATE, now=NOON + datetime.timedelta(seconds=ahead_seconds), monotonic=lambda: next(ticks))


def test_it_goes_on_from_the_answer_by_a_clock_that_nobody_sets():
    assert clock(-200_000, (100, 190)).now() == NOON + datetime.timedelta(seconds=90)


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (0, None),
        (300, None),
        (-300, None),
        (301, "the clock of this machine is 5 min ahead of the store's"),
        (-2 * 86400, "the clock of this machine is 2 d 0 h behind the store's"),
    ],
)
def test_a_difference_is_named_when_it_matters(ahead, words):
    assert clock(ahead).ahead_seconds == ahead and clock(ahead).words() == words


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_a_store_that_does_not_tell_the_time_is_no_source_of_ages(date):
    with pytest.raises(MendError, match="does not say what time it is") as caught:
        StoreClock(date)
    assert caught.value.rule == "clock"
