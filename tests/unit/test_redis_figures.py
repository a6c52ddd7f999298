"""Shares, rates between two looks, hit rates, and what several servers hold together."""

import pytest
from ansible.module_utils.mendbook.redis_figures import (
    added,
    hit_rate,
    keyspace,
    memory,
    persistence,
    rates,
    replication,
)

FIRST = {
    "run_id": "a",
    "keyspace_hits": 100,
    "keyspace_misses": 100,
    "evicted_keys": 5,
    "expired_keys": 7,
    "total_commands_processed": 1000,
    "rejected_connections": 1,
}
SECOND = {**FIRST, "keyspace_hits": 190, "keyspace_misses": 110, "evicted_keys": 45, "total_commands_processed": 3000}


@pytest.mark.parametrize(
    ("hits", "misses", "rate"),
    [(9, 1, 0.9), (0, 5, 0.0), (5, 0, 1.0), (0, 0, None), (None, None, None), (None, 3, None), (1, 2, 0.3333)],
)
def test_a_hit_rate_is_of_the_reads_there_were(hits, misses, rate):
    assert hit_rate(hits, misses) == rate


def test_rates_are_of_the_interval_and_totals_since_the_start():
    found = rates(FIRST, SECOND, 4.0)
    assert (found["evicted_total"], found["evicted_per_second"], found["expired_per_second"]) == (45, 10.0, 0.0)
    assert (found["hit_rate"], found["interval_hit_rate"], found["commands_per_second"]) == (0.6333, 0.9, 500.0)


@pytest.mark.parametrize(
    ("first", "later"),
    [(FIRST, None), (FIRST, {**SECOND, "run_id": "b"}), ({"run_id": "a"}, SECOND), (FIRST, {"run_id": "a"})],
    ids=["no second look", "started anew in between", "counters that were missing", "counters that are missing"],
)
def test_a_rate_that_cannot_be_known_is_not_a_number(first, later):
    found = rates(first, later, 4.0)
    assert found["evicted_per_second"] is None and found["interval_hit_rate"] is None


def test_counters_that_were_set_back_are_no_negative_rate():
    assert rates(SECOND, FIRST, 4.0)["evicted_per_second"] == 0


@pytest.mark.parametrize(
    ("info", "share", "limited"),
    [
        ({"used_memory": 90, "maxmemory": 100, "total_system_memory": 1000}, 0.9, True),
        ({"used_memory": 90, "maxmemory": 0, "total_system_memory": 1000}, 0.09, False),
        ({"used_memory": 90, "maxmemory": 0}, None, False),
        ({}, None, False),
    ],
)
def test_memory_is_a_share_of_the_limit_or_of_the_machine(info, share, limited):
    found = memory(info)
    assert (found["share"], found["limited"]) == (share, limited)


def test_every_way_to_the_disk_that_failed_is_named():
    info = {"rdb_last_bgsave_status": "err", "aof_last_write_status": "err", "rdb_last_save_time": 1700000000}
    assert persistence(info)["failed"] == ["rdb_last_bgsave_status", "aof_last_write_status"]
    assert persistence(info)["last_save"] == "2023-11-14T22:13:20Z"
    assert persistence({}) == {
        "loading": False,
        "last_save": None,
        "changes_since_last_save": None,
        "append_only": False,
        "failed": [],
    }


@pytest.mark.parametrize(
    ("info", "master", "down", "lag"),
    [
        ({"master_link_status": "up", "slave_repl_offset": 90}, {"master_repl_offset": 100}, 0, 10),
        ({"master_link_status": "up", "slave_repl_offset": 101}, {"master_repl_offset": 100}, 0, 0),
        ({"master_link_status": "up", "slave_repl_offset": 90}, {}, 0, None),
        ({"master_link_status": "down", "master_link_down_since_seconds": 7}, {"master_repl_offset": 100}, 7, None),
        ({"master_link_status": "down", "master_link_down_since_seconds": -1, "uptime_in_seconds": 90}, {}, 90, None),
    ],
)
def test_a_replica_is_behind_or_without_its_master(info, master, down, lag):
    found = replication(info, master)
    assert (found["down_seconds"], found["lag_bytes"]) == (down, lag)
    assert found["link"] == info["master_link_status"]


def test_databases_of_several_servers_are_one():
    one = keyspace({"db0": {"keys": 10, "expires": 4, "avg_ttl": 1000}, "db_x": 1, "dbsize": {"keys": 1}})
    other = keyspace({"db0": {"keys": 5, "expires": 1, "avg_ttl": 6000}, "db3": {"keys": 1, "expires": 0}})
    assert added([one, other]) == [
        {"db": 0, "keys": 15, "expires": 5, "avg_ttl_seconds": 2.0},
        {"db": 3, "keys": 1, "expires": 0, "avg_ttl_seconds": 0.0},
    ]
    assert added([]) == []
