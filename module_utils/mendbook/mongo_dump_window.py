# SPDX-License-Identifier: MIT
"""Whether a dump ends before its moment is gone: how long it takes, and how long the server keeps its history."""

from __future__ import annotations

import math
import time

from pymongo import errors as driver

from .mongo_raw import sum_collection

WINDOW = "minSnapshotHistoryWindowInSeconds"
DEFAULT_WINDOW_SECONDS = 300
# what a small machine reads, sums and compresses; larger databases are measured
BYTES_PER_SECOND = 40_000_000
MEASURED_FROM_BYTES = 1 << 30
_MEASURED_SECONDS = 1.0
# an estimate is no promise, and a dump whose moment is gone at 99 % was for nothing
_WINDOW_SHARE = 0.8


def window_refusal(survey, consistency="snapshot", max_bytes_per_second=0, estimated_bytes_per_second=None):
    """The plan's refusal when a snapshot would be gone before everything is read, or None; pure."""
    if consistency != "snapshot" or survey.consistency != "snapshot" or survey.window_seconds is None:
        return None
    seconds = expected_seconds(survey, max_bytes_per_second, estimated_bytes_per_second)
    if seconds <= survey.window_seconds * _WINDOW_SHARE:
        return None
    return {
        "rule": "window",
        "msg": f"reading {survey.bytes} bytes would take about {math.ceil(seconds)} s, and the server keeps its "
        f"history for {survey.window_seconds} s ({WINDOW})",
        "value": math.ceil(seconds),
        "limit": survey.window_seconds,
        "override": window_advice(seconds),
    }


def window_advice(seconds):
    """What to do when the window is too short for a dump of so many seconds."""
    needed = math.ceil(seconds * 2 / 60) * 60
    return (
        f"on every member: db.adminCommand({{setParameter: 1, {WINDOW}: {needed}}}) (the cache has to hold that "
        "history), read faster, or take consistency per_collection"
    )


def expected_seconds(survey, max_bytes_per_second=0, estimated_bytes_per_second=None):
    """How long reading everything takes at what is known or measured, and at most at the rate that is allowed."""
    speed = estimated_bytes_per_second or survey.bytes_per_second
    return survey.bytes / min(speed, max_bytes_per_second or speed)


def window_seconds(source, deployment):
    """(seconds or None, notes) of the member that is read."""
    if source.moment is None:
        return None, []
    try:
        with deployment.deadline():
            return int(source.command({"getParameter": 1, WINDOW: 1}, "admin")[WINDOW]), []
    except driver.OperationFailure:
        return None, [
            f"how long the server keeps its history is unknown ({WINDOW}, {DEFAULT_WINDOW_SECONDS} s unless it was "
            "set): the role backup on admin may read it"
        ]


def measure(source, collections):
    """Bytes per second of reading and summing the largest collection for a second."""
    largest = max(collections.values(), key=lambda one: one.bytes)
    began, read = time.monotonic(), 0

    def count(documents, size):
        nonlocal read
        read += size
        if time.monotonic() - began >= _MEASURED_SECONDS:
            raise _Enough

    try:
        sum_collection(source.database, largest.data_name, on_reply=count)
    except _Enough:
        pass
    return max(1, int(read / (time.monotonic() - began)))


class _Enough(Exception):
    """Enough was read to know how fast it is."""
