# SPDX-License-Identifier: MIT
"""The indexes of the made shop: one of every kind that a shop needs."""

from __future__ import annotations

from typing import Any

INDEXES: dict[str, list[dict[str, Any]]] = {
    "users": [
        {"key": {"email": 1}, "name": "email_1", "unique": True},
        {
            "key": {"username": 1},
            "name": "username_ci",
            "unique": True,
            "collation": {"locale": "en", "strength": 2},
        },
        {"key": {"loyalty.tier": 1, "createdAt": -1}, "name": "tier_created"},
        {"key": {"addresses.geo": "2dsphere"}, "name": "geo_2dsphere"},
        {"key": {"phone": 1}, "name": "phone_sparse", "sparse": True},
        {"key": {"updatedAt": 1}, "name": "inactive_partial", "partialFilterExpression": {"active": False}},
    ],
    "orders": [
        {"key": {"orderNo": 1}, "name": "orderNo_1", "unique": True},
        {"key": {"userId": 1, "createdAt": -1}, "name": "user_created"},
        {"key": {"status": 1, "createdAt": -1}, "name": "status_created"},
        {"key": {"items.sku": 1}, "name": "items.sku_1"},
    ],
    "products": [
        {"key": {"sku": 1}, "name": "sku_1", "unique": True},
        {"key": {"category": 1, "price": 1}, "name": "cat_price"},
        {
            "key": {"_fts": "text", "_ftsx": 1},
            "name": "search_text",
            "weights": {"name": 10, "tags": 3},
            "default_language": "english",
        },
    ],
    "carts": [
        {"key": {"userId": 1, "n": 1}, "name": "user_n", "unique": True},
        {"key": {"updatedAt": 1}, "name": "cart_ttl", "expireAfterSeconds": 315_360_000},
    ],
    "sessions": [
        {"key": {"expiresAt": 1}, "name": "session_ttl", "expireAfterSeconds": 0},
        {"key": {"userId": "hashed"}, "name": "userId_hashed"},
    ],
}
