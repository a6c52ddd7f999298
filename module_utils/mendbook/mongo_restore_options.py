# SPDX-License-Identifier: MIT
"""What a restore is asked for, before anything is connected to: refused where it cannot be meant."""

from __future__ import annotations

from .errors import Nothing, Refused
from .mongo_marker import MOST_KEEP_SECONDS
from .mongo_options import check_database

MOST_WORKERS = 64


def check_options(params):
    """Raise Nothing where no backup is named, Refused with rule ``options`` or that of the option."""
    if not params["bucket"] and not params["path"]:
        raise Nothing(
            "no backup is named: set mongo_restore_bucket (and mongo_restore_prefix), or mongo_restore_path for a file",
            rule="options",
        )
    if params["bucket"] and params["path"]:
        raise Refused(
            "mongo_restore_bucket and mongo_restore_path contradict each other: name one backup", rule="options"
        )
    check_database(params["database"], "mongo_restore_database")
    for name, least, most in (
        ("keep_seconds", 0, MOST_KEEP_SECONDS),
        ("workers", 1, MOST_WORKERS),
        ("max_age_seconds", 0, None),
    ):
        value = params[name]
        if value < least or most is not None and value > most:
            upper = f"{least} or more" if most is None else f"{least} to {most}"
            raise Refused(f"mongo_restore_{name} is {value}, and must be {upper}", rule=name)
