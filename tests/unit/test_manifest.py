"""A manifest is believed only when every field has its shape; what is wrong is named exactly."""

from __future__ import annotations

import copy
import datetime
import json

import pytest
from ansible.module_utils.mendbook import manifest
from ansible.module_utils.mendbook.errors import MendError

WHOLE = {
    "schema": 1,
    "tool": "mendbook 0.1.0",
    "source": {"id": "rs0@db1:27017/estore", "address": "db1:27017", "version": "6.0.5"},
    "object": {"key": "a.gz", "version_id": None, "size": 5, "sha256": "ab" * 32, "format": "archive+gzip"},
    "cluster_time": {"t": 1763600000, "i": 3},
    "started": "2026-11-20T00:00:00Z",
    "finished": "2026-11-20T00:01:02.5+00:00",
    "consistency": "snapshot",
    "collections": {
        "estore.orders": {
            "type": "collection",
            "options": {},
            "indexes": [{"v": 2, "key": {"b": 1, "a": -1}, "name": "b_1_a_-1"}],
            "count": 12,
            "sum": "0f" * 16,
            "newest": "2026-11-19T23:59:59Z",
        },
        "estore.carts": {"type": "collection", "count": 0, "newest": "unknown"},
        "estore.open": {"type": "view", "options": {"viewOn": "orders"}, "count": None, "sum": None, "newest": None},
    },
}


def parse(document):
    return manifest.parse(json.dumps(document).encode(), "s3://b/a.gz.manifest.json")


def changed(path, value):
    """A whole manifest with the field at ``path`` (names joined by /) replaced, or removed when value is ..."""
    document = copy.deepcopy(WHOLE)
    *parents, last = path.split("/")
    parent = document
    for name in parents:
        parent = parent[name]
    if value is ...:
        del parent[last]
    else:
        parent[last] = value
    return document


def test_a_whole_manifest_keeps_the_order_of_index_keys():
    parsed = parse(WHOLE)
    assert parsed == WHOLE
    assert list(parsed["collections"]["estore.orders"]["indexes"][0]["key"]) == ["b", "a"]


def test_four_fields_are_enough():
    parse({"schema": 1, "object": {"key": "k", "size": 0, "sha256": "0" * 64}, "finished": "2026-11-20T00:00:00Z"})


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("schema", ..., "schema is missing"),
        ("schema", 2, "schema 2 is not 1, the one that this mendbook knows"),
        ("schema", "1", "schema is not a whole number"),
        ("object", ..., "object is missing"),
        ("object", [], "object is not an object"),
        ("object/key", 7, "object.key is not text"),
        ("object/size", ..., "object.size is missing"),
        ("object/size", None, "object.size is not a whole number"),
        ("object/size", 5.0, "object.size is not a whole number"),
        ("object/size", True, "object.size is not a whole number"),
        ("object/size", -1, "object.size is negative"),
        ("object/sha256", "AB" * 32, "object.sha256 is not 64 hexadecimal digits"),
        ("object/sha256", "ab" * 31, "object.sha256 is not 64 hexadecimal digits"),
        ("object/sha256", "ab" * 32 + "\n", "object.sha256 is not 64 hexadecimal digits"),
        ("object/version_id", 3, "object.version_id is not text"),
        ("finished", ..., "finished is missing"),
        ("finished", "yesterday", "finished is not a moment with a time zone"),
        ("finished", "2026-11-20T00:00:00", "finished is not a moment with a time zone"),
        ("finished", "2026-02-30T00:00:00Z", "finished is day is out of range"),
        ("started", 1763600000, "started is not text"),
        ("source", "db1", "source is not an object"),
        ("source/id", {}, "source.id is not text"),
        ("consistency", "maybe", "consistency is neither snapshot nor per_collection"),
        ("collections", [], "collections is not an object"),
        ("collections/estore.orders", None, "collections['estore.orders'] is not an object"),
        ("collections/orders", {"type": "collection"}, "collections['orders'] is not database.collection"),
        ("collections/a.\0b", {"type": "collection"}, "is not database.collection"),
        ("collections/estore.orders/type", "table", ".type is not collection, view or timeseries"),
        ("collections/estore.orders/options", [], ".options is not an object"),
        ("collections/estore.orders/indexes", {}, ".indexes is not a list"),
        ("collections/estore.orders/indexes", [{"name": "x"}], ".indexes[0] has no key"),
        ("collections/estore.orders/count", "12", ".count is not a whole number"),
        ("collections/estore.orders/count", -12, ".count is negative"),
        ("collections/estore.orders/sum", "0f", ".sum is not 32 hexadecimal digits"),
        ("collections/estore.orders/newest", 0, ".newest is not text"),
        ("collections/estore.orders/newest_field", 3, ".newest_field is not text"),
        ("collections/estore.orders/buckets", -1, ".buckets is negative"),
        ("collections/estore.orders/snapshot", "no", ".snapshot is not true or false"),
    ],
)
def test_what_is_wrong_is_named(path, value, words):
    with pytest.raises(MendError) as caught:
        parse(changed(path, value))
    assert words in caught.value.msg
    assert caught.value.msg.startswith("The manifest s3://b/a.gz.manifest.json cannot be used: ")
    assert caught.value.rule == "manifest"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe{}", "it is not UTF-8 at byte 0"),
        (b"{", "it is not JSON: Expecting property name"),
        (b"[1]", "it is not a JSON object"),
        (b'{"schema": 1, "schema": 1}', "a name stands twice"),
        (b'{"schema": NaN}', "NaN is not a number"),
        (b'{"schema": ' + b"9" * 5000 + b"}", "it is not JSON that can be read"),
        (b"[" * 100_000, "it is not JSON that can be read"),
        (b" " * (manifest.MAX_BYTES + 1), "more than the 4194304"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_what_is_no_manifest_is_an_error_in_words(data, words):
    with pytest.raises(MendError, match=words):
        manifest.parse(data, "m")


def test_the_head_counts_the_collections_and_drops_them():
    head = manifest.head(WHOLE)
    assert "collections" not in head and head["collection_count"] == 3 and head["databases"] == ["estore"]
    assert "collections" in WHOLE


def test_the_head_knows_the_databases_of_the_collections_and_none_where_none_are_described():
    described = {"crm.a": {"type": "view"}, "estore.x.y": {"type": "view"}, "crm.b": {"type": "view"}}
    assert manifest.head({**WHOLE, "collections": described})["databases"] == ["crm", "estore"]
    for nothing in ({}, None):
        assert manifest.head({**WHOLE, "collections": nothing})["databases"] == []


def test_keys_of_manifests_and_objects_belong_together():
    assert manifest.object_key(manifest.manifest_key("x/a.gz")) == "x/a.gz"
    assert manifest.object_key("x/a.gz") is None
    assert manifest.object_key(".manifest.json") is None


@pytest.mark.parametrize(
    "text", ["2026-11-20T01:02:03Z", "2026-11-20 01:02:03z", "2026-11-20T02:02:03+0100", "2026-11-20T01:02:03.0000009Z"]
)
def test_moments_of_many_writers_are_one(text):
    assert manifest.moment(text) == datetime.datetime(2026, 11, 20, 1, 2, 3, tzinfo=datetime.UTC)
