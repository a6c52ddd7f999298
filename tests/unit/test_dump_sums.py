# SPDX-License-Identifier: MIT
"""The order-free sum of documents."""

from __future__ import annotations

import random

import bson
import pytest
import xxhash
from ansible.module_utils.mendbook.dump_sums import MODULUS, DocumentSum, fold

from dump_writer import made


def test_the_sum_is_the_sum_of_the_digests():
    documents = made(50)
    total = sum(xxhash.xxh3_128(document).intdigest() for document in documents) % MODULUS
    for buffer in (b"".join(documents), memoryview(b"".join(documents))):
        assert fold(buffer) == (total, 50)


def test_order_and_batches_do_not_matter():
    documents = made(200)
    shuffled = random.Random(1).sample(documents, 200)
    one, other = DocumentSum(), DocumentSum()
    assert one.add(b"".join(documents)) == 200
    for start in range(0, 200, 17):
        other.add(b"".join(shuffled[start : start + 17]))
    assert one == other
    assert one.bytes == other.bytes == sum(map(len, documents))


@pytest.mark.parametrize(
    "changed",
    [
        lambda documents: documents[1:],
        lambda documents: documents + documents[:1],
        lambda documents: [*documents[1:], documents[1]],
        lambda documents: [*documents[:-1], bson.encode({"_id": 0})],
        lambda documents: [],
    ],
    ids=["lost", "doubled", "one lost and one doubled", "changed", "empty"],
)
def test_loss_doubles_and_changes_show(changed):
    documents = made(20)
    one, other = DocumentSum(), DocumentSum()
    one.add(b"".join(documents))
    other.add(b"".join(changed(documents)))
    assert one != other


def test_a_flipped_bit_shows():
    buffer = bytearray(b"".join(made(5)))
    right = fold(bytes(buffer))
    buffer[20] ^= 1
    assert fold(bytes(buffer)) != right


@pytest.mark.parametrize("cut", [1, 3, 40])
def test_a_buffer_that_does_not_end_with_a_document_is_refused(cut):
    with pytest.raises(ValueError, match="no whole document"):
        fold(b"".join(made(3))[:-cut])


@pytest.mark.parametrize("garbage", [b"\0\0\0\0\0", b"\x04\0\0\0\0", b"\xff\xff\xff\xff\0", b"abc"])
def test_garbage_is_refused(garbage):
    with pytest.raises(ValueError, match="no whole document"):
        fold(made(1)[0] + garbage)


def test_nothing_is_zero():
    assert fold(b"") == (0, 0)
    assert DocumentSum().hex() == "0" * 32


def test_the_sum_stays_within_128_bits():
    total = DocumentSum(MODULUS - 1, 5, 100)
    total.add_folded(3, 1, 10)
    assert (total.sum, total.count, total.bytes) == (2, 6, 110)
    assert total.hex() == f"{2:032x}"


def test_it_compares_only_with_its_own_kind():
    assert DocumentSum() != 0
    assert "count=0" in repr(DocumentSum())
