"""Spans of time as people type them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mendbook.times import iso, span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("4h", 14400), ("1.5h", 5400), ("1d", 86400), (" 2h ", 7200)],
)
def test_a_span_is_in_seconds(text, seconds):
    assert span(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0h", "-4h", "4 h", "h", "1e3", "4h30m", "1w", "soon", "٤h", "nan"])
def test_what_is_no_span_is_an_error_with_examples(text):
    with pytest.raises(ValueError, match="is not a time: write 90, 90s, 15m, 2h or 1d"):
        span(text)


def test_a_moment_is_utc_with_milliseconds():
    east = timezone(timedelta(hours=2))
    assert iso(datetime(2026, 3, 1, 2, 0, 0, 1999, east)) == "2026-03-01T00:00:00.001Z"
    assert iso(datetime(2026, 3, 1, tzinfo=UTC)) == "2026-03-01T00:00:00.000Z"
