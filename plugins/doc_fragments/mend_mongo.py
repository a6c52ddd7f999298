# SPDX-License-Identifier: MIT
"""The connection options of every mend_mongo_* module; ARGUMENT_SPEC has them from mongo_options.CONNECTION_SPEC."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  uri:
    description:
      - Connection string, V(mongodb://) or V(mongodb+srv://). Name every member of a replica set, or one of them; a
        secondary that is named with C(directConnection=true) is refused by modules that change something.
      - Give it as V(env:NAME) or V(file:/absolute/path) when it holds a password. Only scheme, hosts and database are
        ever printed.
    type: str
    required: true
  username:
    description: User to log in as, when the connection string names none.
    type: str
  password:
    description: Its password, as V(env:NAME), V(file:/absolute/path) or from a vault.
    type: str
  auth_source:
    description: Database that holds the user. Without it the one of the connection string, else V(admin).
    type: str
  auth_mechanism:
    description: How to log in. Without it server and driver agree on one of the two SCRAM mechanisms.
    type: str
    choices: [SCRAM-SHA-256, SCRAM-SHA-1, MONGODB-X509]
  tls:
    description: Connect by TLS. A connection string with C(tls=true) or V(mongodb+srv://) does so, too.
    type: bool
  tls_ca_file:
    description: Absolute path of the certificates of the authorities that may sign the server's certificate.
    type: path
  tls_certificate_key_file:
    description: Absolute path of the client's certificate and key in one PEM file.
    type: path
  tls_certificate_key_file_password:
    description: Password of that key, as V(env:NAME), V(file:/absolute/path) or from a vault.
    type: str
  tls_allow_invalid_hostnames:
    description: Accept a server certificate that is for another host name.
    type: bool
    default: false
  via:
    description:
      - How to reach a deployment that this machine does not see, V(ssh://user@bastion:22) or
        V(docker://container) (docs/where_it_runs.md). The names in O(uri), and
        those by which the members of a replica set know each other, are then those that mean something there.
    type: str
  connect_timeout_seconds:
    description: Seconds until a server that cannot be reached is reported.
    type: float
    default: 5
  operation_timeout_seconds:
    description: Seconds that one short command may take. Loading and building indexes are not bounded by it.
    type: float
    default: 60
"""
