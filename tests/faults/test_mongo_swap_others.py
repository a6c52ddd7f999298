"""The swap when it is not alone: hands that move its collections, restores on top of each other, runs that died."""

from __future__ import annotations

import threading
from datetime import timedelta

import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_marker
from ansible.module_utils.mendbook.errors import Nothing, Refused, Undone, Unknown
from ansible.module_utils.mendbook.lock import MongoLease
from ansible.module_utils.mendbook.mongo_leftovers import clear, discard, drop_each, expired, foreign, kept
from ansible.module_utils.mendbook.mongo_swap import Swap
from ansible.module_utils.mendbook.mongo_swap_state import Tampered
from ansible.module_utils.mendbook.mongo_ttl import PARKED_SECONDS
from pymongo.errors import OperationFailure
from swap_database import TTL_SECONDS, Held, both_pictures, fill_old, picture, prepared

import mendbook.sandbox

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def client():
    with mendbook.sandbox.start(("mongo",)) as box, pymongo.MongoClient(box.status()["mongo"]["uri"]) as client:
        yield client


@pytest.fixture
def database(client, request):
    name = f"others_{abs(hash(request.node.name)) % 10**8}"
    yield client[name]
    client.drop_database(name)


def ours(database):
    return sorted(name for name in database.list_collection_names() if name.startswith("__mend"))


def uuid_of(database, name):
    return next(database.list_collections(filter={"name": name}))["info"]["uuid"].as_uuid()


@pytest.mark.parametrize("hand", ["dropped", "renamed away", "replaced"])
def test_an_undo_of_what_somebody_changed_touches_nothing_and_names_both_uuids(database, hand):
    fill_old(database)
    swap = prepared(database, Held())
    swap.forward()
    old, new = (str(uuid_of(database, name)) for name in (swap.names.aside("plain"), "plain"))
    if hand == "renamed away":
        database.plain.rename("elsewhere")
    else:
        database.plain.drop()
    if hand == "replaced":
        database.plain.insert_one({"_id": "of somebody"})
    before, names = picture(database), ours(database)
    with pytest.raises(Tampered) as caught:
        Swap.latest(database, Held()).undo()
    assert old in caught.value.msg and new in caught.value.msg
    assert caught.value.reason == "unknown"
    assert (picture(database), ours(database)) == (before, names)


def test_a_view_that_somebody_changed_stops_the_undo(database):
    fill_old(database)
    prepared(database, Held()).forward()
    database.command("collMod", "changed_view", viewOn="plain", pipeline=[{"$match": {"a": "mine"}}])
    before = picture(database)
    with pytest.raises(Tampered, match="changed_view"):
        Swap.latest(database, Held()).undo()
    assert picture(database) == before


def test_a_swap_whose_live_collection_was_replaced_since_the_plan_stops(database):
    fill_old(database)
    swap = prepared(database, Held())
    database.plain.drop()
    database.plain.insert_one({"_id": "written after the drop"})
    before = picture(database)
    with pytest.raises(Tampered):
        swap.forward()
    assert picture(database) == before


def test_a_second_run_cannot_write_the_marker_of_the_first(database):
    fill_old(database)
    first = prepared(database, Held("first"))
    Swap.latest(database, Held("second")).recover(finish=False)
    with pytest.raises(Unknown, match="second"):
        first.forward()


def test_ttl_sleeps_in_what_is_kept_and_is_awake_in_what_is_live(database):
    fill_old(database)
    swap = prepared(database, Held())
    ttl = {name: TTL_SECONDS if name == "plain" else PARKED_SECONDS for name in ("plain", swap.names.side("plain"))}
    assert ttl == {name: seconds_of(database, name) for name in ttl}
    swap.forward()
    assert (seconds_of(database, "plain"), seconds_of(database, swap.names.aside("plain"))) == (
        TTL_SECONDS,
        PARKED_SECONDS,
    )
    swap.undo()
    assert (seconds_of(database, "plain"), seconds_of(database, swap.names.side("plain"))) == (
        TTL_SECONDS,
        PARKED_SECONDS,
    )


def seconds_of(database, name):
    return database[name].index_information()["at_1"]["expireAfterSeconds"]


def test_restores_stack_and_are_taken_back_one_by_one(database):
    old, new = both_pictures(database)
    second = prepared_again(database)
    second.forward()
    newest = picture(database)
    assert newest != new
    second.undo()
    assert picture(database) == new
    (first,) = [one for one in mongo_marker.markers(database) if one.phase == "swapped"]
    Swap(first, Held()).undo()
    assert picture(database) == old


def prepared_again(database):
    """A second restore on top of the first, of one collection and one time-series."""
    swap = Swap.begin(database, Held("second"))
    database[swap.names.side("plain")].insert_one({"_id": 1, "a": "newest"})
    database.create_collection(swap.names.side("series"), timeseries={"timeField": "t", "metaField": "m"})
    swap.prepare(["plain", "series"], keep_seconds=3600)
    return swap


def test_no_swap_begins_while_another_one_is_interrupted(database):
    fill_old(database)
    prepared(database, Held())
    with pytest.raises(Refused, match="finish") as caught:
        Swap.begin(database, Held())
    assert caught.value.rule == "swap_interrupted"


def test_what_a_dead_run_built_is_dropped_and_nothing_of_the_live_data(database):
    fill_old(database)
    before = picture(database)
    dead = Swap.begin(database, Held("dead"))
    database[dead.names.side("plain")].insert_one({"_id": 1})
    assert [one["keeps"] for one in kept(database)] == ["ruins"]
    with MongoLease(database, "alive") as lease:
        clear(database, lease)
    assert ours(database) == ["__mend_lock"]
    assert picture(database) == before


def test_a_collection_of_somebody_else_with_our_prefix_is_refused_by_name_and_stays(database):
    database["__mend_n_cafe_orders"].insert_one({"_id": 1})
    database["__mend_mine"].insert_one({"_id": 1})
    assert foreign(database) == ["__mend_mine", "__mend_n_cafe_orders"]
    with pytest.raises(Refused, match="__mend_mine"):
        clear(database, Held())
    assert database["__mend_n_cafe_orders"].count_documents({}) == 1
    with pytest.raises(Refused, match="__mend_mine"):
        Swap.begin(database, Held()).prepare(["__mend_mine"])


def test_old_data_is_dropped_when_its_time_is_over_by_the_servers_clock_and_not_before(database, monkeypatch):
    fill_old(database)
    swap = prepared(database, Held())
    swap.forward()
    live = picture(database)
    assert expired(database) == []
    clear(database, Held())
    assert swap.names.aside("plain") in ours(database)
    monkeypatch.setattr(
        "ansible.module_utils.mendbook.mongo_leftovers.server_now",
        lambda found: mongo_marker.server_now(found) + timedelta(hours=2),
    )
    assert len(expired(database)) == 1
    clear(database, Held())
    assert ours(database) == [swap.names.marker]
    assert picture(database) == live
    with pytest.raises(Refused, match="no way back"):
        Swap.latest(database, Held()).undo()


def test_dropping_old_data_never_drops_a_collection_that_is_live(database):
    fill_old(database)
    swap = prepared(database, Held())
    swap.forward()
    # somebody put the new data under a name of ours, where it would be dropped with the old
    new = uuid_of(database, "plain")
    database.plain.rename(swap.names.side("plain"))
    dropped = [one["uuid"] for one in drop_each(database, Held(), swap.marker)]
    assert dropped and str(new) not in dropped
    assert uuid_of(database, swap.names.side("plain")) == new


def test_half_dropped_old_data_cannot_be_taken_back(database):
    fill_old(database)
    swap = prepared(database, Held())
    swap.forward()
    next(drop_each(database, Held(), swap.marker))
    with pytest.raises(Refused, match="no way back"):
        Swap.latest(database, Held()).undo()


def test_a_restore_that_fails_before_its_swap_leaves_nothing(database):
    fill_old(database)
    before = picture(database)
    swap = prepared(database, Held())
    discard(database, Held(), swap)
    assert ours(database) == []
    assert picture(database) == before


def test_a_missing_side_collection_and_an_unknown_name_to_move_aside_are_errors(database):
    fill_old(database)
    swap = Swap.begin(database, Held())
    with pytest.raises(Exception, match="the new data of plain is missing"):
        swap.prepare(["plain"])
    with pytest.raises(Nothing, match="no nothing to move aside"):
        swap.prepare([], aside=["nothing"])


def test_a_view_that_the_server_refuses_is_refused_before_anything_is_touched(database):
    fill_old(database)
    before = picture(database)
    swap = Swap.begin(database, Held())
    with pytest.raises(OperationFailure):
        swap.prepare([], views={"v": {"viewOn": "plain", "pipeline": [{"$nonsense": 1}]}})
    assert picture(database) == before


def test_a_step_that_fails_for_good_takes_the_swap_back(database):
    old, _ = both_pictures(database)
    fill_old(database)
    swap = prepared(database, Held())
    rename, broken = swap._steps.rename, threading.Event()

    def failing(source, target, uuid, replacing=None):
        if target == "collated" and not broken.is_set():
            broken.set()
            raise OperationFailure("disk full", 14031)
        return rename(source, target, uuid, replacing)

    swap._steps.rename = failing
    with pytest.raises(Undone, match="taken back"):
        swap.forward()
    assert swap.phase == "undone"
    assert picture(database) == old


@pytest.mark.parametrize(
    ("roles", "series"),
    [
        ([("backup", "admin"), ("restore", "admin")], True),
        ([("readWrite", None), ("dbAdmin", None)], False),
    ],
    ids=["backup and restore", "readWrite and dbAdmin"],
)
def test_the_least_roles_are_enough_for_swap_undo_and_drop(client, database, roles, series):
    fill_old(database)
    for name in () if series else ("series", "was_series"):
        database[name].drop()
    wanted = [{"role": role, "db": where or database.name} for role, where in roles]
    client.admin.command("createUser", database.name, pwd="least", roles=wanted)
    host = client.address
    with pymongo.MongoClient(*host, username=database.name, password="least", authSource="admin") as least:  # noqa: S106
        seen = least[database.name]
        with MongoLease(seen, "least") as lease:
            if series:
                prepared(seen, lease).forward()
            else:
                swap = Swap.begin(seen, lease)
                seen[swap.names.side("plain")].insert_one({"_id": 1})
                swap.prepare(["plain"])
                swap.forward()
            Swap.latest(seen, lease).undo()
            for marker in mongo_marker.markers(seen):
                list(drop_each(seen, lease, marker))
    assert ours(database) == ["__mend_lock"]
    client.admin.command("dropUser", database.name)
