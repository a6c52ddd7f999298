"""verify_mongo finds each kind of difference between a database and its manifest, and names it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from ansible.module_utils.mendbook import mongo_content, mongo_verify
from ansible.module_utils.mendbook.mongo_content import manifest_of
from pymongo.database import Database

pytestmark = pytest.mark.e2e
pytest_plugins = ["seeded_shop"]

START = datetime(2026, 1, 1)
PARKED = 2147483647

WRONG: dict[str, tuple[Callable[[Database], Any], str]] = {
    "a missing collection": (lambda d: d.drop_collection("notes"), '"notes" is missing'),
    "a collection under another case": (lambda d: d.notes.rename("Notes"), '"notes" is missing; did you mean "Notes"?'),
    "a missing view": (lambda d: d.drop_collection("active"), '"active" is missing'),
    "one document lost": (lambda d: d.users.delete_one({}), '"users" has 119 documents, expected 120 (1 missing)'),
    "one document doubled": (
        lambda d: d.users.insert_one({"email": "twin@example.com"}),
        '"users" has 121 documents, expected 120 (1 too many)',
    ),
    "one document changed": (
        lambda d: d.users.update_one({"email": "u7@example.com"}, {"$set": {"active": "yes"}}),
        '"users" content differs from the manifest, although the count is right',
    ),
    "one document exchanged": (
        lambda d: (d.notes.delete_one({}), d.notes.insert_one({"_id": "b", "text": "x"})),
        '"notes" content differs from the manifest, although the count is right',
    ),
    "the order of fields changed": (
        lambda d: d.notes.replace_one({}, {"text": "y"}) and d.clustered.replace_one({}, {"x": 1}),
        '"clustered" content differs',
    ),
    "a missing index": (lambda d: d.users.drop_index("email_1"), '"users" index "email_1" is missing'),
    "an index that is too many": (lambda d: d.users.create_index("zip"), '"users" has an index "zip_1" that is not in'),
    "an index that is no longer unique": (
        lambda d: (d.users.drop_index("email_1"), d.users.create_index("email")),
        '"users" index "email_1": unique is absent, expected true',
    ),
    "an index with its keys exchanged": (
        lambda d: (
            d.users.drop_index("active_created"),
            d.users.create_index([("createdAt", -1), ("active", 1)], name="active_created"),
        ),
        '"users" index "active_created": key is',
    ),
    "a hidden index": (
        lambda d: d.command("collMod", "users", index={"name": "partial", "hidden": True}),
        '"users" index "partial": hidden is true, expected absent',
    ),
    "another weight": (
        lambda d: (
            d.users.drop_index("words"),
            d.users.create_index([("name", "text"), ("bio", "text")], weights={"name": 6}, name="words"),
        ),
        '"users" index "words": weights is',
    ),
    "another TTL": (
        lambda d: d.command("collMod", "users", index={"name": "seen_1", "expireAfterSeconds": 7200}),
        '"users" index "seen_1": expireAfterSeconds is 7200, expected 3600',
    ),
    "a parked TTL": (
        lambda d: d.command("collMod", "users", index={"name": "seen_1", "expireAfterSeconds": PARKED}),
        '"users" TTL index "seen_1" is parked at 2147483647 seconds: restore not finished',
    ),
    "a time-series without its TTL": (
        lambda d: d.command("collMod", "metrics", expireAfterSeconds="off"),
        '"metrics" option "expireAfterSeconds" is absent, expected 315360000 (restore not finished',
    ),
    "another validator": (
        lambda d: d.command("collMod", "users", validator={"email": {"$exists": True}}),
        '"users" option "validator" is {"email": {"$exists": true}}',
    ),
    "a weaker validator": (
        lambda d: d.command("collMod", "users", validationAction="warn"),
        '"users" option "validationAction" is "warn", expected "error"',
    ),
    "another view": (
        lambda d: d.command("collMod", "active", viewOn="users", pipeline=[{"$match": {"active": False}}]),
        '"active" option "pipeline" is [{"$match": {"active": false}}]',
    ),
    "a view that became a collection": (
        lambda d: (d.drop_collection("active"), d.active.insert_one({})),
        '"active" type is "collection", expected "view"',
    ),
    "a capped collection with one more": (
        lambda d: d.audit.insert_one({"n": 99}),
        '"audit" has 16 documents, expected 15 (1 too many)',
    ),
    "a capped collection that is not": (
        lambda d: (d.drop_collection("audit"), d.audit.insert_many([{"n": n} for n in range(15)])),
        '"audit" option "capped" is absent, expected true',
    ),
    "another collation": (
        lambda d: (d.drop_collection("notes"), d.notes.insert_one({"_id": "a", "text": "x"})),
        '"notes" option "collation" is absent',
    ),
    "one measurement more": (
        lambda d: d.metrics.insert_one({"t": START, "m": 9, "v": 1}),
        '"metrics" has 201 measurements, expected 200 (1 too many)',
    ),
    "one measurement exchanged": (
        lambda d: (
            d.drop_collection("metrics"),
            d.create_collection("metrics", timeseries={"timeField": "t", "metaField": "m"}),
            d.metrics.insert_many({"t": START + timedelta(minutes=n), "m": n % 3, "v": n + 1} for n in range(200)),
        ),
        '"metrics" content differs from the manifest, although the count is right',
    ),
    "another granularity": (
        lambda d: d.command("collMod", "metrics", timeseries={"granularity": "hours"}),
        '"metrics" option "timeseries" is',
    ),
}


@pytest.mark.parametrize("wrongness", WRONG)
def test_each_kind_of_wrongness_is_found_and_named(shop, verify_shop, wrongness):
    spoil, words = WRONG[wrongness]
    spoil(shop)
    result = verify_shop()
    assert result["rc"] == 1
    assert (result["mend"]["reason"], result["mend"]["details"]["verified"]) == ("verify", False)
    said = result["msg"]
    assert words in said
    assert result["mend"]["details"]["checks"][0]["ok"] is False


def test_what_the_manifest_lacks_is_listed_and_fails_only_when_asked(shop, verify_shop):
    shop.create_collection("later")
    shop.create_collection("__mend_n_0123abcd_users")
    assert verify_shop()["extra"] == ["later"]
    result = verify_shop(extra="fail")
    assert '"later" is not in the manifest' in result["msg"]
    assert result["mend"]["details"]["summary"]["failed"] == 1


def test_a_part_of_the_manifest_and_another_name_of_the_database(shop, run_verify, write_manifest):
    path = write_manifest(manifest_of(shop))
    result = run_verify(database="elsewhere", source_database=shop.name, manifest_file=path, collections=["users"])
    assert '"elsewhere" is not on this server' in result["msg"]
    shop.drop_collection("notes")
    result = run_verify(database=shop.name, manifest_file=path, collections=["users", "metrics"])
    assert (result["rc"], result["summary"]["collections"], result["extra"]) == (0, 2, [])


@pytest.mark.parametrize("phase", ["prepared", "swapping", "undoing"])
def test_an_interrupted_restore_is_a_failure_with_the_command_that_ends_it(shop, verify_shop, phase):
    shop["__mend_m_0123abcd"].insert_many(
        {"_id": n, "number": 1, "token": "0123abcd", "run": "20260101T000000Z-abcdef", "phase": at, "settled": True}
        for n, at in ((1, "staging"), (2, phase))
    )
    result = verify_shop()
    assert f'a restore (run "20260101T000000Z-abcdef") stopped in phase {phase}' in result["msg"]
    assert "playbooks/undo_restore_mongo.yml -e mongo_undo_action=finish" in result["msg"]


@pytest.mark.parametrize(
    "name", ["a\nb", "\x1b[31mred", "{{ lookup('pipe', 'id') }}", "ünï\u202egnp", "a.b", "x" * 180]
)
def test_a_hostile_name_is_compared_like_any_other_and_reaches_no_terminal(shop, run_verify, write_manifest, name):
    shop[name].insert_one({"a": 1})
    shop[name].create_index("a", name=name[:100])
    path = write_manifest(manifest_of(shop, [name]))
    assert run_verify(database=shop.name, manifest_file=path, indexes={name: [name[:100]]})["rc"] == 0
    shop[name].insert_one({"a": 2})
    result = run_verify(database=shop.name, manifest_file=path)
    assert "has 2 documents, expected 1 (1 too many)" in result["msg"]
    assert result["msg"].isascii() and result["msg"].isprintable()
    assert {check["object"] for check in result["mend"]["details"]["checks"] if not check["ok"]} == {name}


def test_a_collection_that_is_replaced_while_it_is_read_is_not_taken_for_another(shop, verify_shop, monkeypatch):
    real = mongo_content.data_place

    def and_then_replaced(seen, name):
        place = real(seen, name)
        if name == "users":
            shop.users.rename("aside")
            shop.users.insert_one({"email": "x@example.com"})
        return place

    monkeypatch.setattr(mongo_verify, "data_place", and_then_replaced)
    result = verify_shop()
    assert '"users" was dropped, renamed or replaced while it was read' in result["msg"]
    assert result["mend"]["rule"] == "changed"


def test_an_index_that_is_being_built_does_not_pass(shop, verify_shop, monkeypatch):
    real = mongo_content.shapes

    def unfinished(*arguments):
        found = real(*arguments)
        found["users"]["building"] = ["email_1"]
        return found

    monkeypatch.setattr(mongo_verify, "shapes", unfinished)
    assert 'index "email_1" is still being built' in verify_shop()["msg"]
