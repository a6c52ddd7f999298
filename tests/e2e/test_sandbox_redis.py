"""The sandbox's Redis: who it serves and refuses, its replicas, its cluster, and that nothing of it stays behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sandbox_probes import listening, running

import mendbook.sandbox
from mendbook.sandbox import SandboxError, ServerDied
from mendbook.sandbox.ports import is_free
from mendbook.sandbox.services.redis import Service
from redis_cli import BUILDS, build, cli, info
from waiting import until

pytestmark = pytest.mark.e2e
pytest_plugins = ["redis_lab"]
# the driver would try eleven times
ONCE = {"retry": Retry(NoBackoff(), 0), "protocol": 2}


@pytest.fixture(scope="session")
def sandbox(redis_box):
    """Only Redis, in the place of the sandbox with everything."""
    return redis_box


def test_it_serves_its_user_on_loopback_alone(redis_single):
    facts = redis_single.describe()
    with redis.Redis.from_url(facts["uri"]) as client:
        assert client.acl_whoami() == "default" and client.info()["redis_version"].startswith("6.2.")
    assert facts["uris"] == [facts["uri"]] and facts["ports"] == [facts["port"]]
    assert {address for address, _ in listening(facts["pid"])} == {"0100007F"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": None}, "Authentication required"),
        ({"password": "wrong"}, "invalid username-password pair"),
        ({"username": "somebody"}, "invalid username-password pair"),
    ],
)
def test_it_refuses_whoever_has_no_password(redis_single, changed, words):
    credentials = {"password": redis_single.password, **changed}
    with redis.Redis(port=redis_single.ports[0], **ONCE, **credentials) as client:
        with pytest.raises(redis.AuthenticationError, match=words):
            client.ping()


def test_no_password_is_in_an_argument_list_or_in_a_file_for_others(redis_single):
    assert redis_single.password not in Path(f"/proc/{redis_single.pid}/cmdline").read_text()
    files = [path for path in redis_single.folder.iterdir() if path.is_file()]
    holders = [path for path in files if redis_single.password in path.read_text()]
    assert [path.suffix for path in holders] == [".conf"] and holders[0].stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", BUILDS)
def test_replicas_follow_and_a_kill_loses_nothing(sandbox, name):
    service = sandbox.add(Service(name="followed", binary=build(name), replicas=2))
    try:
        assert [info(service, "role", port) for port in service.ports] == ["master", "slave", "slave"]
        cli(service, "set", "order:7", "paid")
        for port in service.ports:
            until(lambda port=port: cli(service, "get", "order:7", port=port) == "paid")
        pids = [process.pid for process in service.processes]
        service.kill()
        assert not any(map(running, pids)) and all(map(is_free, service.ports))
        assert sandbox.status()["followed"]["running"] is False
        service.restart()
        assert sandbox.status()["followed"]["running"] is True
        assert [cli(service, "get", "order:7", port=port) for port in service.ports] == ["paid"] * 3
        with pytest.raises(redis.ReadOnlyError):
            redis.Redis.from_url(service.uris[1]).set("order:8", "x")
    finally:
        sandbox.remove("followed")


@pytest.mark.parametrize("name", ["package", "valkey"])
def test_a_cluster_covers_every_slot_and_outlives_a_master(sandbox, name):
    service = sandbox.add(Service(name="sharded", binary=build(name), cluster=True))
    try:
        with redis.RedisCluster.from_url(service.uri) as client:
            for number in range(30):
                client.set(f"cart:{number}", number)
        holding = [int(cli(service, "dbsize", port=port)) for port in service.ports]
        assert all(holding[:3]) and sum(holding[:3]) == 30
        assert cli(service, "cluster", "info").splitlines()[0].strip() == "cluster_state:ok"
        # a replica counts as caught up from the start: a master that dies now is replaced
        service.node(service.ports[1]).kill()
        heir = next(port for port in service.ports[3:] if info(service, "master_port", port) == str(service.ports[1]))
        until(lambda: info(service, "role", heir) == "master")
        service.restart()
        until(lambda: info(service, "role", service.ports[1]) == "slave")
    finally:
        sandbox.remove("sharded")


def test_a_user_of_its_own_may_do_what_its_rules_say(sandbox):
    service = sandbox.add(Service(name="ruled", users={"app": ">secret ~app:* +get +set"}))
    try:
        with redis.Redis(port=service.ports[0], username="app", password="secret", **ONCE) as client:
            assert client.set("app:1", "x")
            for denied in (lambda: client.set("other", "x"), client.flushdb):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    denied()
    finally:
        sandbox.remove("ruled")


@pytest.mark.parametrize("cluster", [False, True], ids=["single", "cluster"])
def test_the_server_of_debian_takes_tls_alone(sandbox, redis_certificate, cluster):
    service = Service(name="secured", binary=build("debian"), certificate=redis_certificate, cluster=cluster)
    sandbox.add(service)
    try:
        assert service.uri.startswith("rediss://") and cli(service, "ping") == "PONG"
        with redis.Redis.from_url(service.uri) as client:
            assert client.ping()
        plain = redis.Redis(port=service.ports[0], password=service.password, **ONCE)
        with pytest.raises(redis.ConnectionError):
            plain.ping()
    finally:
        sandbox.remove("secured")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"settings": {"no-such": "1"}}, "no-such 1"),
        ({"settings": {"maxmemory": "much"}}, "maxmemory much"),
        ({"certificate": ("server.pem", "server.key", "ca.pem")}, "tls-"),
    ],
    ids=["a setting that there is not", "a value that is none", "TLS of a build without it"],
)
def test_what_the_server_does_not_take_is_reported_in_its_own_words(sandbox, options, words):
    with pytest.raises(ServerDied, match=words):
        sandbox.add(Service(name="odd", **options))
    assert "odd" not in sandbox.names and not (sandbox.directory / "odd").exists()


def test_a_cluster_with_a_number_of_replicas_is_refused():
    with pytest.raises(SandboxError, match="one replica for each master"):
        Service(cluster=True, replicas=1)


OWNER = """
import json, sys, time
import mendbook.sandbox
from mendbook.sandbox.services.redis import Service
with mendbook.sandbox.start([Service(replicas=1)], directory=sys.argv[1]) as box:
    pids = [process.pid for process in box.services["redis"].processes]
    print(json.dumps({**box.status(), "pids": pids}), flush=True)
    time.sleep(120)
"""


@pytest.mark.parametrize("victim", ["the program that started it", "the keeper"])
def test_nothing_is_left_when_its_owner_or_its_keeper_is_killed(tmp_path, victim):
    folder = tmp_path / "box"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        facts = json.loads(owner.stdout.readline())
        os.kill(owner.pid if victim != "the keeper" else facts["keeper"], 9)
        until(lambda: not any(map(running, [facts["keeper"], *facts["pids"]])))
        until(lambda: all(map(is_free, facts["redis"]["ports"])))
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    if victim == "the keeper":
        mendbook.sandbox.stop_in(folder)
    until(lambda: not folder.exists())


def test_all_four_servers_start_side_by_side_and_end_together(tmp_path):
    kinds = mendbook.sandbox.kinds()
    side_by_side = threading.Barrier(len(kinds), timeout=60)

    def progress(line):
        if ": starting " in line:
            # none goes on before all have come so far
            side_by_side.wait()

    with mendbook.sandbox.start(kinds, directory=tmp_path / "box", progress=progress) as box:
        pids = [facts["pid"] for facts in box.status().values() if isinstance(facts, dict)]
        assert len(pids) == 4 and all(map(running, pids))
    until(lambda: not any(map(running, pids)))
    assert not (tmp_path / "box").exists()
