"""Verdicts and culprits as a table; headlines and summaries as lines for a person."""

import copy

import pytest
from ansible.module_utils.mendbook.redis_options import LIMITS
from ansible.module_utils.mendbook.redis_verdicts import headline, summary, verdicts
from ansible.module_utils.mendbook.verdicts import culprit, overall

MB = 1024 * 1024
NODE = {
    "address": "a:1",
    "role": "master",
    "flags": [],
    "error": None,
    "memory": {
        "share": 0.5,
        "max_bytes": 10 * MB,
        "system_bytes": 99 * MB,
        "limited": True,
        "policy": "noeviction",
        "fragmentation_ratio": 1.1,
        "fragmentation_bytes": 100 * MB,
    },
    "rates": {
        "evicted_per_second": 0,
        "evicted_total": 0,
        "hits_total": 9,
        "misses_total": 1,
        "interval_hits": 0,
        "interval_misses": 0,
    },
    "persistence": {"failed": []},
    "clients": {"share": 0.1, "connected": 10, "max": 100},
    "slow": [],
    "ping": {"median_seconds": 0.001},
}
REPLICATION = {"link": "up", "down_seconds": 0, "lag_bytes": 0}
SESS = {"prefix": "sess:", "db": 0, "keys": 9, "bytes": 7 * MB, "share": 0.7, "largest_bytes": 1}
SLOW = {"command": "KEYS *", "slowest_seconds": 0.4, "age_seconds": 9, "clients": ["api"], "nodes": ["a:1"]}


def node(address="a:1", **changed):
    """A healthy server, with ``part__name=value`` put into one of its parts."""
    made = copy.deepcopy({**NODE, "address": address})
    for name, value in changed.items():
        part, _, inner = name.partition("__")
        if inner:
            made[part][inner] = value
        else:
            made[part] = value
    return made


def replica(**changed):
    return node("r:1", role="replica", replication={**REPLICATION, **changed})


def facts(*nodes, **changed):
    return {
        "kind": "single",
        "whole": True,
        "notes": [],
        "target": {"id": "redis@a:1", "facts": {"version": "Redis 7.0.15"}},
        "nodes": list(nodes) or [node()],
        "prefixes": [SESS],
        "sampled": {"seen": 100, "keys": 1000, "whole": False},
        "clients": {"by_name": {"shop-api": 7}, "by_address": {"10.0.0.7": 9}},
        "totals": {"keys": 1000, "used_bytes": 5 * MB, "commands_per_second": 12.5, "connected": 10},
        "missing": [],
        "lock": {},
        **changed,
    }


def verdict_of(check, told, **limits):
    return next(one for one in verdicts(told, {**LIMITS, **limits}) if one["check"] == check)


CLUSTER = {"kind": "cluster", "cluster": {"state": "ok", "covered_slots": 16384, "masters_without_replica": []}}


def cluster(*nodes, **changed):
    return facts(*nodes, kind="cluster", cluster={**CLUSTER["cluster"], **changed})


@pytest.mark.parametrize(
    ("check", "told", "verdict"),
    [
        ("max_memory_share", facts(node(memory__share=0.95)), "exceeded"),
        ("max_memory_share", facts(node(memory__share=0.9)), "ok"),
        ("max_memory_share", facts(node(), node("b:1", memory__share=0.95)), "exceeded"),
        ("max_memory_share", facts(node(memory__share=None)), "unknown"),
        ("max_fragmentation_ratio", facts(node(memory__fragmentation_ratio=1.6)), "exceeded"),
        (
            "max_fragmentation_ratio",
            facts(node(memory__fragmentation_ratio=9.0, memory__fragmentation_bytes=5 * MB)),
            "ok",
        ),
        ("max_fragmentation_ratio", facts(node(memory__fragmentation_bytes=None)), "unknown"),
        ("max_evictions_per_second", facts(node(rates__evicted_per_second=11)), "exceeded"),
        (
            "max_evictions_per_second",
            facts(node(rates__evicted_per_second=6), node("b:1", rates__evicted_per_second=6)),
            "exceeded",
        ),
        ("max_evictions_per_second", facts(node(), node("b:1", rates__evicted_per_second=None)), "unknown"),
        ("max_evictions_per_second", facts(replica()), "unknown"),
        ("min_hit_rate", facts(node(rates__hits_total=1)), "exceeded"),
        ("min_hit_rate", facts(node(rates__interval_hits=80, rates__interval_misses=20)), "ok"),
        ("min_hit_rate", facts(node(rates__interval_hits=79, rates__interval_misses=21)), "exceeded"),
        ("min_hit_rate", facts(node(rates__interval_misses=99)), "ok"),
        ("min_hit_rate", facts(node(rates__hits_total=0, rates__misses_total=0)), "ok"),
        ("min_hit_rate", facts(node(rates__hits_total=None, rates__misses_total=None)), "unknown"),
        ("max_clients_share", facts(node(clients__share=0.81)), "exceeded"),
        ("max_clients_share", facts(node(clients__share=None)), "unknown"),
        ("max_slow_seconds", facts(node(slow=[SLOW])), "exceeded"),
        ("max_slow_seconds", facts(node(slow=[{**SLOW, "slowest_seconds": 0.1}])), "ok"),
        ("max_slow_seconds", facts(node(slow=None)), "unknown"),
        ("max_slow_seconds", facts(node(slow=[SLOW]), node("b:1", slow=None)), "exceeded"),
        ("max_ping_seconds", facts(node(ping={"median_seconds": 0.06})), "exceeded"),
        ("max_ping_seconds", facts(node(ping=None)), "unknown"),
        ("max_persistence_failures", facts(node(persistence__failed=["aof_last_write_status"])), "exceeded"),
        ("max_link_down_seconds", facts(node(), replica(link="down", down_seconds=11)), "exceeded"),
        ("max_link_down_seconds", facts(node(), replica(link="down", down_seconds=9)), "ok"),
        ("max_lag_bytes", facts(node(), replica(lag_bytes=17_000_000)), "exceeded"),
        ("max_lag_bytes", facts(node(), replica(lag_bytes=None)), "unknown"),
        ("max_lost_nodes", facts(node(), {"address": "b:1", "role": "replica", "flags": [], "error": "x"}), "exceeded"),
        ("max_lost_nodes", cluster(node(flags=["fail"])), "exceeded"),
        ("max_lost_nodes", facts(node(), whole=False), "unknown"),
        ("max_uncovered_slots", cluster(covered_slots=16383), "exceeded"),
        ("max_uncovered_slots", cluster(covered_slots=None), "unknown"),
        ("max_masters_without_replica", cluster(masters_without_replica=["a:1"]), "exceeded"),
        ("max_masters_without_replica", cluster(masters_without_replica=None), "unknown"),
    ],
)
def test_each_threshold_has_its_verdict(check, told, verdict):
    one = verdict_of(check, told)
    assert one["verdict"] == verdict, one
    assert bool(one["culprit"]) <= (verdict == "exceeded")


def test_a_healthy_server_is_called_good():
    found = verdicts(facts(), LIMITS)
    assert overall(found) == "ok" and culprit(found) == {}
    assert headline(facts(), found) == "redis@a:1: no threshold is exceeded"
    # what only replicas or a cluster can have is not asked of a single server
    assert len(found) == len(LIMITS) - 4
    assert len(verdicts(cluster(node(), replica()), LIMITS)) == len(LIMITS)


@pytest.mark.parametrize(
    ("told", "check", "blamed"),
    [
        (facts(node(memory__share=0.95)), "max_memory_share", {"prefix": "sess:", "share": 0.7, "bytes": 7 * MB}),
        (facts(node(memory__share=0.95), prefixes=[]), "max_memory_share", {"node": "a:1"}),
        (facts(node(slow=[SLOW])), "max_slow_seconds", {"command": "KEYS *", "client": "api", "node": "a:1"}),
        (facts(node(clients__share=0.9)), "max_clients_share", {"client": "shop-api", "connections": 7}),
        (
            facts(node(clients__share=0.9), clients={"by_name": {}, "by_address": {"10.0.0.7": 9}}),
            "max_clients_share",
            {"client": "10.0.0.7", "connections": 9},
        ),
        (
            facts(node(clients__share=0.9), clients={"by_name": {}, "by_address": {}}),
            "max_clients_share",
            {"node": "a:1"},
        ),
        (facts(node(), node("b:1", ping={"median_seconds": 1})), "max_ping_seconds", {"node": "b:1"}),
        (facts(node(rates__hits_total=0)), "min_hit_rate", {}),
    ],
)
def test_whoever_is_to_blame_is_named(told, check, blamed):
    assert verdict_of(check, told)["culprit"] == blamed


def test_the_gravest_matter_is_the_headline():
    told = cluster(node(memory__share=0.99), node("b:1", flags=["fail"]), covered_slots=10923, state="fail")
    found = verdicts(told, LIMITS)
    assert headline(told, found) == (
        "redis@a:1: 1 of 2 servers have failed or cannot be reached from here: b:1 (and 2 more); culprit: b:1"
    )
    assert "5461 slots have no master; the cluster's state is fail" in "\n".join(summary(told, found))
    full = facts(node(memory__share=0.99))
    assert headline(full, verdicts(full, LIMITS)) == (
        "redis@a:1: 99% of maxmemory 10.5 MB is used at a:1, policy noeviction; culprit: sess: (70% of the bytes)"
    )


def test_what_is_not_known_is_not_called_good():
    told = facts(node(slow=None))
    found = verdicts(told, LIMITS)
    assert overall(found) == "unknown"
    assert headline(told, found) == "redis@a:1: nothing is exceeded, but not known: max_slow_seconds"


def test_a_summary_says_what_is_an_estimate_and_what_is_missing():
    missing = [{"node": "a:1", "fact": "slow commands", "command": "SLOWLOG", "rule": "x", "reason": "may not\x1b"}]
    told = facts(prefixes=[{**SESS, "prefix": "a\n"}], missing=missing, notes=["1 of 2 servers cannot be reached"])
    lines = summary(told, verdicts(told, LIMITS))
    assert not any("\x1b" in line or "\n" in line for line in lines)
    assert any("estimated from 100 of 1,000 keys" in line for line in lines)
    assert "not known at a:1: slow commands: may not\\x1b" in lines and lines[-1] == "1 of 2 servers cannot be reached"
    exact = facts(sampled={"seen": 9, "keys": 9, "whole": True})
    assert not any("estimated" in line for line in summary(exact, verdicts(exact, LIMITS)))
