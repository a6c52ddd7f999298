"""mongo_verify_content=sample: the backup's own documents, looked up in the database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.mendbook.mongo_content import manifest_of

import restore_lab
from restore_lab import Lab, RealDump, archive_of, numbered

pytestmark = pytest.mark.e2e
pytest_plugins = ["seeded_shop"]

MANY = {"orders": numbered(3500), "coupons": numbered(7)}


@pytest.fixture
def backed_up(lab: Lab, tmp_path: Path, run_verify: Any) -> Callable[..., Callable[..., dict[str, Any]]]:
    """Restore an archive, write the manifest of what is live then, and give verify by sample against both."""

    def make(data: bytes, **changed: Any) -> Callable[..., dict[str, Any]]:
        path = tmp_path / "estore.archive"
        path.write_bytes(data)
        assert lab.restore(path=str(path), extra="aside")["state"] == "done"
        described = manifest_of(lab.database)
        prefix = f"{lab.database.name}."
        collections = {f"estore.{name.removeprefix(prefix)}": entry for name, entry in described.items()}
        manifest = restore_lab.manifest_of(path.name, data, {"collections": collections, **changed})
        beside = tmp_path / "estore.archive.manifest.json"
        beside.write_bytes(manifest)
        arguments = {"database": lab.database.name, "source_database": "estore", "manifest_file": str(beside)}
        return lambda **more: run_verify(**{**arguments, "content": "sample", **more})

    return make


def failed_checks(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(check["name"], check["object"]) for check in result["mend"]["details"]["checks"]]


def test_what_is_right_passes_and_only_the_sample_is_read(backed_up):
    result = backed_up(archive_of("estore", MANY))()
    assert result["rc"] == 0, result["msg"]
    assert result["summary"]["content"] == "sample" and result["summary"]["documents"] == 3507
    assert 507 <= result["figures"]["documents_read"] <= 1007
    assert {"sample", "backup", "count"} <= {check["name"] for check in result["checks"]}


def test_every_kind_of_collection_of_a_real_dump_passes(lab, backed_up):
    names = ("metrics", "orders", "sessions", "open_orders", "audit", "users")
    verify = backed_up(RealDump().cut(40, names))
    result = verify()
    assert result["rc"] == 0, result["msg"]
    sampled = {check["object"] for check in result["checks"] if check["name"] == "sample"}
    assert sampled == {"metrics", "orders", "sessions", "users"}, "no view, and nothing of a capped collection"
    lab.database["metrics"].insert_one({**lab.database["metrics"].find_one({}, {"_id": 0}), "extra": 1})
    assert verify()["rc"] == 1


@pytest.mark.parametrize(
    ("spoil", "failed", "words"),
    [
        (
            lambda d: d.orders.update_many({}, {"$set": {"migrated": True}}),
            [("sample", "orders")],
            "documents that were looked at are missing or not what the backup has, the first has _id 0",
        ),
        (
            lambda d: d.orders.update_many({"_id": {"$mod": [10, 0]}}, {"$set": {"value": "other"}}),
            [("sample", "orders")],
            "documents that were looked at are missing or not what the backup has",
        ),
        (
            lambda d: d.coupons.delete_one({"_id": 3}),
            [("count", "coupons"), ("sample", "coupons")],
            "1 of 7 documents that were looked at are missing or not what the backup has, the first has _id 3",
        ),
        (lambda d: d.coupons.insert_one({"_id": "more"}), [("count", "coupons")], "(1 too many)"),
        (lambda d: d.coupons.create_index("a"), [("index a_1", "coupons")], "that is not in the manifest"),
    ],
)
def test_what_is_wrong_with_many_documents_is_found(lab, backed_up, spoil, failed, words):
    verify = backed_up(archive_of("estore", MANY))
    spoil(lab.database)
    result = verify()
    assert (result["rc"], result["mend"]["reason"]) == (1, "verify")
    assert failed_checks(result) == failed
    assert words in result["msg"]


def test_one_changed_document_of_thousands_is_what_only_the_full_comparison_is_sure_to_find(lab, backed_up):
    verify = backed_up(archive_of("estore", MANY))
    lab.database["orders"].update_one({"_id": 1}, {"$set": {"value": "other"}})
    assert verify()["rc"] == 0
    assert failed_checks(verify(content="full")) == [("content", "orders")]


def test_a_backup_that_is_not_what_its_manifest_says_is_no_measure(backed_up, tmp_path):
    verify = backed_up(archive_of("estore", MANY))
    path = tmp_path / "estore.archive"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    result = verify()
    assert (result["rc"], result["mend"]["rule"]) == (1, "checksum")
    path.unlink()
    assert "there is no" in verify()["msg"]


def test_a_manifest_that_lies_about_the_backup_is_found_although_the_database_agrees_with_it(lab, backed_up):
    manifest = {"estore.coupons": {"type": "collection", "count": 8}}
    verify = backed_up(archive_of("estore", MANY), collections=manifest)
    lab.database["coupons"].insert_one({"_id": "more"})
    result = verify()
    assert failed_checks(result) == [("backup", "coupons")]
    assert "the backup itself holds 7 documents, its manifest says 8" in result["msg"]


def test_a_collection_that_the_manifest_promises_and_the_backup_lacks_is_found(backed_up):
    manifest = {"estore.users": {"type": "collection", "count": 8}}
    result = backed_up(archive_of("estore", MANY), collections=manifest)()
    assert (result["rc"], result["mend"]["rule"]) == (1, "manifest")
    assert "lacks users" in result["msg"]


def test_a_manifest_that_stands_beside_nothing_is_refused(run_verify, lab, tmp_path):
    path = tmp_path / "other.json"
    path.write_bytes(
        restore_lab.manifest_of("k", b"", {"collections": {f"{lab.database.name}.orders": {"type": "view"}}})
    )
    result = run_verify(database=lab.database.name, manifest_file=str(path), content="sample")
    assert (result["rc"], result["mend"]["reason"], result["mend"]["rule"]) == (1, "refused", "content")


def test_the_playbook_samples_a_backup_in_s3(lab, playbook, backed_up, s3_client, sandbox, tmp_path):
    backed_up(archive_of("estore", MANY))
    facts = sandbox.status()["s3"]
    for name in ("estore.archive", "estore.archive.manifest.json"):
        s3_client.upload_file(str(tmp_path / name), facts["bucket"], f"sample/{name}")
    variables = {
        "mongo_verify_database": lab.database.name,
        "mongo_verify_source_database": "estore",
        "mongo_verify_bucket": facts["bucket"],
        "mongo_verify_key": "sample/estore.archive",
        "mongo_verify_content": "sample",
        "mongo_verify_s3_endpoint_url": facts["endpoint_url"],
        "mongo_verify_s3_region": facts["region"],
        "mongo_verify_s3_path_style": True,
        "mongo_verify_s3_access_key": "env:SANDBOX_S3_ACCESS_KEY",
        "mongo_verify_s3_secret_key": "env:SANDBOX_S3_SECRET_KEY",
    }
    played = playbook("verify_mongo", variables=variables)
    assert played.rc == 0, played.stdout
    (result,) = played.of("mend_mongo_verify")
    assert result["verified"] and result["summary"]["content"] == "sample"
    lab.database["orders"].update_many({}, {"$set": {"value": "other"}})
    assert playbook("verify_mongo", variables=variables).failed()[0]["mend"]["reason"] == "verify"
