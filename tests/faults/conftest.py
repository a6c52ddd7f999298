"""A real S3 server with a fault proxy in front of it."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from ansible.module_utils.mendbook import s3, s3_upload
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3 import client as new_client
from ansible.module_utils.mendbook.s3_catalogue import catalogue
from ansible.module_utils.mendbook.s3_choice import choose
from ansible.module_utils.mendbook.s3_stream import object_source
from botocore.config import Config
from s3_proxy import S3Proxy
from upload_target import PART_BYTES, Target

import mendbook.sandbox
import restore_child
import restore_lab
from mendbook.sandbox import Sandbox
from restore_lab import Lab


@dataclass
class Store:
    """A real S3 server: ``s3`` talks to it directly, ``client`` (ours, of ``params``) goes through the proxy."""

    facts: dict[str, Any]
    s3: Any
    proxy: S3Proxy
    params: dict[str, Any]
    client: Any

    @property
    def bucket(self) -> str:
        return self.facts["bucket"]

    def put(self, key: str, data: bytes, manifest: bool = True, **changed: Any) -> None:
        """Put a backup and its manifest; ``changed`` replaces fields of the manifest's ``object``."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)
        if manifest:
            self.s3.put_object(Bucket=self.bucket, Key=f"{key}.manifest.json", Body=manifest_of(key, data, **changed))

    def source(self, key: str = "stream/a.gz", *, part_bytes: int = 1 << 20, window: int = 3, **options: Any) -> Any:
        """The object_source of a key under stream/, in small parts; ``client`` may replace the store's own."""
        client = options.pop("client", self.client)
        backup = choose(catalogue(client, self.bucket, "stream/", params=self.params), key=key)
        self.proxy.requests.clear()
        options = {"patience_seconds": 20.0, **options}
        return object_source(client, backup, self.params, part_bytes=part_bytes, window=window, **options)

    def listing(self, bucket: str | None = None, **changed: Any) -> Any:
        """The catalogue under errors/, read by a new client with ``changed`` options."""
        params = {**self.params, **changed}
        return catalogue(new_client(params), bucket or self.bucket, "errors/", params=params)

    def failure(self, bucket: str | None = None, **changed: Any) -> MendError:
        """The MendError of a listing that must fail, and that says no secret."""
        with pytest.raises(MendError) as caught:
            self.listing(bucket, **changed)
        secret = {**self.params, **changed}["s3_secret_key"]
        assert secret not in caught.value.msg and secret not in repr(caught.value.details)
        return caught.value


def manifest_of(key: str, data: bytes, finished: str = "2026-01-02T03:04:05Z", **changed: Any) -> bytes:
    described = {"key": key, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **changed}
    return json.dumps({"schema": 1, "object": described, "finished": finished}).encode()


@pytest.fixture(scope="session")
def s3_store() -> Iterator[Store]:
    with mendbook.sandbox.start(("s3",)) as box:
        facts = box.status()["s3"]
        keys = {"aws_access_key_id": facts["access_key"], "aws_secret_access_key": facts["secret_key"]}
        config = Config(s3={"addressing_style": "path"})
        s3 = boto3.client("s3", endpoint_url=facts["endpoint_url"], region_name=facts["region"], config=config, **keys)
        proxy = S3Proxy(facts["endpoint_url"])
        params = {
            "s3_endpoint_url": proxy.endpoint_url,
            "s3_region": facts["region"],
            "s3_path_style": True,
            "s3_access_key": facts["access_key"],
            "s3_secret_key": facts["secret_key"],
        }
        try:
            yield Store(facts, s3, proxy, params, new_client(params))
        finally:
            proxy.close()


@pytest.fixture
def store(s3_store: Store) -> Store:
    """The store with a proxy that forgot the faults of the test before."""
    s3_store.proxy.reset()
    return s3_store


@pytest.fixture
def hasty_client(store: Store, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client whose deadlines are a second in place of twenty: what is tested is what follows them."""
    for deadline in ("connect_timeout", "read_timeout"):
        monkeypatch.setitem(s3._LIMITS, deadline, 1)
    return new_client(store.params)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of patience with S3 becomes a second."""
    for module, name in ((s3, "PATIENCE_SECONDS"), (s3, "READ_SECONDS"), (s3_upload, "_ABORT_SECONDS")):
        monkeypatch.setattr(module, name, 1)


@pytest.fixture
def target(store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A new key, which uploads in parts as small as stores allow."""
    monkeypatch.setattr(s3_upload, "PART_BYTES", PART_BYTES)
    return Target(store, f"upload/{hashlib.sha256(request.node.nodeid.encode()).hexdigest()}.archive.gz")


@pytest.fixture
def noise() -> Callable[[int], bytes]:
    """Make bytes without any pattern, the same in every run."""
    return lambda size: random.Random(size).randbytes(size)


@pytest.fixture(scope="session")
def mongo_box() -> Iterator[Sandbox]:
    """A real MongoDB for every test that does not break it."""
    with mendbook.sandbox.start(("mongo",)) as box:
        yield box


@pytest.fixture
def lab(mongo_box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A database with live data that differs from every backup."""
    with restore_lab.scratch(mongo_box.status()["mongo"]["uri"], monkeypatch) as lab:
        yield lab


@pytest.fixture
def backup(tmp_path: Path) -> Callable[..., str]:
    """Write a backup into a file and give its path; `manifest` is what its manifest says beside size and SHA-256."""

    def write(data: bytes, name: str = "estore.archive", manifest: dict[str, Any] | None = None) -> str:
        path = tmp_path / name
        path.write_bytes(data)
        if manifest is not None:
            described = restore_lab.manifest_of(name, data, manifest)
            path.with_name(f"{name}.manifest.json").write_bytes(described)
        return str(path)

    return write


@pytest.fixture(scope="session")
def backups(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A real dump with a time-series, a view, TTL and capped; another one; and one that takes its time to load."""
    folder = tmp_path_factory.mktemp("backups")
    chance = random.Random(1)
    long = [{"_id": n, "filler": chance.randbytes(2000)} for n in range(9000)]
    made = {
        "real": restore_lab.RealDump().cut(5, restore_child.KINDS),
        "other": restore_lab.archive_of("estore", {"orders": restore_lab.numbered(9, "other"), "metrics": []}),
        "long": restore_lab.archive_of("estore", {"orders": long, "coupons": restore_lab.numbered(5)}),
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return {name: str(folder / name) for name in made}


@pytest.fixture
def pictures(lab: Lab, backups: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any], int]:
    """All-old and all-new as an undisturbed run leaves them, and the number of its steps."""
    restore_child.fill(lab)
    old = restore_child.content(lab)
    result = restore_child.Child(lab, backups["real"], lambda label, step: None).result()
    assert result and result["state"] == "done", result
    return old, restore_child.content(lab), result["steps"]
