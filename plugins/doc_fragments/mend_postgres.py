# SPDX-License-Identifier: MIT
"""The connection options of every mend_postgres_* module; they are those of postgres_options.CONNECTION_SPEC."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  uri:
    description:
      - Connection string of the server itself and not of a pooler, V(postgresql://). The database at its end is only
        the one to log in to, V(postgres) when it names none.
      - Give it as V(env:NAME) or V(file:/absolute/path) when it holds a password. Only hosts are ever printed.
    type: str
    required: true
  username:
    description: User to log in as, when the connection string names none.
    type: str
  password:
    description:
      - Its password, as V(env:NAME), V(file:/absolute/path) or from a vault. Without one libpq looks into its
        password file.
    type: str
  tls_mode:
    description:
      - How TLS is used, libpq's C(sslmode). Without it, what the connection string says, else V(prefer).
      - Only V(verify-full) knows that the right server answers.
    type: str
    choices: [disable, prefer, require, verify-ca, verify-full]
  tls_ca_file:
    description: Absolute path of the certificates of the authorities that may sign the server's certificate.
    type: path
  tls_certificate_file:
    description: Absolute path of the client's certificate.
    type: path
  tls_key_file:
    description: Absolute path of its key, which nobody else may read.
    type: path
  tls_key_password:
    description: Password of that key, as V(env:NAME), V(file:/absolute/path) or from a vault.
    type: str
  via:
    description:
      - How to reach a server that this machine does not see, V(ssh://user@bastion:22) or
        V(docker://container) (docs/where_it_runs.md). The names in O(uri) are then
        those that mean something there.
    type: str
  connect_timeout_seconds:
    description: Seconds until a server that cannot be reached is reported, for each host that is named; 2 at least.
    type: int
    default: 5
  operation_timeout_seconds:
    description: Seconds that one query may take.
    type: int
    default: 30
"""
