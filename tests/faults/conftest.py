"""A real S3 server with a fault proxy in front of it."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from ansible.module_utils.mendbook.s3 import client
from botocore.config import Config
from s3_proxy import S3Proxy

import mendbook.sandbox


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
            yield Store(facts, s3, proxy, params, client(params))
        finally:
            proxy.close()


@pytest.fixture
def store(s3_store: Store) -> Store:
    """The store with a proxy that forgot the faults of the test before."""
    s3_store.proxy.reset()
    return s3_store


@pytest.fixture
def noise() -> Callable[[int], bytes]:
    """Make bytes without any pattern, the same in every run."""
    return lambda size: random.Random(size).randbytes(size)
