# SPDX-License-Identifier: MIT
"""What the driver raises while a dump is read, in words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.mongo_dump_errors import in_words
from ansible.module_utils.mendbook.mongo_errors import translate
from pymongo import errors as driver

URI = "mongodb://backup:hush@db1:27017/estore"
DEPLOYMENT = SimpleNamespace(translate=lambda error, doing="": translate(error, {"uri": URI}, doing))
SURVEY = SimpleNamespace(
    member=SimpleNamespace(name="db2:27017"), database="estore", bytes=1_000_000, window_seconds=300
)


def said(error, job="orders", read=250_000, survey=SURVEY):
    """The MendError that this error of the driver becomes."""
    reading = SimpleNamespace(failed=SimpleNamespace(name=job) if job else None, bytes=read)
    with pytest.raises(MendError) as caught, in_words(DEPLOYMENT, survey, reading):
        raise error
    assert "hush" not in caught.value.msg
    return caught.value


@pytest.mark.parametrize("code", [26, 175, 246, 361])
def test_a_collection_that_is_another_one_now_is_changed(code):
    error = said(driver.OperationFailure("gone", code))
    assert error.rule == "changed" and '"orders"' in error.msg and "run it again" in error.msg


def test_a_moment_that_is_gone_says_how_far_it_came_and_what_is_needed():
    error = said(driver.OperationFailure("SnapshotTooOld", 239))
    assert error.rule == "window"
    assert "250000 of about 1000000 bytes" in error.msg and "for 300 s" in error.msg
    assert "minSnapshotHistoryWindowInSeconds: " in error.msg and "per_collection" in error.msg


def test_before_the_first_byte_and_without_a_known_window_it_is_said_as_well():
    unknown = SimpleNamespace(**{**vars(SURVEY), "window_seconds": None})
    error = said(driver.OperationFailure("SnapshotTooOld", 239), job=None, read=0, survey=unknown)
    assert error.rule == "window" and "a time that is unknown" in error.msg


@pytest.mark.parametrize(
    "error",
    [
        driver.AutoReconnect("db2:27017: connection closed"),
        driver.NetworkTimeout("db2:27017: timed out"),
        driver.ServerSelectionTimeoutError("No replica set members match selector"),
        driver.NotPrimaryError("recovering", {"code": 13436}),
        driver.OperationFailure("interrupted at shutdown", 11600),
        driver.OperationFailure("cursor id 7 not found", 43),
    ],
)
def test_a_member_that_is_lost_is_named_with_the_next_step(error):
    found = said(error)
    assert found.rule == "member" and "db2:27017 was lost" in found.msg and "run it again" in found.msg


def test_an_operation_that_somebody_killed_is_said():
    error = said(driver.OperationFailure("operation was interrupted", 11601))
    assert error.rule == "member" and "somebody has killed it" in error.msg


def test_a_capped_collection_that_overtook_its_reader_is_named():
    error = said(driver.OperationFailure("CappedPositionLost", 136), job="log")
    assert error.rule == "changed" and "log is capped" in error.msg


def test_everything_else_has_the_words_of_the_driver_and_the_collection():
    error = said(driver.OperationFailure("not authorized on estore", 13))
    assert error.rule == "mongo_privilege" and "reading orders" in error.msg


def test_what_is_not_the_drivers_passes_as_it_is():
    with pytest.raises(OSError, match="full"), in_words(DEPLOYMENT, SURVEY, None):
        raise OSError("full")
