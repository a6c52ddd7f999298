"""What verify decides without a server: which manifest, which part of it, and what it says about the differences."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from ansible.module_utils.mendbook import mongo_content, mongo_verify
from ansible.module_utils.mendbook.errors import MendError, Nothing, Refused
from ansible.module_utils.mendbook.mongo_compare import Check
from ansible.module_utils.mendbook.mongo_verify_manifest import read_manifest, select_entries

ENTRY = {"type": "collection", "options": {}, "indexes": [], "count": 1, "sum": "0" * 32, "newest": "unknown"}
MANIFEST = {
    "schema": 1,
    "object": {"key": "daily/estore.archive.gz", "size": 1, "sha256": "0" * 64},
    "finished": "2026-01-01T00:00:00Z",
    "collections": {"estore.orders": ENTRY, "estore.a.b": ENTRY, "crm.people": ENTRY},
    "source_of": "m.json",
}
PARAMS = {"uri": "mongodb://127.0.0.1:1/", "database": "estore", "collections": []}


@pytest.fixture
def manifest_file(tmp_path):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(MANIFEST))
    return str(path)


@pytest.fixture
def no_server(monkeypatch):
    """Nothing may be contacted before what was asked for is known to make sense."""

    @contextmanager
    def connect(params, run=None):
        pytest.fail("connected")
        yield

    monkeypatch.setattr(mongo_verify, "connect", connect)


def opened(**params):
    with mongo_verify.Verify({**PARAMS, **params}).open({**PARAMS, **params}):
        pass


@pytest.mark.usefixtures("no_server")
@pytest.mark.parametrize(
    ("params", "kind", "words"),
    [
        ({}, Nothing, "verify what? Name a manifest"),
        ({"critical": [], "min_counts": {}, "newest": {}, "indexes": {}}, Nothing, "verify what?"),
        ({"collections": ["orders"]}, Nothing, "collections chooses from a manifest"),
        ({"newest": {"orders": {"age": 5}}}, Refused, 'no field "age"'),
        ({"critical": ["x"], "time_fields": {"orders": "$a"}}, Refused, "time_fields"),
        ({"manifest_file": "m.json"}, Refused, "must be an absolute path"),
        ({"manifest_file": "/nowhere/m.json"}, MendError, "cannot be read: No such file"),
    ],
)
def test_refuses_before_anything_is_contacted(params, kind, words):
    with pytest.raises(kind) as caught:
        opened(**params)
    assert words in caught.value.msg


@pytest.mark.usefixtures("no_server")
@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"database": "estor"}, 'has no database "estor"; it has "crm", "estore": say which with source_database'),
        ({"source_database": "shop"}, 'has no database "shop"'),
        ({"collections": ["Orders"]}, 'no collection "Orders" in "estore"; did you mean "orders"?'),
    ],
)
def test_a_selection_that_matches_nothing_names_what_there_is(manifest_file, params, words):
    with pytest.raises(Nothing) as caught:
        opened(manifest_file=manifest_file, **params)
    assert words in caught.value.msg


@pytest.mark.usefixtures("no_server")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        (json.dumps({**MANIFEST, "schema": 2}), "schema 2 is not 1"),
        (json.dumps({**MANIFEST, "collections": {"estore.orders": {}}}), "type is not collection, view or timeseries"),
        (json.dumps({"database": "estore", "collections": {"orders": {"dbHash": "0"}}}), "schema is missing"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(tmp_path, text, words):
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(MendError) as caught:
        opened(manifest_file=str(path))
    assert words in caught.value.msg
    assert caught.value.rule == "manifest"


def test_a_manifest_without_collections_is_nothing_to_compare_with():
    with pytest.raises(Nothing) as caught:
        select_entries({**MANIFEST, "collections": None}, "estore")
    assert "describes no collections" in caught.value.msg


def test_selects_the_part_of_one_database(manifest_file):
    manifest = read_manifest({"manifest_file": manifest_file})
    assert manifest["source_of"] == manifest_file
    assert list(select_entries(manifest, "estore")) == ["orders", "a.b"]
    assert list(select_entries(manifest, "estore", ["a.b"])) == ["a.b"]


def failed(number):
    return [Check("count", f"c{one}", 1, 0, False, f"has {one}") for one in range(number)]


def test_the_verdict_names_the_first_differences_and_counts_the_rest():
    assert mongo_verify.verdict_words("t", failed(1), 9) == (
        't is not what it should be, 1 of 9 checks failed: "c0" has 0'
    )
    words = mongo_verify.verdict_words("t", failed(20_000), 30_000)
    assert words.endswith('"c4" has 4; and 19995 more in mend.details.checks')


def test_a_hostile_name_reaches_no_terminal():
    check = Check("exists", "\x1b[2J{{ lookup('pipe', 'id') }}\n", "present", "missing", False, "is missing")
    words = mongo_verify.verdict_words("t", [check], 1)
    assert words.isascii() and words.isprintable()


def test_the_password_inside_the_connection_string_is_a_secret():
    params = {**PARAMS, "uri": "mongodb://u:can%2Fary@h/"}
    assert {"can%2Fary", "can/ary"} <= set(mongo_verify.Verify(params).secrets(params))


@pytest.mark.parametrize(
    ("value", "path", "times"),
    [
        ({"a": {"b": [datetime(2026, 1, 1), datetime(2027, 1, 1)]}}, "a.b", 2),
        ({"a": [{"b": datetime(2026, 1, 1)}, {"b": 5}, 7]}, "a.b", 1),
        ({"a": "2026-01-01"}, "a", 0),
        ({}, "a.b", 0),
    ],
)
def test_finds_the_times_at_a_path(value, path, times):
    assert len(list(mongo_content._times(value, path.split(".")))) == times


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        (datetime(2026, 1, 1, 0, 0, 0, 5000, tzinfo=UTC), "2026-01-01T00:00:00.005Z"),
    ],
)
def test_writes_moments_as_the_manifest_reads_them(moment, text):
    assert mongo_content.iso(moment) == text


@pytest.mark.parametrize(
    ("entry", "fields", "field"),
    [
        ({"options": {}}, None, None),
        ({"options": {"timeseries": {"timeField": "t"}}}, {}, "t"),
        ({"options": {"timeseries": {"timeField": "t"}}}, {"x": "u"}, "u"),
        ({"options": {}}, {"y": "u"}, None),
    ],
)
def test_knows_which_field_holds_the_time(entry, fields, field):
    assert mongo_content.time_field(entry, "x", fields) == field
