# SPDX-License-Identifier: MIT
"""One flipped bit anywhere, and a cut anywhere: found, or without any effect on what is restored."""

from __future__ import annotations

import gzip
import random

import pytest
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.dump_metadata import Batch
from ansible.module_utils.mendbook.dump_sums import DocumentSum
from ansible.module_utils.mendbook.errors import MendError

from dump_writer import DATA, MemorySource, archive, directory_files, tar_of

pytestmark = pytest.mark.faults
FLIPS = 1000


def content(data):
    """Everything that a restore would take from a dump: definitions, and a sum of documents per namespace."""
    dump = open_dump(MemorySource(data, chunk_bytes=1 << 16))
    sums = {}
    for item in dump.iterate():
        total = sums.setdefault(item.namespace, DocumentSum())
        if isinstance(item, Batch):
            assert total.add(item.data) == item.count
    definitions = {key: (c.type, c.options, c.indexes) for key, c in dump.collections.items()}
    return {key: (total.count, total.hex()) for key, total in sums.items()}, definitions


@pytest.fixture(scope="module")
def real():
    """Some real documents of every collection of the fixture."""
    found = {}
    for item in open_dump(DATA / "estore.archive.gz", max_batch_docs=40).iterate():
        if isinstance(item, Batch) and item.namespace not in found and "buckets" not in item.namespace[1]:
            position, documents = 0, []
            while position < len(item.data):
                length = int.from_bytes(item.data[position : position + 4], "little")
                documents.append(bytes(item.data[position : position + length]))
                position += length
            found[item.namespace] = documents
    assert len(found) == 7
    return found


@pytest.fixture(scope="module")
def plain(real):
    return archive(real)


def flips(data, number, seed):
    """(position, damaged copy) of so many places: the borders always, the rest by chance."""
    chance = random.Random(seed)
    bits = set(range(0, 8 * 40)) | set(range(8 * len(data) - 8 * 40, 8 * len(data)))
    while len(bits) < number:
        bits.add(chance.randrange(8 * len(data)))
    for bit in sorted(bits):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bit // 8, bytes(damaged)


def damage(data, number, seed, right):
    """(number of flips found, positions without any effect, positions that changed a definition but no document)."""
    found, harmless, definitions = 0, [], []
    for position, damaged in flips(data, number, seed):
        try:
            documents, defined = content(damaged)
        except MendError as error:
            assert error.rule in ("archive", "hostile"), error.msg
            found += 1
            continue
        assert documents == right[0], f"wrong documents without an error after a flip in byte {position}"
        (harmless if defined == right[1] else definitions).append(position)
    return found, harmless, definitions


def test_every_flipped_bit_of_a_gzip_archive_is_found_or_harmless(plain):
    packed = gzip.compress(plain, 6)
    found, harmless, definitions = damage(packed, FLIPS, "gzip", content(packed))
    assert not definitions
    # the header's flags, time and system, and the filling bits of the last byte before the checksum, carry no data
    assert all(position < 10 or position == len(packed) - 9 for position in harmless)
    assert found >= FLIPS - 80


def test_every_flipped_bit_in_a_plain_archive_leaves_the_documents_right(plain):
    found, harmless, definitions = damage(plain, FLIPS, "plain", content(plain))
    # the prelude and the list of collections have no checksum in this format; .integrity says so
    list_ends = plain.index(b"\xff\xff\xff\xff")
    assert all(position < list_ends for position in harmless + definitions)
    assert found >= 0.75 * FLIPS
    assert "only by the manifest" in open_dump(MemorySource(plain)).integrity


def test_flipped_bits_of_the_real_archive_are_found():
    whole = (DATA / "estore.archive.gz").read_bytes()
    chance = random.Random("whole")
    for _ in range(20):
        position = chance.randrange(100, len(whole))
        damaged = bytearray(whole)
        damaged[position] ^= 1 << chance.randrange(8)
        with pytest.raises(MendError, match="damaged|truncated|follow"):
            content(bytes(damaged))


def test_every_flipped_bit_of_a_tar_of_gzip_files_is_found_or_harmless(real):
    files = directory_files("estore", {name: documents for (_db, name), documents in real.items()})
    data = tar_of(files)
    found, harmless, definitions = damage(data, FLIPS, "tar", content(data))
    assert not definitions
    assert found + len(harmless) == FLIPS
    # what follows a member up to 512 bytes, and the end's second block, are filling; gzip's headers as above
    assert found >= 0.9 * FLIPS


def test_a_cut_at_every_border_of_a_document_is_found(plain, real):
    borders = set()
    for documents in real.values():
        for document in documents:
            borders.add(plain.index(document))
    assert len(borders) > 200
    for border in sorted(borders):
        with pytest.raises(MendError, match="truncated"):
            content(plain[:border])


@pytest.mark.parametrize("packed", [False, True])
def test_a_cut_anywhere_is_found(plain, packed):
    data = gzip.compress(plain, 6) if packed else plain
    chance = random.Random("cut")
    for length in {chance.randrange(1, len(data)) for _ in range(250)} | set(range(1, 40)) | {len(data) - 1}:
        with pytest.raises(MendError, match="truncated|damaged|not a MongoDB dump|before the end"):
            content(data[:length])


def test_a_cut_between_the_members_of_a_multi_member_gzip_is_found(plain):
    middle = len(plain) // 2
    first, second = gzip.compress(plain[:middle]), gzip.compress(plain[middle:])
    assert content(first + second) == content(plain)
    with pytest.raises(MendError, match="truncated"):
        content(first)


def test_a_tar_cut_anywhere_is_found(real):
    data = tar_of(directory_files("estore", {name: docs for (_db, name), docs in real.items()}))
    ends = len(data.rstrip(b"\0"))
    chance = random.Random("tar")
    for length in {chance.randrange(512, ends) for _ in range(150)} | set(range(512, ends, 512)):
        with pytest.raises(MendError, match="truncated|damaged|incomplete"):
            content(data[:length])


def test_a_swapped_block_of_bytes_is_found(plain):
    """Not one bit but 64 bytes from elsewhere, as a bad disk gives them."""
    chance = random.Random("swap")
    right = content(plain)
    ends = plain.index(b"\xff\xff\xff\xff")
    for _ in range(200):
        at, source = (chance.randrange(ends, len(plain) - 64) for _ in range(2))
        damaged = plain[:at] + plain[source : source + 64] + plain[at + 64 :]
        if damaged == plain:
            continue
        try:
            assert content(damaged) == right
        except MendError:
            continue
        pytest.fail(f"64 bytes changed at {at} without an error")
