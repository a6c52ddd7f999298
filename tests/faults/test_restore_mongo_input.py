"""restore_mongo against backups that are damaged, lie, or are of something else: live data stays as it was."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import bson
import pytest
from ansible.module_utils.mendbook.dump_sums import DocumentSum

import dump_writer
import restore_lab
from restore_lab import RESTORED, RealDump, archive_of, noisy, numbered, unchanged

pytestmark = pytest.mark.faults

YEARS = 10 * 366 * 86400


@pytest.fixture(scope="module")
def real() -> bytes:
    """The real dump, cut to some documents of each collection."""
    return RealDump().cut(25)


def test_restores_every_kind_of_collection_of_a_real_dump_exactly(lab, backup, real):
    (result, dump) = (lab.restore(path=backup(real)), RealDump())
    assert (result["rc"], result["state"]) == (0, "done"), result.get("msg")
    for (_db, name), documents in dump.documents.items():
        if name == "open_orders":
            continue  # a view; the real dump has no documents of it
        found = lab.database[name].find_raw_batches(sort=[("_id", 1)])
        # the order of a capped collection is part of it; the others have none
        whole = sorted(bson.decode_all(b"".join(found), restore_lab.CODEC), key=str)
        assert whole == sorted((bson.decode(one, restore_lab.CODEC) for one in documents[:25]), key=str), name
    assert lab.documents("notes") == {1: {"_id": 1, "text": "in no backup"}}
    assert not lab.locked()


BAD_BYTES = {
    "zero bytes": (lambda data: b"", "0 bytes"),
    "only zeros": (lambda data: bytes(4096), "zero bytes only"),
    "text": (lambda data: b"Dumped 10 collections\n" * 9, "text"),
    "an error page of the store": (lambda data: b"<?xml version='1.0'?><Error><Code>AccessDenied", "XML"),
    "a PostgreSQL dump": (lambda data: b"PGDMP\x01\x0e" + bytes(500), "PostgreSQL"),
    "a collection's .bson": (lambda data: b"".join(map(bson.encode, numbered(3))), ".bson"),
    "cut in the list of collections": (lambda data: data[:600], "truncated"),
    "cut at half": (lambda data: data[: len(data) // 2], "truncated"),
    "cut by one byte": (lambda data: data[:-1], "truncated"),
    "gzip cut at half": (lambda data: gzip.compress(data)[: len(data) // 9], "truncated"),
    "gzip of gzip": (lambda data: gzip.compress(gzip.compress(data)), "gzip inside gzip"),
    "something at the end": (lambda data: data + b"\x05\0\0\0\0" * 3, "damaged"),
}


@pytest.mark.parametrize("case", BAD_BYTES)
def test_bytes_that_are_no_whole_dump_are_refused_and_named(lab, backup, real, case):
    spoil, words = BAD_BYTES[case]
    with unchanged(lab):
        result = lab.restore(path=backup(spoil(real)))
    assert (result["rc"], result["changed"], result["state"]) == (1, False, "failed (nothing changed)")
    assert result["mend"]["rule"] == "archive"
    assert words in result["msg"] and "estore.archive" in result["msg"]


def test_a_flipped_bit_anywhere_ends_the_restore_before_anything_live(lab, backup, real, fault_rounds, record_fault):
    rounds = fault_rounds(12, 400)
    packed = gzip.compress(real, mtime=0)
    words = []
    with unchanged(lab):
        for number in range(rounds):
            # the ten bytes of gzip's own header mean nothing for the data
            place = 10 + (len(packed) - 10) * number // rounds
            spoiled = bytearray(packed)
            spoiled[place] ^= 1 << number % 8
            result = lab.restore(path=backup(bytes(spoiled)))
            assert (result["rc"], result["changed"]) == (1, False), f"bit {number % 8} of byte {place} was not noticed"
            words.append(result["msg"])
    assert all("damaged" in said or "truncated" in said for said in words), words
    record_fault("one flipped bit in a backup", rounds=rounds, held=f"{rounds} refused, live data unchanged")


def test_a_bit_inside_of_a_value_is_found_by_the_archives_own_sum(lab, backup):
    data = bytearray(archive_of("estore", {"orders": noisy(20)}))
    # in the middle of random bytes: the document is as valid as before
    data[data.rindex(b"filler") + 500] ^= 1
    with unchanged(lab):
        result = lab.restore(path=backup(bytes(data)))
    assert (result["rc"], result["mend"]["rule"]) == (1, "archive")
    assert "CRC-64" in result["msg"] and "estore.orders" in result["msg"]


def test_a_document_changed_under_a_right_manifest_is_found_by_its_sha256(lab, backup):
    data = archive_of("estore", {"orders": numbered(3)})
    other = archive_of("estore", {"orders": numbered(3, "RESTORED")})
    path = backup(data, manifest={})
    Path(path).write_bytes(other)
    assert len(data) == len(other)
    with unchanged(lab):
        result = lab.restore(path=path, max_age_seconds=YEARS)
    assert (result["mend"]["reason"], result["mend"]["rule"]) == ("verify", "checksum")
    assert "take another one" in result["msg"]


def test_a_dump_of_another_database_is_refused_unless_it_is_named(lab, backup):
    path = backup(archive_of("billing", {"orders": numbered(3)}))
    with unchanged(lab):
        result = lab.restore(path=path, source_database=None)
    assert (result["state"], result["mend"]["reason"], result["mend"]["rule"]) == (
        "refused",
        "refused",
        "source_database",
    )
    assert "-e mongo_restore_source_database=billing" in result["msg"]
    assert lab.restore(path=path, source_database="billing")["state"] == "done"
    assert len(lab.documents("orders")) == 3


@pytest.mark.parametrize(
    ("options", "reason", "rule"),
    [
        ({"collections": ["oders"]}, "nothing", "collections"),
        ({"exclude": ["oders"]}, "nothing", "exclude"),
        ({"rename": {"oders": "x"}}, "nothing", "rename"),
        ({"exclude": ["orders", "coupons"]}, "nothing", "collections"),
        ({"collections": ["orders"], "exclude": ["coupons"]}, "refused", "collections"),
        ({"rename": {"orders": "coupons"}}, "refused", "rename"),
        ({"rename": {"orders": "__mend_n_x_y"}}, "refused", "rename"),
        ({"rename": {"orders": "system.users"}}, "refused", "rename"),
        ({"rename": {"orders": "a$b"}}, "refused", "rename"),
        ({"rename": {"orders": "x" * 250}}, "refused", "rename"),
        ({"source_database": "nobody"}, "nothing", "source_database"),
        ({"keep_seconds": -1}, "refused", "keep_seconds"),
    ],
)
def test_a_selection_that_means_nothing_is_an_error_and_not_everything(lab, backup, options, reason, rule):
    path = backup(archive_of("estore", RESTORED))
    with unchanged(lab):
        result = lab.restore(path=path, **options)
    assert (result["rc"], result["mend"]["reason"], result["mend"]["rule"]) == (1, reason, rule)


def collections_of(documents: dict[str, list[Any]]) -> dict[str, Any]:
    """The part of a manifest that says what the backup holds."""
    entries = {}
    for name, found in documents.items():
        total = DocumentSum()
        total.add(b"".join(map(bson.encode, found)))
        entries[f"estore.{name}"] = {"type": "collection", "count": len(found), "sum": total.hex()}
    return entries


LIES = {
    "a size": ({"object": {"size": 5}}, "complete", "its manifest says 5"),
    "a SHA-256": ({"object": {"sha256": "0" * 64}}, "checksum", "take another one"),
    "a count": ({"collections": {"orders": {"count": 19}}}, "manifest", "its manifest says 19"),
    "a sum": ({"collections": {"orders": {"sum": "0" * 32}}}, "manifest", "its manifest says 000"),
    "one collection more": ({"collections": {"users": {"type": "collection", "count": 1}}}, "manifest", "users"),
    "nonsense": ({"finished": "yesterday"}, "manifest", "finished"),
    "another schema": ({"schema": 7}, "manifest", "schema 7"),
}


@pytest.mark.parametrize("case", LIES)
def test_a_backup_that_is_not_what_its_manifest_says_is_not_restored(lab, backup, case):
    lie, rule, words = LIES[case]
    told = collections_of(RESTORED)
    for name, changed in lie.get("collections", {}).items():
        told.setdefault(f"estore.{name}", {}).update(changed)
    path = backup(archive_of("estore", RESTORED), manifest={**lie, "collections": told})
    with unchanged(lab):
        result = lab.restore(path=path, max_age_seconds=YEARS)
    assert (result["rc"], result["changed"]) == (1, False)
    assert result["mend"]["rule"] == rule
    assert words in result["msg"]


def test_a_backup_that_is_what_its_manifest_says_is_restored(lab, backup):
    path = backup(archive_of("estore", RESTORED), manifest={"collections": collections_of(RESTORED)})
    result = lab.restore(path=path, max_age_seconds=YEARS)
    assert result["state"] == "done", result.get("msg")
    # the manifest is about the whole backup, and a part of it may be asked for
    assert lab.restore(path=path, max_age_seconds=YEARS, collections=["orders"])["state"] == "done"


def test_a_backup_older_than_the_recovery_point_is_refused_until_told(lab, backup):
    path = backup(archive_of("estore", RESTORED))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    with unchanged(lab):
        result = lab.restore(path=path)
    assert (result["state"], result["mend"]["reason"], result["mend"]["rule"]) == ("refused", "refused", "age")
    assert "recovery point objective" in result["msg"]
    override = result["mend"]["details"]["refusals"][0]["override"]
    assert override.startswith("-e mongo_restore_max_age_seconds=")
    assert lab.restore(path=path, max_age_seconds=int(override.rpartition("=")[2]))["state"] == "done"


def test_an_oplog_is_never_ignored_in_silence(lab, backup):
    entries = [bson.encode({"op": "i", "ns": "estore.orders", "o": {"_id": n}}) for n in range(4)]
    extra = dump_writer.block("", "oplog", entries) + dump_writer.end("", "oplog", entries)
    path = backup(archive_of("estore", RESTORED, extra=extra))
    with unchanged(lab):
        result = lab.restore(path=path)
    assert (result["state"], result["mend"]["reason"], result["mend"]["rule"]) == ("refused", "refused", "oplog")
    assert "4 entries" in result["msg"] and "-e mongo_restore_ignore_oplog=true" in result["msg"]
    assert lab.restore(path=path, ignore_oplog=True)["state"] == "done"
