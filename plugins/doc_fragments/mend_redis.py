# SPDX-License-Identifier: MIT
"""The connection options of every mend_redis_* module; they are those of redis_options.CONNECTION_SPEC."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  uri:
    description:
      - Where a server listens, V(redis://), V(rediss://) with TLS, or V(unix://) for a socket. Several hosts, as in
        V(redis://cache1:6379,cache2:6379/0), are tried in turn; one is enough, the others of a cluster and the
        replicas are found from there, and are reached with the same user, TLS and C(via).
      - Give it as V(env:NAME) or V(file:/absolute/path) when it holds a password. Only hosts are ever printed.
    type: str
    required: true
  username:
    description: User to log in as, when the connection string names none.
    type: str
  password:
    description: Its password, as V(env:NAME), V(file:/absolute/path) or from a vault.
    type: str
  tls_ca_file:
    description:
      - Absolute path of the certificates of the authorities that may sign the servers' certificates. Without it those
        that this machine trusts.
    type: path
  tls_certificate_file:
    description: Absolute path of the client's certificate.
    type: path
  tls_key_file:
    description: Absolute path of its key.
    type: path
  tls_key_password:
    description: Password of that key, as V(env:NAME), V(file:/absolute/path) or from a vault.
    type: str
  tls_allow_invalid_hostnames:
    description:
      - Take a certificate that is signed by the right authority and names another host. The nodes of a cluster announce
        addresses, and their certificates may have only names.
    type: bool
    default: false
  connect_timeout_seconds:
    description: Seconds until a server that cannot be reached is reported.
    type: float
    default: 5
  operation_timeout_seconds:
    description: Seconds that one command may take.
    type: float
    default: 10
  via:
    description:
      - How the servers are reached from here, when not directly. V(ssh://[user@]bastion[:port]) goes through that host,
        V(docker://container) into its network. The names and addresses in C(uri), and those that a cluster announces,
        are looked up there.
    type: str
"""
