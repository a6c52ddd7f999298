# SPDX-License-Identifier: MIT
"""Whether a dump ends before its moment is gone, and what is said when not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from ansible.module_utils.mendbook.mongo_dump_member import Choice
from ansible.module_utils.mendbook.mongo_dump_survey import Survey, Surveyed
from ansible.module_utils.mendbook.mongo_dump_window import (
    WINDOW,
    expected_seconds,
    measure,
    window_advice,
    window_refusal,
    window_seconds,
)
from pymongo import errors as driver

GB = 1_000_000_000
ORDERS = Surveyed("orders", "collection", {}, [], None, "orders", 10 * GB, 5, {})
SURVEY = Survey(
    database="shop",
    server_version="6.0.5",
    member=Choice(("db", 1), "secondary", 0, ""),
    collections={"orders": ORDERS},
    users_and_roles=False,
    time_fields={},
    consistency="snapshot",
    no_snapshot=None,
    window_seconds=300,
    bytes_per_second=100_000_000,
    measured=True,
)


@pytest.mark.parametrize(
    ("rate", "estimated", "seconds"),
    [(0, None, 100), (50_000_000, None, 200), (GB, None, 100), (0, 200_000_000, 50), (10_000_000, GB, 1000)],
)
def test_seconds_go_by_what_is_measured_known_and_allowed(rate, estimated, seconds):
    assert expected_seconds(SURVEY, rate, estimated) == seconds


@pytest.mark.parametrize(
    ("changed", "arguments", "refused"),
    [
        ({}, {}, False),
        ({"bytes_per_second": 30_000_000}, {}, True),  # 334 s of 300
        ({"bytes_per_second": 36_000_000}, {}, True),  # 278 s: an estimate is no promise
        ({"bytes_per_second": 50_000_000}, {}, False),
        ({}, {"max_bytes_per_second": 30_000_000}, True),
        ({}, {"estimated_bytes_per_second": 30_000_000}, True),
        ({"bytes_per_second": 1}, {"consistency": "per_collection"}, False),
        ({"bytes_per_second": 1, "consistency": "per_collection", "no_snapshot": "standalone"}, {}, False),
        ({"bytes_per_second": 1, "window_seconds": None}, {}, False),
        ({"window_seconds": 0}, {}, True),
        ({"window_seconds": 0, "collections": {}}, {}, False),
    ],
)
def test_what_would_outlast_the_window_is_refused(changed, arguments, refused):
    assert bool(window_refusal(replace(SURVEY, **changed), **arguments)) == refused


def test_the_refusal_names_the_parameter_what_is_needed_and_the_other_way():
    found = window_refusal(SURVEY, max_bytes_per_second=10_000_000)
    assert (found["rule"], found["value"], found["limit"]) == ("window", 1000, 300)
    assert "about 1000 s" in found["msg"] and "300 s" in found["msg"] and WINDOW in found["msg"]
    assert f"{{setParameter: 1, {WINDOW}: 2040}}" in found["override"] and "per_collection" in found["override"]


@pytest.mark.parametrize(("seconds", "needed"), [(0.2, 60), (30, 60), (31, 120), (1000, 2040)])
def test_twice_the_time_in_whole_minutes_is_advised(seconds, needed):
    assert f"{WINDOW}: {needed}}}" in window_advice(seconds)
    # and what is advised is enough
    assert not window_refusal(replace(SURVEY, window_seconds=needed), estimated_bytes_per_second=10 * GB / seconds)


class Source:
    """A member that answers getParameter, or not."""

    moment = 1

    def __init__(self, answer):
        self.answer = answer

    def command(self, command, database):
        if isinstance(self.answer, Exception):
            raise self.answer
        return {WINDOW: self.answer}


class Deployment:
    def deadline(self):
        from contextlib import nullcontext

        return nullcontext()


def test_the_window_is_read_from_the_member_or_said_to_be_unknown():
    assert window_seconds(Source(600.0), Deployment()) == (600, [])
    seconds, (note,) = window_seconds(Source(driver.OperationFailure("not authorized", 13)), Deployment())
    assert seconds is None and "unknown" in note and "300 s" in note and "backup" in note


def test_the_speed_is_measured_on_the_largest_collection_and_not_for_long(monkeypatch):
    from ansible.module_utils.mendbook import mongo_dump_window

    read = []

    def sum_collection(database, name, on_reply):
        for _ in range(1000):
            read.append(name)
            on_reply(1, 1 << 20)

    clock = iter(range(10_000))
    monkeypatch.setattr(mongo_dump_window, "sum_collection", sum_collection)
    # its own clock: a thread that an earlier test has left behind looks at the other one
    monkeypatch.setattr(mongo_dump_window, "time", SimpleNamespace(monotonic=lambda: next(clock) / 10))
    small = replace(ORDERS, name="small", data_name="small", bytes=1)
    speed = measure(type("Source", (), {"database": None}), {"small": small, "orders": ORDERS})
    assert set(read) == {"orders"} and len(read) == 10
    assert speed == pytest.approx((10 << 20) / 1.1, rel=0.01)
