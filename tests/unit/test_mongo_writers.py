from __future__ import annotations

from ansible.module_utils.mendbook.mongo_writers import named


def operation(app, ns, op="insert", user="shop", client="10.0.0.7:40000"):
    users = [{"user": user, "db": "admin"}] if user else []
    return {"appName": app, "ns": ns, "op": op, "effectiveUsers": users, "client": client}


def test_those_that_write_here_come_first():
    seen = [
        operation("report", "", op="none"),
        operation("reader", "estore.orders", op="query"),
        operation("checkout", "estore.orders"),
    ]
    assert [one.split(" ")[0] for one in named(seen, "estore")] == ["checkout", "reader", "report"]


def test_one_client_with_many_connections_is_named_once_and_without_its_port():
    seen = [operation("checkout", "estore.orders", client=f"10.0.0.7:{port}") for port in range(5)]
    assert named(seen, "estore") == ["checkout (user shop, from 10.0.0.7)"]


def test_our_own_connections_are_left_out():
    assert named([operation("mendbook 20260101T000000Z-abcdef", "estore.orders")], "estore") == []


def test_the_members_of_the_set_are_left_out():
    assert named([operation(None, "estore.orders", user="__system")], "estore") == []


def test_another_database_with_our_name_as_its_beginning_is_not_ours():
    seen = [operation("other", "estore2.orders"), operation("reader", "estore.orders", op="query")]
    assert [one.split(" ")[0] for one in named(seen, "estore")] == ["reader", "other"]


def test_a_client_without_a_name_or_a_user_is_still_told():
    assert named([operation(None, "estore.orders", user=None)], "estore") == [
        "no application name (user no user, from 10.0.0.7)"
    ]
