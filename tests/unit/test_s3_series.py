"""Which keys are one row of backups."""

from __future__ import annotations

import datetime

import pytest
from ansible.module_utils.mendbook.mongo_backup_key import backup_key
from ansible.module_utils.mendbook.s3_series import is_ours, series


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
