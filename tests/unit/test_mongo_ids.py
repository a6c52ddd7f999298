# SPDX-License-Identifier: MIT
"""Documents as the server will keep them: _id first, and there."""

from __future__ import annotations

from datetime import datetime

import bson
import pytest
from ansible.module_utils.mendbook.dump_sums import fold
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.mongo_ids import fold_for_server, with_id_first
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

from dump_writer import made

EVERY_TYPE = {
    "double": 1.5,
    "text": "a\0b",
    "document": {"_id": 5, "a": [1]},
    "array": [{"_id": 1}, 2],
    "binary": Binary(b"ab", 0),
    "old binary": Binary(b"ab", 2),
    "object id": ObjectId("a" * 24),
    "bool": True,
    "date": datetime(2020, 1, 1),
    "null": None,
    "regex": Regex("a_id", "i"),
    "code": Code("f()"),
    "scoped": Code("f()", {"_id": 1}),
    "int": 1,
    "time": Timestamp(1, 2),
    "long": Int64(1),
    "decimal": Decimal128("1.1"),
    "min": MinKey(),
    "max": MaxKey(),
    "ref": DBRef("a", 1),
}


def raw(*pairs):
    """A document in exactly this order: bson.encode would put _id first."""
    elements = b"".join(bson.encode({key: value})[4:-1] for key, value in pairs)
    return (len(elements) + 5).to_bytes(4, "little") + elements + b"\0"


def test_a_batch_with_every_id_first_is_passed_on_untouched():
    data = memoryview(b"".join(made(20)))
    same, total, count = fold_for_server(data)
    assert same is data
    assert (total, count) == fold(data)


@pytest.mark.parametrize("place", range(len(EVERY_TYPE) + 1))
def test_a_late_id_is_moved_to_the_front_past_every_type(place):
    pairs = list(EVERY_TYPE.items())
    pairs.insert(place, ("_id", "me"))
    document = with_id_first(raw(*pairs))
    assert document == raw(("_id", "me"), *EVERY_TYPE.items())


def test_a_missing_id_is_added_as_an_object_id():
    document = with_id_first(raw(*EVERY_TYPE.items()))
    decoded = bson.decode(document)
    assert isinstance(decoded["_id"], ObjectId)
    assert document == raw(("_id", decoded["_id"]), *EVERY_TYPE.items())
    assert isinstance(bson.decode(with_id_first(b"\x05\0\0\0\0"))["_id"], ObjectId)


@pytest.mark.parametrize("key", ["_idx", "_i", "id", "_ID", "__id"])
def test_a_name_that_only_begins_like_it_is_not_the_id(key):
    data, _total, count = fold_for_server(raw((key, 1)))
    assert count == 1
    assert list(bson.decode(bytes(data))) == ["_id", key]


def test_the_sum_is_that_of_what_is_sent():
    documents = [*made(3), raw(("a", 1), ("_id", 7)), raw(("a", 2)), raw(), *made(2, start=50)]
    data, total, count = fold_for_server(memoryview(b"".join(documents)))
    assert (total, count) == fold(data)
    assert count == 8
    assert [next(iter(one)) for one in bson.decode_all(bytes(data))] == ["_id"] * 8


def test_an_empty_document_at_the_end_is_noticed():
    data, _total, count = fold_for_server(b"".join([*made(2), raw()]))
    assert count == 3
    assert "_id" in bson.decode_all(bytes(data))[2]


@pytest.mark.parametrize(
    "element",
    [
        b"\x77a\0",
        b"\x02a\0\xff\xff\xff\x7f",
        b"\x02a\0\xff\xff\xff\xff",
        b"\x01a",
        b"\x0ba\0no end",
        b"\x05a\0\x01",
        b"\x10a\0",
    ],
    ids=["type", "too long", "negative", "no name", "regex", "short length", "short value"],
)
def test_a_damaged_document_is_refused(element):
    document = (len(element) + 5).to_bytes(4, "little") + element + b"\0"
    with pytest.raises(MendError, match="damaged: no BSON element at byte 4"):
        with_id_first(document)
