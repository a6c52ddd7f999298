# SPDX-License-Identifier: MIT
"""Whether what is live still has the options and indexes that a backup gave it."""

from __future__ import annotations

from .mongo_compare import compare_shape, extended, parked_ttls
from .mongo_content import index_specs, shape_of
from .mongo_side import COMPLETED, DROPPED_FIELDS


def as_in_backup(database, seen, items):
    """The targets among ``items`` whose type, options and indexes are live as the backup has them.

    What a server adds by itself is no difference: its defaults, the index on _id, and those that newer ones give each
    time-series. Of a bare file without metadata nothing is known, so nothing can differ.
    """
    return {item.target for item in items if _is_same(database, item, seen.by_name.get(item.target))}


def _is_same(database, item, entry):
    if entry is None or entry.type != item.type:
        return False
    if not item.source.has_metadata:
        return True
    live = shape_of(entry, *(([], []) if entry.type == "view" else index_specs(database, item.target)))
    expected = {
        "type": item.type,
        "options": extended(item.source.options),
        "indexes": _beside_id(extended(spec) for spec in item.source.indexes),
    }
    live = {**live, "indexes": _beside_id(live["indexes"])}
    known = {spec["name"]: spec for spec in expected["indexes"]}
    live["options"] = _without_additions(live["options"], expected["options"])
    live["indexes"] = [_without_additions(spec, known.get(spec["name"], {})) for spec in live["indexes"]]
    if item.type == "timeseries":
        live["indexes"] = [spec for spec in live["indexes"] if spec["name"] in known]
    checks = compare_shape(item.target, expected, live) + parked_ttls(item.target, live, expected)
    return all(check.ok for check in checks)


def _beside_id(specs):
    specs = [{name: value for name, value in spec.items() if name not in DROPPED_FIELDS} for spec in specs]
    return [spec for spec in specs if list(spec["key"]) != ["_id"]]


def _without_additions(live, expected):
    """``live`` without what its completed parts have more than the same parts of ``expected``."""
    return {
        name: {key: part for key, part in value.items() if key in expected[name]}
        if name in COMPLETED and isinstance(value, dict) and isinstance(expected.get(name), dict)
        else value
        for name, value in live.items()
    }
