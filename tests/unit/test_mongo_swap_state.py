"""Where an object of a swap stands, for every place that its old and its new collection can be."""

from __future__ import annotations

from itertools import product
from uuid import UUID

import pytest
from ansible.module_utils.mendbook.mongo_catalog import Catalog, Entry, pack
from ansible.module_utils.mendbook.mongo_swap_state import Tampered, all_in, classify, state_of

OLD, NEW, STRAY, MAKING = (UUID(int=number) for number in (1, 2, 3, 4))
ITEM = {"k": "c", "n": "orders", "side": "side", "aside": "aside", "old": OLD, "new": NEW}
STATES = {
    ("orders", "side"): "old",
    ("aside", "side"): "gap",
    ("aside", "orders"): "new",
}


def seen(**places):
    return Catalog([Entry(name, "collection", {}, uuid) for name, uuid in places.items()])


@pytest.mark.parametrize(
    ("old_at", "new_at"), [pair for pair in product(["orders", "aside", "side", "other", None], repeat=2)]
)
def test_every_place_of_both_collections_is_a_state_or_tampering(old_at, new_at):
    if old_at is not None and old_at == new_at:
        return
    catalog = seen(**{name: uuid for name, uuid in ((old_at, OLD), (new_at, NEW)) if name})
    if (old_at, new_at) in STATES:
        assert state_of(ITEM, catalog) == STATES[old_at, new_at]
        return
    with pytest.raises(Tampered) as caught:
        state_of(ITEM, catalog)
    assert str(OLD) in caught.value.msg and str(NEW) in caught.value.msg
    assert caught.value.reason == "unknown"


def test_a_stray_in_the_gap_is_still_the_gap():
    assert state_of(ITEM, seen(aside=OLD, side=NEW, orders=STRAY)) == "gap"


@pytest.mark.parametrize(
    ("places", "state"),
    [({"side": NEW}, "old"), ({"orders": NEW}, "new"), ({"side": NEW, "orders": STRAY}, "old")],
)
def test_a_collection_that_is_new_in_the_backup(places, state):
    assert state_of({**ITEM, "old": None}, seen(**places)) == state


@pytest.mark.parametrize(
    ("places", "state"),
    [({"orders": OLD}, "old"), ({"aside": OLD}, "new"), ({"aside": OLD, "orders": STRAY}, "new")],
)
def test_a_collection_that_is_only_moved_aside(places, state):
    assert state_of({**ITEM, "new": None}, seen(**places)) == state


@pytest.mark.parametrize("missing", ["old", "new"])
def test_a_collection_that_is_nowhere_is_tampering(missing):
    places = {"aside": OLD, "orders": NEW}
    gone = {"old": "aside", "new": "orders"}[missing]
    with pytest.raises(Tampered, match="dropped"):
        state_of(ITEM, seen(**{name: uuid for name, uuid in places.items() if name != gone}))


SERIES = {"k": "ts", "n": "ts", "old": OLD, "new": None, "making": None, "options_old": b"o", "options_new": b"n"}


@pytest.mark.parametrize(
    ("item", "bucket", "state"),
    [
        ({}, OLD, "old"),
        ({}, None, "gap"),
        ({"making": MAKING}, MAKING, "gap"),
        ({"making": MAKING}, STRAY, "unmarked"),
        ({"new": NEW}, NEW, "new"),
        ({"old": None, "options_old": None}, None, "old"),
        ({"options_new": None}, None, "new"),
        ({"options_new": None}, OLD, "old"),
    ],
)
def test_a_time_series_is_known_by_the_uuid_of_its_buckets(item, bucket, state):
    catalog = seen(**({"system.buckets.ts": bucket} if bucket else {}))
    assert state_of({**SERIES, **item}, catalog) == state


A, B, C = ({"viewOn": "orders", "pipeline": [{"$limit": number}]} for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("old", "new", "now", "state"),
    [(A, B, A, "old"), (A, B, B, "new"), (A, B, None, "gap"), (None, B, None, "old"), (A, None, None, "new")],
)
def test_a_view_is_known_by_its_definition(old, new, now, state):
    catalog = Catalog([Entry("v", "view", now, None)] if now else [])
    assert state_of({"k": "v", "n": "v", "old": pack(old), "new": pack(new)}, catalog) == state


def test_a_view_that_is_neither_is_tampering():
    catalog = Catalog([Entry("v", "view", C, None)])
    with pytest.raises(Tampered, match="the view v"):
        state_of({"k": "v", "n": "v", "old": pack(A), "new": pack(B)}, catalog)


def test_the_first_tampered_object_stops_all():
    states = classify([ITEM], seen(orders=OLD, side=NEW))
    assert all_in(states, "old") and not all_in(states, "new")
    with pytest.raises(Tampered):
        classify([ITEM, {**ITEM, "n": "users", "old": STRAY}], seen(orders=OLD, side=NEW))
