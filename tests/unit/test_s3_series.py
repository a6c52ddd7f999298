"""Which keys are one row of backups."""

from __future__ import annotations

import datetime

import pytest
from ansible.module_utils.mendbook.mongo_backup_key import backup_key
from ansible.module_utils.mendbook.s3_series import is_ours, row_name, rows, series
from backup_rows import backup, of_source


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("daily/estore-20261120T000000Z.archive.gz", "daily/estore-*.archive.gz"),
        ("estore-20261120T000000Z.archive.gz", "estore-*.archive.gz"),
        # a part of the database's name
        ("db-20250101-20261120T000000Z.archive.gz", "db-20250101-*.archive.gz"),
        ("daily/estore-2026-11-20.gz", "daily/estore-*.gz"),
        ("daily/estore_2026-11-20_03-00.sql.gz", "daily/estore_*.sql.gz"),
        ("daily/20261120/estore.gz", "daily/*/estore.gz"),
        ("2026/11/20/estore.gz", "*/estore.gz"),
        ("daily/estore.2026-11-20T03:00:00Z.gz", "daily/estore.*.gz"),
        # a folder for each day, month and year
        ("p/2026-11-20/estore-20261120T000000Z.archive.gz", "p/*/estore-*.archive.gz"),
        ("2026/11/20/db-20250101-20261120T000000Z.archive.gz", "*/db-20250101-*.archive.gz"),
        ("p/2026-11/estore-20261120T000000Z.archive.gz", "p/*/estore-*.archive.gz"),
        ("p/2026/11/estore-20261120T000000Z.archive.gz", "p/*/estore-*.archive.gz"),
        # what may be anybody's number
        ("p/2026/estore-20261120T000000Z.archive.gz", "p/2026/estore-*.archive.gz"),
        ("p/2026-13/estore-20261120T000000Z.archive.gz", "p/2026-13/estore-*.archive.gz"),
        ("p/x2026-11/estore-20261120T000000Z.archive.gz", "p/x2026-11/estore-*.archive.gz"),
        ("daily/latest.dump", "daily/*"),
        ("latest.dump", "*"),
        ("shop2/dump1.gz", "shop2/*"),
        # no date: too long a number, another century
        ("a/1234567890123.gz", "a/*"),
        ("a/order-17760704.gz", "a/*"),
    ],
)
def test_the_row_is_the_key_without_its_date(key, row):
    assert series(key) == row


def test_two_databases_are_two_rows_however_alike():
    names = ["estore", "estore2", "estore-test", "estore_20260101", "shop-20260101"]
    assert len({series(f"daily/{name}-20261120T000000Z.archive.gz") for name in names}) == len(names)


@pytest.mark.parametrize("database", ["estore", "Ünïcode", "a b.c", "x-20260101T000000Z", "-"])
def test_every_key_that_backup_mongo_makes_is_ours_and_its_rows_are_apart(database):
    moments = [datetime.datetime(2026, 11, day, tzinfo=datetime.UTC) for day in (1, 2)]
    keys = [backup_key("daily/", database, at) for at in moments]
    assert all(map(is_ours, keys)) and len(set(map(series, keys))) == 1
    assert series(keys[0]) != series(backup_key("daily/", f"{database}2", moments[0]))


@pytest.mark.parametrize(
    "key", ["estore.archive.gz", "estore-20261120.archive.gz", "-20261120T000000Z.archive.gz", "a-20261120T000000Z.gz"]
)
def test_only_the_form_that_backup_mongo_writes_is_ours(key):
    assert not is_ours(key)
    assert is_ours("a-20261120T000000Z.archive.gz") and is_ours("new\nline-20261120T000000Z.archive.gz")


def in_rows(*backups):
    """{name of the row: number of its backups}"""
    return {row_name(row): len(members) for row, members in rows(backups).items()}


def dateless(name, of=None, **more):
    return backup(1, key=f"p/{name}.gz", **(of_source(of) if of else {}), **more)


def test_keys_without_a_date_are_a_row_for_each_database_that_a_manifest_names():
    users, shop = dateless("users-full", "rs0@db1:27017/users"), dateless("shop-1", "rs0@db1:27017/shop")
    again = dateless("before-7", "rs0@db9:27017/users")
    assert in_rows(users, again) == {"p/*": 2}
    assert in_rows(users, again, shop) == {"p/* (users)": 2, "p/* (shop)": 1}


def test_neighbours_whose_manifests_name_no_database_are_apart_and_it_is_said():
    users, nobodys = dateless("users-full", "rs0@db1:27017/users"), dateless("dump")
    assert in_rows(users, nobodys) == {"p/* (users)": 1, "p/* (no manifest says of which database)": 1}
    assert in_rows(nobodys, dateless("other")) == {"p/*": 2}


def test_a_manifest_with_nothing_but_its_collections_says_the_database_too():
    crm = backup(1, key="p/a.gz", manifest={"databases": ["crm"]})
    both = backup(1, key="p/b.gz", manifest={"databases": ["crm", "estore"]})
    assert in_rows(crm, both, dateless("c")) == {
        "p/* (crm)": 1,
        "p/* (crm, estore)": 1,
        "p/* (no manifest says of which database)": 1,
    }


@pytest.mark.parametrize("source", ["estore", "/", "x@y/", "standalone@/tmp/mongodb.sock/estore"])
def test_an_odd_name_of_a_source_is_a_row_of_its_own(source):
    found = in_rows(dateless("a", source), dateless("b", "rs0@db1/shop"))
    assert len(found) == 2 and "p/* (shop)" in found


def test_what_nobody_knows_the_database_of_belongs_to_the_only_one_of_its_dates():
    estore = backup(1, **of_source("rs0@db1/estore"))
    alone = backup(2, complete=None, manifest=None)
    assert in_rows(estore, alone, backup(3)) == {"daily/estore-*.archive.gz": 3}
    # a key of the operator's own that looks like those
    other = backup(4, **of_source("rs0@db1/estore-old"))
    row = "daily/estore-*.archive.gz ({})".format
    assert in_rows(estore, other, alone) == {
        row("estore"): 1,
        row("estore-old"): 1,
        row("no manifest says of which database"): 1,
    }


def test_a_broken_manifest_does_not_rename_the_row_of_the_only_database():
    users = dateless("users-full", "rs0@db1/users")
    assert in_rows(users, dateless("broken", complete=False, manifest=None)) == {"p/*": 2}
