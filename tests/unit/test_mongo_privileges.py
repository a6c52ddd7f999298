from __future__ import annotations

import pytest
from ansible.module_utils.mendbook.mongo_privileges import allows

ORDINARY = {"db": "estore", "collection": ""}
EVERYWHERE = {"db": "", "collection": ""}


@pytest.mark.parametrize(
    ("resource", "collection", "allowed"),
    [
        (ORDINARY, "orders", True),
        (EVERYWHERE, "orders", True),
        ({"db": "other", "collection": ""}, "orders", False),
        ({"db": "estore", "collection": "orders"}, "orders", True),
        ({"db": "estore", "collection": "users"}, "orders", False),
        ({"anyResource": True}, "orders", True),
        ({"cluster": True}, "orders", False),
        (ORDINARY, "system.buckets.ts", False),
        (EVERYWHERE, "system.buckets.ts", False),
        ({"system_buckets": ""}, "system.buckets.ts", True),
        ({"system_buckets": "ts"}, "system.buckets.ts", True),
        ({"system_buckets": "other"}, "system.buckets.ts", False),
        ({"db": "other", "system_buckets": ""}, "system.buckets.ts", False),
        ({"system_buckets": ""}, "orders", False),
    ],
)
def test_what_a_privilege_covers(resource, collection, allowed):
    privileges = [{"resource": resource, "actions": ["find", "insert"]}]
    assert allows(privileges, "insert", "estore", collection) is allowed
    assert not allows(privileges, "remove", "estore", collection)
    assert not allows([], "insert", "estore", collection)
