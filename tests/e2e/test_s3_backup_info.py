"""mend_s3_backup_info against the real store: what it lists, chooses, checks and refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mend_s3_backup_info
import pytest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_backup_info import BackupInfo

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = ROOT / "tests" / "data" / "estore.archive.gz"


class Bucket:
    """A prefix of its own in the sandbox's bucket, filled through an independent client."""

    def __init__(self, s3: Any, name: str, prefix: str) -> None:
        self.s3, self.name, self.prefix = s3, name, prefix

    def put(self, key: str, data: bytes = b"dump", **more: Any) -> dict[str, Any]:
        return self.s3.put_object(Bucket=self.name, Key=self.prefix + key, Body=data, **more)

    def put_whole(
        self, key: str, data: bytes = b"dump", finished: str = "2026-01-01T00:00:00Z", **changed: Any
    ) -> None:
        """Put a backup and, last, its manifest; ``changed`` replaces fields of the manifest's ``object``."""
        self.put(key, data)
        described = {"key": self.prefix + key, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} | changed
        manifest = {"schema": 1, "object": described, "finished": finished}
        self.put(f"{key}.manifest.json", json.dumps(manifest).encode())


@pytest.fixture
def bucket(sandbox, s3_client, request) -> Bucket:
    prefix = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()) + "/"
    return Bucket(s3_client, sandbox.status()["s3"]["bucket"], prefix)


CONNECTION = ("s3_endpoint_url", "s3_region", "s3_path_style", "s3_access_key", "s3_secret_key")


@pytest.fixture
def play(playbook, bucket):
    """Run the module in a play; the Played, and the result of the task."""

    def run(*arguments: str, **options: Any) -> tuple[Any, dict[str, Any]]:
        connection = {name: f"{{{{ {name} }}}}" for name in CONNECTION}
        task = {"bucket": bucket.name, "prefix": bucket.prefix, **connection, **options}
        tasks = [{"name": "Look", "mend_s3_backup_info": task}]
        played = playbook([{"name": "Look at backups", "hosts": "s3", "tasks": tasks}], *arguments)
        (result,) = played.of("mend_s3_backup_info")
        assert result["changed"] is False
        return played, result

    return run


@pytest.fixture
def info(sandbox, bucket):
    """Run what the module runs, in this process; its facts, or the MendError."""
    facts = sandbox.status()["s3"]

    def run(**options: Any) -> dict[str, Any]:
        params = {name: option.get("default") for name, option in mend_s3_backup_info.ARGUMENT_SPEC.items()}
        params |= {name: facts[name.removeprefix("s3_")] for name in CONNECTION if name != "s3_path_style"}
        params |= {"s3_path_style": True, "bucket": bucket.name, "prefix": bucket.prefix, **options}
        procedure = BackupInfo(params)
        with procedure.open(params) as client:
            return procedure.observe(client)

    return run


@pytest.fixture
def refusal(info):
    """The MendError of a run that must fail."""

    def run(**options: Any) -> MendError:
        with pytest.raises(MendError) as caught:
            info(**options)
        return caught.value

    return run


def keys(bucket, entries):
    return [entry["key"].removeprefix(bucket.prefix) for entry in entries]


def test_a_bucket_with_everything_in_it(play, bucket):
    bucket.put_whole("1.gz", b"one", "2026-01-01T00:00:00Z")
    bucket.put_whole("2.gz", b"two", "2026-01-02T00:00:00Z")
    bucket.put_whole("lies.gz", b"three", size=99)
    bucket.put_whole("future.gz", b"four", "2099-01-01T00:00:00Z")
    bucket.put_whole("gone.gz")
    bucket.s3.delete_object(Bucket=bucket.name, Key=bucket.prefix + "gone.gz")
    bucket.put("broken.gz")
    bucket.put("broken.gz.manifest.json", b"{")
    bucket.put("empty.gz", b"")
    bucket.put("unfinished.gz")
    bucket.put("2.gz.inuse.20260101T000000Z-abcdef.json", b"mark")
    bucket.put("folder/", b"")
    bucket.put("latest", bucket.prefix.encode() + b"1.gz\n")

    played, result = play("--check")

    assert played.rc == 0
    complete = {e["key"].removeprefix(bucket.prefix): e["complete"] for e in result["backups"]}
    assert complete == {
        "1.gz": True,
        "2.gz": True,
        "lies.gz": False,
        "future.gz": False,
        "gone.gz": False,
        "broken.gz": False,
        "empty.gz": False,
        "unfinished.gz": None,
    }
    assert result["counts"] == {"complete": 2, "incomplete": 5, "unknown": 1, "deleted": 0}
    assert result["pointers"] == [{"key": f"{bucket.prefix}latest", "names": f"{bucket.prefix}1.gz", "problem": None}]
    chosen = result["chosen"]
    assert (chosen["key"], chosen["finished"]) == (f"{bucket.prefix}2.gz", "2026-01-02T00:00:00Z")
    assert chosen["finished_from"] == "manifest"
    assert chosen["sha256"] == hashlib.sha256(b"two").hexdigest()
    assert "unfinished.gz" in keys(bucket, result["passed_over"])


def test_the_dump_of_the_runbook_without_a_manifest(play, bucket):
    bucket.put("latest.dump", ARCHIVE.read_bytes())
    _played, result = play(latest=True, verify=True)
    chosen = result["chosen"]
    assert chosen["key"] == f"{bucket.prefix}latest.dump"
    assert (chosen["complete"], chosen["finished_from"]) == (None, "last_modified")
    assert "cannot be known" in chosen["reason"]
    assert 0 <= chosen["age_seconds"] < 600
    verified = result["verified"]
    assert verified["result"] == "matches"
    assert verified["compared_with"] == "S3's checksum CRC32"
    assert verified["sha256"] == hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()
    assert verified["read_bytes"] == ARCHIVE.stat().st_size


def test_a_pointer_and_a_moment_choose_as_they_say(info, bucket):
    bucket.put_whole("1.gz", b"one", "2026-01-01T00:00:00Z")
    bucket.put_whole("2.gz", b"two", "2026-01-02T00:00:00Z")
    bucket.put("latest.json", json.dumps({"key": "1.gz"}).encode())
    assert info(latest=True)["chosen"]["key"] == f"{bucket.prefix}1.gz"
    at = info(at="2026-01-01T23:59:59Z", verify=True)
    assert at["chosen"]["key"] == f"{bucket.prefix}1.gz"
    assert at["verified"]["compared_with"] == "the manifest's SHA-256"


@pytest.mark.parametrize(
    ("options", "reason", "words"),
    [
        ({"bucket": "no-such-bucket"}, "nothing", "there is no bucket no-such-bucket"),
        ({"prefix": "no-such-prefix/"}, "nothing", "There is no backup under"),
        ({"prefix": "s3://backups/daily/"}, "refused", "write bucket backups and prefix 'daily/'"),
        ({"key": "1.gzz"}, "nothing", "The nearest keys are"),
        ({"latest": True}, "nothing", "There is no latest under"),
        ({"at": "2020-01-01T00:00:00Z"}, "nothing", "The oldest is"),
        ({"key": "lies.gz"}, "refused", "is not complete: it has 5 bytes, its manifest says 99"),
    ],
)
def test_what_cannot_be_taken_fails_in_words(refusal, bucket, options, reason, words):
    bucket.put_whole("1.gz", b"one")
    bucket.put_whole("lies.gz", b"three", size=99)
    if "key" in options:
        options = {**options, "key": bucket.prefix + options["key"]}
    error = refusal(**options)
    assert words in error.msg
    assert error.reason == reason


def test_bytes_that_are_not_the_promised_ones_fail_the_play(play, bucket):
    bucket.put_whole("swapped.gz", b"three")
    bucket.put("swapped.gz", b"THREE")
    played, result = play(verify=True)
    assert played.rc == 2
    assert "is damaged or was changed" in result["msg"]
    assert result["mend"]["reason"] == "verify"
    assert result["mend"]["details"]["verified"]["sha256"] == hashlib.sha256(b"THREE").hexdigest()


def test_wrong_credentials_show_neither_key(play, bucket):
    played, result = play(s3_access_key="CANARYACCESS", s3_secret_key="canary-secret-0123")
    assert played.rc == 2
    assert "S3 does not know the access key" in result["msg"]
    for secret in ("canary-secret-0123", "CANARYACCESS"):
        assert secret not in played.stdout + played.stderr


def test_versions_and_delete_markers(info, refusal, s3_client):
    name = "with-versions"
    s3_client.create_bucket(Bucket=name)
    s3_client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    first = s3_client.put_object(Bucket=name, Key="latest.dump", Body=b"first\0")["VersionId"]
    second = s3_client.put_object(Bucket=name, Key="latest.dump", Body=b"second\0")["VersionId"]
    s3_client.put_object(Bucket=name, Key="gone.gz", Body=b"x")
    s3_client.delete_object(Bucket=name, Key="gone.gz")

    newest = info(bucket=name, prefix="")
    assert newest["chosen"]["version_id"] == second
    assert newest["counts"]["deleted"] == 1
    old = info(bucket=name, prefix="", key="latest.dump", version_id=first, verify=True)
    assert old["chosen"]["current"] is False
    assert old["verified"]["sha256"] == hashlib.sha256(b"first\0").hexdigest()
    gone = refusal(bucket=name, prefix="", key="gone.gz").msg
    assert "was deleted at" in gone and "name it with version_id" in gone


def test_an_encrypted_backup_needs_its_key_and_says_so(info, refusal, bucket):
    key = bytes(range(32))
    data = random.Random(1).randbytes(100_000)  # noqa: S311
    bucket.put("secret.gz", data, SSECustomerAlgorithm="AES256", SSECustomerKey=key)
    with_key = info(verify=True, s3_sse_customer_key=base64.b64encode(key).decode())
    assert with_key["verified"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert "s3_sse_customer_key must hold it" in refusal(verify=True).msg
    wrong = base64.b64encode(b"w" * 32).decode()
    refused = refusal(verify=True, s3_sse_customer_key=wrong)
    assert "a wrong SSE-C key" in refused.msg
    assert wrong not in refused.msg


def test_more_than_a_page_of_backups(info, bucket):
    with ThreadPoolExecutor(8) as putters:
        list(putters.map(lambda number: bucket.put(f"{number:04}.gz"), range(1100)))
    bucket.put_whole("0500.gz", b"the one")
    result = info(limit=7)
    assert result["counts"] == {"complete": 1, "incomplete": 0, "unknown": 1099, "deleted": 0}
    assert len(result["backups"]) == 7 and len(result["passed_over"]) == 7
    assert result["chosen"]["key"] == f"{bucket.prefix}0500.gz"


def test_an_upload_in_parts_is_checked_over_its_parts(info, bucket):
    part = random.Random(2).randbytes(5 << 20)  # noqa: S311
    where = {"Bucket": bucket.name, "Key": f"{bucket.prefix}parts.gz"}
    upload = where | {"UploadId": bucket.s3.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]}
    parts = []
    for number, body in ((1, part), (2, part), (3, b"end")):
        put = bucket.s3.upload_part(**upload, PartNumber=number, Body=body, ChecksumAlgorithm="SHA256")
        parts.append({"PartNumber": number, "ETag": put["ETag"], "ChecksumSHA256": put["ChecksumSHA256"]})
    bucket.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    verified = info(verify=True)["verified"]
    assert verified["compared_with"] == "S3's checksum SHA256 over 3 parts"
    assert verified["sha256"] == hashlib.sha256(part + part + b"end").hexdigest()


def test_hostile_objects_are_listed_and_harm_nothing(play, refusal, bucket, tmp_path):
    bucket.put_whole("good.gz")
    owned = tmp_path / "owned"
    bucket.put(f"{{{{ lookup('pipe', 'touch {owned}') }}}}.gz")
    bucket.put("bomb.gz")
    bucket.put("bomb.gz.manifest.json", b"[" * 200_000)
    bucket.put("huge.gz")
    bucket.put("huge.gz.manifest.json", b" " * ((4 << 20) + 1))
    bucket.put("latest", b"s3://somebody-else/a.gz")
    _played, result = play()
    reasons = {e["key"].removeprefix(bucket.prefix): e["reason"] for e in result["backups"]}
    assert "is not JSON that can be read" in reasons["bomb.gz"]
    assert "more than the 4194304" in reasons["huge.gz"]
    assert result["chosen"]["key"] == f"{bucket.prefix}good.gz"
    assert "it names the other bucket somebody-else" in result["pointers"][0]["problem"]
    assert not owned.exists()
    assert "it names the other bucket" in refusal(latest=True).msg
