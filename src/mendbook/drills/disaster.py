# SPDX-License-Identifier: MIT
"""A bad deployment: what it does to the shop's database must all be mended."""

from __future__ import annotations

from typing import Any

from bson import Decimal128
from pymongo.database import Database


def wreck(database: Database[dict[str, Any]]) -> list[str]:
    """Drop, overwrite, delete and add; what was done, in words."""
    free = {"$set": {"total": Decimal128("0.00"), "items": []}}
    database["products"].drop()
    emptied = database["orders"].update_many({"status": {"$in": ["pending", "paid"]}}, free).modified_count
    deleted = database["users"].delete_many({"active": True}).deleted_count
    database["payments"].drop_index("order_1")
    database["metrics"].drop()
    database["orders_v2"].insert_many([{"migrated": number} for number in range(100)])
    return [
        "products and metrics dropped",
        f"{emptied:,} orders emptied",
        f"{deleted:,} users deleted",
        "an index dropped",
        "a collection made",
    ]
