"""undo_restore_mongo by bare ansible-playbook, on what a swap left; looked at by an independent client."""

from __future__ import annotations

import os
import signal

import pymongo
import pytest
from ansible.module_utils.mendbook.lock import MongoLease
from ansible.module_utils.mendbook.mongo_swap import Swap

pytestmark = pytest.mark.e2e


@pytest.fixture
def database(mongo_client):
    mongo_client.drop_database("undone")
    found = mongo_client["undone"]
    found.orders.insert_many([{"_id": number, "is": "old"} for number in range(30)])
    found.create_collection("totals", viewOn="orders", pipeline=[{"$count": "orders"}])
    yield found
    mongo_client.drop_database("undone")


@pytest.fixture
def target(sandbox):
    return f"rs0@127.0.0.1:{sandbox.status()['mongo']['port']}/undone"


def restored(database, keep_seconds=3600, prepare_only=False, content="new"):
    """What a restore leaves: orders replaced, users new, a view changed; all as restore_mongo's own swap does it."""
    with MongoLease(database, "restore") as lease:
        swap = Swap.begin(database, lease)
        database[swap.names.side("orders")].insert_many([{"_id": number, "is": content} for number in range(20)])
        database[swap.names.side("users")].insert_one({"_id": 1})
        view = {"viewOn": "orders", "pipeline": [{"$match": {"is": content}}, {"$count": "orders"}]}
        swap.prepare(["orders", "users"], views={"totals": view}, keep_seconds=keep_seconds)
        if not prepare_only:
            swap.forward()
        return swap


def content_of(database):
    """What a client of the shop sees."""
    names = sorted(name for name in database.list_collection_names() if not name.startswith(("__mend", "system.")))
    return {name: list(database[name].find(sort=[("_id", 1)])) for name in names}


def fingerprint(database):
    """Everything in the database, ours too."""
    return database.command("dbHash")["collections"], sorted(database.list_collection_names())


def run(playbook, *arguments, **variables):
    return playbook(
        "undo_restore_mongo",
        *arguments,
        variables={f"mongo_undo_{name}": value for name, value in {"database": "undone", **variables}.items()},
    )


def result(played):
    (found,) = played.of("mend_mongo_undo")
    return found


def test_undo_brings_the_old_data_back_and_a_second_run_changes_nothing(database, playbook, target):
    old = content_of(database)
    swap = restored(database)
    new = content_of(database)
    assert new != old
    before = fingerprint(database)

    planned = run(playbook, "--check")
    assert planned.rc == 0, planned.stdout
    plan = result(planned)["plan"]
    assert plan["target"]["id"] == target
    assert {(one["op"], one["object"]) for one in plan["changes"]} == {
        ("~", "undone.orders"),
        ("~", "undone.totals"),
        ("-", "undone.users"),
    }
    assert fingerprint(database) == before, "check mode changes nothing and takes no lock"

    played = run(playbook, confirm=target)
    assert played.rc == 0, played.stdout
    assert content_of(database) == old
    assert result(played)["changed"] and result(played)["state"] == "done"
    assert result(played)["read_back"]["data"] == "old"
    assert {one["object"] for one in result(played)["done"]} == {one["object"] for one in plan["changes"]}
    assert database[swap.names.side("orders")].count_documents({"is": "new"}) == 20, "kept beside, not lost"

    again = run(playbook, confirm=target)
    assert again.rc == 0, again.stdout
    assert not result(again)["changed"] and result(again)["state"] == "nothing to do"
    assert content_of(database) == old


@pytest.mark.parametrize("confirm", [None, "rs0@127.0.0.1:1/undone", "yes"])
def test_without_the_targets_name_nothing_happens(database, playbook, target, confirm):
    restored(database)
    before = fingerprint(database)
    played = run(playbook, **({"confirm": confirm} if confirm else {}))
    assert played.rc == 2
    assert result(played)["mend"]["reason"] == "refused"
    assert f"mongo_undo_confirm={target}" in played.stdout.replace("'", "").replace('"', "")
    assert fingerprint(database) == before


def test_an_interrupted_swap_is_finished_or_taken_back_as_asked(database, playbook, target, sandbox):
    old = content_of(database)
    for action, expected in (("finish", "new"), ("undo", "old")):
        _interrupt(database, sandbox.status()["mongo"]["uri"])
        assert content_of(database) != old, "one collection is missing"
        played = run(playbook, action=action, confirm=target)
        assert played.rc == 0, played.stdout
        assert result(played)["read_back"]["data"] == expected
        assert {one["is"] for one in content_of(database)["orders"]} == {expected}
        if expected == "new":
            assert run(playbook, action="undo", confirm=target).rc == 0
        assert content_of(database) == old


def _interrupt(database, uri):
    """Kill a process of ours after the first rename of a swap."""
    swap = restored(database, prepare_only=True)
    pid = os.fork()
    if not pid:
        with pymongo.MongoClient(uri) as client:
            found = client[database.name]
            with MongoLease(found, "dies") as lease:
                Swap.latest(found, lease, _die_after_rename(lease)).forward()
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    return swap


def _die_after_rename(lease):
    def hook(step):
        if step.startswith("rename orders"):
            # as a run that died half a minute ago
            lease.__exit__(None, None, None)
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def test_a_collection_that_somebody_replaced_stops_it_with_both_uuids(database, playbook, target):
    swap = restored(database)
    database.orders.drop()
    database.orders.insert_one({"_id": "of somebody else"})
    before = fingerprint(database)
    played = run(playbook, confirm=target)
    assert played.rc == 2
    answer = result(played)
    assert (answer["mend"]["reason"], answer["mend"]["rule"]) == ("unknown", "swap_tampered")
    (item,) = [one for one in swap.marker.items if one["n"] == "orders"]
    assert str(item["old"]) in answer["msg"] and str(item["new"]) in answer["msg"]
    assert fingerprint(database) == before


def test_a_database_that_is_locked_says_by_whom_in_time(database, playbook, target):
    restored(database)
    before = content_of(database)
    with MongoLease(database, "somebody-elses-run", who="alice"):
        assert "alice" in run(playbook, "--check").stdout
        played = run(playbook, confirm=target)
    assert played.rc == 2
    answer = result(played)
    assert answer["mend"]["reason"] == "locked"
    assert answer["mend"]["details"]["run"] == "somebody-elses-run"
    assert answer["mend"]["details"]["host"] and answer["mend"]["details"]["since"]
    assert content_of(database) == before


def test_cron_drops_what_is_past_its_time_without_a_confirmation_and_nothing_else(database, playbook):
    swap = restored(database, keep_seconds=3600)
    live = content_of(database)
    played = run(playbook, action="drop_expired")
    assert played.rc == 0, played.stdout
    assert result(played)["state"] == "nothing to do"
    assert swap.names.aside("orders") in database.list_collection_names()

    second = restored(database, keep_seconds=0, content="newer")
    live = content_of(database)
    played = run(playbook, action="drop_expired")
    assert played.rc == 0, played.stdout
    assert [one["object"] for one in result(played)["done"]] == [
        f"undone.{second.names.aside(name)}" for name in ("orders", "users")
    ]
    names = database.list_collection_names()
    assert swap.names.aside("orders") in names and second.names.aside("orders") not in names
    assert content_of(database) == live


def test_drop_takes_a_confirmation_and_then_there_is_no_way_back(database, playbook, target):
    restored(database)
    live = content_of(database)
    assert run(playbook, action="drop").rc == 2
    played = run(playbook, action="drop", confirm=target)
    assert played.rc == 0, played.stdout
    assert content_of(database) == live
    assert not [name for name in database.list_collection_names() if name.startswith("__mend_o_")]
    refused = run(playbook, confirm=target)
    assert refused.rc == 2
    assert "no way back" in result(refused)["msg"]


def test_going_back_further_wants_the_restore_named(database, playbook, target):
    old = content_of(database)
    first = restored(database)
    middle = content_of(database)
    restored(database, content="newer")
    stopped = run(playbook, confirm=target, token=first.marker.token)
    assert stopped.rc == 2
    assert "undo" in result(stopped)["msg"]
    played = run(playbook, confirm=target)
    assert content_of(database) == middle
    assert f"mongo_undo_token={first.marker.token}" in str(result(played)["plan"]["notes"])
    assert run(playbook, confirm=target).rc == 0
    assert content_of(database) == middle, "a second run does not go back twice"
    assert run(playbook, confirm=target, token=first.marker.token).rc == 0
    assert content_of(database) == old


def test_a_database_without_a_restore_has_nothing_to_undo(database, playbook, target):
    before = fingerprint(database)
    played = run(playbook, confirm=target)
    assert played.rc == 0, played.stdout
    assert result(played)["state"] == "nothing to do"
    unknown = run(playbook, confirm=target, token="cafe0000")  # noqa: S106
    assert unknown.rc == 2
    assert result(unknown)["mend"]["reason"] == "nothing"
    assert fingerprint(database) == before


def test_a_user_who_may_not_look_is_told_which_role_to_grant(playbook, database, mongo_client, sandbox):
    restored(database)
    mongo_client.admin.command("createUser", "stranger", pwd="stranger", roles=[])
    try:
        uri = f"mongodb://stranger:stranger@127.0.0.1:{sandbox.status()['mongo']['port']}/?authSource=admin"
        played = playbook(
            "undo_restore_mongo", variables={"mongo_undo_database": "undone"}, env={"SANDBOX_MONGO_URI": uri}
        )
    finally:
        mongo_client.admin.command("dropUser", "stranger")
    (result,) = played.failed()
    assert (result["mend"]["reason"], result["mend"]["rule"]) == ("refused", "privileges")
    assert "grant" in result["msg"] and "restore" in result["msg"]
    assert content_of(database)["users"] == [{"_id": 1}]
