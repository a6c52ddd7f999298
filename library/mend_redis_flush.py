#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_redis_flush
short_description: Remove keys from every master of a Redis by pattern, or all of a database, and read that back
description:
  - Removes the keys that match O(patterns) and not O(keep), by SCAN and UNLINK in small portions, on every master of a
    single server, a replicated one or a cluster, side by side; or with O(whole_database) all of a database at once.
  - The plan says how many keys and bytes would go on each master, and by which prefixes. Keys that look like sessions,
    queues, locks, rate limits or carts are refused unless O(include_kinds) names them; one that the plan's sample did
    not hold is spared.
  - Finds the masters again after a failover, follows slots that move, works on a full server, and never writes to a
    replica. FLUSHALL is never used.
  - Needs C(SCAN), C(UNLINK), C(INFO), C(DBSIZE), C(CLIENT SETNAME), C(CLIENT LIST) and in a cluster C(CLUSTER NODES),
    C(CLUSTER MYID) and C(ASKING); C(TYPE), C(PTTL), C(MEMORY USAGE) and C(XINFO) make the plan better, C(FLUSHDB) is
    for O(whole_database) without O(keep).
options:
  patterns:
    description:
      - Keys that match one of these patterns, as Redis' C(KEYS) means them (V(*), V(?), V([abc]), V(\\) before a
        character that is meant itself). One that matches every key is refused, and one without two fixed characters,
        one beside the other, such as V([^x]*), may mean every key and needs O(confirm).
    type: list
    elements: str
    default: []
  whole_database:
    description:
      - All keys of the database, by C(FLUSHDB ASYNC), or key by key where O(keep) holds some back. Needs O(confirm).
    type: bool
    default: false
  database:
    description: Number of the database, by default the one that the URI names. A cluster has only 0.
    type: int
  all_databases:
    description: Together with O(whole_database), every database of the server that has keys.
    type: bool
    default: false
  keep:
    description: Keys that match one of these patterns stay, whatever else they match.
    type: list
    elements: str
    default: []
  include_kinds:
    description: Kinds of keys that may go though they are no cache.
    type: list
    elements: str
    choices: [sessions, queues, locks, rate_limits, carts]
    default: []
  max_keys:
    description: The most keys that may go; with more it refuses, or stops where only a sample was counted.
    type: int
    default: 1000000
  max_share:
    description: The largest share of the keys that may go by patterns. It counts from 101 keys on.
    type: float
    default: 0.9
  failover_timeout_seconds:
    description: How long to wait for a new master when one is lost while keys are removed, or for slots that move.
    type: int
    default: 60
extends_documentation_fragment:
  - mend_redis
  - mend_change
  - mend_change.confirm
author: mendbook (@mendbook)
"""

EXAMPLES = r"""
- name: Remove the cached product pages, and not those of the landing page
  mend_redis_flush:
    uri: env:REDIS_URI
    patterns: ["cache:page:*"]
    keep: ["cache:page:home*"]

- name: Empty a database that is nothing but a cache
  mend_redis_flush:
    uri: env:REDIS_URI
    database: 2
    whole_database: true
    confirm: redis@cache1:6379/2
"""

RETURN = r"""
plan:
  description: What would go (schema 1), with target, changes, caps, notes and refusals.
  returned: when the target could be read
  type: dict
state:
  description: The result in a word, such as C(done), C(nothing to do), C(planned), C(refused) or C(partial).
  returned: always
  type: str
done:
  description: Each database of each master, with the keys that were removed there.
  returned: when acting
  type: list
  elements: dict
skipped_objects:
  description: Masters on which there was nothing to remove, and keys that were spared by their kind.
  returned: when acting
  type: list
  elements: dict
read_back:
  description:
    - How many keys were removed, how many were written again since, how many are kept, how many of those went by
      themselves, the keys of each master now, and the replicas that are behind.
  returned: on success, when acting
  type: dict
figures:
  description: Seconds that it took, rounds over all masters, keys that were removed, and keys whose answer was lost.
  returned: always
  type: dict
diff:
  description: The changes of the plan, a line each.
  returned: with --diff
  type: dict
mend:
  description: Why it was refused or failed, with reason, rule and details.
  returned: on failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import change, deps, redis_options

_PATTERNS = {"type": "list", "elements": "str", "default": []}
_KINDS = ["sessions", "queues", "locks", "rate_limits", "carts"]
ARGUMENT_SPEC = dict(
    redis_options.CONNECTION_SPEC,
    **change.CONFIRM_SPEC,
    patterns=_PATTERNS,
    whole_database={"type": "bool", "default": False},
    database={"type": "int"},
    all_databases={"type": "bool", "default": False},
    keep=_PATTERNS,
    include_kinds={"type": "list", "elements": "str", "choices": _KINDS, "default": []},
    max_keys={"type": "int", "default": 1000000},
    max_share={"type": "float", "default": 0.9},
    failover_timeout_seconds={"type": "int", "default": 60},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    deps.require(module, "redis")
    from ansible.module_utils.mendbook.redis_flush import Flush

    change.run_change(module, Flush(module.params))


if __name__ == "__main__":
    main()
