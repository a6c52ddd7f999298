#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_postgres_terminate
short_description: End idle PostgreSQL sessions, and read back that they are gone
description:
  - Ends sessions that have been idle for long, and where it is asked for those that rest inside a transaction. How long
    is measured from the moment at which a session fell idle (C(state_change)), never from the start of its last query.
  - Each session is looked at again immediately before it is ended; one that did anything since the plan is spared.
    Between that look and the end there is a moment that no statement can close.
  - Never touches its own session, other runs of mendbook, replication and the server's own processes; superusers,
    poolers, monitoring, holders of advisory locks and listeners are spared unless O(spare) says otherwise.
  - Works when every connection is taken, as a superuser or as a member of C(pg_use_reserved_connections). Needs
    C(pg_signal_backend) and C(pg_read_all_stats) when the user is no superuser.
options:
  database:
    description: Database whose sessions are meant, or V(*) for all of the server.
    type: str
    required: true
  idle_seconds:
    description: End sessions that have been idle for so long. Less than 5 is refused.
    type: int
    default: 300
  in_transaction_seconds:
    description:
      - Also end sessions that have been resting inside an open transaction for so long; what they did is rolled back,
        so the plan then needs O(confirm). Without it they are left alone. Less than 5 is refused.
    type: int
  applications:
    description: Only sessions whose application_name matches one of these shell wildcards. Empty means all.
    type: list
    elements: str
    default: []
  users:
    description: Only sessions of users that match one of these shell wildcards. Empty means all.
    type: list
    elements: str
    default: []
  clients:
    description: Only sessions from these addresses or networks; V(socket) is this machine's. Empty means all.
    type: list
    elements: str
    default: []
  exclude_applications:
    description: Spare sessions whose application_name matches one of these shell wildcards.
    type: list
    elements: str
    default: []
  exclude_users:
    description: Spare sessions of users that match one of these shell wildcards.
    type: list
    elements: str
    default: []
  exclude_clients:
    description: Spare sessions from these addresses or networks, such as those of a pooler.
    type: list
    elements: str
    default: []
  spare:
    description:
      - Kinds of sessions that are left alone. Poolers and monitoring are known by their names, and monitoring also by
        membership in C(pg_monitor). Holders of advisory locks are often leaders, and listeners (C(LISTEN)) are idle by
        their nature.
    type: list
    elements: str
    choices: [superusers, poolers, monitoring, lock_holders, listeners]
    default: [superusers, poolers, monitoring, lock_holders, listeners]
  max_sessions:
    description: The most sessions that may be ended; with more it refuses.
    type: int
    default: 200
  max_share:
    description: The largest share of the sessions that are meant, which may be ended. It counts from 11 sessions on.
    type: float
    default: 0.9
extends_documentation_fragment:
  - mend_postgres
  - mend_change
  - mend_change.confirm
author: mendbook (@mendbook)
"""

EXAMPLES = r"""
- name: End what is idle for ten minutes in the shop's database
  mend_postgres_terminate:
    uri: env:POSTGRES_URI
    database: shop
    idle_seconds: 600

- name: End one application's transactions that nobody goes on with
  mend_postgres_terminate:
    uri: env:POSTGRES_URI
    database: shop
    applications: ["checkout-*"]
    in_transaction_seconds: 900
    confirm: pg:7301234567890123456/shop
"""

RETURN = r"""
plan:
  description: What would be ended (schema 1), with target, changes, caps, notes and refusals.
  returned: when the target could be read
  type: dict
state:
  description: The result in a word, such as C(done), C(nothing to do), C(planned), C(refused) or C(UNKNOWN).
  returned: always
  type: str
done:
  description: Each session that was ended and is gone, with the seconds that it was idle.
  returned: when acting
  type: list
  elements: dict
skipped_objects:
  description: Sessions of the plan that were spared because they were used or gone meanwhile.
  returned: when acting
  type: list
  elements: dict
read_back:
  description: How many were ended and are gone, how many sessions there are now, and the connections that are free.
  returned: on success, when acting
  type: dict
figures:
  description: Seconds that it took, and how many were spared at the last moment.
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
from ansible.module_utils.mendbook import change, deps, postgres_options

_NAMES = {"type": "list", "elements": "str", "default": []}
_SPARE = ["superusers", "poolers", "monitoring", "lock_holders", "listeners"]
ARGUMENT_SPEC = dict(
    postgres_options.CONNECTION_SPEC,
    **change.CONFIRM_SPEC,
    database={"type": "str", "required": True},
    idle_seconds={"type": "int", "default": 300},
    in_transaction_seconds={"type": "int"},
    applications=_NAMES,
    users=_NAMES,
    clients=_NAMES,
    exclude_applications=_NAMES,
    exclude_users=_NAMES,
    exclude_clients=_NAMES,
    spare={"type": "list", "elements": "str", "choices": _SPARE, "default": _SPARE},
    max_sessions={"type": "int", "default": 200},
    max_share={"type": "float", "default": 0.9},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    deps.require(module, "psycopg")
    from ansible.module_utils.mendbook.postgres_terminate import Terminate

    change.run_change(module, Terminate(module.params))


if __name__ == "__main__":
    main()
