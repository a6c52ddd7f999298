from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from ansible.module_utils.mendbook.mongo_backup_store import StoreClock

HERE = datetime(2026, 11, 22, tzinfo=UTC)
DATE = {"date": "Fri, 20 Nov 2026 00:00:00 GMT"}


def test_time_is_the_stores_and_goes_on_by_a_clock_that_nobody_sets():
    seconds = iter([100.0, 100.0, 107.5])
    clock = StoreClock(DATE, now=HERE, monotonic=lambda: next(seconds))
    assert clock.ahead_seconds == 2 * 86400
    assert clock.now() == datetime(2026, 11, 20, tzinfo=UTC)
    assert clock.now() == datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=7.5)


def test_a_clock_behind_the_stores_is_told_from_one_ahead():
    assert StoreClock(DATE, now=HERE - timedelta(days=4)).ahead_seconds == -2 * 86400


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}])
def test_a_store_that_does_not_say_the_time_is_believed_to_have_ours(headers):
    clock = StoreClock(headers, now=HERE, monotonic=lambda: 0.0)
    assert (clock.now(), clock.ahead_seconds) == (HERE, 0)
