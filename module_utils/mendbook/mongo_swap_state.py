# SPDX-License-Identifier: MIT
"""Where each object of a swap stands: computed from the marker's items and one look at the catalogue, nothing else.

An item is one of

``{k: "c", n, side, aside, old, new, ttl_old, ttl_new}``    a collection; UUIDs, ``None``: there is none on that side
``{k: "ts", n, side, aside, old, new, making, options_old, options_new, sum_old, sum_new, ttl_old, ttl_new}``
                                                            a time-series; UUIDs of the buckets at ``n``
``{k: "v", n, old, new}``                                   a view; definitions packed as BSON

and its state is ``old``, ``new``, ``gap`` (a step between them) or ``unmarked`` (a time-series that nobody has noted
down: made at the very moment of a crash, or by a client).
"""

from __future__ import annotations

from .errors import Unknown
from .mongo_catalog import pack

_COLLECTION = {
    ("n", "side"): "old",
    ("none", "side"): "old",
    ("n", "none"): "old",
    ("aside", "side"): "gap",
    ("aside", "n"): "new",
    ("none", "n"): "new",
    ("aside", "none"): "new",
}


class Tampered(Unknown):
    """Somebody else changed what the swap knows by UUID: nothing more is touched."""

    def __init__(self, msg, details=None):
        super().__init__(msg, rule="swap_tampered", details=details)


def classify(items, catalog):
    """Return the state of every item, ``[(item, state)]`` in order; raise `Tampered` for the first that has none."""
    return [(item, state_of(item, catalog)) for item in items]


def state_of(item, catalog):
    """Return the state of one item; raise `Tampered` naming both UUIDs when it is none that a swap can leave."""
    return {"c": _collection, "ts": _timeseries, "v": _view}[item["k"]](item, catalog)


def all_in(states, wanted):
    """Tell whether every item is in the state ``wanted``."""
    return all(state == wanted for _, state in states)


def _collection(item, catalog):
    at_old, at_new = (_place(item, field, catalog) for field in ("old", "new"))
    state = _COLLECTION.get((at_old, at_new))
    if state:
        return state
    here = catalog.by_name.get(item["n"])
    raise Tampered(
        f"{item['n']} is not as the swap left it: the old collection (UUID {item['old']}) is at "
        f"{_said(item['old'], catalog)}, the new one (UUID {item['new']}) is at {_said(item['new'], catalog)}"
        + (f", and {item['n']} holds UUID {here.uuid}" if here else f", and there is no {item['n']}")
        + f"; nothing was touched. The old data belongs at {item['n']} or {item['aside']}, the new at {item['n']} or "
        f"{item['side']}: put it there by renameCollection, then run undo_restore_mongo again",
        details={
            "name": item["n"],
            "old": {"uuid": str(item["old"]), "at": catalog.place(item["old"])},
            "new": {"uuid": str(item["new"]), "at": catalog.place(item["new"])},
            "live": str(here.uuid) if here else None,
        },
    )


def _place(item, field, catalog):
    """``none``: this swap has no such collection; ``None``: it is nowhere, or under a name that is not the swap's."""
    if item[field] is None:
        return "none"
    name = catalog.place(item[field])
    return next((place for place in ("n", "side", "aside") if item.get(place) == name), None)


def _said(uuid, catalog):
    return "no name" if uuid is None else (catalog.place(uuid) or "nowhere, it was dropped")


def _timeseries(item, catalog):
    uuid = catalog.bucket_uuid(item["n"])
    if uuid is None:
        for field, options in (("old", "options_old"), ("new", "options_new")):
            if item[options] is None:
                return field  # on this side there is no such time-series, and there is none
        return "gap"
    if uuid == item["old"]:
        return "old"
    if uuid == item["new"]:
        return "new"
    return "gap" if uuid == item["making"] else "unmarked"


def _view(item, catalog):
    entry = catalog.by_name.get(item["n"])
    current = pack(entry.options) if entry and entry.type == "view" else None
    # in this order: a view that is new in the backup, and that is not there, is old
    for field in ("old", "new"):
        if current == item[field]:
            return field
    if current is None:
        return "gap"
    raise Tampered(
        f"the view {item['n']} is neither as it was before the swap nor as the swap made it: nothing was touched; put "
        "one of the two definitions back (they are in the details of this answer), then run undo_restore_mongo again",
        details={"name": item["n"], "now": repr(entry.options)},
    )
