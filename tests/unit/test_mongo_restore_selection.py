"""Which collections of a dump are restored, and under which names."""

from types import SimpleNamespace

import pytest
from ansible.module_utils.mendbook.errors import Nothing, Refused
from ansible.module_utils.mendbook.mongo_restore_selection import select, source_database


def dump(*names, db="estore", types=None):
    types = types or {}
    return {(db, n): SimpleNamespace(db=db, name=n, type=types.get(n, "collection")) for n in names}


def targets(items):
    return {item.source.name: item.target for item in items}


def test_takes_the_database_of_the_same_name_among_several():
    assert source_database({"admin", "estore", "other"}, None, "estore") == "estore"


def test_refuses_a_backup_of_another_application_and_names_the_variable():
    with pytest.raises(Refused, match=r"it has crm and not estore.*-e mongo_restore_source_database=crm"):
        source_database({"admin", "crm"}, None, "estore")


def test_takes_another_database_when_told():
    assert source_database({"crm"}, "crm", "estore") == "crm"


@pytest.mark.parametrize("databases", [set(), {"admin"}, {"config", "local", ""}])
def test_a_dump_without_an_application_is_nothing_to_restore(databases):
    with pytest.raises(Nothing, match="no database of an application"):
        source_database(databases, None, "estore")


def test_a_named_database_that_the_dump_lacks_is_named_with_those_it_has():
    with pytest.raises(Nothing, match="has no database shop; it has: crm, estore"):
        source_database({"crm", "estore"}, "shop", "estore")


def test_everything_but_system_collections_by_default():
    items = select(dump("orders", "users", "system.js", "system.profile"), "estore")
    assert targets(items) == {"orders": "orders", "users": "users"}


def test_users_and_roles_are_no_collections_to_restore():
    found = dump("orders", "$admin.system.users", "$admin.system.roles")
    assert targets(select(found, "estore")) == {"orders": "orders"}
    with pytest.raises(Nothing, match="has no such collection"):
        select(found, "estore", collections=["$admin.system.users"])


def test_a_system_collection_comes_only_when_named():
    assert targets(select(dump("orders", "system.js"), "estore", collections=["system.js"])) == {
        "system.js": "system.js"
    }


def test_collections_of_the_server_are_refused_even_when_named():
    with pytest.raises(Refused, match="belongs to the server"):
        select(dump("system.profile"), "estore", collections=["system.profile"])


def test_exclude_and_rename():
    items = select(dump("a", "b", "c"), "estore", exclude=["b"], rename={"c": "c_old"})
    assert targets(items) == {"a": "a", "c": "c_old"}


def test_another_database_of_the_dump_is_left_out():
    both = {**dump("a"), **dump("b", db="crm")}
    assert targets(select(both, "crm")) == {"b": "b"}


@pytest.mark.parametrize("option", ["collections", "exclude"])
def test_a_misspelt_collection_is_an_error_with_a_suggestion(option):
    with pytest.raises(Nothing, match="names 'order', .* did you mean orders"):
        select(dump("orders", "users"), "estore", **{option: ["order"]})


def test_a_misspelt_rename_is_an_error():
    with pytest.raises(Nothing, match="mongo_restore_rename names 'usr'"):
        select(dump("orders", "users"), "estore", rename={"usr": "x"})


def test_excluding_everything_is_nothing():
    with pytest.raises(Nothing, match="nothing of estore is selected"):
        select(dump("a"), "estore", exclude=["a"])


def test_two_collections_cannot_become_one():
    with pytest.raises(Refused, match="a and b would both become b"):
        select(dump("a", "b"), "estore", rename={"a": "b"})


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("a$b", "dollar"),
        ("__mend_n_1_x", "mendbook's own"),
        ("system.users", "server's own"),
        (".a", "full stop"),
        ("a.", "full stop"),
        ("x" * 249, "256 bytes"),
        ("ü" * 130, "267 bytes"),
    ],
)
def test_hostile_target_names_are_refused_with_the_reason(name, why):
    with pytest.raises(Refused, match=why):
        select(dump("a"), "estore", rename={"a": name})


@pytest.mark.parametrize("name", ["{{ lookup('pipe','id') }}", "a\nb", "-rf", "a b", "\x1b[31m", "x" * 248, "$cmd"[1:]])
def test_odd_names_that_the_server_allows_are_kept_as_they_are(name):
    assert targets(select(dump(name), "estore")) == {name: name}


def test_the_limit_counts_the_database_that_is_written():
    with pytest.raises(Refused, match="260 bytes"):
        select(dump("x" * 248), "estore", target_database="estore_copy")
