"""diagnose_redis on real servers: what it says against what redis-cli sees, and that it changes nothing."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

import pytest
import redis
from ansible.module_utils.mendbook.redis_client import connect
from ansible.module_utils.mendbook.redis_lock import Presence
from ansible.module_utils.mendbook.redis_nodes import topology

from local_inventory import local_inventory
from redis_cli import BUILDS, build, cli, info
from waiting import until

pytestmark = pytest.mark.e2e
pytest_plugins = ["redis_lab"]
CARD = "4111111111111111"
# commands that hold nobody up and change nothing
HARMLESS = {"info", "ping", "scan", "memory", "slowlog", "latency", "client", "auth", "select", "cluster"}


@pytest.fixture
def inventory(redis_single, tmp_path) -> Path:
    """One host in the group redis, in the place of those with MongoDB and S3."""
    return local_inventory(tmp_path / "inventory.yml", "shop", "redis", redis_uri="env:SANDBOX_REDIS_URI")


@pytest.fixture
def sandbox_secrets(redis_single) -> dict[str, str]:
    return {"SANDBOX_REDIS_URI": redis_single.uri}


def fill(service, **prefixes):
    """Write ``name=(number, bytes)`` keys; a cluster takes them where they belong."""
    client = (
        redis.RedisCluster.from_url(service.uri, protocol=2) if service.cluster else service.client(service.ports[0])
    )
    with contextlib.closing(client), client.pipeline(transaction=False) as pipeline:
        for prefix, (number, size) in prefixes.items():
            for one in range(number):
                pipeline.set(f"{prefix}:{one}", "x" * size)
                if one % 500 == 0:
                    # a server that is full takes no more commands than it has room for
                    pipeline.execute()
        pipeline.execute()


def verdict(facts, check):
    return next(one for one in facts["verdicts"] if one["check"] == check)


def commands(service):
    """The commands that a server has executed since `config resetstat`, without what replication does."""
    lines = cli(service, "info", "commandstats").splitlines()
    names = {line.partition("_")[2].partition(":")[0].partition("|")[0] for line in lines if line.startswith("cmdstat")}
    return names - {"replconf", "psync"}


def test_the_playbook_tells_what_is_there_and_changes_nothing(redis_single, playbook):
    fill(redis_single, session=(50, 100))
    cli(redis_single, "set", f"card:{CARD}", "x", "ex", 500)
    before = cli(redis_single, "debug", "digest"), cli(redis_single, "config", "get", "*")
    cli(redis_single, "config", "resetstat")
    for arguments in ((), ("--check",)):
        played = playbook("diagnose_redis", *arguments, variables={"redis_info_interval_seconds": 0.2})
        assert played.rc == 0, played.stdout
        (facts,) = played.of("mend_redis_info")
        assert facts["changed"] is False and facts["target"]["id"] == f"redis@127.0.0.1:{redis_single.ports[0]}"
        assert "Redis 6.2.5: 51 keys" in played.stdout and "biggest prefixes: session:" in played.stdout
        assert redis_single.password not in played.stdout + json.dumps(facts)
    assert commands(redis_single) - {"config"} <= HARMLESS
    assert (cli(redis_single, "debug", "digest"), cli(redis_single, "config", "get", "*")) == before
    cli(redis_single, "flushall")


@pytest.mark.parametrize("name", BUILDS)
def test_what_is_in_a_server_is_told_as_redis_cli_sees_it(redis_added, redis_look, name):
    service = redis_added(binary=build(name), settings={"maxmemory": "100mb", "maxmemory-policy": "allkeys-lfu"})
    fill(service, session=(300, 2000), product=(100, 1000))
    cli(service, "-n", 3, "set", "other:1", "x", "ex", 1000)
    for key in ("session:1", "session:2", "session:3", "nothing:1"):
        cli(service, "get", key)
    cli(service, "client", "kill", "type", "pubsub")
    with service.client(service.ports[0]) as shop:
        shop.client_setname("shop-api")
        facts = redis_look(service.uri)
    assert facts["rc"] == 0 and facts["verdict"] == "exceeded", facts
    (node,) = facts["nodes"]
    assert node["version"].endswith(info(service, "valkey_version" if name == "valkey" else "redis_version"))
    assert (node["memory"]["max_bytes"], node["memory"]["policy"]) == (100 * 1024 * 1024, "allkeys-lfu")
    assert facts["kind"] == "single" and facts["missing"] == [] and facts["sampled"]["whole"]
    assert [(one["db"], one["keys"], one["expires"]) for one in facts["keyspace"]] == [(0, 400, 0), (3, 1, 1)]
    first, second = facts["prefixes"][:2]
    asked = "\n".join(f"memory usage session:{n}" for n in range(300))
    sizes = [int(line) for line in cli(service, given=asked).splitlines()]
    assert (first["prefix"], first["keys"], second["prefix"]) == ("session:", 300, "product:")
    assert (first["bytes"], first["largest_bytes"]) == pytest.approx((sum(sizes), max(sizes)), rel=0.02)
    assert (facts["totals"]["hit_rate"], verdict(facts, "min_hit_rate")["verdict"]) == (0.75, "exceeded")
    assert facts["clients"]["by_name"] == {"shop-api": 1}
    assert node["persistence"]["append_only"] and node["persistence"]["failed"] == []
    assert 0 < node["ping"]["median_seconds"] <= node["ping"]["max_seconds"]


def test_a_sample_of_many_keys_stands_for_all(redis_added, redis_look):
    service = redis_added()
    fill(service, session=(14000, 200), product=(5000, 200), rare=(1000, 200))
    facts = redis_look(service.uri, sample_keys=2000)
    assert facts["sampled"]["whole"] is False and 2000 <= facts["sampled"]["seen"] < 3000
    told = {one["prefix"]: one for one in facts["prefixes"]}
    # five times the error that 2,000 drawn by lot may have
    assert 0.65 < told["session:"]["share"] < 0.75 and 12900 < told["session:"]["keys"] < 15100
    assert 0.2 < told["product:"]["share"] < 0.3
    assert any("estimated from" in line for line in facts["summary"])


def test_evictions_are_counted_while_they_happen_and_blamed_on_the_keys(redis_added, redis_look):
    service = redis_added(settings={"maxmemory": "4mb", "maxmemory-policy": "allkeys-lru"})
    fill(service, session=(6000, 1000))
    quiet = redis_look(service.uri, interval_seconds=1)
    # what this look itself costs a full server is none of its evictions
    assert verdict(quiet, "max_evictions_per_second")["verdict"] == "ok"
    assert quiet["nodes"][0]["rates"]["evicted_total"] > 0
    assert verdict(quiet, "max_memory_share")["culprit"]["prefix"] == "session:"
    assert "policy allkeys-lru" in quiet["headline"] and "culprit: session:" in quiet["headline"]
    ended = threading.Event()

    def write():
        with service.client(service.ports[0]) as client:
            number = 0
            while not ended.is_set():
                client.set(f"session:n{number}", "x" * 1000)
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        facts = redis_look(service.uri, interval_seconds=2)
    finally:
        ended.set()
        writer.join()
    one = verdict(facts, "max_evictions_per_second")
    assert one["verdict"] == "exceeded" and one["culprit"]["prefix"] == "session:"


def test_slow_commands_are_shown_without_what_they_carry(redis_added, redis_look):
    service = redis_added(settings={"slowlog-log-slower-than": "0", "latency-monitor-threshold": "1"})
    with service.client(service.ports[0]) as client:
        client.client_setname("shop-api")
        client.set(f"order:{CARD}", CARD)
        client.execute_command("DEBUG", "SLEEP", "0.3")
        client.eval("return redis.call('get', KEYS[1]) or ARGV[1]", 1, "lock:1", CARD)
    facts = redis_look(service.uri)
    slowest = facts["slow"][0]
    assert (slowest["command"], slowest["clients"]) == ("DEBUG SLEEP", ["shop-api"])
    assert 0.3 <= slowest["slowest_seconds"] < 30
    assert {"SET order:*", "EVAL lock:*"} <= {one["command"] for one in facts["slow"]}
    assert CARD not in json.dumps(facts["slow"]) + "".join(facts["summary"])
    one = verdict(facts, "max_slow_seconds")
    assert one["verdict"] == "exceeded" and one["culprit"]["client"] == "shop-api"
    assert "command" in {event["event"] for event in facts["nodes"][0]["latency"]}
    # what was slow an hour ago is listed and no longer judged
    assert verdict(redis_look(service.uri, slow_window_seconds=-1), "max_slow_seconds")["verdict"] == "ok"


def test_keys_with_hostile_names_are_data(redis_added, redis_look):
    service = redis_added()
    with service.client(service.ports[0]) as client:
        for name in (b"\x1b[31mred:1", b"new\nline:1", b"\xff\xfe:1", b"x" * 100_000, b"", b"{{ lookup('env') }}:1"):
            client.set(name, "x")
    facts = redis_look(service.uri)
    assert facts["rc"] == 0 and facts["totals"]["keys"] == 6 and facts["sampled"]["whole"]
    assert all(one["prefix"].isprintable() and len(one["prefix"]) < 200 for one in facts["prefixes"])
    assert sum(one["keys"] for one in facts["prefixes"]) == 6


def test_connections_are_counted_and_whoever_has_most_is_named(redis_added, redis_look):
    service = redis_added(settings={"maxclients": "20"})
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            client = stack.enter_context(service.client(service.ports[0]))
            client.client_setname("leaky")
        facts = redis_look(service.uri)
    one = verdict(facts, "max_clients_share")
    assert one["verdict"] == "exceeded" and one["culprit"] == {"client": "leaky", "connections": 16}


def test_a_threshold_that_is_exceeded_can_fail(redis_single, redis_look):
    failed = redis_look(redis_single.uri, max_ping_seconds=0, fail=True)
    assert (failed["rc"], failed["mend"]["reason"], failed["mend"]["rule"]) == (1, "verify", "thresholds")
    assert "max_ping_seconds" in failed["msg"] and failed["mend"]["details"]["verdict"] == "exceeded"
    passed = redis_look(redis_single.uri, max_ping_seconds=1000, max_slow_seconds=1000, min_hit_rate=0, fail=True)
    assert passed["rc"] == 0, passed


def test_a_run_that_removes_keys_is_named(redis_added, redis_look):
    service = redis_added()
    params = {"uri": service.uri, "connect_timeout_seconds": 5, "operation_timeout_seconds": 10}
    with connect(params, "run-7") as access, Presence(access, "run-7") as presence:
        presence.hold(topology(access).masters)
        facts = redis_look(service.uri)
        assert facts["lock"]["run"] == "run-7" and any("run run-7 of" in line for line in facts["summary"])
    assert redis_look(service.uri)["lock"] == {}


def test_a_disk_that_takes_no_save_is_seen(redis_added, redis_look):
    service = redis_added(settings={"dbfilename": "dump.rdb"})
    cli(service, "set", "order:1", "x")
    # not even root can write a file where a folder is
    (service.folder / f"data-{service.ports[0]}" / "dump.rdb").mkdir()
    cli(service, "save", check=False)
    cli(service, "bgsave", check=False)
    until(lambda: info(service, "rdb_last_bgsave_status") == "err")
    facts = redis_look(service.uri)
    one = verdict(facts, "max_persistence_failures")
    assert one["verdict"] == "exceeded" and "rdb_last_bgsave_status" in one["says"]


@pytest.mark.parametrize("entry", [0, 1], ids=["by its master", "by a replica"])
def test_a_master_and_its_replicas_are_one(redis_replicated, redis_look, entry):
    fill(redis_replicated, session=(20, 10))
    facts = redis_look(redis_replicated.uris[entry])
    master = f"127.0.0.1:{redis_replicated.ports[0]}"
    assert (facts["kind"], facts["target"]["id"], facts["whole"]) == ("replicated", f"redis@{master}", True)
    assert {(node["address"], node["role"]) for node in facts["nodes"]} == {
        (master, "master"),
        *((f"127.0.0.1:{port}", "replica") for port in redis_replicated.ports[1:]),
    }
    # each key counts once
    assert facts["totals"]["keys"] == 20 and verdict(facts, "max_lag_bytes")["verdict"] == "ok"
    assert [node["replication"]["link"] for node in facts["nodes"] if node["role"] == "replica"] == ["up", "up"]


def test_a_replica_that_has_lost_its_master_says_since_when(redis_added, redis_look):
    service = redis_added(replicas=1)
    service.node(service.ports[0]).kill()
    until(lambda: info(service, "master_link_status", service.ports[1]) == "down")
    facts = redis_look(f"{service.uris[1]}", max_link_down_seconds=-1)
    assert facts["rc"] == 0 and facts["whole"] is False
    assert (
        verdict(facts, "max_lost_nodes")["verdict"] == verdict(facts, "max_link_down_seconds")["verdict"] == "exceeded"
    )
    assert f"127.0.0.1:{service.ports[0]}" in facts["headline"] and "nothing listens there" in facts["notes"][-1]
    # the address in the inventory may be the dead one: others that are named are tried
    uri = service.uri.replace("/0", f",127.0.0.1:{service.ports[1]}/0")
    assert redis_look(uri)["target"]["id"] == facts["target"]["id"]


def test_every_node_of_a_cluster_is_told(redis_cluster, redis_look):
    fill(redis_cluster, session=(300, 100))
    facts = redis_look(redis_cluster.uris[4])
    assert (facts["kind"], len(facts["nodes"])) == ("cluster", 6)
    assert facts["totals"]["keys"] == 300 and facts["prefixes"][0]["keys"] == 300
    assert facts["cluster"] == {"state": "ok", "covered_slots": 16384, "masters_without_replica": []}
    for node, port in zip(facts["nodes"][:3], redis_cluster.ports[:3], strict=True):
        assert node["address"] == f"127.0.0.1:{port}" and node["role"] == "master"
        assert node["keyspace"]["0"]["keys"] == int(cli(redis_cluster, "dbsize", port=port))
        assert node["id"] == cli(redis_cluster, "cluster", "myid", port=port)
    first = min(f"127.0.0.1:{port}" for port in redis_cluster.ports)
    assert facts["target"]["id"] == f"redis-cluster@{first}"


def test_a_cluster_that_loses_its_nodes_is_told_step_by_step(redis_added, redis_look):
    service = redis_added(cluster=True)
    master = service.ports[1]
    follower = next(port for port in service.ports[3:] if info(service, "master_port", port) == str(master))
    service.node(follower).kill()
    facts = redis_look(service.uri)
    assert facts["cluster"]["masters_without_replica"] == [f"127.0.0.1:{master}"]
    assert verdict(facts, "max_lost_nodes")["value"] == 1 and f"127.0.0.1:{follower}" in facts["headline"]
    service.node(master).kill()
    # each of them finds out by itself
    for port in service.ports:
        if port not in (follower, master):
            until(lambda port=port: "cluster_state:fail" in cli(service, "cluster", "info", port=port))
    facts = redis_look(service.uri)
    assert facts["rc"] == 0 and facts["cluster"]["state"] == "fail" and verdict(facts, "max_lost_nodes")["value"] == 2
    one = verdict(facts, "max_uncovered_slots")
    assert one["verdict"] == "exceeded" and one["value"] == pytest.approx(16384 / 3, abs=2)
