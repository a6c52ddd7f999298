# SPDX-License-Identifier: MIT
"""The driver's errors in words for the operator: what happened at which address, and what to do next."""

from __future__ import annotations

import re
from contextlib import contextmanager

from pymongo import errors as driver

from .errors import MendError
from .mongo_options import hosts_in, secrets_in

NOT_PRIMARY_CODES = {189, 10058, 10107, 11600, 11602, 13435, 13436, 91}

# the first pattern that the driver's text matches decides: a refused host also says "timed out" at the end
_NETWORK = (
    (
        "mongo_dns",
        r"DNS query name does not exist|NXDOMAIN|resolution lifetime expired|No answer|does not contain an answer"
        r"|Name or service not known|nodename nor servname|Temporary failure in name resolution"
        r"|No address associated|getaddrinfo",
        "the host name cannot be resolved: check the name in the URI and the resolver of this machine",
    ),
    (
        "mongo_tls_hostname",
        r"Hostname mismatch|IP address mismatch|doesn't match",
        "TLS: the server's certificate is for another host name: use a name that the certificate has, "
        "or set tls_allow_invalid_hostnames",
    ),
    (
        "mongo_tls_expired",
        r"certificate has expired|certificate is not yet valid|alert certificate expired",
        "TLS: a certificate has expired or is not valid yet: renew it, and check the clock of this machine",
    ),
    (
        "mongo_tls_ca",
        r"CERTIFICATE_VERIFY_FAILED|unable to get local issuer|self.signed certificate|alert unknown ca|UNKNOWN_CA",
        "TLS: the certificate is not signed by an authority that this side trusts: name its CA with tls_ca_file",
    ),
    (
        "mongo_tls_client_certificate",
        r"certificate.required|bad.certificate|CERTIFICATE_REQUIRED|BAD_CERTIFICATE|handshake.failure|HANDSHAKE_FAILURE",
        "TLS: the server wants a client certificate: name it with tls_certificate_key_file",
    ),
    (
        "mongo_tls_version",
        r"WRONG_VERSION_NUMBER|wrong version number|UNEXPECTED_EOF|UNEXPECTED_MESSAGE|EOF occurred|RECORD_LAYER",
        "TLS: the server does not answer in TLS: leave tls out, or check the port",
    ),
    (
        "mongo_tls",
        r"\[SSL|SSL handshake failed|_ssl\.c|tlsv1 alert|sslv3 alert",
        "TLS: the handshake failed: check tls, tls_ca_file and tls_certificate_key_file",
    ),
    (
        "mongo_refused",
        r"Connection refused|\[Errno 111\]|\[Errno 61\]",
        "the connection was refused: nothing listens there; check host and port, and that mongod runs",
    ),
    (
        "mongo_unreachable",
        r"No route to host|Network is unreachable|Host is down|\[Errno 113\]|\[Errno 101\]",
        "no route to the host: check the network and the firewall between this machine and the server",
    ),
    (
        "mongo_closed",
        r"connection closed|Connection reset|\[Errno 104\]|Broken pipe",
        "the server closed the connection: it wants TLS (set tls), it is at its limit of connections, or it stopped",
    ),
    (
        "mongo_protocol",
        r"Got response id|Unknown op code|invalid message length|Message length .* (not longer|is larger)",
        "what answers there is not MongoDB: check host and port",
    ),
    (
        "mongo_replica_set",
        r"replica set name|client replica set name",
        "the replica set there has another name than the URI says: correct replicaSet in the URI",
    ),
    (
        "mongo_no_primary",
        r"No primary available|No replica set members match|ReplicaSetNoPrimary|no primary|not primary|not master",
        "the replica set has no primary that can be reached: look at rs.status(), and try again after the election",
    ),
    (
        "mongo_timeout",
        r"timed out|timeout|No servers found yet|exceeded time limit|MaxTimeMSExpired",
        "no answer in time: check that the server is up and not overloaded, or raise the timeout "
        "(connect_timeout_seconds, operation_timeout_seconds)",
    ),
)

_CODES = {
    18: (
        "mongo_authentication",
        "authentication failed: check username and password, auth_source (the database that holds the user, usually "
        "admin) and auth_mechanism",
    ),
    13: ("mongo_privilege", "not authorised: the user lacks a role for this"),
    50: ("mongo_timeout", "the server stopped the operation at its deadline: raise operation_timeout_seconds"),
    64: (
        "mongo_majority",
        "written, but no majority of the replica set confirmed it in time: look for members that are down",
    ),
    14031: ("mongo_space", "the server has no disk space left"),
    9001: ("mongo_closed", "the connection to the server was lost"),
}
# x509: the certificate is good, and no user has its subject as name
_CODES[11] = _CODES[18]


def translate(error, params, doing=""):
    """Return the `MendError` for a driver's error; the password appears in none of its words.

    ``rule`` is one of ``mongo_dns, mongo_refused, mongo_unreachable, mongo_closed, mongo_tls*, mongo_authentication,
    mongo_privilege, mongo_timeout, mongo_no_primary, mongo_majority, mongo_space, mongo_uri, mongo``;
    ``details.code`` is the server's number for it when the server answered.
    """
    rule, words = _classify(error)
    where = hosts_in(params.get("uri") or "") or "the address given"
    doing = f" while {doing}" if doing else ""
    said = _scrub(_said(error), params)
    return MendError(
        f"MongoDB at {where}{doing}: {words} (the driver says: {said})",
        rule=rule,
        details={"address": where, "code": getattr(error, "code", None)},
    )


@contextmanager
def translated(params, doing=""):
    """Turn every error of the driver inside the block into a `MendError`."""
    try:
        yield
    except driver.PyMongoError as error:
        raise translate(error, params, doing) from None


def _classify(error):
    code = getattr(error, "code", None)
    text = _said(error)
    if "requires authentication" in text:
        return "mongo_authentication", "the server wants a user: give username and password"
    if code in _CODES:
        return _CODES[code]
    if code in NOT_PRIMARY_CODES:
        return "mongo_no_primary", _words("mongo_no_primary")
    if "uthentication failed" in text or "bad auth" in text:
        return _CODES[18]
    network = isinstance(error, (driver.ConnectionFailure, driver.ConfigurationError)) or code is None
    if network:
        for rule, pattern, words in _NETWORK:
            if re.search(pattern, text, re.IGNORECASE):
                return rule, words
    if isinstance(error, (driver.InvalidURI, driver.ConfigurationError)):
        return "mongo_uri", "the connection options are not usable: correct uri or the options beside it"
    return "mongo", "the server or the driver refused"


def _words(rule):
    return next(words for known, _, words in _NETWORK if known == rule)


def _said(error):
    """Return the driver's text without its long topology dump, with each host's own error where there is one."""
    text = " ".join(str(error).split())
    return re.split(r",? \(configured timeouts|, Timeout: [\d.]+s|, Topology Description|, full error:", text)[0][:600]


def _scrub(text, params):
    for secret in secrets_in(params):
        text = text.replace(secret, "***")
    return text
