# SPDX-License-Identifier: MIT
"""The driver's errors in words for the operator: how far the connection came, and what to do next."""

from __future__ import annotations

import re
from contextlib import contextmanager

import psycopg

from .errors import MendError
from .plan_text import clean
from .postgres_options import hosts_in, secrets_in

# (rule, stage, pattern, words); the first pattern that libpq's text matches decides. The server's words may come in
# its own language: then the stage is known and the rule is the general one.
_CONNECTING = (
    (
        "postgres_dns",
        "dns",
        r"could not translate host name|failed to resolve|Name or service not known|Temporary failure in name res"
        r"|No address associated|nodename nor servname",
        "the host name cannot be resolved: check the name in the URI and the resolver of this machine",
    ),
    (
        "postgres_refused",
        "tcp",
        r"Connection refused|No such file or directory.*socket|socket.*No such file or directory",
        "nothing listens there: check host and port, and that the server runs",
    ),
    (
        "postgres_unreachable",
        "tcp",
        r"No route to host|Network is unreachable|Host is down",
        "no route to the host: check the network and the firewall between this machine and the server",
    ),
    (
        "postgres_tls_unsupported",
        "tls",
        r"does not support SSL|SSL is not enabled|sslmode value .* invalid when SSL support is not compiled in",
        "TLS: the server does not speak it: set tls_mode to disable or prefer, or switch ssl on at the server",
    ),
    (
        "postgres_tls_hostname",
        "tls",
        r"does not match host name|certificate for .* does not match",
        "TLS: the server's certificate is for another host name: use a name that the certificate has, or tls_mode "
        "verify-ca",
    ),
    (
        "postgres_tls_expired",
        "tls",
        r"certificate expired",
        "TLS: the client's certificate has expired: renew it, and check the clocks",
    ),
    (
        "postgres_tls_ca",
        "tls",
        r"certificate verify failed|unknown ca|root certificate file",
        "TLS: a certificate is not accepted: it is not signed by an authority that is trusted (tls_ca_file), or it has "
        "expired",
    ),
    (
        "postgres_tls_client_certificate",
        "tls",
        r"certificate required|bad certificate|requires a valid client certificate|connection requires a .*certificate"
        r"|certificate authentication failed|certificate file|private key file",
        "TLS: the server wants a client certificate that it trusts: name it with tls_certificate_file and tls_key_file",
    ),
    (
        "postgres_tls",
        "tls",
        r"SSL error|SSL SYSCALL|tlsv1 alert|sslv3 alert",
        "TLS: the handshake failed: check tls_mode and the certificates",
    ),
    (
        "postgres_protocol",
        "tcp",
        r"received invalid response to|expected authentication request|invalid message|lost synchronization",
        "what answers there is not PostgreSQL: check host and port",
    ),
    (
        "postgres_pooler",
        "login",
        r"unsupported startup parameter|no such database: |pgbouncer cannot connect",
        "a pooler answers there, and not the server itself: name the server",
    ),
    (
        "postgres_slots",
        "login",
        r"too many clients already|remaining connection slots are reserved|too many connections for",
        "no slot is free for this user. Slots that are reserved take superusers (superuser_reserved_connections) and, "
        "from PostgreSQL 16 on, members of pg_use_reserved_connections (reserved_connections): log in as one of them",
    ),
    (
        "postgres_authentication",
        "login",
        r"authentication failed|no password supplied|role .* does not exist|not permitted to log in|no such user|SCRAM",
        "the login failed: check username and password",
    ),
    (
        "postgres_hba",
        "login",
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        "the server lets nobody in from here like this: add a line to its pg_hba.conf, or change user, database or "
        "tls_mode",
    ),
    (
        "postgres_database",
        "login",
        r"database .* does not exist|permission denied for database|not currently accepting connections",
        "there is no such database, or it takes no connections: name another at the end of the URI, such as /postgres",
    ),
    (
        "postgres_starting",
        "login",
        r"database system is (starting up|shutting down|in recovery mode|not yet accepting|not accepting)",
        "the server is starting, stopping or recovering: look at its log, and try again",
    ),
    (
        "postgres_timeout",
        "tcp",
        r"timeout expired|timed out|no answer in",
        "no answer in time: check that the server is up and not overloaded, and the firewall; or raise the timeout "
        "(connect_timeout_seconds, operation_timeout_seconds)",
    ),
    (
        "postgres_closed",
        "tcp",
        r"closed the connection unexpectedly|Connection reset|connection is closed|connection is lost|Broken pipe"
        r"|terminating connection|server closed",
        "the connection was closed: the server stopped, somebody ended this session, or it is not PostgreSQL",
    ),
    (
        "postgres_uri",
        None,
        r"invalid (\w+ )?(URI|connection option|port|value|percent-encoded)|unexpected character"
        r"|missing .* in (connection string|URI)|forbidden value|end of string reached",
        "the connection string cannot be read: check every part of it",
    ),
)


def translate(error, params, doing=""):
    """Return the `MendError` for a driver's error; no password appears in its words.

    ``details.stage`` says how far it came: ``dns``, ``tcp``, ``tls``, ``login`` or ``query``; ``details.code`` is the
    server's SQLSTATE when it answered a query.
    """
    said = " ".join(str(error).split())
    for secret in secrets_in(params):
        said = said.replace(secret, "***")
    rule, stage, words = _classify(error, said)
    where = hosts_in(params.get("uri") or "")
    doing = f" while {doing}" if doing else ""
    return MendError(
        f"PostgreSQL at {where}{doing}: {words} (it says: {clean(said, 400)})",
        rule=rule,
        details={"address": where, "stage": stage, "code": getattr(error, "sqlstate", None)},
    )


@contextmanager
def translated(params, doing=""):
    """Turn every error of the driver inside the block into a `MendError`."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, params, doing) from None


def _classify(error, said):
    code = getattr(error, "sqlstate", None)
    if code == "57014":
        return "postgres_timeout", "query", "the server stopped the query: raise operation_timeout_seconds"
    if code == "42501":
        return "postgres_privilege", "query", "the user may not do this"
    for rule, stage, pattern, words in _CONNECTING:
        if (code is None or rule == "postgres_closed") and re.search(pattern, said, re.IGNORECASE):
            return rule, stage, words
    if code is None and "FATAL" in said:
        return "postgres_login", "login", "the server refused the connection"
    return "postgres", "query", "the server or the driver refused"
