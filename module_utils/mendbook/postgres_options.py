# SPDX-License-Identifier: MIT
"""The connection options that every mend_postgres_* module shares; imports no driver."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

CONNECTION_SPEC = {
    "uri": {"type": "str", "required": True, "no_log": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "tls_mode": {"type": "str", "choices": ["disable", "prefer", "require", "verify-ca", "verify-full"]},
    "tls_ca_file": {"type": "path"},
    "tls_certificate_file": {"type": "path"},
    "tls_key_file": {"type": "path"},
    "tls_key_password": {"type": "str", "no_log": True},
    "via": {"type": "str"},
    "connect_timeout_seconds": {"type": "int", "default": 5},
    "operation_timeout_seconds": {"type": "int", "default": 30},
}

# how our sessions begin their application_name
APPLICATION = "mendbook"
# the thresholds of a diagnosis, with what they are worth unless an option says otherwise
LIMITS = {
    "max_used_share": 0.8,
    "max_idle_share": 0.5,
    "max_in_transaction_seconds": 300,
    "max_transaction_seconds": 1800,
    "max_query_seconds": 60,
    "max_blocked_seconds": 10,
    "max_lag_seconds": 60,
}
SCHEMES = ("postgresql://", "postgres://")
# where an option of ours goes in libpq's words
NAMED = {
    "username": "user",
    "password": "password",
    "tls_mode": "sslmode",
    "tls_ca_file": "sslrootcert",
    "tls_certificate_file": "sslcert",
    "tls_key_file": "sslkey",
    "tls_key_password": "sslpassword",
}
_SECRET_URI_OPTIONS = ("password", "sslpassword")


def secrets_in(params):
    """Return every string in the connection options that must never be printed: passwords, also inside the URI."""
    userinfo, _, query = _parts(params.get("uri") or "")
    found = [params.get("password"), params.get("tls_key_password")]
    _, colon, password = userinfo.partition(":")
    if colon:
        found += [password, unquote(password)]
    for option in query.split("&"):
        name, _, value = option.partition("=")
        if unquote(name).lower() in _SECRET_URI_OPTIONS:
            found += [value, unquote(value)]
    return sorted({secret for secret in found if secret}, key=len, reverse=True)


def is_escaped(uri):
    """Whether user and password are written so that no part of them can be taken for a host's name, and printed."""
    return not set("@/?") & set(_parts(uri)[0])


def hosts_in(uri):
    """Return the hosts of a connection string as it has them, ``"db1:5432,db2"``; a socket's folder counts as one."""
    _, address, query = _parts(uri)
    named = dict(parse_qsl(query)).get("host")
    return address.partition("/")[0] or named or "the local socket"


def _parts(uri):
    """Split into user and password, the rest of the address, and the query; all empty when it is no such URI."""
    scheme = next((known for known in SCHEMES if uri.startswith(known)), "")
    if not scheme:
        return "", "", ""
    rest = uri[len(scheme) :]
    address, _, query = rest.partition("?")
    if "@" in query and ("@" not in address or not re.match(r"\w+=", query)):
        # an unescaped question mark in the password
        userinfo, _, rest = rest.rpartition("@")
        address, _, query = rest.partition("?")
        return userinfo, address, query
    # an unescaped "@" or slash in the password: what stands before the last "@" is a secret, whatever else it is
    userinfo, _, address = address.rpartition("@")
    return userinfo, address, query
