"""restore_mongo against servers, operators and clients that are not as they should be."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mend_mongo_restore
import pymongo
import pytest
from ansible.module_utils.mendbook import lock, mongo
from ansible.module_utils.mendbook.errors import Refused
from ansible.module_utils.mendbook.lock import MongoLease

import restore_lab
from mendbook.sandbox import Sandbox
from mendbook.sandbox.services.mongo import Service
from restore_lab import RESTORED, Lab, archive_of, live_data, numbered, run_module, unchanged

pytestmark = pytest.mark.e2e


def uri_with(uri: str, **changed: str) -> str:
    """The sandbox's connection string with another password or address."""
    user, _, rest = uri.removeprefix("mongodb://").partition(":")
    password, _, hosts = rest.rpartition("@")
    address, _, options = hosts.partition("/")
    return f"mongodb://{user}:{changed.get('password', password)}@{changed.get('address', address)}/{options}"


@pytest.mark.parametrize(
    ("changed", "seconds", "rule", "words"),
    [
        ({"password": "canary-wrong"}, 60, "mongo_authentication", "check username and password"),
        # these are waited for to the end
        ({"address": "127.0.0.1:9"}, 5, "mongo_refused", "check host and port"),
        ({"address": "no-such-host.invalid:27017"}, 5, "mongo_dns", "cannot be resolved"),
    ],
)
def test_a_server_that_cannot_be_used_is_named_with_what_to_check(lab, backup, changed, seconds, rule, words):
    uri = uri_with(lab.uri, **changed)
    with unchanged(lab):
        result = lab.restore(path=backup, uri=uri, connect_timeout_seconds=seconds)
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
    monkeypatch.setattr(mongo, "_SELECTION_SECONDS", 5)
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
    result = lab.restore(path=backup, connect_timeout_seconds=5)
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
