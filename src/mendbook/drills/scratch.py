# SPDX-License-Identifier: MIT
"""The drill of a team's own backup: restored from their bucket into a scratch server that is started for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mendbook import sandbox
from mendbook.drills.phases import Drill, ObjectivesMissed
from mendbook.drills.recovery import recover
from mendbook.drills.store import Store
from mendbook.sandbox.services import mongo
from mendbook.times import iso


def restore_into_scratch(drilled: Drill, store: Store, database: str, variables: Mapping[str, Any]) -> None:
    """Run the phases; ``variables`` are further ones of mongo_drill (key, critical, time_fields)."""
    drilled.subject = f"s3://{store.bucket}/{store.prefix}, {database}"
    with drilled.phase("sandbox") as found:
        # an old backup's sessions would be gone before they could be compared
        server = mongo.Service(arguments=["--setParameter", "ttlMonitorEnabled=false"])
        box = sandbox.start([server])
        found.append("an empty MongoDB, marked as scratch")
    with box:
        missed = recover(
            drilled,
            {
                "uri": box.status()["mongo"]["uri"],
                "database": database,
                "bucket": store.bucket,
                "prefix": store.prefix,
                "began": iso(datetime.now(UTC)),
                **store.options,
                **variables,
            },
        )
    if missed:
        raise ObjectivesMissed(missed)
