# SPDX-License-Identifier: MIT
"""What a swap will do, object by object and in order; forward goes down the list, undo goes up."""

from __future__ import annotations

from .errors import MendError, Nothing
from .mongo_catalog import catalog, pack
from .mongo_swap_timeseries import shelve, total
from .mongo_ttl import ttl_of

_NO_TTL = {"indexes": [], "collection": None}
# what leaves a name goes before what comes to it, whatever the two are; views come last, they follow names
_ORDER = {("v", False): 0, ("c", False): 1, ("ts", False): 2, ("c", True): 3, ("ts", True): 4, ("v", True): 5}


def build_items(steps, names, views, aside, ttl):
    """Return the marker's items; copies time-series aside and tries out views, and leaves live data alone."""
    seen = catalog(steps.database)
    items = []
    for name in names:
        side = seen.by_name.get(steps.names.side(name))
        if side is None:
            raise MendError(f"the new data of {name} is missing: there is no {steps.names.side(name)}", rule="swap")
        items += _replace(steps, name, seen.by_name.get(name), side, seen, _pairs(ttl.get(name)))
    for name, definition in views.items():
        items += _replace_by_view(steps, name, seen.by_name.get(name), definition, seen)
    for name in aside:
        entry = seen.by_name.get(name)
        if entry is None:
            raise Nothing(f"there is no {name} to move aside", rule="extra")
        items.append(_leaving(steps, name, entry, seen))
    return sorted(items, key=lambda item: _ORDER[item["k"], _comes(item)])


def _pairs(ttl):
    """The marker holds names of indexes as values: as field names "$**" and "a.b" would not do."""
    if not ttl:
        return _NO_TTL
    indexes = [[name, seconds] for name, seconds in (ttl.get("indexes") or {}).items()]
    return {"indexes": indexes, "collection": ttl.get("collection")}


def _comes(item):
    """Tell whether the name holds something of this kind afterwards."""
    return (item["options_new"] if item["k"] == "ts" else item["new"]) is not None


def _replace(steps, name, live, side, seen, ttl_new):
    kind = "ts" if side.type == "timeseries" else "c"
    live_kind = {"collection": "c", "timeseries": "ts", "view": "v"}[live.type] if live else None
    replaced = live if live_kind == kind else None
    leaving = [_leaving(steps, name, live, seen)] if live and not replaced else []
    if kind == "c":
        return [*leaving, _collection(steps, name, replaced, side, ttl_new)]
    return [*leaving, _timeseries(steps, name, replaced, side, seen, ttl_new)]


def _replace_by_view(steps, name, live, definition, seen):
    wanted = _as_the_server_keeps_it(steps, name, definition)
    if live and live.type == "view":
        old = pack(live.options)
        return [] if old == wanted else [{"k": "v", "n": name, "old": old, "new": wanted}]
    leaving = [_leaving(steps, name, live, seen)] if live else []
    return [*leaving, {"k": "v", "n": name, "old": None, "new": wanted}]


def _as_the_server_keeps_it(steps, name, definition):
    """Make the view beside the live ones: a definition that the server refuses is refused before the swap."""
    side = steps.names.side(name)
    if side in catalog(steps.database).by_name:
        steps.drop(side)
    steps.command({"create": side, **definition}, f"create {side}")
    kept = catalog(steps.database).by_name[side].options
    steps.drop(side)
    return pack(kept)


def _leaving(steps, name, live, seen):
    if live.type == "view":
        return {"k": "v", "n": name, "old": pack(live.options), "new": None}
    if live.type == "timeseries":
        return _timeseries(steps, name, live, None, seen, _NO_TTL)
    return _collection(steps, name, live, None, _NO_TTL)


def _collection(steps, name, live, side, ttl_new):
    return {
        "k": "c",
        "n": name,
        "side": steps.names.side(name),
        "aside": steps.names.aside(name),
        "old": live.uuid if live else None,
        "new": side.uuid if side else None,
        "ttl_old": ttl_of(steps.database, live) if live else _NO_TTL,
        "ttl_new": ttl_new,
    }


def _timeseries(steps, name, live, side, seen, ttl_new):
    aside = steps.names.aside(name)
    return {
        "k": "ts",
        "n": name,
        "side": steps.names.side(name),
        "aside": aside,
        "old": seen.bucket_uuid(name) if live else None,
        "new": None,
        "making": None,
        "options_old": pack(live.options) if live else None,
        "options_new": pack(side.options) if side else None,
        "sum_old": shelve(steps, name, aside, live.options) if live else None,
        "sum_new": total(steps.database, steps.names.side(name)) if side else None,
        "ttl_old": ttl_of(steps.database, live) if live else _NO_TTL,
        "ttl_new": ttl_new,
    }
