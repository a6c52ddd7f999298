# SPDX-License-Identifier: MIT
"""The connection options of every mend_redis_* module, and what a connection string says; imports no driver."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from .errors import MendError

CONNECTION_SPEC = {
    "uri": {"type": "str", "required": True, "no_log": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "tls_ca_file": {"type": "path"},
    "tls_certificate_file": {"type": "path"},
    "tls_key_file": {"type": "path"},
    "tls_key_password": {"type": "str", "no_log": True},
    "tls_allow_invalid_hostnames": {"type": "bool", "default": False},
    "connect_timeout_seconds": {"type": "float", "default": 5},
    "operation_timeout_seconds": {"type": "float", "default": 10},
    "via": {"type": "str"},
}

# how the names of our connections begin
APPLICATION = "mendbook"
# the thresholds of a diagnosis, with what they are worth unless an option says otherwise
LIMITS = {
    "max_memory_share": 0.9,
    "max_fragmentation_ratio": 1.5,
    "max_evictions_per_second": 10,
    "min_hit_rate": 0.8,
    "max_clients_share": 0.8,
    "max_slow_seconds": 0.1,
    "max_ping_seconds": 0.05,
    "max_lag_bytes": 16000000,
    "max_link_down_seconds": 10,
    "max_persistence_failures": 0,
    "max_lost_nodes": 0,
    "max_uncovered_slots": 0,
    "max_masters_without_replica": 0,
}
SCHEMES = ("redis://", "rediss://", "unix://")
DEFAULT_PORT = 6379
# what a connection string may say behind its question mark, in redis-py's words, and the option that it stands for
_URI_OPTIONS = {
    "ssl_ca_certs": "tls_ca_file",
    "ssl_certfile": "tls_certificate_file",
    "ssl_keyfile": "tls_key_file",
    "db": None,
}


class Endpoint:
    """What a connection string says: ``entries`` are its (host, port), or ``path`` the socket, ``db`` the database."""

    def __init__(self, params):
        uri = params["uri"]
        scheme, userinfo, address, query = _parts(uri)
        if not scheme:
            raise _bad(
                "must begin with redis://, rediss:// (TLS) or unix://, for example redis://cache1:6379/0: set "
                "redis_uri in the inventory, for example to env:REDIS_URI, or the role's own variable"
            )
        if set("@/?#") & set(userinfo):
            raise _bad("a @, a /, a # or a ? in a user's name or a password is written %40, %2F, %23, %3F")
        options = dict(parse_qsl(query, keep_blank_values=True))
        for name in options:
            if name not in _URI_OPTIONS:
                raise _bad(f"{name!r} is no option of it; there are {', '.join(_URI_OPTIONS)}")
        _, _, password = userinfo.partition(":")
        self.username = user_in(params)
        self.password = params.get("password") or unquote(password) or None
        self.tls = scheme == "rediss://"
        self.files = {ours: params.get(ours) or options.get(theirs) for theirs, ours in _URI_OPTIONS.items() if ours}
        hosts, slash, path = address.partition("/")
        local = scheme == "unix://"
        if local and (hosts or not path):
            raise _bad("unix:// is followed by an absolute path: unix:///run/redis/redis.sock")
        self.path = unquote(slash + path) if local else None
        self.entries = [] if local else [_entry(host) for host in hosts.split(",")]
        self.db = _database(options.get("db") or ("" if self.path else path))


def user_in(params):
    """Return the user whom the connection options name; None for the server's default one."""
    _, userinfo, _, _ = _parts(params.get("uri") or "")
    return params.get("username") or unquote(userinfo.partition(":")[0]) or None


def secrets_in(params):
    """Return every string in the connection options that must never be printed: passwords, also inside the URI."""
    _, userinfo, _, query = _parts(params.get("uri") or "")
    found = [params.get("password"), params.get("tls_key_password")]
    _, colon, password = userinfo.partition(":")
    if colon:
        found += [password, unquote(password)]
    for option in query.split("&"):
        name, _, value = option.partition("=")
        if "password" in unquote(name).lower():
            found += [value, unquote(value)]
    return sorted({secret for secret in found if secret}, key=len, reverse=True)


def hosts_in(uri):
    """Return the hosts of a connection string as it has them, ``"cache1:6379,cache2"``, or the path of its socket."""
    scheme, _, address, _ = _parts(uri)
    return address if scheme == "unix://" else address.partition("/")[0] or "no host"


def address_text(host, port):
    """Return a host and a port as people write them; an IPv6 address in brackets. Without a port it is a socket."""
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parts(uri):
    """Split into scheme, user and password, address, and query; all empty when it is no such URI."""
    scheme = next((known for known in SCHEMES if uri.startswith(known)), "")
    if not scheme:
        return "", "", "", ""
    rest = uri[len(scheme) :]
    address, _, query = rest.partition("?")
    if "@" in query and ("@" not in address or not re.match(r"\w+=", query)):
        # an unescaped question mark in the password
        userinfo, _, rest = rest.rpartition("@")
        address, _, query = rest.partition("?")
        return scheme, userinfo, address, query
    # an unescaped "@" or slash in the password: what stands before the last "@" is a secret, whatever else it is
    userinfo, _, address = address.rpartition("@")
    return scheme, userinfo, address, query


def _entry(text):
    try:
        parsed = urlsplit(f"//{text}")
        host, port = parsed.hostname, parsed.port
    except ValueError:
        host = port = None
    if not host:
        raise _bad(f"{text!r} is no host and port")
    # urlsplit makes a name's letters small, and nothing else may be lost
    return host, port or DEFAULT_PORT


def _database(text):
    if not text:
        return 0
    if not text.isdigit():
        raise _bad("the number of the database is all that follows the host: redis://cache1:6379/0")
    return int(text)


def _bad(words):
    return MendError(f"uri: {words}", rule="redis_uri")
