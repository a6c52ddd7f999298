#!/usr/bin/python
# SPDX-License-Identifier: MIT
from __future__ import annotations

DOCUMENTATION = r"""
module: mend_postgres_sessions_info
short_description: Tell who holds a PostgreSQL server's connections, what they do, and whether that is good
description:
  - One look at the sessions of a server, with the age of each state and of each transaction, who waits for whom, and
    how many connections are left, those that are reserved apart.
  - A verdict for each threshold, and the application to blame when one is exceeded.
  - Literals and comments are taken out of every statement that is shown.
  - It only reads, in one transaction. To see what other users' sessions do it needs C(pg_read_all_stats), which
    C(pg_monitor) has; without it the numbers are there, and what cannot be seen is called unknown.
extends_documentation_fragment:
  - mend_postgres
options:
  idle_seconds:
    description: Seconds without a query and without a transaction after which a session counts as idle.
    type: int
    default: 300
  max_used_share:
    description: Share of the connections for anybody that may be used.
    type: float
    default: 0.8
  max_idle_share:
    description: Share of all connections that may be idle.
    type: float
    default: 0.5
  max_in_transaction_seconds:
    description: Seconds that a session may rest inside a transaction.
    type: float
    default: 300
  max_transaction_seconds:
    description: Seconds that a transaction may be open.
    type: float
    default: 1800
  max_query_seconds:
    description: Seconds that a query may run.
    type: float
    default: 60
  max_blocked_seconds:
    description: Seconds that a session may wait for a lock.
    type: float
    default: 10
  max_lag_seconds:
    description: Seconds that a standby may be behind.
    type: float
    default: 60
  fail:
    description: Fail when a threshold is exceeded, for jobs that are to be noticed.
    type: bool
    default: false
  limit:
    description: Return at most this many sessions in each list, the oldest first.
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
- name: See who holds the connections
  mend_postgres_sessions_info:
    uri: env:POSTGRES_URI
  register: __sessions

- name: Fail when somebody sits on a transaction for a minute
  mend_postgres_sessions_info:
    uri: env:POSTGRES_URI
    max_in_transaction_seconds: 60
    fail: true
"""

RETURN = r"""
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
    - The application (with its number of sessions) to blame for the first threshold that is exceeded. Empty when none
      is.
  returned: success
  type: dict
verdicts:
  description: Each threshold with check, verdict, value, limit, says and culprit.
  returned: success
  type: list
  elements: dict
target:
  description: The server, with kind, id (V(pg:<system identifier>/*)), address and facts such as role and version.
  returned: success
  type: dict
reached:
  description: How it was reached, with address, ip, tls, and whether a pooler stands in between.
  returned: success
  type: dict
connections:
  description:
    - Numbers of connections, max (that there may be), used, reserved_for_superusers, reserved_for_members, free (for
      anybody) and free_reserved.
  returned: success
  type: dict
by_state:
  description: Number of sessions in each state.
  returned: success
  type: dict
by_application:
  description: For each application its sessions, and how many are active, idle for long, and resting in a transaction.
  returned: success
  type: dict
by_user:
  description: Number of sessions of each user.
  returned: success
  type: dict
by_database:
  description: Number of sessions in each database.
  returned: success
  type: dict
by_client:
  description: Number of sessions from each address, V(socket) for this machine's.
  returned: success
  type: dict
idle:
  description: Sessions that are idle for long, with pid, application, user, database, client and state_seconds.
  returned: success
  type: list
  elements: dict
in_transaction:
  description: Sessions that rest inside a transaction, with its age and their last statement without its literals.
  returned: success
  type: list
  elements: dict
long_queries:
  description: Queries that run, the oldest first, without their literals.
  returned: success
  type: list
  elements: dict
blocking:
  description: Sessions that hold others up, each with those that wait for it in C(blocks), nested.
  returned: success
  type: list
  elements: dict
replication:
  description: Role, the standbys of a primary, and a standby's upstream, receiver and lag_seconds.
  returned: success
  type: dict
lock:
  description: Which run of mendbook is ending sessions right now (run, holder, host, pid, since); empty when none is.
  returned: success
  type: dict
missing_privileges:
  description: Roles that the user lacks to see everything.
  returned: success
  type: list
  elements: str
mend:
  description: On failure, reason, rule and details; C(details.stage) is V(dns), V(tcp), V(tls), V(login) or V(query).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.mendbook import change, deps, postgres_options

ARGUMENT_SPEC = dict(
    postgres_options.CONNECTION_SPEC,
    **{name: {"type": "float", "default": limit} for name, limit in postgres_options.LIMITS.items()},
    idle_seconds={"type": "int", "default": 300},
    fail={"type": "bool", "default": False},
    limit={"type": "int", "default": 20},
)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    deps.require(module, "psycopg")
    from ansible.module_utils.mendbook.postgres_sessions import SessionsInfo

    change.run_read(module, SessionsInfo(module.params))


if __name__ == "__main__":
    main()
