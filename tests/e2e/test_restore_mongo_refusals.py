"""restore_mongo against servers, operators and clients that are not as they should be; and what it makes of options."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import mend_mongo_restore
import pymongo
import pytest
from ansible.module_utils.mendbook import lock, mongo, mongo_restore, mongo_restore_guards
from ansible.module_utils.mendbook.errors import Refused
from ansible.module_utils.mendbook.lock import MongoLease

import restore_lab
from mendbook.sandbox import Sandbox
from mendbook.sandbox.services.mongo import Service
from restore_lab import Lab, archive_of, live_data, numbered, run_module, unchanged

pytestmark = pytest.mark.e2e

RESTORED = {"orders": numbered(20), "coupons": numbered(7)}


@pytest.fixture
def lab(sandbox: Sandbox, mongo_client: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    restore_lab.quick_writers(monkeypatch)
    lab = Lab(sandbox.status()["mongo"]["uri"], mongo_client, f"estore_{uuid4().hex[:8]}")
    live_data(lab.database)
    yield lab
    mongo_client.drop_database(lab.database.name)


@pytest.fixture
def backup(tmp_path: Path) -> str:
    path = tmp_path / "estore.archive"
    path.write_bytes(archive_of("estore", RESTORED))
    return str(path)


# -- servers


def uri_with(uri: str, **changed: str) -> str:
    """The sandbox's connection string with another password or address."""
    user, _, rest = uri.removeprefix("mongodb://").partition(":")
    password, _, hosts = rest.rpartition("@")
    address, _, options = hosts.partition("/")
    return f"mongodb://{user}:{changed.get('password', password)}@{changed.get('address', address)}/{options}"


@pytest.mark.parametrize(
    ("changed", "rule", "words"),
    [
        ({"password": "canary-wrong"}, "mongo_authentication", "check username and password"),
        ({"address": "127.0.0.1:9"}, "mongo_refused", "check host and port"),
        ({"address": "no-such-host.invalid:27017"}, "mongo_dns", "cannot be resolved"),
    ],
)
def test_a_server_that_cannot_be_used_is_named_with_what_to_check(lab, backup, changed, rule, words):
    uri = uri_with(lab.uri, **changed)
    with unchanged(lab):
        result = lab.restore(path=backup, uri=uri, connect_timeout_seconds=1)
    assert (result["rc"], result["changed"], result["mend"]["rule"]) == (1, False, rule), result["msg"]
    assert words in result["msg"]
    assert "canary" not in json.dumps(result)


@pytest.fixture(scope="module")
def pair(sandbox: Sandbox) -> Iterator[Service]:
    """A set of two."""
    service = Service(name="pair", replica_set="pair", members=2)
    sandbox.add(service)
    yield service
    sandbox.remove("pair")


def test_a_secondary_is_refused_and_without_a_primary_nothing_is_tried(pair, backup, monkeypatch):
    restore_lab.quick_writers(monkeypatch)
    monkeypatch.setattr(mongo, "_SELECTION_SECONDS", 2)
    with pymongo.MongoClient(pair.uri) as client:
        lab = Lab(pair.uri, client, "estore")
        live_data(lab.database)
        before = lab.everything()
        secondary = next(port for port in pair.ports if port != client.primary[1])
        direct = pair._uri([secondary], login=True, directConnection="true")
        result = lab.restore(path=backup, uri=direct)
        assert (result["rc"], result["state"], result["mend"]["rule"]) == (1, "refused", "mongo_secondary")
        assert "name the whole replica set in the URI" in result["msg"]
        assert lab.everything() == before
        assert lab.restore(path=backup)["state"] == "done", "the whole set is good"
        before = lab.everything()
        pair.member(client.primary[1]).kill()
    result = lab.restore(path=backup, connect_timeout_seconds=1)
    assert (result["rc"], result["changed"]) == (1, False)
    assert result["mend"]["rule"] in ("mongo_secondary", "mongo_no_primary", "mongo_refused"), result["msg"]
    pair.restart()
    with pymongo.MongoClient(pair.uri) as client:
        assert Lab(pair.uri, client, "estore").everything() == before


def test_a_server_that_is_locked_against_writes_ends_the_restore_in_time(lab, backup, monkeypatch):
    planned = lab.plan(path=backup)
    with_timeout = pymongo.timeout
    monkeypatch.setattr(lock, "_timeout", lambda seconds: with_timeout(1))
    lab.database.client.admin.command("fsync", lock=True)
    try:
        result = lab.act(planned, path=backup)
    finally:
        lab.database.client.admin.command("fsyncUnlock")
    assert (result["rc"], result["state"], result["changed"]) == (1, "failed (nothing changed)", False)
    assert result["mend"]["rule"] == "mongo_timeout", result["msg"]
    assert len(lab.documents("orders")) == 30 and not lab.locked()


def deployment(hello: dict[str, Any], version: tuple[int, ...]) -> Any:
    """There is no mongos and no older mongod in the sandbox: what they answer is given to the function that decides."""
    return mongo.Deployment(SimpleNamespace(), {}, hello, version, "db1:27017")


@pytest.mark.parametrize(
    ("hello", "version", "rule"),
    [
        ({"msg": "isdbgrid", "isWritablePrimary": True}, (6, 0, 5), "mongo_sharded"),
        ({"isWritablePrimary": True, "setName": "rs0"}, (5, 0, 28), "mongo_version"),
        ({"isWritablePrimary": True}, (4, 4, 0), "mongo_version"),
        ({"isWritablePrimary": False, "setName": "rs0", "primary": "db2:27017"}, (6, 0, 5), "mongo_secondary"),
    ],
)
def test_a_mongos_a_secondary_and_an_old_server_are_refused(hello, version, rule):
    with pytest.raises(Refused) as refused:
        mongo.refuse_unfit(deployment(hello, version))
    assert refused.value.rule == rule


@pytest.mark.parametrize("version", [(6, 0, 0), (7, 0, 2), (8, 0, 0)])
def test_a_primary_of_today_is_not_refused(version):
    mongo.refuse_unfit(deployment({"isWritablePrimary": True, "setName": "rs0"}, version))


# -- operators


def test_check_mode_changes_nothing_at_all(lab, backup):
    before = lab.everything()
    for options in ({}, {"extra": "aside"}, {"collections": ["orders"]}, {"max_age_seconds": 0}, {"keep_seconds": 0}):
        result = lab.plan(path=backup, **options)
        assert (result["rc"], result["changed"], result["state"]) == (0, True, "planned"), result.get("msg")
    assert lab.everything() == before, "not even a lock"


@pytest.mark.parametrize(("path", "words"), [("estore.archive", "absolute"), ("/no/such/file", "/no/such/file")])
def test_a_path_that_leads_nowhere_is_named(lab, path, words):
    with unchanged(lab):
        result = lab.restore(path=path)
    assert (result["rc"], result["mend"]["rule"]) == (1, "path")
    assert words in result["msg"]


def test_without_the_gate_it_does_not_act(lab, backup):
    with unchanged(lab):
        result = run_module(mend_mongo_restore, **{**lab.defaults, "path": backup})
    assert (result["rc"], result["mend"]["rule"]) == (1, "receipt")
    assert "ANSIBLE_CONFIG" in result["msg"]


def test_a_collection_that_was_made_again_since_the_plan_is_drift(lab, backup):
    planned = lab.plan(path=backup)
    lab.database["orders"].drop()
    lab.database["orders"].insert_many(numbered(30, "live"))
    with unchanged(lab):
        result = lab.act(planned, path=backup)
    assert (result["state"], result["mend"]["reason"]) == ("refused", "drift")
    assert "plan again" in result["msg"]


def test_collections_with_our_prefix_that_are_not_ours_are_never_touched(lab, backup):
    lab.database["__mend_n_mine_orders"].insert_one({"_id": "precious"})
    before = lab.everything()
    result = lab.restore(path=backup)
    assert (result["rc"], result["changed"], result["mend"]["rule"]) == (1, False, "names")
    assert "__mend_n_mine_orders" in result["msg"]
    assert {name: seen for name, seen in lab.everything().items() if name != restore_lab.LOCK} == before


VARIABLES = {"mongo_restore_source_database": "estore"}


@pytest.fixture
def variables(lab: Lab, backup: str) -> dict[str, Any]:
    target = lab.plan(path=backup)["plan"]["target"]["id"]
    return {
        **VARIABLES,
        "mongo_restore_database": lab.database.name,
        "mongo_restore_path": backup,
        "mongo_restore_confirm": target,
    }


@pytest.mark.parametrize(
    ("changed", "reason", "rule", "words"),
    [
        ({"mongo_restore_confirm": "rs0@db1:27017/estore"}, "refused", "confirm", "mongo_restore_confirm="),
        ({"mongo_restore_max_age_seconds": 0}, "refused", "age", "recovery point objective"),
    ],
)
def test_the_playbook_refuses_and_says_the_way_on(lab, playbook, variables, changed, reason, rule, words):
    time.sleep(1)  # the backup must be older than 0 seconds
    with unchanged(lab):
        played = playbook("restore_mongo", variables={**variables, **changed})
    assert played.rc == 2, played.stdout
    (failed,) = played.failed()
    assert (failed["mend"]["reason"], failed["mend"]["rule"]) == (reason, rule), failed["msg"]
    assert words in failed["msg"]


def test_the_playbook_is_told_who_holds_the_lock(lab, playbook, variables):
    with MongoLease(lab.database, "20260101T000000Z-abcdef", who="somebody"):
        before = lab.picture()
        played = playbook("restore_mongo", variables=variables)
        assert lab.picture() == before
    assert played.rc == 2
    (failed,) = played.failed()
    assert failed["mend"]["reason"] == "locked"
    assert "20260101T000000Z-abcdef" in failed["msg"] and "somebody" in failed["msg"]
    assert played.journal()[-1]["event"] in ("end", "run_end")


HOSTILE = "{{ lookup('pipe', 'touch here') }}\x1b[31m\n$(touch here)"


def test_a_hostile_name_reaches_neither_jinja_nor_a_shell_nor_the_terminal(lab, playbook, variables, tmp_path):
    hostile = HOSTILE.replace("$", "")
    (tmp_path / "hostile.archive").write_bytes(archive_of("estore", {hostile: numbered(3)}))
    options = {**variables, "mongo_restore_path": str(tmp_path / "hostile.archive")}
    played = playbook("restore_mongo", "--diff", variables=options)
    assert played.rc == 0, played.stdout
    assert [one["_id"] for one in lab.database[hostile].find()] == [0, 1, 2]
    assert "\x1b" not in played.stdout + played.stderr
    assert not list(tmp_path.rglob("here")) and not Path("here").exists()


def test_an_impossible_name_is_refused_in_printable_words(lab, playbook, variables, tmp_path):
    (tmp_path / "hostile.archive").write_bytes(archive_of("estore", {HOSTILE: numbered(3)}))
    options = {**variables, "mongo_restore_path": str(tmp_path / "hostile.archive")}
    with unchanged(lab):
        played = playbook("restore_mongo", variables=options)
    assert played.rc == 2, played.stdout
    assert "\x1b" not in played.stdout + played.stderr
    assert not list(tmp_path.rglob("here"))


def test_a_flipped_bit_fails_the_playbook(lab, playbook, variables, tmp_path):
    data = bytearray(archive_of("estore", RESTORED))
    data[len(data) * 2 // 3] ^= 4
    (tmp_path / "flipped.archive").write_bytes(data)
    with unchanged(lab):
        played = playbook(
            "restore_mongo", variables={**variables, "mongo_restore_path": str(tmp_path / "flipped.archive")}
        )
    assert played.rc == 2
    (failed,) = played.failed()
    assert failed["mend"]["rule"] == "archive" and "FAILED (NOTHING CHANGED)" in played.stdout
    assert [line["event"] for line in played.journal() if line["event"] in ("begin", "end")] == ["begin", "end"]


# -- clients


def test_clients_that_write_are_refused_and_named(lab, backup, monkeypatch):
    monkeypatch.undo()  # look for them as long as the product does
    stop = threading.Event()

    def write() -> None:
        with pymongo.MongoClient(lab.uri, appname="the shop") as client:
            while not stop.wait(0.05):
                client[lab.database.name]["orders"].update_one({"_id": 1}, {"$inc": {"n": 1}})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        planned = lab.plan(path=backup)
        refused = lab.act(planned, path=backup)
        allowed = lab.restore(path=backup, allow_writers=True)
    finally:
        stop.set()
        writer.join()
    assert any("the shop" in note for note in planned["plan"]["notes"]), planned["plan"]["notes"]
    assert (refused["state"], refused["mend"]["rule"]) == ("refused", "writers")
    assert allowed["state"] == "done", allowed.get("msg")
    assert any("kept in the old data only" in str(warning) for warning in allowed["warnings"])


@pytest.mark.parametrize("when", ["before the load", "after the load"])
def test_one_write_at_any_time_until_the_swap_is_refused(lab, backup, monkeypatch, when):
    load = mongo_restore.load

    def load_beside_a_client(*args: Any, **kwargs: Any) -> Any:
        loaded = load(*args, **kwargs) if when == "after the load" else None
        lab.database["orders"].update_one({"_id": 1}, {"$inc": {"n": 1}})
        return loaded or load(*args, **kwargs)

    monkeypatch.setattr(mongo_restore, "load", load_beside_a_client)
    result = lab.restore(path=backup)
    assert (result["rc"], result["state"], result["mend"]["rule"]) == (1, "refused", "writers")
    assert f"{lab.database.name}.orders, 1 writes" in result["msg"]
    assert lab.documents("orders")[1] == {"_id": 1, "value": "live", "n": 1}
    assert lab.leftovers() == [] and not lab.locked()


def test_a_long_load_is_ended_soon_after_a_client_begins_to_write(lab, backup, monkeypatch):
    load = mongo_restore.load
    asked = []

    def load_that_never_ends(*_args: Any, cancelled: Any, **_kwargs: Any) -> Any:
        lab.database["orders"].update_one({"_id": 1}, {"$inc": {"n": 1}})
        while len(asked) < 200:
            asked.append(cancelled())
            time.sleep(0.01)

    monkeypatch.setattr(mongo_restore_guards, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(mongo_restore, "load", load_that_never_ends)
    result = lab.restore(path=backup)
    assert (result["state"], result["mend"]["rule"]) == ("refused", "writers")
    assert len(asked) < 50
    monkeypatch.setattr(mongo_restore, "load", load)
    assert lab.restore(path=backup)["state"] == "done"


# -- what is selected


def test_the_same_backup_again_changes_nothing_and_after_one_changed_document_is_a_change(lab, backup):
    assert lab.restore(path=backup)["state"] == "done"
    before = lab.everything()
    again = lab.restore(path=backup)
    assert (again["rc"], again["changed"], again["state"]) == (0, False, "nothing to do")
    assert lab.everything() == before
    lab.database["orders"].update_one({"_id": 3}, {"$set": {"value": "RESTORED"}})
    assert lab.restore(path=backup)["state"] == "done"
    assert lab.documents("orders")[3] == {"_id": 3, "value": "restored"}


@pytest.mark.parametrize("how", ["a document more", "a collection made again", "a view changed"])
def test_what_is_no_longer_the_backup_is_restored_again(lab, tmp_path, how):
    path = tmp_path / "viewed.archive"
    views = {"restored_view": {"viewOn": "orders", "pipeline": [{"$match": {"_id": 1}}]}}
    path.write_bytes(archive_of("estore", RESTORED, views=views))
    assert lab.restore(path=str(path))["state"] == "done"
    restored = lab.picture()
    if how == "a document more":
        lab.database["orders"].insert_one({"_id": "more"})
    elif how == "a collection made again":
        lab.database["orders"].drop()
        lab.database["orders"].insert_many(RESTORED["orders"])
    else:
        lab.database.command({"collMod": "restored_view", "viewOn": "coupons", "pipeline": []})
    assert lab.restore(path=str(path))["state"] == "done"
    assert lab.picture() == restored


def test_a_chosen_and_renamed_collection_leaves_every_other_one_alone(lab, backup):
    before = lab.picture()
    result = lab.restore(path=backup, collections=["orders"], rename={"orders": "orders_yesterday"})
    assert [one["object"] for one in result["done"]] == [f"{lab.database.name}.orders_yesterday"]
    after = lab.picture()
    assert len(lab.documents("orders_yesterday")) == 20
    assert {name: seen for name, seen in after.items() if name != "orders_yesterday"} == before
    assert lab.undo()["state"] == "done"
    assert lab.picture() == before


def test_what_the_backup_lacks_is_kept_or_on_request_moved_aside(lab, backup):
    before = lab.picture()
    planned = lab.plan(path=backup)["plan"]
    assert any("not in the backup, kept: live_view, notes" in note for note in planned["notes"])
    result = lab.restore(path=backup, extra="aside")
    assert result["state"] == "done", result.get("msg")
    assert sorted(lab.picture()) == ["coupons", "orders"]
    assert {one["object"].split(".")[1] for one in result["done"] if one["op"] == "-"} == {"live_view", "notes"}
    assert lab.undo()["state"] == "done"
    assert lab.picture() == before


KINDS: dict[str, dict[str, Any]] = {
    "capped": {"capped": True, "size": 8192, "max": 50},
    "clustered": {"clusteredIndex": {"key": {"_id": 1}, "unique": True}},
    "collated": {"collation": {"locale": "de", "strength": 2}},
    "plain": {},
}


@pytest.mark.parametrize("live", KINDS)
def test_every_kind_of_collection_takes_the_place_of_every_other(lab, tmp_path, live):
    path = tmp_path / "kinds.archive"
    path.write_bytes(archive_of("estore", {kind: numbered(9) for kind in KINDS}, options=KINDS))
    for kind in KINDS:
        lab.database.create_collection(kind, **KINDS[live]).insert_many(numbered(3, "live"))
    before = lab.picture()
    assert lab.restore(path=str(path))["state"] == "done"
    options = {entry["name"]: entry["options"] for entry in lab.database.list_collections()}
    for kind, wanted in KINDS.items():
        assert list(lab.documents(kind).values()) == numbered(9)
        assert {key: options[kind].get(key) for key in wanted if key in ("capped", "max")} == {
            key: value for key, value in wanted.items() if key in ("capped", "max")
        }
        assert ("collation" in options[kind]) == (kind == "collated")
        assert ("clusteredIndex" in options[kind]) == (kind == "clustered")
    assert lab.undo()["state"] == "done"
    assert lab.picture() == before


@pytest.fixture(scope="module")
def ttl_uri(sandbox: Sandbox) -> Iterator[str]:
    """A server whose TTL monitor comes every second instead of every minute."""
    service = Service(name="ttl", replica_set=None, arguments=["--setParameter", "ttlMonitorSleepSecs=1"])
    sandbox.add(service)
    yield service.uri
    sandbox.remove("ttl")


@pytest.fixture
def ttl_lab(ttl_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    restore_lab.quick_writers(monkeypatch)
    with pymongo.MongoClient(ttl_uri) as client:
        lab = Lab(ttl_uri, client, f"estore_{uuid4().hex[:8]}")
        live_data(lab.database)
        yield lab
        client.drop_database(lab.database.name)


def wait_for_the_monitor(lab: Lab) -> None:
    """Return when the TTL monitor has been everywhere since now."""
    canary = lab.database.client["canary"]["expires"]
    canary.create_index("at", expireAfterSeconds=0)
    for _ in range(2):
        canary.insert_one({"at": datetime(2020, 1, 1)})
        deadline = time.monotonic() + 20
        while canary.find_one():
            assert time.monotonic() < deadline, "the monitor never came"
            time.sleep(0.05)


def expired(count: int) -> list[dict[str, Any]]:
    return [{"_id": n, "at": datetime(2020, 1, 1)} for n in range(count)]


def after(monkeypatch: pytest.MonkeyPatch, name: str, then: Callable[[], None]) -> None:
    """Do something once a step of the restore is over."""
    original = getattr(mongo_restore, name)

    def step(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        then()
        return result

    monkeypatch.setattr(mongo_restore, name, step)


TTL_INDEX = {"v": 2, "key": {"at": 1}, "name": "at_ttl", "expireAfterSeconds": 0}


def test_documents_that_have_expired_are_all_there_at_the_swap(ttl_lab, tmp_path, monkeypatch):
    lab, path = ttl_lab, tmp_path / "ttl.archive"
    path.write_bytes(archive_of("estore", {"sessions": expired(40)}, indexes={"sessions": [TTL_INDEX]}))
    counts = []

    def look() -> None:
        wait_for_the_monitor(lab)
        (side,) = [name for name in lab.leftovers() if name.endswith("_sessions")]
        counts.append(lab.database[side].count_documents({}))

    after(monkeypatch, "load", look)
    result = lab.restore(path=str(path))
    assert result["state"] == "done", result.get("msg")
    assert counts == [40]
    assert {one["name"]: one.get("expireAfterSeconds") for one in lab.database["sessions"].list_indexes()}[
        "at_ttl"
    ] == 0


def test_what_expires_right_after_the_swap_is_no_failed_read_back(ttl_lab, tmp_path, monkeypatch):
    lab, path = ttl_lab, tmp_path / "ttl.archive"
    documents = {"sessions": expired(40), "orders": numbered(5)}
    path.write_bytes(archive_of("estore", documents, indexes={"sessions": [TTL_INDEX]}))
    read_back = mongo_restore.read_back

    def late(*args: Any, **kwargs: Any) -> Any:
        wait_for_the_monitor(lab)
        return read_back(*args, **kwargs)

    monkeypatch.setattr(mongo_restore, "read_back", late)
    result = lab.restore(path=str(path))
    assert lab.database["sessions"].count_documents({}) == 0
    assert result["state"] == "done", result.get("msg")


def test_a_document_that_is_lost_between_swap_and_read_back_is_noticed(lab, backup, monkeypatch):
    read_back = mongo_restore.read_back

    def after_a_loss(*args: Any, **kwargs: Any) -> Any:
        lab.database["orders"].delete_one({"_id": 1})
        return read_back(*args, **kwargs)

    monkeypatch.setattr(mongo_restore, "read_back", after_a_loss)
    result = lab.restore(path=backup)
    assert (result["rc"], result["mend"]["reason"], result["mend"]["rule"]) == (1, "verify", "read_back")
    assert "19 documents, 20 were restored" in result["msg"]


def test_the_age_of_a_backup_is_in_the_plan_and_counts_from_now(lab, backup):
    plan = lab.plan(path=backup)["plan"]
    finished = datetime.fromisoformat(plan["source"]["finished"].replace("Z", "+00:00"))
    assert abs((datetime.now(UTC) - finished).total_seconds() - plan["source"]["age_seconds"]) < 60
