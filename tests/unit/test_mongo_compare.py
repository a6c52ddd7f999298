"""The comparison of a collection with its manifest: exact where it matters, blind where a difference means nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ansible.module_utils.mendbook.mongo_compare import (
    PARKED_TTL,
    Check,
    compare_count,
    compare_shape,
    compare_sum,
    extended,
    normal,
    parked_ttls,
    same,
)
from bson import Decimal128, Int64, ObjectId, Regex

COLLATION = {"locale": "de", "strength": 2}


def entry(type="collection", options=None, indexes=(), **more):
    return {"type": type, "options": options or {}, "indexes": list(indexes), **more}


def index(name="i", key=None, **options):
    return {"v": 2, "key": key or {"a": 1}, "name": name, **options}


def differences(expected, found):
    return [check.words for check in compare_shape("orders", expected, found) if not check.ok]


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (index(), index(v=1)),
        (index(ns="estore.orders"), index()),
        (index(background=True), index()),
        (index(), index(unique=False, sparse=False, hidden=False)),
        (index(unique=1), index(unique=True)),
        (index(key={"a": 1.0}), index(key={"a": 1})),
        (index(expireAfterSeconds=3600.0), index(expireAfterSeconds=3600)),
        (index(key={"a": {"$numberInt": "1"}}), index()),
        (index(collation=COLLATION), index(collation=dict(reversed(list(COLLATION.items()))))),
        (index(weights={"a": 1, "b": 2}), index(weights={"b": 2, "a": 1})),
        (
            index(partialFilterExpression={"at": {"$gt": {"$date": {"$numberLong": "0"}}}}),
            index(partialFilterExpression={"at": {"$gt": {"$date": "1970-01-01T00:00:00Z"}}}),
        ),
    ],
)
def test_differences_between_indexes_that_mean_nothing_are_ignored(expected, found):
    assert differences(entry(indexes=[expected]), entry(indexes=[found])) == []


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        (
            index(key={"a": 1, "b": 1}),
            index(key={"b": 1, "a": 1}),
            'key is {"b": 1, "a": 1}, expected {"a": 1, "b": 1}',
        ),
        (index(key={"a": 1}), index(key={"a": -1}), "key is"),
        (index(key={"a": "hashed"}), index(key={"a": 1}), "key is"),
        (
            index(key={"a": "2dsphere"}, **{"2dsphereIndexVersion": 3}),
            index(key={"a": "2dsphere"}),
            "2dsphereIndexVers",
        ),
        (index(unique=True), index(), "unique is absent, expected true"),
        (index(), index(unique=True), "unique is true, expected absent"),
        (index(sparse=True), index(), "sparse is absent"),
        (index(hidden=True), index(), "hidden is absent"),
        (index(expireAfterSeconds=60), index(expireAfterSeconds=61), "expireAfterSeconds is 61, expected 60"),
        (index(expireAfterSeconds=0), index(), "expireAfterSeconds is absent, expected 0"),
        (index(), index(expireAfterSeconds=0), "expireAfterSeconds is 0, expected absent"),
        (index(collation=COLLATION), index(collation={**COLLATION, "strength": 3}), "collation is"),
        (index(collation=COLLATION), index(), "collation is absent"),
        (index(weights={"a": 1}), index(weights={"a": 2}), "weights is"),
        (index(wildcardProjection={"a": 1}), index(wildcardProjection={"a": 0}), "wildcardProjection is"),
        (
            index(partialFilterExpression={"a": True}),
            index(partialFilterExpression={"a": 1}),
            'partialFilterExpression is {"a": 1}, expected {"a": true}',
        ),
        (
            index(partialFilterExpression={"a": {"x": 1, "y": 2}}),
            index(partialFilterExpression={"a": {"y": 2, "x": 1}}),
            "partialFilterExpression is",
        ),
    ],
)
def test_a_different_index_is_named(expected, found, words):
    (said,) = differences(entry(indexes=[expected]), entry(indexes=[found]))
    assert said.startswith('index "i": ')
    assert words in said


def test_a_missing_index_is_named_with_its_twin():
    (said,) = differences(entry(indexes=[index("by_a")]), entry(indexes=[]))
    assert said == 'index "by_a" is missing'
    missing, extra = differences(entry(indexes=[index("by_a")]), entry(indexes=[index("a_1")]))
    assert missing == 'index "by_a" is missing (its key is indexed under the name "a_1")'
    assert extra.startswith('has an index "a_1" that is not in the manifest')


def test_an_unfinished_index_does_not_pass():
    found = entry(indexes=[index()], building=["i"])
    assert differences(entry(indexes=[index()]), found) == ['index "i" is still being built']


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({}, {"capped": False}),
        ({"size": 1048576.0}, {"size": 1048576}),
        ({"validator": {"a": 1}}, {"validator": {"a": 1}, "validationLevel": "strict", "validationAction": "error"}),
        ({}, {"changeStreamPreAndPostImages": {"enabled": False}}),
        ({"uuid": "x"}, {}),
        ({"timeseries": {"timeField": "t", "metaField": "m"}}, {"timeseries": {"metaField": "m", "timeField": "t"}}),
        (
            {"validator": {"e": {"$regularExpression": {"pattern": "@", "options": "i"}}}},
            {"validator": {"e": {"$regex": "@", "$options": "i"}}},
        ),
    ],
)
def test_differences_between_options_that_mean_nothing_are_ignored(expected, found):
    assert differences(entry(options=expected), entry(options=found)) == []


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        ({"capped": True, "size": 4096}, {}, 'option "capped" is absent, expected true'),
        ({"max": 5}, {"max": 6}, 'option "max" is 6, expected 5'),
        ({"validator": {"a": 1}}, {}, 'option "validator" is absent, expected {"a": 1}'),
        ({}, {"validator": {"a": 1}}, 'option "validator" is {"a": 1}, expected absent'),
        ({"validator": {"a": 1, "b": 2}}, {"validator": {"b": 2, "a": 1}}, 'option "validator"'),
        ({"validator": {"a": 1}}, {"validator": {"a": 1}, "validationAction": "warn"}, 'is "warn", expected "error"'),
        ({"collation": COLLATION}, {"collation": {"locale": "fr"}}, 'option "collation"'),
        ({"timeseries": {"timeField": "t"}}, {"timeseries": {"timeField": "u"}}, 'option "timeseries"'),
        ({"expireAfterSeconds": 60}, {"expireAfterSeconds": 61}, 'option "expireAfterSeconds" is 61, expected 60'),
    ],
)
def test_a_different_option_is_named(expected, found, words):
    assert words in "\n".join(differences(entry(options=expected), entry(options=found)))


@pytest.mark.parametrize(
    "found",
    [
        {"viewOn": "users", "pipeline": [{"$match": {"a": 1}}]},
        {"viewOn": "orders", "pipeline": [{"$match": {"a": 2}}]},
        {"viewOn": "orders", "pipeline": []},
        {"viewOn": "orders", "pipeline": [{"$match": {"a": 1}}], "collation": {"locale": "de"}},
    ],
)
def test_a_changed_view_is_found(found):
    expected = {"viewOn": "orders", "pipeline": [{"$match": {"a": 1}}]}
    assert differences(entry("view", expected), entry("view", expected)) == []
    assert len(differences(entry("view", expected), entry("view", found))) == 1


def test_another_type_is_all_that_is_said():
    assert differences(entry("view", {"viewOn": "a"}), entry()) == ['type is "collection", expected "view"']


def test_a_parked_ttl_says_that_restore_is_not_finished():
    found = entry(indexes=[index(expireAfterSeconds=PARKED_TTL)])
    expected = entry(indexes=[index(expireAfterSeconds=60)])
    assert differences(expected, found) == []
    said = [check.words for check in parked_ttls("orders", found, expected)]
    assert said == ['TTL index "i" is parked at 2147483647 seconds: restore not finished']
    assert len(parked_ttls("orders", found)) == 1


def test_a_ttl_that_the_manifest_has_at_that_value_is_not_parked():
    found = entry(indexes=[index(expireAfterSeconds=PARKED_TTL)])
    assert parked_ttls("orders", found, found) == []
    assert differences(found, found) == []


def test_a_collection_that_has_lost_its_ttl_may_be_an_unfinished_restore():
    (said,) = differences(entry(options={"expireAfterSeconds": 60}), entry())
    assert said == 'option "expireAfterSeconds" is absent, expected 60 (restore not finished, or switched off)'


@pytest.mark.parametrize(
    ("expected", "found", "words"),
    [
        (5, 4, "has 4 documents, expected 5 (1 missing)"),
        (5, 7, "has 7 documents, expected 5 (2 too many)"),
        (9_000_000_000_000, 0, "(9000000000000 missing)"),
    ],
)
def test_a_different_count_says_how_many(expected, found, words):
    check = compare_count("orders", expected, found)
    assert not check.ok
    assert words in check.words


def test_a_different_sum_with_the_right_count_says_what_that_means():
    assert compare_sum("orders", "aa", "aa", counts_agree=True).ok
    assert "changed or exchanged" in compare_sum("orders", "aa", "ab", counts_agree=True).words
    assert "changed or exchanged" not in compare_sum("orders", "aa", "ab", counts_agree=False).words


@pytest.mark.parametrize(
    ("left", "right"), [(1, True), (0, False), ("1", 1), (None, 0), ([1, 2], [2, 1]), ([1], [1, 1]), ({"a": 1}, {})]
)
def test_values_that_differ_are_not_the_same(left, right):
    assert not same(left, right)


def test_every_bson_value_survives_the_way_through_json():
    value = {
        "a": Int64(2**60),
        "b": Decimal128("1.50"),
        "c": ObjectId("0123456789abcdef01234567"),
        "d": datetime(2026, 1, 1, tzinfo=UTC),
        "e": Regex("^a", "i"),
        "f": float("nan"),
        "g": [1, 1.5, None, True, {"z": 1, "y": 2}],
    }
    assert same(normal(extended(value)), normal(extended(value)))
    assert extended(value)["a"] == 2**60
    assert list(extended(value)["g"][4]) == ["z", "y"]


@pytest.mark.parametrize("value", [{"$oid": "no"}, {"$date": "never"}, {"$numberInt": 5}, {"$binary": 5}])
def test_a_document_that_only_looks_like_extended_json_is_compared_as_it_is(value):
    assert normal({"a": value}) == {"a": value}


def test_a_huge_value_does_not_flood_the_result():
    facts = Check("option validator", "orders", {"a": "x" * 100_000}, None, False).facts()
    assert len(facts["expected"]) < 2100


def test_what_the_manifest_leaves_out_is_unknown_and_not_expected_to_be_empty():
    found = {"type": "collection", "options": {"capped": True}, "indexes": [{"key": {"_id": 1}, "name": "_id_"}]}
    assert all(check.ok for check in compare_shape("orders", {"type": "collection"}, found))
    stated = compare_shape("orders", {"type": "collection", "options": {}, "indexes": []}, found)
    assert [check.name for check in stated if not check.ok] == ["option capped", "index _id_"]
