"""restore_mongo against bad backups, a bad store and bad servers: the right words, and live data as it was."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import bson
import pymongo
import pytest
from ansible.module_utils.mendbook import mongo, mongo_leftovers, mongo_restore, s3, s3_stream
from ansible.module_utils.mendbook.dump_sums import DocumentSum
from ansible.module_utils.mendbook.lock import MongoLease
from s3_proxy import Fault

import dump_writer
import mendbook.sandbox
import restore_lab
from mendbook.sandbox import Sandbox
from mendbook.sandbox.services.mongo import Service
from restore_lab import Lab, RealDump, archive_of, live_data, numbered, unchanged

pytestmark = pytest.mark.faults

YEARS = 10 * 366 * 86400
RESTORED = {"orders": numbered(20), "coupons": numbered(7)}
MANIFEST = {"schema": 1, "finished": "2026-01-02T03:04:05Z"}


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with mendbook.sandbox.start(("mongo",)) as box:
        yield box


@pytest.fixture
def lab(server: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A database with live data that differs from every backup."""
    restore_lab.quick_writers(monkeypatch)
    uri = server.status()["mongo"]["uri"]
    with pymongo.MongoClient(uri) as client:
        lab = Lab(uri, client, f"estore_{uuid4().hex[:8]}")
        live_data(lab.database)
        yield lab
        client.drop_database(lab.database.name)


@pytest.fixture
def backup(tmp_path: Path) -> Callable[..., str]:
    """Write a backup into a file and give its path; `manifest` is what its manifest says beside size and SHA-256."""

    def write(data: bytes, name: str = "estore.archive", manifest: dict[str, Any] | None = None) -> str:
        path = tmp_path / name
        path.write_bytes(data)
        if manifest is not None:
            path.with_name(f"{name}.manifest.json").write_bytes(manifest_of(name, data, manifest))
        return str(path)

    return write


def manifest_of(key: str, data: bytes, changed: dict[str, Any]) -> bytes:
    described = {"key": key, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    described.update(changed.get("object", {}))
    return json.dumps({**MANIFEST, **changed, "object": described}).encode()


def collections_of(documents: dict[str, list[Any]]) -> dict[str, Any]:
    """The part of a manifest that says what the backup holds."""
    entries = {}
    for name, found in documents.items():
        total = DocumentSum()
        total.add(b"".join(map(bson.encode, found)))
        entries[f"estore.{name}"] = {"type": "collection", "count": len(found), "sum": total.hex()}
    return entries


@pytest.fixture(scope="module")
def real() -> bytes:
    """The real dump, cut to some documents of each collection."""
    return RealDump().cut(25)


# -- the bytes of the backup


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


# -- what the manifest says


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


# -- the documents and the names in it


def test_a_unique_index_that_the_data_violates_is_named_with_its_key(lab, backup):
    documents = [{"_id": 1, "sku": "a"}, {"_id": 2, "sku": "b"}, {"_id": 3, "sku": "b"}]
    index = {"v": 2, "key": {"sku": 1}, "name": "sku_unique", "unique": True}
    path = backup(archive_of("estore", {"coupons": [], "orders": documents}, indexes={"orders": [index]}))
    with unchanged(lab):
        result = lab.restore(path=path)
    assert (result["rc"], result["mend"]["rule"], result["mend"]["details"]["code"]) == (1, "mongo_index", 11000)
    assert "estore.orders" in result["msg"] and "sku_unique" in result["msg"] and '"b"' in result["msg"]


def test_a_document_that_is_there_twice_is_named(lab, backup):
    with unchanged(lab):
        result = lab.restore(path=backup(archive_of("estore", {"orders": [{"_id": 7}, {"_id": 8}, {"_id": 7}]})))
    assert (result["rc"], result["mend"]["rule"]) == (1, "mongo_duplicate")
    assert "_id 7" in result["msg"]


def test_documents_that_violate_their_validator_come_back_as_they_were(lab, backup):
    options = {"orders": {"validator": {"total": {"$gt": 0}}, "validationLevel": "strict"}}
    documents = [{"_id": n, "total": -n} for n in range(9)]
    result = lab.restore(path=backup(archive_of("estore", {"orders": documents}, options=options)))
    assert result["state"] == "done", result.get("msg")
    assert list(lab.documents("orders").values()) == documents
    with pytest.raises(pymongo.errors.WriteError):
        lab.database["orders"].insert_one({"total": -1})


NAMES = [
    "{{ lookup('pipe', 'touch /tmp/mendbook-was-here') }}",
    "{% raw %}",
    "$(touch mendbook-was-here)".replace("$", ""),
    "-oProxyCommand=x",
    "two\nlines",
    "\x1b[31mred\x1b[0m",
    "\u202eegnaro",
    "a.b.c",
    "with 'quotes\" and\\slashes/",
    " ",
    "%s%n",
    "système",
    "n" * 200,
]


def test_hostile_names_come_back_under_exactly_their_names(lab, backup):
    collections = {name: numbered(2, str(number)) for number, name in enumerate(NAMES)}
    for _ in range(2):
        lab.database.client.drop_database(lab.database.name)
        lab.database[NAMES[0]].insert_one({"live": True})
        before = lab.picture()
        result = lab.restore(path=backup(archive_of("estore", collections)))
        assert result["state"] == "done", result.get("msg")
        assert sorted(lab.picture()) == sorted(NAMES)
        for name, documents in collections.items():
            assert list(lab.documents(name).values()) == documents
        assert "\x1b" not in json.dumps(result["plan"]["notes"], ensure_ascii=False)
        assert lab.undo()["state"] == "done"
        assert lab.picture() == before


@pytest.mark.parametrize(
    "name", ["n" * 240, "a$b", "nul\0l", "..", "a..b", ".x", "__mend_n_x_orders", "__mend_lock", "$admin.system.evil"]
)
def test_names_that_cannot_be_are_refused_before_anything_is_made(lab, backup, name):
    entry = dump_writer.entry("estore", name, dump_writer.metadata(name))
    parts = [dump_writer.MAGIC, dump_writer.prelude(), entry, dump_writer.TERMINATOR]
    data = b"".join([*parts, dump_writer.block("estore", name, []), dump_writer.end("estore", name, [])])
    with unchanged(lab):
        result = lab.restore(path=backup(data))
    assert (result["rc"], result["changed"]) == (1, False)
    assert result["mend"]["rule"] in ("archive", "names", "rename", "collections")
    assert not set(result["msg"]) & {"\0", "\n", "\x1b"}


def test_users_of_another_database_are_never_brought_along(lab, backup):
    evil = [
        bson.encode({"_id": "admin.evil", "user": "evil", "db": "admin", "roles": [{"role": "root", "db": "admin"}]})
    ]
    entry = dump_writer.entry("admin", "system.users", dump_writer.metadata("system.users"))
    data = archive_of("estore", RESTORED)
    head, blocks = data.split(dump_writer.TERMINATOR, 1)
    blocks += dump_writer.block("admin", "system.users", evil) + dump_writer.end("admin", "system.users", evil)
    users = lab.database.client.admin.command("usersInfo", 1)["users"]
    result = lab.restore(path=backup(head + entry + dump_writer.TERMINATOR + blocks))
    assert result["state"] == "done", result.get("msg")
    assert lab.database.client.admin.command("usersInfo", 1)["users"] == users
    assert any("users" in note for note in result["plan"]["notes"])


# -- the store


@pytest.fixture
def stored(lab: Lab, store: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The options that lead to a good backup in S3, through the proxy, in parts that are small enough to be several."""
    # deadlines of seconds instead of minutes: what follows them is what is tested
    monkeypatch.setitem(s3._LIMITS, "read_timeout", 1)
    monkeypatch.setitem(s3.Patience.__init__.__globals__, "PATIENCE_SECONDS", 2)
    monkeypatch.setattr(s3.Patience.__init__, "__defaults__", (2, 4, *s3.Patience.__init__.__defaults__[2:]))
    quick = partial(s3_stream.object_source, part_bytes=32 << 10, window=2, patience_seconds=4)
    monkeypatch.setattr(s3_stream, "object_source", quick)
    prefix = f"restore/{uuid4().hex[:8]}/"
    store.put(f"{prefix}estore.archive", archive_of("estore", {"orders": noisy(150)}))
    store.proxy.requests.clear()
    yield {
        **{name: value for name, value in store.params.items() if value is not None},
        "bucket": store.bucket,
        "prefix": prefix,
        "key": f"{prefix}estore.archive",
        "max_age_seconds": YEARS,
    }
    store.proxy.reset()


def noisy(count: int) -> list[dict[str, Any]]:
    chance = random.Random(count)
    return [{"_id": n, "filler": chance.randbytes(1000)} for n in range(count)]


def test_a_backup_in_the_store_is_restored(lab, store, stored):
    assert lab.restore(**stored)["state"] == "done"
    assert len(lab.documents("orders")) == 150
    assert sum("estore.archive" in request.path for request in store.proxy.requests) > 5, "not in parts"


@pytest.mark.parametrize(
    ("options", "reason", "words"),
    [
        ({"key": "restore/none.archive"}, "nothing", "none.archive"),
        ({"bucket": "no-such-bucket"}, "nothing", "no-such-bucket"),
        ({"key": None, "latest": True}, "nothing", "latest"),
        ({"key": None, "prefix": "empty/"}, "nothing", "Check bucket and prefix"),
        ({"key": None, "at": "2001-01-01T00:00:00Z"}, "nothing", "2001-01-01"),
        ({"s3_secret_key": "wrong" * 8}, None, "s3_secret_key"),
        ({"s3_endpoint_url": "http://127.0.0.1:9"}, None, "127.0.0.1:9"),
    ],
)
def test_a_backup_that_cannot_be_had_is_named(lab, stored, options, reason, words):
    with unchanged(lab):
        result = lab.restore(**{**stored, **options})
    assert (result["rc"], result["changed"], result["mend"]["reason"]) == (1, False, reason)
    assert words in result["msg"], result["msg"]
    assert "wrongwrong" not in json.dumps(result)


def test_a_store_that_says_no_is_believed_and_the_permission_named(lab, store, stored):
    store.proxy.faults = [Fault("GET .*estore.archive( |$)", status=403, code="AccessDenied")]
    with unchanged(lab):
        result = lab.restore(**stored)
    assert result["rc"] == 1 and "s3:GetObject" in result["msg"]


def test_three_times_503_is_only_a_delay(lab, store, stored):
    store.proxy.faults = [Fault(r"GET .*estore.archive( |$)", times=3, status=503)]
    result = lab.restore(**stored)
    assert result["state"] == "done", result["msg"]
    assert store.proxy.faults[0].times == 0


def test_503_for_ever_ends_with_the_store_named(lab, store, stored):
    planned = lab.plan(**stored)
    store.proxy.faults = [Fault(r"GET .*estore.archive( |$)", status=503)]
    with unchanged(lab):
        result = lab.act(planned, **stored)
    assert (result["rc"], result["changed"], result["mend"]["rule"]) == (1, False, "s3")
    assert "503" in result["msg"] or "SlowDown" in result["msg"], result["msg"]


def test_a_stall_at_half_is_resumed_by_range_and_not_from_the_start(lab, store, stored, record_fault):
    planned = lab.plan(**stored)
    store.proxy.requests.clear()
    store.proxy.faults = [Fault(r"GET .*estore.archive( |$)", times=1, stall_at=5000)]
    result = lab.act(planned, **stored)
    assert result["state"] == "done", result["msg"]
    starts = [one.start for one in store.proxy.requests if one.method == "GET" and "estore.archive" in one.path]
    assert store.proxy.faults[0].times == 0 and 5000 in [start % (32 << 10) for start in starts if start is not None]
    assert len(lab.documents("orders")) == 150
    record_fault("S3 stalls while a restore reads", rounds=1, held="resumed at the byte where it stopped")


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(lab, store, stored):
    other = archive_of("estore", {"orders": noisy(149)})
    planned = lab.plan(**stored)

    def replace() -> None:
        store.s3.put_object(Bucket=store.bucket, Key=stored["key"], Body=other)

    gets = rf"GET .*{stored['key']}( |$)"
    store.proxy.faults = [Fault(gets, times=3), Fault(gets, times=1, before=replace)]
    with unchanged(lab):
        result = lab.act(planned, **stored)
    assert result["rc"] == 1 and "replaced" in result["msg"], result["msg"]
    assert store.proxy.faults[1].times == 0, "it was never replaced"


def test_an_object_that_was_replaced_since_the_plan_is_drift(lab, store, stored):
    planned = lab.plan(**stored)
    store.put(stored["key"], archive_of("estore", {"orders": noisy(3)}))
    with unchanged(lab):
        result = lab.act(planned, **stored)
    assert (result["mend"]["reason"], result["state"]) == ("drift", "refused")


@pytest.mark.parametrize("manifest", [True, False])
def test_a_bit_that_flips_on_the_way_is_found(lab, store, stored, manifest):
    key = stored["key"]
    data = archive_of("estore", {"orders": noisy(150)})
    if not manifest:
        store.s3.delete_object(Bucket=store.bucket, Key=f"{key}.manifest.json")
    planned = lab.plan(**stored)
    store.proxy.faults = [Fault(rf"GET .*{key}( |$)", flip_at=len(data) // 2)]
    with unchanged(lab):
        result = lab.act(planned, **stored)
    assert (result["rc"], result["changed"]) == (1, False)
    assert "damaged" in result["msg"]


@pytest.mark.parametrize(("lie", "rule"), [({"size": 5}, "incomplete"), ({"sha256": "0" * 64}, "checksum")])
def test_an_object_that_is_not_what_its_manifest_says_is_not_restored(lab, store, stored, lie, rule):
    store.put(stored["key"], archive_of("estore", {"orders": noisy(150)}), **lie)
    with unchanged(lab):
        result = lab.restore(**stored)
    assert (result["rc"], result["changed"], result["mend"]["rule"]) == (1, False, rule), result["msg"]


# -- the server


def test_too_little_space_is_refused_with_both_numbers_unless_told(lab, backup, monkeypatch):
    path = backup(archive_of("estore", {"orders": noisy(50)}))
    room = {"free_bytes": 1000, "total_bytes": 10**9, "msg": "1000 of 10^9 bytes are free"}
    monkeypatch.setattr(mongo_restore, "free_space", lambda *_: room)
    with unchanged(lab):
        result = lab.restore(path=path)
    assert (result["state"], result["mend"]["rule"]) == ("refused", "space")
    assert "1 kB free" in result["msg"] and "-e mongo_restore_ignore_space=true" in result["msg"]
    assert lab.restore(path=path, ignore_space=True)["state"] == "done"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 MB that only root may make."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class OnSmallDisk(Service):
    """mongod with its data on another file system."""

    disk: Path

    def _command(self, port: int, data: Path, key_file: Path) -> list[str]:
        return super()._command(port, self.disk, key_file)


def test_a_disk_that_fills_up_leaves_the_live_data(server, small_disk, backup, monkeypatch, record_fault):
    restore_lab.quick_writers(monkeypatch)
    # mongod ends itself when its disk is full; how long the driver waits for another primary is not what is tested
    monkeypatch.setattr(mongo, "_SELECTION_SECONDS", 1)
    monkeypatch.setattr(mongo_restore, "MongoLease", partial(MongoLease, seconds=6))
    service = OnSmallDisk(name="small")
    service.disk = small_disk
    server.add(service)
    try:
        with pymongo.MongoClient(service.uri, serverSelectionTimeoutMS=1000) as client:
            lab = Lab(service.uri, client, "estore")
            live_data(lab.database)
            before = lab.picture()
            free = os.statvfs(small_disk)
            (small_disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize - (24 << 20)))
            path = backup(archive_of("estore", {"orders": noisy(40_000)}))
            refused = lab.restore(path=path)
            assert (refused["state"], refused["mend"]["rule"]) == ("refused", "space")
            assert lab.picture() == before
            result = lab.restore(path=path, ignore_space=True)
            assert (result["rc"], result["changed"]) == (1, False), result["state"]
            assert result["msg"]
        (small_disk / "ballast").unlink()
        service.restart()
        with pymongo.MongoClient(service.uri) as client:
            lab = Lab(service.uri, client, "estore")
            assert lab.picture() == before
            lab.expire_lock()
            assert lab.restore(path=backup(archive_of("estore", RESTORED), "good.archive"))["state"] == "done"
            assert len(lab.documents("orders")) == 20
            assert len({name.split("_")[4] for name in lab.leftovers()}) == 1, "what the failed one left is gone"
    finally:
        server.remove("small")
    record_fault("disk full while a backup is loaded", rounds=1, held="live data unchanged, the next run restores")


def test_the_old_data_past_its_time_is_dropped_by_the_next_run(lab, backup):
    assert lab.restore(path=backup(archive_of("estore", RESTORED)), keep_seconds=0)["state"] == "done"
    assert [name for name in lab.leftovers() if not name.startswith("__mend_m_")] == []
    assert not mongo_leftovers.expired(lab.database)
