"""A real S3 server with a fault proxy in front of it."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3 import client as new_client
from ansible.module_utils.mendbook.s3_catalogue import catalogue
from ansible.module_utils.mendbook.s3_choice import choose
from ansible.module_utils.mendbook.s3_stream import object_source
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

    def source(self, key: str = "stream/a.gz", *, part_bytes: int = 1 << 20, window: int = 3, **options: Any) -> Any:
        """The object_source of a key under stream/, in small parts; ``client`` may replace the store's own."""
        client = options.pop("client", self.client)
        backup = choose(catalogue(client, self.bucket, "stream/", params=self.params), key=key)
        self.proxy.requests.clear()
        options = {"patience_seconds": 20.0, **options}
        return object_source(client, backup, self.params, part_bytes=part_bytes, window=window, **options)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Return as soon as ``condition`` holds; an AssertionError when it does not within ``seconds``."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, [vars(request) for request in self.proxy.requests]
            time.sleep(0.02)

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
def noise() -> Callable[[int], bytes]:
    """Make bytes without any pattern, the same in every run."""
    return lambda size: random.Random(size).randbytes(size)
