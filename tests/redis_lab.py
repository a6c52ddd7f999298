"""Real Redis and Valkey servers for tests; a plugin of the Redis tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import mend_redis_info
import pytest
import trustme

import mendbook.sandbox
from mendbook.sandbox import Sandbox
from mendbook.sandbox.services.redis import Certificate, Service
from redis_cli import build, certificate
from restore_lab import run_module


@pytest.fixture(scope="session")
def redis_box() -> Iterator[Sandbox]:
    """A sandbox with nothing but a Redis in it, one per worker; a test that breaks a server adds its own."""
    with mendbook.sandbox.start([Service()]) as box:
        yield box


def _started(box: Sandbox, service: Service) -> Iterator[Service]:
    box.add(service)
    yield service
    box.remove(service.name)


@pytest.fixture(scope="session")
def redis_single(redis_box: Sandbox) -> Service:
    service = redis_box.services["redis"]
    assert isinstance(service, Service)
    return service


@pytest.fixture(scope="session")
def redis_replicated(redis_box: Sandbox) -> Iterator[Service]:
    """A master with two replicas."""
    yield from _started(redis_box, Service(name="replicated", replicas=2))


@pytest.fixture(scope="session")
def redis_cluster(redis_box: Sandbox) -> Iterator[Service]:
    """Three masters with a replica each; nobody may kill one of them here."""
    # they stay what they are, however long this machine stands still
    yield from _started(redis_box, Service(name="cluster", cluster=True, settings={"cluster-node-timeout": "120000"}))


@pytest.fixture(scope="session")
def redis_authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def redis_certificate(redis_authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """For servers that are reached as 127.0.0.1."""
    return certificate(redis_authority, tmp_path_factory.mktemp("redis-tls"), "127.0.0.1")


@pytest.fixture(scope="session")
def redis_tls(redis_box: Sandbox, redis_certificate: Certificate) -> Iterator[Service]:
    """Debian's server, which takes TLS only."""
    yield from _started(redis_box, Service(name="tls", binary=build("debian"), certificate=redis_certificate))


@pytest.fixture
def redis_look() -> Callable[..., dict[str, Any]]:
    """A run of mend_redis_info, with its two looks close together: ``redis_look(uri, **options)``."""

    def look(uri: str, **options: Any) -> dict[str, Any]:
        # a machine with much to do answers late, and most tests are not about that
        patient = {"max_ping_seconds": 10, "operation_timeout_seconds": 60, "sample_seconds": 60}
        return run_module(mend_redis_info, **{"uri": uri, "interval_seconds": 0.1, **patient, **options})

    return look


@pytest.fixture
def redis_added(redis_box: Sandbox) -> Iterator[Callable[..., Service]]:
    """Start a Redis of the test's own: ``redis_added(settings={...})``; it is gone at the end."""
    names: list[str] = []

    def add(**options: Any) -> Service:
        names.append(f"own{len(names)}")
        return redis_box.add(Service(name=names[-1], **options))

    yield add
    for name in names:
        if name in redis_box.names:
            redis_box.remove(name)


@pytest.fixture
def redis_refused(redis_look, redis_single):
    """The rule and the stage of a look that must fail, without a password in its answer."""

    def run(uri, **options):
        result = redis_look(uri, **{"connect_timeout_seconds": 60, "operation_timeout_seconds": 60, **options})
        assert result["rc"] == 1, result
        assert redis_single.password not in json.dumps(result) and "canary" not in json.dumps(result)
        return result["mend"]["rule"], result["mend"]["details"].get("stage")

    return run
