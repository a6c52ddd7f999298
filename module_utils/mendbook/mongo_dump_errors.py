# SPDX-License-Identifier: MIT
"""The driver's errors of a dump in words: what happened to the member, the moment or the collection, and what next."""

from __future__ import annotations

import time
from contextlib import contextmanager

from pymongo import errors as driver

from .errors import MendError
from .mongo_content import GONE, changed
from .mongo_dump_window import window_advice
from .mongo_errors import NOT_PRIMARY_CODES

_SNAPSHOT_TOO_OLD = 239
_CURSOR_GONE = 43
_CAPPED_LOST = 136
_ENDED_BY_SERVER = {237, 11601}


@contextmanager
def in_words(deployment, survey, reading):
    """Turn what the driver raises while a dump is read into a MendError (rules "window", "changed", "member")."""
    began = time.monotonic()
    try:
        yield
    except driver.PyMongoError as error:
        raise _error(error, deployment, survey, reading, time.monotonic() - began) from None


def _error(error, deployment, survey, reading, seconds):
    code = getattr(error, "code", None)
    where = survey.member.name
    name = reading.failed.name if reading.failed else survey.database
    if code == _SNAPSHOT_TOO_OLD:
        whole = max(seconds, seconds * survey.bytes / reading.bytes if reading.bytes else seconds)
        window = f"{survey.window_seconds} s" if survey.window_seconds else "a time that is unknown"
        return MendError(
            f"the moment of the dump is gone: {reading.bytes} of about {survey.bytes} bytes were read in "
            f"{seconds:.0f} s, and {where} keeps its history for {window}; {window_advice(whole)}",
            rule="window",
            details={"seconds": round(seconds, 1), "bytes": reading.bytes, "window_seconds": survey.window_seconds},
        )
    if code == _CAPPED_LOST:
        return MendError(
            f"{name} is capped and was overwritten faster than it was read: run it again when less is written, or make "
            "it larger",
            rule="changed",
        )
    if code in _ENDED_BY_SERVER:
        return MendError(
            f"the read of {name} was ended at {where}: somebody has killed it; run it again", rule="member"
        )
    if code in GONE and code != _CURSOR_GONE:
        return changed(name)
    if isinstance(error, driver.ConnectionFailure) or code in NOT_PRIMARY_CODES or code == _CURSOR_GONE:
        said = deployment.translate(error).msg
        return MendError(
            f"{where} was lost while it was read (restarted, stopped, or cut off): run it again, another member may "
            f"do; {said}",
            rule="member",
            details={"member": where, "code": code},
        )
    return deployment.translate(error, f"reading {name}")
