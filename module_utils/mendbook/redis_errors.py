# SPDX-License-Identifier: MIT
"""The driver's errors in words for the operator: how far the connection came, and what to do next."""

from __future__ import annotations

import re
import socket
import ssl
from contextlib import contextmanager

import redis

from .errors import MendError
from .plan_text import clean
from .redis_options import hosts_in, secrets_in
from .redis_rights import allowing, denied, who

_HOSTNAME_MISMATCH, _IP_MISMATCH, _EXPIRED, _NOT_YET = 62, 64, 10, 9
# (rule, stage, pattern, words): what the server says, with the word that it begins with; the first that matches
_ANSWERS = (
    (
        "redis_authentication",
        "login",
        r"^WRONGPASS|^ERR invalid password",
        "wrong password, or no such user, or the user is switched off (the server does not tell which): check username "
        "and password",
    ),
    (
        "redis_password_needed",
        "login",
        r"^NOAUTH",
        "the server wants a password: set it in the URI or as password",
    ),
    (
        "redis_no_password",
        "login",
        r"AUTH <password> called without any password configured|no password is set",
        "a password was given and the server has none: leave it out, or name the user that it belongs to (username)",
    ),
    (
        "redis_protected",
        "login",
        r"^DENIED",
        "protected mode: the server has no password and lets nobody in from outside: give it a password (requirepass "
        "or users), or connect on its own host",
    ),
    (
        "redis_connections",
        "login",
        r"max number of clients reached",
        "all connections are taken (maxclients): end some, or raise maxclients at the server",
    ),
    (
        "redis_database",
        "login",
        r"DB index is out of range|SELECT is not allowed in cluster mode|invalid DB index",
        "there is no such database: a cluster has only database 0, a server as many as its setting databases says",
    ),
    (
        "redis_loading",
        "command",
        r"^LOADING",
        "the server is loading its data from disk: wait until it has started (INFO persistence says how far it is)",
    ),
    (
        "redis_master_down",
        "command",
        r"^MASTERDOWN",
        "a replica that has lost its master and gives no stale data: look at the master first",
    ),
    (
        "redis_memory_full",
        "command",
        r"^OOM",
        "the server is full (maxmemory) and takes no writes: free memory, raise maxmemory or change its policy",
    ),
    (
        "redis_readonly",
        "command",
        r"^READONLY",
        "a replica takes no writes: name the master, or look whether it has just failed over",
    ),
    (
        "redis_cluster_down",
        "command",
        r"^CLUSTERDOWN",
        "the cluster is down: some slots have no master that works; diagnose_redis names them",
    ),
    (
        "redis_moved",
        "command",
        r"^MOVED|^ASK|^TRYAGAIN",
        "the key's slot has moved to another node, or moves now: run again",
    ),
    (
        "redis_writes_stopped",
        "command",
        r"^MISCONF|^NOREPLICAS",
        "the server takes no writes, because it cannot save to disk or has too few replicas: look at its log",
    ),
    (
        "redis_busy",
        "command",
        r"^BUSY\b",
        "the server is busy with a script or a function that does not end: SCRIPT KILL ends it if it wrote nothing",
    ),
    (
        "redis_sentinel",
        "command",
        r"unknown command .*sentinel",
        "this is a Sentinel and holds no data",
    ),
    (
        "redis_command",
        "command",
        r"unknown (sub)?command|^ERR .*(is not allowed|not supported|disabled)",
        "the server does not have this command, or its provider has switched it off",
    ),
)
# what we do, and what the driver says, while there is no connection yet
CONNECTING, _CONNECTING = "connecting", "connecting to"
_UNKNOWN = re.compile(r"unknown command [`'](\w+)", re.IGNORECASE)
_CLOSED = (
    "the connection was closed: the server stopped, somebody ended it, or it speaks TLS (rediss://) or is not Redis"
)
_HUNG_UP = (
    "redis_tls_client_certificate",
    "tls",
    "TLS: the server hung up after the handshake: it wants a client certificate that it trusts: name it with "
    "tls_certificate_file and tls_key_file",
)
_SILENT = (
    "no answer in time: check that the server is up, that nothing like KEYS or a long script holds it up, and the "
    "firewall; or raise the timeout (connect_timeout_seconds, operation_timeout_seconds)"
)


def translate(error, params, doing="", address=None, keys=()):
    """Return the `MendError` for a driver's error; no password appears in its words.

    ``keys`` are the patterns (bytes) of the keys that the command was for, if it was for keys.

    ``details.stage`` says how far it came: ``dns``, ``tcp``, ``tls``, ``login`` or ``command``; ``details.command`` is
    the command that the user may not run, or that there is not, when that is it.
    """
    said = " ".join(part for part in (getattr(error, "status_code", None), *str(error).split()) if part)
    for secret in secrets_in(params):
        said = said.replace(secret, "***")
    rights = []
    if isinstance(error, redis.exceptions.NoPermissionError):
        command, rights = denied(said, keys)
        what = command or ("these keys" if "key" in said else "this")
        rule, stage, words = "redis_permission", "command", f"the user {clean(who(params), 100)} may not use {what}"
    else:
        rule, stage, words, command = _classify(error, said)
    if (params.get("uri") or "").startswith("rediss://"):
        if rule == "redis_timeout":
            words += "; a server without TLS does not answer to rediss:// either"
        elif rule == "redis_closed" and doing == CONNECTING and _CONNECTING not in said:
            # only then does TLS 1.3 tell a client that its certificate is wanted, and often it is too late to hear it
            rule, stage, words = _HUNG_UP
    where = address or hosts_in(params.get("uri") or "")
    doing = f" while {doing}" if doing else ""
    details = {"address": where, "stage": stage}
    if command:
        details["command"] = command
    words += f" (it says: {clean(said, 300)})"
    if rights:
        # at the end, where it is copied from
        words += f"; {allowing(params, rights)}"
    return MendError(f"Redis at {where}{doing}: {words}", rule=rule, details=details)


@contextmanager
def translated(params, doing="", address=None):
    """Turn every error of the driver inside the block into a `MendError`."""
    try:
        yield
    except redis.RedisError as error:
        raise translate(error, params, doing, address) from None


def _classify(error, said):
    for rule, stage, pattern, words in _ANSWERS:
        if re.search(pattern, said, re.IGNORECASE if rule == "redis_command" else 0):
            unknown = _UNKNOWN.search(said)
            return rule, stage, words, unknown and unknown.group(1).upper()
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError, redis.exceptions.InvalidResponse)):
        return (*_network(error, said), None)
    return "redis", "command", "the server or the driver refused", None


def _network(error, said):
    # the driver tells a failed connection in its own words, and keeps the cause beside them
    cause = error.__context__
    if isinstance(error, redis.exceptions.InvalidResponse):
        return "redis_protocol", "tcp", "what answers there is not Redis: check host and port"
    if isinstance(error, redis.TimeoutError) or isinstance(cause, TimeoutError):
        return "redis_timeout", "tcp", _SILENT
    if isinstance(cause, socket.gaierror):
        words = "the host name cannot be resolved: check the name in the URI and the resolver of this machine"
        return "redis_dns", "dns", words
    if isinstance(cause, ssl.SSLEOFError) and _CONNECTING not in said:
        return "redis_closed", "tcp", _CLOSED
    if isinstance(cause, ssl.SSLError):
        return _tls(cause, said)
    if isinstance(cause, (ConnectionRefusedError, FileNotFoundError)):
        return "redis_refused", "tcp", "nothing listens there: check host and port, and that the server runs"
    if isinstance(cause, PermissionError):
        return "redis_socket", "tcp", "this user may not use the socket: join the group that it belongs to"
    if isinstance(cause, (ConnectionResetError, BrokenPipeError)) or "closed" in said:
        return "redis_closed", "tcp", _CLOSED
    if isinstance(cause, OSError):
        words = "it cannot be reached: check the network and the firewall between this machine and the server"
        return "redis_unreachable", "tcp", words
    return "redis_connection", "tcp", "the connection failed"


def _tls(cause, said):
    code = getattr(cause, "verify_code", None)
    if code in (_HOSTNAME_MISMATCH, _IP_MISMATCH):
        words = (
            "TLS: the server's certificate is for another host name: use a name that the certificate has, or set "
            "tls_allow_invalid_hostnames"
        )
        return "redis_tls_hostname", "tls", words
    if code in (_EXPIRED, _NOT_YET) or "certificate expired" in said:
        words = "TLS: a certificate has expired or is not valid yet: renew it, and check the clock of this machine"
        return "redis_tls_expired", "tls", words
    if code is not None:
        words = "TLS: the certificate is not signed by an authority that this side trusts: name its CA with tls_ca_file"
        return "redis_tls_ca", "tls", words
    if re.search(r"certificate required|bad certificate|unknown ca|CERTIFICATE_REQUIRED|handshake failure", said):
        words = (
            "TLS: the server wants a client certificate that it trusts: name it with tls_certificate_file and "
            "tls_key_file"
        )
        return "redis_tls_client_certificate", "tls", words
    if re.search(r"WRONG_VERSION_NUMBER|wrong version number|RECORD_LAYER|EOF occurred|UNEXPECTED_EOF", said):
        words = "TLS: the server does not answer in TLS: write redis:// for rediss://, or check the port"
        return "redis_tls_unsupported", "tls", words
    return "redis_tls", "tls", "TLS: the handshake failed: check the certificates and the key's password"
