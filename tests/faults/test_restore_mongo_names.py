"""restore_mongo and what documents and names in a backup can do: come back exactly, or be refused in words."""

from __future__ import annotations

import json

import bson
import pymongo
import pytest
from ansible.module_utils.mendbook import mongo_leftovers

import dump_writer
from restore_lab import RESTORED, archive_of, numbered, unchanged

pytestmark = pytest.mark.faults

YEARS = 10 * 366 * 86400


def test_a_unique_index_that_the_data_violates_is_named_with_its_key(lab, backup):
    documents = [{"_id": 1, "sku": "a"}, {"_id": 2, "sku": "b"}, {"_id": 3, "sku": "b"}]
    index = {"v": 2, "key": {"sku": 1}, "name": "sku_unique", "unique": True}
    path = backup(archive_of("estore", {"coupons": [], "orders": documents}, indexes={"orders": [index]}))
    with unchanged(lab):
        result = lab.restore(path=path)
    assert (result["rc"], result["mend"]["rule"], result["mend"]["details"]["code"]) == (1, "mongo_index", 11000)
    assert "estore.orders" in result["msg"] and "sku_unique" in result["msg"] and '"b"' in result["msg"]


def test_a_document_that_is_there_twice_is_named(lab, backup):
    with unchanged(lab):
        result = lab.restore(path=backup(archive_of("estore", {"orders": [{"_id": 7}, {"_id": 8}, {"_id": 7}]})))
    assert (result["rc"], result["mend"]["rule"]) == (1, "mongo_duplicate")
    assert "_id 7" in result["msg"]


def test_documents_that_violate_their_validator_come_back_as_they_were(lab, backup):
    options = {"orders": {"validator": {"total": {"$gt": 0}}, "validationLevel": "strict"}}
    documents = [{"_id": n, "total": -n} for n in range(9)]
    result = lab.restore(path=backup(archive_of("estore", {"orders": documents}, options=options)))
    assert result["state"] == "done", result.get("msg")
    assert list(lab.documents("orders").values()) == documents
    with pytest.raises(pymongo.errors.WriteError):
        lab.database["orders"].insert_one({"total": -1})


NAMES = [
    "{{ lookup('pipe', 'touch /tmp/mendbook-was-here') }}",
    "{% raw %}",
    "$(touch mendbook-was-here)".replace("$", ""),
    "-oProxyCommand=x",
    "two\nlines",
    "\x1b[31mred\x1b[0m",
    "\u202eegnaro",
    "a.b.c",
    "with 'quotes\" and\\slashes/",
    " ",
    "%s%n",
    "système",
    "n" * 200,
]


def test_hostile_names_come_back_under_exactly_their_names(lab, backup):
    collections = {name: numbered(2, str(number)) for number, name in enumerate(NAMES)}
    for _ in range(2):
        lab.database.client.drop_database(lab.database.name)
        lab.database[NAMES[0]].insert_one({"live": True})
        before = lab.picture()
        result = lab.restore(path=backup(archive_of("estore", collections)))
        assert result["state"] == "done", result.get("msg")
        assert sorted(lab.picture()) == sorted(NAMES)
        for name, documents in collections.items():
            assert list(lab.documents(name).values()) == documents
        assert "\x1b" not in json.dumps(result["plan"]["notes"], ensure_ascii=False)
        assert lab.undo()["state"] == "done"
        assert lab.picture() == before


@pytest.mark.parametrize(
    "name", ["n" * 240, "a$b", "nul\0l", "..", "a..b", ".x", "__mend_n_x_orders", "__mend_lock", "$admin.system.evil"]
)
def test_names_that_cannot_be_are_refused_before_anything_is_made(lab, backup, name):
    entry = dump_writer.entry("estore", name, dump_writer.metadata(name))
    parts = [dump_writer.MAGIC, dump_writer.prelude(), entry, dump_writer.TERMINATOR]
    data = b"".join([*parts, dump_writer.block("estore", name, []), dump_writer.end("estore", name, [])])
    with unchanged(lab):
        result = lab.restore(path=backup(data))
    assert (result["rc"], result["changed"]) == (1, False)
    assert result["mend"]["rule"] in ("archive", "names", "rename", "collections")
    assert not set(result["msg"]) & {"\0", "\n", "\x1b"}


def test_users_of_another_database_are_never_brought_along(lab, backup):
    evil = [
        bson.encode({"_id": "admin.evil", "user": "evil", "db": "admin", "roles": [{"role": "root", "db": "admin"}]})
    ]
    entry = dump_writer.entry("admin", "system.users", dump_writer.metadata("system.users"))
    data = archive_of("estore", RESTORED)
    head, blocks = data.split(dump_writer.TERMINATOR, 1)
    blocks += dump_writer.block("admin", "system.users", evil) + dump_writer.end("admin", "system.users", evil)
    users = lab.database.client.admin.command("usersInfo", 1)["users"]
    result = lab.restore(path=backup(head + entry + dump_writer.TERMINATOR + blocks))
    assert result["state"] == "done", result.get("msg")
    assert lab.database.client.admin.command("usersInfo", 1)["users"] == users
    assert any("users" in note for note in result["plan"]["notes"])


def test_the_old_data_past_its_time_is_dropped_by_the_next_run(lab, backup):
    assert lab.restore(path=backup(archive_of("estore", RESTORED)), keep_seconds=0)["state"] == "done"
    assert [name for name in lab.leftovers() if not name.startswith("__mend_m_")] == []
    assert not mongo_leftovers.expired(lab.database)
