"""Keys on real Redis servers, mend_redis_flush against them, and raw clients as witnesses; a plugin of its tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import mend_redis_flush
import pytest
import redis
from ansible.module_utils.mendbook import redis_flush

from mendbook.sandbox import Sandbox
from mendbook.sandbox.services.redis import Service
from restore_lab import receipt_for, run_module


class FlushLab:
    """One Redis; ``witness`` clients know nothing of ours and talk to one server each."""

    def __init__(self, service: Service, **options: Any) -> None:
        self.service = service
        self.options: dict[str, Any] = {"uri": service.uri, "max_share": 1.0, **options}
        self._clients: dict[int, redis.Redis] = {}
        self._runs = 0

    def witness(self, port: int) -> redis.Redis:
        if port not in self._clients:
            self._clients[port] = self.service.client(port)
        return self._clients[port]

    def masters(self) -> list[redis.Redis]:
        """A witness for each server that is a master now and answers."""
        found = []
        for port in self.service.ports:
            with contextlib.suppress(redis.ConnectionError):
                if self.witness(port).info("replication")["role"] == "master":
                    found.append(self.witness(port))
        return found

    def fill(self, *names: str | bytes, **numbered: int) -> None:
        """Write keys: each of ``names``, and for ``cache=3`` cache:0 to cache:2."""
        keys = [*names, *(f"{prefix}:{n}" for prefix, count in numbered.items() for n in range(count))]
        if not self.service.cluster:
            self.witness(self.service.ports[0]).mset(dict.fromkeys(keys, "x"))
            return
        client = redis.RedisCluster.from_url(self.service.uri, protocol=2)
        with contextlib.closing(client), client.pipeline() as pipe:
            for key in keys:
                pipe.set(key, "x")
            pipe.execute()

    def keys(self, pattern: str = "*", database: int = 0) -> set[bytes]:
        """The keys of all masters, as KEYS tells them."""
        found: set[bytes] = set()
        for client in self.masters():
            client.execute_command("SELECT", database) if database else None
            found.update(client.keys(pattern))
            client.execute_command("SELECT", 0) if database else None
        return found

    def empty(self) -> None:
        for client in self.masters():
            client.flushall()

    def plan(self, *patterns: str, **options: Any) -> dict[str, Any]:
        """mend_redis_flush in check mode."""
        given = {**self.options, "patterns": list(patterns), "check": True, **options}
        return run_module(mend_redis_flush, **given)

    def act(self, planned: dict[str, Any], *patterns: str, **options: Any) -> dict[str, Any]:
        """The same with the receipt for a plan."""
        self._runs += 1
        receipt = receipt_for(planned, f"lab-{self._runs}")
        return run_module(
            mend_redis_flush, **{**self.options, "patterns": list(patterns), "receipt": receipt, **options}
        )

    def flush(self, *patterns: str, **options: Any) -> dict[str, Any]:
        """Plan and act at once; the plan's own answer when it failed."""
        planned = self.plan(*patterns, **options)
        return self.act(planned, *patterns, **options) if planned["rc"] == 0 else planned

    @staticmethod
    def removed(result: dict[str, Any]) -> int:
        return sum(entry["count"] for entry in result["done"])

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas are waited for, also on a machine that stands still for a while."""
    monkeypatch.setattr(redis_flush, "_REPLICA_SECONDS", 60.0)


@contextlib.contextmanager
def _flushing(service: Service, **options: Any) -> Iterator[FlushLab]:
    """A lab for this service, whose keys are gone at the beginning and at the end: other tests share the service."""
    with contextlib.closing(FlushLab(service, **options)) as lab:
        lab.empty()
        yield lab
        lab.empty()


@pytest.fixture
def single(redis_single: Service) -> Iterator[FlushLab]:
    with _flushing(redis_single) as lab:
        yield lab


@pytest.fixture
def replicated(redis_replicated: Service, patient: None) -> Iterator[FlushLab]:
    with _flushing(redis_replicated) as lab:
        yield lab


@pytest.fixture
def cluster(redis_cluster: Service, patient: None) -> Iterator[FlushLab]:
    with _flushing(redis_cluster) as lab:
        yield lab


@pytest.fixture
def own_redis(redis_box: Sandbox) -> Iterator[Callable[..., FlushLab]]:
    """Start a Redis that the test may break: ``own_redis(cluster=True, settings=...)``, the words of Service."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> FlushLab:
            service = Service(name="own", **options)
            redis_box.add(service)
            stack.callback(redis_box.remove, "own")
            return stack.enter_context(contextlib.closing(FlushLab(service)))

        yield start


@pytest.fixture
def lab_of() -> Callable[[Service], FlushLab]:
    """Make a lab for a service that outlives the test; close it."""
    return FlushLab
