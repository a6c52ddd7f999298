# SPDX-License-Identifier: MIT
"""Metadata: exact types from extended JSON of both versions, and names that no server could have held."""

from __future__ import annotations

import json
from datetime import datetime

import bson
import pytest
from ansible.module_utils.mendbook.dump_metadata import check_namespace, collection_from, decode_json, shown
from ansible.module_utils.mendbook.errors import MendError
from bson import Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

from dump_writer import metadata

CANONICAL = '"v": {"$numberInt": "2"}, "collectionName": "x", '


def canonical(fragment):
    return decode_json("{" + CANONICAL + f'"value": {fragment}' + "}", "dump")["value"]


def legacy(fragment):
    return decode_json('{"v": 2, "value": ' + fragment + "}", "dump")["value"]


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ('{"$numberInt": "1"}', 1, int),
        ('{"$numberLong": "5"}', 5, Int64),
        ('{"$numberDouble": "1.0"}', 1.0, float),
        ('{"$numberDecimal": "1.10"}', Decimal128("1.10"), Decimal128),
        ('{"$oid": "%s"}' % ("a" * 24), ObjectId("a" * 24), ObjectId),
        ('{"$date": {"$numberLong": "1000"}}', datetime(1970, 1, 1, 0, 0, 1), datetime),
        ('{"$timestamp": {"t": 5, "i": 6}}', Timestamp(5, 6), Timestamp),
        ('{"$minKey": 1}', MinKey(), MinKey),
        ('{"$maxKey": 1}', MaxKey(), MaxKey),
        ('{"$regularExpression": {"pattern": "^a", "options": "i"}}', Regex("^a", "i"), Regex),
    ],
)
def test_canonical_values_get_their_exact_type(text, value, kind):
    assert canonical(text) == value
    assert type(canonical(text)) is kind


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"$numberLong": "5"}', Int64(5)),
        ("1", 1),
        ("-1.0", -1.0),
        ('{"$oid": "%s"}' % ("b" * 24), ObjectId("b" * 24)),
        ('{"$date": 1000}', datetime(1970, 1, 1, 0, 0, 1)),
        ('{"$regex": "^a", "$options": "i"}', Regex("^a", "i")),
        ('{"$binary": "AQI=", "$type": "00"}', b"\x01\x02"),
    ],
)
def test_the_older_extended_json_is_understood(text, value):
    assert legacy(text) == value


def test_query_operators_in_a_validator_stay_operators():
    validator = '{"name": {"$regex": "^a", "$options": "i"}, "age": {"$type": "int"}, "tag": {"$regex": "x"}}'
    assert canonical(validator) == json.loads(validator)


def test_dates_that_python_cannot_hold_survive():
    value = canonical('{"$date": {"$numberLong": "-99999999999999"}}')
    assert bson.decode(bson.encode({"a": value}), bson.CodecOptions(datetime_conversion=3))["a"] == value


def test_the_order_of_keys_is_kept():
    text = metadata("x").replace('"_id": 1', '"b": 1, "a": -1, "c": 1')
    assert list(collection_from("db", "x", text, "dump").indexes[0]["key"]) == ["b", "a", "c"]


def test_views_and_time_series_are_told_by_their_options():
    view = collection_from(
        "db", "v", metadata("v", options={"viewOn": "x", "pipeline": []}, kind="view"), "dump", "view"
    )
    assert (view.type, view.data_name) == ("view", "v")
    series = collection_from(
        "db", "m", metadata("m", options={"timeseries": {"timeField": "t"}}, kind="timeseries"), "dump"
    )
    assert (series.type, series.data_name, series.namespace) == (
        "timeseries",
        "system.buckets.m",
        ("db", "system.buckets.m"),
    )


def test_dead_options_of_old_dumps_are_left_out():
    text = metadata("x", options={"create": "x", "temp": False, "autoIndexId": True, "flags": 1, "capped": True})
    collection = collection_from("db", "x", text, "dump")
    assert collection.options == {"capped": True}
    assert collection.capped


def test_metadata_of_old_tools_without_name_and_type_is_understood():
    collection = collection_from("db", "x", '{"options": {}, "indexes": []}', "dump", checked=False)
    assert (collection.type, collection.indexes, collection.options) == ("collection", [], {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"$oid": "%s"}' % ("a" * 24),
        '{"options": [], "indexes": []}',
        '{"options": {"a": {"$oid": "short"}}, "indexes": []}',
        '{"indexes": {}}',
        '{"indexes": [7]}',
        '{"indexes": [{"name": "a"}]}',
        '{"indexes": [{"key": {}, "name": "a"}]}',
        '{"indexes": [{"key": {"a": 1}}]}',
        '{"indexes": [{"key": {"a": 1}, "name": 5}]}',
        '{"indexes": [{"key": {"a": {"$numberInt": "x"}}, "name": "a"}]}',
        '{"indexes": [{"key": {"a": {"$numberDecimal": "x"}}, "name": "a"}]}',
        '{"options": {"viewOn": "y"}, "indexes": [], "type": "collection"}',
        '{"indexes": [], "collectionName": "other"}',
        '{"options": {"a": ' + "[" * 100_000 + "}",
    ],
)
def test_unreadable_metadata_names_where_it_stands(text):
    with pytest.raises(MendError, match="^latest.dump, db.x: ") as caught:
        collection_from("db", "x", text, "latest.dump, db.x")
    assert caught.value.rule == "archive"


def test_a_missing_list_of_indexes_is_refused_where_nothing_else_would_show_its_loss():
    with pytest.raises(MendError, match="no list of indexes"):
        collection_from("db", "x", '{"options": {}}', "dump", checked=False)


@pytest.mark.parametrize(
    ("db", "name"),
    [
        ("shop", "users"),
        ("shop", "a.b.c"),
        ("shop", "ünïcødé 漢字"),
        ("shop", "with space"),
        ("shop", "system.buckets.m"),
    ]
    + [("admin", "system.users"), ("shop", "$admin.system.users"), ("", "oplog"), ("a" * 63, "b" * 191)],
)
def test_names_that_a_server_can_have_are_let_through(db, name):
    check_namespace(db, name, "dump")


@pytest.mark.parametrize(
    ("db", "name", "words"),
    [
        ("", "users", "impossible database name"),
        ("", "oplog2", "impossible database name"),
        ("a/b", "users", "impossible database name"),
        ("..", "users", "impossible database name"),
        ("a\x00", "users", "impossible database name"),
        ("$external", "users", "impossible database name"),
        ("a" * 64, "users", "impossible database name"),
        ("shop", "", "impossible collection name"),
        ("shop", "a\x00b", "impossible collection name"),
        ("shop", ".users", "empty part"),
        ("shop", "users.", "empty part"),
        ("shop", "a..b", "empty part"),
        ("shop", "$cmd", "a \\$ in its"),
        ("shop", "a$b", "a \\$ in its"),
        ("shop", "system.buckets.$admin.system.users", "a \\$ in its"),
        ("shop", "x" * 251, "longer than the 255 bytes"),
        ("shop", "é" * 126, "longer than the 255 bytes"),
        (None, "users", "is not text"),
        ("shop", 7, "is not text"),
    ],
)
def test_impossible_names_are_refused(db, name, words):
    with pytest.raises(MendError, match=words):
        check_namespace(db, name, "dump")


@pytest.mark.parametrize(
    "hostile", ["\x1b[31mred", "line\nbreak", "\u202egnp.exe", "\x07", "\u2028", "\ud800", "\u200f"]
)
def test_names_are_shown_without_anything_that_moves_a_terminal(hostile):
    text = shown(("shop", hostile))
    assert text.isprintable()
    assert text.startswith("shop.")
    text.encode()


def test_shown_keeps_letters_of_every_language_and_is_short():
    assert shown(("shop", "ünïcødé漢字")) == "shop.ünïcødé漢字"
    assert len(shown("x" * 70_000)) == 400
