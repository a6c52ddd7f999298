"""restore_mongo from a dump folder in S3: read in parts, and never a mixture of what is uploaded meanwhile."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import bson
import pytest
from ansible.module_utils.mendbook import dump_s3_folder, s3_stream
from s3_proxy import Fault

from dump_writer import DATA, directory_files
from restore_lab import Lab, noisy, numbered, unchanged
from waiting import until

pytestmark = pytest.mark.faults

YEARS = 10 * 366 * 86400


def files(orders: int = 150, packed: bool = False, **others: list[Any]) -> dict[str, bytes]:
    collections = {"orders": noisy(orders), "coupons": numbered(7), **others}
    raw = {name: [bson.encode(one) for one in documents] for name, documents in collections.items()}
    return directory_files("estore", raw, packed)


@pytest.fixture
def folder(lab: Lab, store: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Any]]]:
    """Upload the files of a dump and give the options that lead to it, through the proxy, in parts of 32 KiB."""
    small = partial(s3_stream.object_source, part_bytes=32 << 10, window=2)
    monkeypatch.setattr(dump_s3_folder, "object_source", small)
    key = f"folder/{uuid4().hex[:8]}/dump/"

    def upload(content: dict[str, bytes]) -> dict[str, Any]:
        for name, data in content.items():
            store.s3.put_object(Bucket=store.bucket, Key=key + name, Body=data)
        store.proxy.requests.clear()
        given = {name: value for name, value in store.params.items() if value is not None}
        return {**given, "bucket": store.bucket, "key": key, "max_age_seconds": YEARS}

    yield upload
    store.proxy.reset()


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_is_restored_in_parts_and_again_is_nothing_to_do(lab, store, folder, packed):
    options = folder({**files(packed=packed), "": b"", "estore/": b""})
    result = lab.restore(**options)
    assert result["state"] == "done", result["msg"]
    assert (len(lab.documents("orders")), len(lab.documents("coupons"))) == (150, 7)
    parts = [one for one in store.proxy.requests if "orders.bson" in one.path and one.start]
    assert len(parts) >= 4, "one file is read by several requests"
    source = result["plan"]["source"]
    assert source["name"] == f"s3://{store.bucket}/{options['key']}" and source["format"] == "directory"
    notes = " · ".join(result["plan"]["notes"])
    assert "the age of the backup is that of its newest file (LastModified)" in notes
    assert "its 4 files were written from" in notes
    assert lab.restore(**options)["state"] == "nothing to do"


def test_what_mongodump_wrote_is_restored_as_from_its_tar(lab, folder):
    with tarfile.open(DATA / "estore-dump.tar") as tar:
        real = {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}
    assert lab.restore(path=str(DATA / "estore-dump.tar"), extra="aside", max_age_seconds=YEARS)["state"] == "done"
    from_tar = lab.picture()
    assert lab.undo()["state"] == "done"
    assert lab.restore(**folder(real), extra="aside")["state"] == "done"
    assert lab.picture() == from_tar and len(from_tar) > 8


def test_the_age_of_a_folder_is_that_of_its_newest_file(lab, folder):
    options = folder(files())
    until(lambda: lab.plan(**options)["plan"]["source"]["age_seconds"] >= 1)
    assert lab.plan(**options)["plan"]["source"]["age_seconds"] < 600
    refused = lab.plan(**{**options, "max_age_seconds": 0})
    assert [one["rule"] for one in refused["plan"]["refusals"]] == ["age"]


@pytest.mark.parametrize(
    ("options", "reason", "rule", "words"),
    [
        ({"key": "folder/none/"}, "nothing", "key", "There is nothing below s3://"),
        ({"version_id": "abc"}, "refused", "options", "version_id belongs to one object"),
        ({"source_database": "blog"}, "nothing", "source_database", "no database blog"),
        ({"bucket": "no-such-bucket"}, "nothing", "bucket", "no-such-bucket"),
    ],
)
def test_what_is_not_there_is_named(lab, folder, options, reason, rule, words):
    given = folder(files())
    with unchanged(lab):
        result = lab.restore(**{**given, **options})
    assert (result["rc"], result["mend"]["reason"], result["mend"]["rule"]) == (1, reason, rule), result["msg"]
    assert words in result["msg"]


def test_a_collection_without_its_data_is_an_incomplete_copy(lab, folder):
    content = files()
    del content["estore/orders.bson"]
    with unchanged(lab):
        result = lab.restore(**folder(content))
    assert (result["rc"], result["mend"]["rule"]) == (1, "archive")
    assert "the copy is incomplete" in result["msg"]


@pytest.mark.parametrize(
    "change",
    [
        lambda store, key: store.s3.put_object(Bucket=store.bucket, Key=f"{key}estore/orders.bson", Body=b""),
        lambda store, key: store.s3.delete_object(Bucket=store.bucket, Key=f"{key}estore/coupons.bson"),
        lambda store, key: store.s3.put_object(Bucket=store.bucket, Key=f"{key}estore/more.bson", Body=b""),
    ],
    ids=["replaced", "deleted", "added"],
)
def test_a_file_that_changed_since_the_plan_is_not_what_was_planned(lab, store, folder, change):
    options = folder(files())
    planned = lab.plan(**options)
    change(store, options["key"])
    with unchanged(lab):
        result = lab.act(planned, **options)
    assert result["rc"] == 1 and not result["changed"]
    assert result["mend"]["reason"] == "drift" or "incomplete" in result["msg"], result["msg"]


@pytest.mark.parametrize("what", ["replaced", "deleted"])
def test_a_file_that_changes_while_it_is_read_is_never_a_mixture(lab, store, folder, what):
    options = folder(files())
    planned = lab.plan(**options)
    key = f"{options['key']}estore/orders.bson"

    def change() -> None:
        if what == "deleted":
            store.s3.delete_object(Bucket=store.bucket, Key=key)
        else:
            store.s3.put_object(Bucket=store.bucket, Key=key, Body=files(149)["estore/orders.bson"])

    gets = r"GET .*orders.bson bytes="
    store.proxy.faults = [Fault(gets, times=2), Fault(gets, times=1, before=change)]
    with unchanged(lab):
        result = lab.act(planned, **options)
    assert result["rc"] == 1 and f"was {what} while it was being read" in result["msg"], result["msg"]


@pytest.mark.parametrize("file", ["orders.bson", "orders.metadata.json"])
def test_a_bit_that_flips_on_the_way_is_found(lab, store, folder, file):
    options = folder(files())
    planned = lab.plan(**options)
    store.proxy.faults = [Fault(rf"GET .*{file} bytes=", flip_at=20)]
    with unchanged(lab):
        result = lab.act(planned, **options)
    assert (result["rc"], result["changed"]) == (1, False)
    assert "damaged" in result["msg"], result["msg"]


def test_a_store_that_is_busy_for_a_moment_is_only_a_delay(lab, store, folder):
    options = folder(files(packed=True))
    store.proxy.faults = [Fault(r"GET .*(orders|coupons)", times=3, status=503)]
    assert lab.restore(**options)["state"] == "done"
    assert store.proxy.faults[0].times == 0
