#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_redis_info
short_description: Tell what takes a Redis' memory, what is slow, who is connected, and whether that is good
description:
  - Two looks at every server of a Redis or Valkey, some seconds apart, whether it is a single one, a master with its
    replicas, or a cluster. One host of it is enough, the others are found.
  - A verdict for each threshold, the gravest first, and the keys, the command, the client or the server to blame.
  - Which keys take the memory is estimated from a sample of each master, by what their names begin with. Of slow
    commands only the name and the beginning of the key are shown, never a value.
  - It only reads, with commands that hold nobody up. What the user may not ask is named as missing, and the rest is
    told.
extends_documentation_fragment:
  - mend_redis
options:
  interval_seconds:
    description: Seconds between the two looks, of which the rates are.
    type: float
    default: 5
  sample_keys:
    description: Keys to look at, on each master, for the biggest prefixes.
    type: int
    default: 10000
  sample_seconds:
    description: Seconds that this may take at most, on each master.
    type: float
    default: 5
  slow_window_seconds:
    description: Seconds back from now in which a slow command counts.
    type: float
    default: 3600
  max_memory_share:
    description: Share of C(maxmemory) that may be used, of the machine's memory where it is not set.
    type: float
    default: 0.9
  max_fragmentation_ratio:
    description: Resident memory, in times of what is used, once 64 MB are lost to it.
    type: float
    default: 1.5
  max_evictions_per_second:
    description: Keys that may be evicted in a second, of all masters together.
    type: float
    default: 10
  min_hit_rate:
    description: Share of reads that are to find their key, in the interval, or since the start while there are few.
    type: float
    default: 0.8
  max_clients_share:
    description: Share of C(maxclients) that may be connected.
    type: float
    default: 0.8
  max_slow_seconds:
    description: Seconds that the slowest command may have taken.
    type: float
    default: 0.1
  max_ping_seconds:
    description: Seconds that the median round trip from here may take.
    type: float
    default: 0.05
  max_lag_bytes:
    description: Bytes that a replica may be behind its master.
    type: float
    default: 16000000
  max_link_down_seconds:
    description: Seconds that a replica may be without its master.
    type: float
    default: 10
  max_persistence_failures:
    description: Servers that may fail to save to disk.
    type: float
    default: 0
  max_lost_nodes:
    description: Servers that may have failed, or cannot be reached from here.
    type: float
    default: 0
  max_uncovered_slots:
    description: Slots of a cluster that may be without a master.
    type: float
    default: 0
  max_masters_without_replica:
    description: Masters of a cluster that may be without a replica that works.
    type: float
    default: 0
  fail:
    description: Fail when a threshold is exceeded, for jobs that are to be noticed.
    type: bool
    default: false
  limit:
    description: Return at most this many entries in each list, the gravest first.
    type: int
    default: 20
attributes:
  check_mode:
    description: Only reads, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
author: mendbook (@mendbook)
"""

EXAMPLES = r"""
- name: See what takes the memory, and who is slow
  mend_redis_info:
    uri: env:REDIS_URI
  register: __redis

- name: Fail when keys are evicted
  mend_redis_info:
    uri: rediss://cache1.example.com:6379,cache2.example.com:6379
    password: env:REDIS_PASSWORD
    max_evictions_per_second: 0
    fail: true
"""

RETURN = r"""
headline:
  description: The gravest matter in one sentence, with its culprit.
  returned: success
  type: str
summary:
  description: The whole in a few sentences.
  returned: success
  type: list
  elements: str
verdict:
  description: V(ok), V(exceeded) or V(unknown), for all thresholds together.
  returned: success
  type: str
culprit:
  description:
    - To blame for the first threshold that is exceeded, with prefix, share and bytes; command, client and node; client
      and connections; or node. Empty when none is.
  returned: success
  type: dict
verdicts:
  description: Each threshold with check, verdict, value, limit, says, culprit and, of the worst server, node.
  returned: success
  type: list
  elements: dict
kind:
  description: V(single), V(replicated) or V(cluster).
  returned: success
  type: str
whole:
  description: Whether every server that belongs to it is known.
  returned: success
  type: bool
notes:
  description: Why that is not so, and which servers could not be reached.
  returned: success
  type: list
  elements: str
target:
  description: What was looked at, with kind, id (V(redis@host:port) or V(redis-cluster@host:port)), address and facts.
  returned: success
  type: dict
nodes:
  description:
    - Each server with id, address, role, master, slots, flags and error (why it was not reached); else with version,
      uptime_seconds, memory, rates, persistence, keyspace, clients, ping, latency, slow, cluster_state and, of a
      replica, replication.
  returned: success
  type: list
  elements: dict
totals:
  description: Keys, bytes, clients, rates and hit rate of all servers together.
  returned: success
  type: dict
keyspace:
  description: Each database with db, keys, expires (keys that expire) and avg_ttl_seconds.
  returned: success
  type: list
  elements: dict
prefixes:
  description:
    - What the largest keys' names begin with, with db, keys, bytes, share (of all bytes) and largest_bytes (of one
      key); extrapolated where C(sampled.whole) is false.
  returned: success
  type: list
  elements: dict
sampled:
  description: How many keys were looked at (seen), of how many (keys), and whether that is all (whole).
  returned: success
  type: dict
clients:
  description:
    - Who is connected, by_name, by_user and by_address (each a number), how many are connected and blocked, the longest
      idle and those with the largest buffers (largest).
  returned: success
  type: dict
slow:
  description: Slow commands of the log, with command, count, slowest_seconds, age_seconds, clients and nodes.
  returned: success
  type: list
  elements: dict
cluster:
  description: State, covered_slots and masters_without_replica (addresses).
  returned: when it is a cluster
  type: dict
lock:
  description: Which run of mendbook is removing keys right now (run, holder, host, pid, since); empty when none is.
  returned: success
  type: dict
missing:
  description: What could not be asked, with node, fact, command, rule and reason.
  returned: success
  type: list
  elements: dict
mend:
  description:
    - On failure, reason, rule and details; C(details.stage) is V(dns), V(tcp), V(tls), V(login), V(command) or V(via).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import change, deps, redis_options

ARGUMENT_SPEC = dict(
    redis_options.CONNECTION_SPEC,
    **{name: {"type": "float", "default": limit} for name, limit in redis_options.LIMITS.items()},
    interval_seconds={"type": "float", "default": 5},
    sample_keys={"type": "int", "default": 10000},
    sample_seconds={"type": "float", "default": 5},
    slow_window_seconds={"type": "float", "default": 3600},
    fail={"type": "bool", "default": False},
    limit={"type": "int", "default": 20},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    deps.require(module, "redis")
    from ansible.module_utils.mendbook.redis_info import RedisInfo

    change.run_read(module, RedisInfo(module.params))


if __name__ == "__main__":
    main()
