# SPDX-License-Identifier: MIT
"""The connection options that every mend_mongo_* module shares; imports no driver."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus

from .errors import Nothing, Refused

CONNECTION_SPEC = {
    "uri": {"type": "str", "required": True, "no_log": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "auth_source": {"type": "str"},
    "auth_mechanism": {"type": "str", "choices": ["SCRAM-SHA-256", "SCRAM-SHA-1", "MONGODB-X509"]},
    "tls": {"type": "bool"},
    "tls_ca_file": {"type": "path"},
    "tls_certificate_key_file": {"type": "path"},
    "tls_certificate_key_file_password": {"type": "str", "no_log": True},
    "tls_allow_invalid_hostnames": {"type": "bool", "default": False},
    "via": {"type": "str"},
    "connect_timeout_seconds": {"type": "float", "default": 5},
    "operation_timeout_seconds": {"type": "float", "default": 60},
}

# the server's own; what replaces their collections breaks the whole deployment
SYSTEM_DATABASES = ("admin", "config", "local")
_NOT_IN_NAMES = frozenset('/\\. "$*<>:|?\0')
_NAME_BYTES = 63
SCHEMES = ("mongodb://", "mongodb+srv://")
_OPTION = re.compile(r"[A-Za-z]\w*=")
_SECRET_URI_OPTIONS = ("tlscertificatekeyfilepassword", "authmechanismproperties")


def check_database(name, variable):
    """Raise Nothing for no database, Refused for the server's own and for names that no server takes.

    ``variable`` is what the operator sets.
    """
    if not name:
        raise Nothing(f"{variable} is empty: name the database", rule="database")
    if name.lower() in SYSTEM_DATABASES:
        raise Refused(f"{variable} is {name}, which is the server's own and is never changed", rule="database")
    if _NOT_IN_NAMES & set(name) or len(name.encode()) > _NAME_BYTES:
        raise Refused(f"{variable} is {name!r}, which is no name of a database", rule="database")


def secrets_in(params):
    """Return every string in the connection options that must never be printed: passwords, also inside the URI."""
    uri = params.get("uri") or ""
    found = [params.get("password"), params.get("tls_certificate_key_file_password")]
    _, authority, _, query = _parts(uri)
    if "@" in authority:
        _, colon, password = authority.rpartition("@")[0].partition(":")
        if colon:
            found += [password, unquote_plus(password)]
    for option in query.replace(";", "&").split("&"):
        name, _, value = option.partition("=")
        if name.lower() in _SECRET_URI_OPTIONS:
            found += [value, unquote_plus(value)]
    return sorted({secret for secret in found if secret}, key=len, reverse=True)


def printed(uri):
    """Return the part of a connection string that may be shown: scheme, hosts and database."""
    scheme, authority, database, _ = _parts(uri)
    return scheme + authority.rpartition("@")[2] + ("/" + database if database else "")


def hosts_in(uri):
    """Return the hosts of a connection string as it has them, ``"a:27017,b"``."""
    return _parts(uri)[1].rpartition("@")[2]


def database_in(uri):
    """Return the database that a connection string names, or ``None``."""
    return _parts(uri)[2] or None


def _parts(uri):
    """Split into scheme, authority, database and query; all are empty when the text is no MongoDB URI."""
    scheme = next((known for known in SCHEMES if uri.startswith(known)), "")
    if not scheme:
        return "", "", "", ""
    rest, _, query = uri[len(scheme) :].partition("?")
    if "@" in query and "@" not in rest and not _OPTION.match(query):
        # an unescaped question mark in the password
        start, _, query = query.rpartition("@")[2].partition("?")
        rest = uri[len(scheme) :][: uri[len(scheme) :].rindex("@") + 1] + start
    # an unescaped slash in the password: what stands before the last "@" is a secret, whatever else it is
    userinfo, at, hosts = rest.rpartition("@")
    authority, _, path = hosts.partition("/")
    return scheme, userinfo + at + authority, unquote(path), query
