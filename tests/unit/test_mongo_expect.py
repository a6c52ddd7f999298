"""What the operator states is read strictly: a typo must not pass for a check that was made."""

from __future__ import annotations

import pytest
from ansible.module_utils.mendbook.errors import Refused
from ansible.module_utils.mendbook.mongo_expect import (
    Newest,
    nearest,
    parse_expectations,
    parse_time_fields,
    quoted,
)


def test_reads_every_kind_of_expectation():
    stated = parse_expectations(
        {
            "critical": ["users", "orders", "users"],
            "min_counts": {"orders": "1000", "users": 0},
            "newest": {"orders": {"field": "meta.createdAt", "max_age_seconds": 60}, "users": {"max_age_seconds": 5}},
            "indexes": {"orders": ["orderNo_1"], "users": "email_1"},
        }
    )
    assert stated.critical == ("users", "orders")
    assert stated.min_counts == {"orders": 1000, "users": 0}
    assert stated.newest == {"orders": Newest(60, "meta.createdAt"), "users": Newest(5, None)}
    assert stated.indexes == {"orders": ("orderNo_1",), "users": ("email_1",)}
    assert stated.names() == ["orders", "users"]


@pytest.mark.parametrize("params", [{}, {"critical": None}, {"critical": [], "min_counts": {}, "newest": {}}])
def test_nothing_stated_is_false(params):
    assert not parse_expectations(params)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (
            {"newest": {"orders": {"feild": "createdAt", "max_age_seconds": 1}}},
            'no field "feild"; did you mean "field"?',
        ),
        ({"newest": {"orders": {"max_age": 1}}}, 'no field "max_age"; did you mean "max_age_seconds"?'),
        ({"newest": {"orders": {"zzz": 1}}}, "(fields: field, max_age_seconds)"),
        ({"newest": {"orders": {"field": "createdAt"}}}, "needs max_age_seconds"),
        ({"newest": {"orders": 86400}}, "must be like {max_age_seconds: 86400}"),
        ({"newest": {"orders": {"max_age_seconds": -1}}}, "must be a whole number, 0 or more"),
        ({"newest": {"orders": {"max_age_seconds": 1, "field": "$where"}}}, "needs the name of a field"),
        ({"newest": {"orders": {"max_age_seconds": 1, "field": "a..b"}}}, "needs the name of a field"),
        ({"newest": {"orders": {"max_age_seconds": 1, "field": ""}}}, "needs the name of a field"),
        ({"newest": ["orders"]}, "newest must map collection names"),
        ({"min_counts": {"orders": True}}, "must be a whole number"),
        ({"min_counts": {"orders": "many"}}, "must be a whole number"),
        ({"min_counts": {"orders": 1.5}}, "must be a whole number"),
        ({"min_counts": {"orders": None}}, "must be a whole number"),
        ({"min_counts": {"": 1}}, "needs names of collections"),
        ({"min_counts": "orders"}, "min_counts must map collection names"),
        ({"critical": [""]}, "critical needs names of collections"),
        ({"critical": [{"users": 1}]}, "critical needs names of collections"),
        ({"indexes": {"orders": []}}, "must be a list of index names"),
        ({"indexes": {"orders": [{"key": 1}]}}, "must be a list of index names"),
    ],
)
def test_refuses_what_cannot_be_meant(params, words):
    with pytest.raises(Refused) as caught:
        parse_expectations(params)
    assert words in caught.value.msg
    assert caught.value.rule == "expectations"


def test_time_fields_are_paths_and_id_means_the_id():
    assert parse_time_fields({"orders": "createdAt", "users": "_id"}) == {"orders": "createdAt", "users": None}
    with pytest.raises(Refused):
        parse_time_fields({"orders": 5})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Users", '; did you mean "users"?'),
        ("user", '; did you mean "users"?'),
        ("payments", ""),
    ],
)
def test_offers_the_nearest_names(name, words):
    assert nearest(name, ["users", "orders", "sessions"]) == words


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "{{ lookup('pipe', 'id') }}", "\u202egnp", "ünï", "\x00"])
def test_a_hostile_name_is_quoted_as_plain_ascii(name):
    text = quoted(name)
    assert text.isascii() and text.isprintable()
    assert text.startswith('"') and text.endswith('"')


def test_a_long_name_is_cut():
    assert len(quoted("x" * 5000)) < 200
