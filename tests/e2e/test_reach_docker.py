"""Servers that only a container's network knows, by the ssh of their engine's host; and each way that it fails."""

from __future__ import annotations

import socket
import threading

import pytest
import redis
from ansible.module_utils.mendbook import reach
from ansible.module_utils.mendbook.errors import MendError

from docker_lab import BASE, DockerEngine
from docker_ssh_lab import engine_host
from waiting import until

pytestmark = pytest.mark.e2e
pytest_plugins = ["docker_lab", "docker_ssh_lab", "ssh_lab"]
SERVER = ["redis-server", "--protected-mode", "no", "--save", ""]


@pytest.fixture(scope="module")
def shop(docker_engine: DockerEngine):
    """Two networks, a Redis in each, and containers that sit elsewhere; all of it goes with the module."""
    engine, names = docker_engine, []

    def start(name: str, *options: str, command: list[str] = SERVER) -> None:
        engine.run(name, BASE, *command, options=options)
        names.append(name)

    for network in ("shop-front", "shop-back"):
        engine.cli("network", "create", network)
    start("Cache_1", "--network=shop-front", "--network-alias=cache.example.com", "--hostname=cachehost")
    start("queue", "--network=shop-back", "--network-alias=queue.example.com")
    engine.cli("network", "connect", "shop-back", "Cache_1")
    start("app", "--network=shop-front", "--add-host=legacy:192.0.2.7", command=["sleep", "infinity"])
    start("sidecar", "--network=container:app", command=["sleep", "infinity"])
    start("shared", "--network=host", command=[*SERVER, "--port", "6390"])
    start("alone", "--network=none", command=["sleep", "infinity"])
    start("stopped", command=["true"])
    start("paused", command=["sleep", "infinity"])
    engine.cli("wait", "stopped")
    engine.cli("pause", "paused")
    for name, port in (("Cache_1", "6379"), ("queue", "6379"), ("shared", "6390")):
        answers(engine, name, port)
    yield engine
    engine.cli("rm", "--force", *names)
    engine.cli("network", "rm", "shop-front", "shop-back")


def answers(engine: DockerEngine, container: str, port: str = "6379") -> None:
    """Wait for the Redis in a container, which begins to listen some time after the container runs."""
    ping = ["exec", container, "redis-cli", "-p", port, "ping"]
    until(lambda: engine.attempt(*ping).stdout == b"PONG\n", f"Redis of {container} answers")


@pytest.fixture(autouse=True)
def nothing_stays_open():
    """Every test leaves the threads and the resolver of this process as they were."""
    threads, resolver = set(threading.enumerate()), socket.getaddrinfo
    yield
    assert socket.getaddrinfo is resolver
    assert set(threading.enumerate()) - threads == set()


def server(via: str, host: str = "localhost", port: int = 6379) -> str:
    """The id of the Redis that answers by this way; a MendError with its cause otherwise."""
    with reach.route(via, 60):
        client = redis.Redis(host=host, port=port, socket_timeout=60, socket_connect_timeout=60, retry=None)
        try:
            with client:
                return client.info("server")["run_id"]
        except redis.RedisError as error:
            raise MendError(f"Redis: {error}") from None


def failure(via: str, host: str = "localhost", port: int = 6379) -> str:
    with pytest.raises(MendError) as failed:
        server(via, host, port)
    return f"{failed.value.rule}: {failed.value.msg}"


def run_id(engine: DockerEngine, container: str, *options: str) -> str:
    """The same, as redis-cli in the container says it."""
    said = engine.cli("exec", container, "redis-cli", *options, "info", "server")
    return next(line.split(":")[1].strip() for line in said.splitlines() if line.startswith("run_id"))


@pytest.mark.parametrize(
    ("container", "host", "found"),
    [
        ("Cache_1", "localhost", "Cache_1"),
        ("Cache_1", "127.0.0.1", "Cache_1"),
        ("Cache_1", "cachehost", "Cache_1"),
        ("Cache_1", "cache.example.com", "Cache_1"),
        ("Cache_1", "queue", "queue"),
        ("Cache_1", "queue.example.com", "queue"),
        ("app", "Cache_1", "Cache_1"),
        ("app", "cache.example.com", "Cache_1"),
        ("sidecar", "cache.example.com", "Cache_1"),
    ],
)
def test_a_name_means_what_the_network_of_the_container_means_by_it(shop, engine_by_ssh, container, host, found):
    assert server(engine_by_ssh.via(container), host) == run_id(shop, found)


def test_an_address_of_the_network_is_gone_to(shop, engine_by_ssh):
    address = shop.cli("inspect", "--format", '{{(index .NetworkSettings.Networks "shop-back").IPAddress}}', "queue")
    assert server(engine_by_ssh.via("Cache_1"), address) == run_id(shop, "queue")


def test_a_container_in_the_network_of_its_host_is_reached_there(shop, engine_by_ssh):
    assert server(engine_by_ssh.via("shared"), port=6390) == run_id(shop, "shared", "-p", "6390")


def test_the_network_can_be_chosen(shop, engine_by_ssh):
    assert server(engine_by_ssh.via("Cache_1", network="shop-back"), "queue") == run_id(shop, "queue")
    front = failure(engine_by_ssh.via("Cache_1", network="shop-front"), "queue")
    assert front.startswith("via_name: container Cache_1 does not know queue: in shop-front there are Cache_1, app")


def test_the_engine_of_the_environment_counts_where_none_is_named(shop, engine_by_ssh, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "ssh://root@build1")
    assert server(f"docker://queue?config={engine_by_ssh.ssh_config}") == run_id(shop, "queue")


@pytest.mark.parametrize(
    ("container", "options", "host", "words"),
    [
        ("nobody", {}, "localhost", "via_container: container nobody: there is none of this name"),
        ("cache_1", {}, "localhost", "via_container: container cache_1: there is none of this name"),
        ("stopped", {}, "localhost", "via_container_state: container stopped is exited"),
        ("paused", {}, "localhost", "via_container_state: container paused is paused"),
        ("alone", {}, "localhost", "via_network: container alone has no network"),
        ("queue", {"network": "shop-front"}, "localhost", "via_network: container queue is not in network shop-front"),
        ("queue", {}, "app", "via_name: container queue does not know app: in shop-back there are Cache_1, queue"),
        ("app", {}, "shop.invalid", "via_name: container app does not know shop.invalid"),
        ("app", {}, "localhost", "via_forward: the bastion root@build1 cannot reach 172."),
        ("app", {}, "legacy", "via_forward: the bastion root@build1 cannot reach 192.0.2.7:6379"),
    ],
)
def test_what_is_not_reached_is_named(shop, engine_by_ssh, container, options, host, words):
    assert failure(engine_by_ssh.via(container, **options), host).startswith(words)


@pytest.mark.parametrize(
    ("docker_host", "words"),
    [
        ("unix:///nowhere/docker.sock", "dial unix /nowhere/docker.sock"),
        ("unix:///nowhere/docker.sock PATH=/nowhere", "docker: "),
    ],
)
def test_a_host_without_an_engine_says_so(docker_engine, tmp_path, can_host, docker_host, words):
    with engine_host(docker_engine, tmp_path, docker_host) as host:
        said = failure(host.via("queue"))
    start = "docker_unreachable: `docker system dial-stdio` on the bastion root@build1 gives no way to its engine: "
    assert said.startswith(start) and words in said


def test_a_replaced_container_is_not_taken_for_the_first(shop, engine_by_ssh):
    engine = shop
    engine.run("changing", BASE, *SERVER)
    answers(engine, "changing")
    try:
        with pytest.raises(MendError) as failed, reach.route(engine_by_ssh.via("changing"), 60):
            with redis.Redis(socket_timeout=60, retry=None) as client:
                assert client.ping()
                engine.cli("rm", "--force", "changing")
                engine.run("changing", BASE, *SERVER)
                with pytest.raises(redis.ConnectionError):
                    client.ping()
                raise MendError("Redis: the connection was closed")
        assert failed.value.rule == "via_lost"
        words = "container changing: it was removed or replaced after this run had begun. Redis: the connection"
        assert failed.value.msg.startswith(words)
    finally:
        engine.cli("rm", "--force", "changing")


def test_a_stopped_container_is_named_as_the_cause(shop, engine_by_ssh):
    engine = shop
    engine.run("ending", BASE, *SERVER)
    answers(engine, "ending")
    try:
        with pytest.raises(MendError, match="container ending is exited: .* Redis: closed"):
            with reach.route(engine_by_ssh.via("ending"), 60), redis.Redis(socket_timeout=60, retry=None) as client:
                assert client.ping()
                engine.cli("kill", "ending")
                with pytest.raises(redis.ConnectionError):
                    client.ping()
                raise MendError("Redis: closed")
    finally:
        engine.cli("rm", "--force", "ending")
