from __future__ import annotations

from uuid import uuid4

import pytest
from ansible.module_utils.mendbook.errors import Refused
from ansible.module_utils.mendbook.mongo_catalog import (
    Catalog,
    Entry,
    Names,
    is_ours,
    new_token,
    pack,
    refuse_our_prefix,
    same_definition,
    token_of,
    unpack,
)


@pytest.mark.parametrize("name", ["orders", "a.b", "ü" * 40, "x" * 150, "$weird", "with space"])
@pytest.mark.parametrize("database", ["d", "estore", "d" * 60])
def test_every_name_of_ours_fits_a_namespace_also_as_a_time_series(database, name):
    names = Names(database, "cafe0123")
    for made in (names.side(name), names.aside(name), names.stray(name, uuid4()), names.marker):
        assert len(f"{database}.system.buckets.{made}".encode()) <= 255
        assert is_ours(made) and token_of(made) == "cafe0123"


def test_long_names_get_a_number_and_two_of_them_get_two():
    names = Names("estore", "cafe0123")
    one, other = names.side("x" * 230 + "1"), names.side("x" * 230 + "2")
    assert "~" in one and one != other
    assert one == names.side("x" * 230 + "1")
    assert names.side("orders") == "__mend_n_cafe0123_orders"


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("__mend_n_ab12_orders", "ab12"),
        ("__mend_s_ab12_0123abcd_orders", "ab12"),
        ("__mend_m_ab12", "ab12"),
        ("__mend_m_ab12_x", None),
        ("__mend_lock", None),
        ("__mend_x_ab12_orders", None),
        ("orders", None),
        ("x__mend_n_ab12_orders", None),
    ],
)
def test_a_token_is_only_read_from_our_own_forms(name, token):
    assert token_of(name) == token


def test_a_users_collection_with_our_prefix_is_refused_by_name():
    refuse_our_prefix(["orders", "mend_x", "_mend"])
    with pytest.raises(Refused, match="'__mend_x'"):
        refuse_our_prefix(["orders", "__mend_x"])
    with pytest.raises(Refused):
        refuse_our_prefix(["system.buckets.__mend_x"])


def test_tokens_differ():
    assert len({new_token() for _ in range(100)}) == 100


def test_the_order_of_keys_makes_another_view():
    one = {"viewOn": "a", "pipeline": [{"$sort": {"x": 1, "y": 1}}]}
    other = {"viewOn": "a", "pipeline": [{"$sort": {"y": 1, "x": 1}}]}
    assert one != {} and not same_definition(one, other)
    assert unpack(pack(one)) == one
    assert pack(None) is None and unpack(None) is None


def test_a_catalog_knows_names_uuids_buckets_and_what_is_ours():
    plain, buckets = uuid4(), uuid4()
    seen = Catalog(
        [
            Entry("orders", "collection", {}, plain),
            Entry("ts", "timeseries", {}, buckets),
            Entry("system.buckets.ts", "collection", {}, buckets),
            Entry("v", "view", {"viewOn": "orders"}, None),
            Entry("system.views", "collection", {}, uuid4()),
            Entry("__mend_n_ab_orders", "collection", {}, uuid4()),
            Entry("__mend_lock", "collection", {}, uuid4()),
        ]
    )
    assert seen.place(plain) == "orders"
    assert seen.place(uuid4()) is None
    assert seen.bucket_uuid("ts") == buckets
    assert seen.bucket_uuid("orders") is None
    assert sorted(seen.live()) == ["orders", "ts", "v"]
    assert {token: list(found) for token, found in seen.ours().items()} == {"ab": ["__mend_n_ab_orders"]}
