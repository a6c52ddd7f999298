# SPDX-License-Identifier: MIT
"""Why the Docker engine did not do what it was asked to, in words for a person."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import ssl

from .errors import MendError


class DockerError(MendError):
    """A request that was not answered as it should have been; nothing is known of more than that."""


class NoEngine(DockerError):
    """Nobody answers there, so nothing was asked."""


class Gone(DockerError):
    """The request was sent and the answer never came: what it asked for may have been done, or not."""


class ApiError(DockerError):
    """The engine's own no; ``status`` is that of HTTP: 404 no such object, 409 it is in use."""

    def __init__(self, status, text, asked):
        super().__init__(
            f"the Docker engine refuses to {asked}: {text} (HTTP {status})",
            rule="docker_api",
            details={"status": status, "text": text},
        )
        self.status = status
        self.text = text


def not_allowed(path, docker_host):
    """This user may not open the socket: say whose it is, and what opens it."""
    me = _named(pwd.getpwuid, os.geteuid())
    try:
        seen = os.stat(path)
        group = _named(grp.getgrgid, seen.st_gid)
        whose = f"it belongs to {_named(pwd.getpwuid, seen.st_uid)}:{group} (mode {seen.st_mode & 0o777:o})"
        way = f"use become, or add {me} to the group {group}" if group != "root" else "use become"
    except OSError:
        whose, way = "its folder is closed to this user", "use become"
    return NoEngine(
        f"{me} may not use {docker_host}: {whose}; {way} (whoever may use it is root on this host)",
        rule="docker_permission",
        details={"docker_host": docker_host},
    )


def no_engine(error, path, docker_host):
    """Nobody answers: say which of the reasons it is."""
    reason = error.strerror or str(error) or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        rule, words = "docker_tls", f"its certificate is not to be trusted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        reason = error.reason or reason
        rule, words = "docker_tls", f"TLS failed ({reason}): it may want another client certificate, or no TLS at all"
    elif isinstance(error, socket.gaierror):
        rule, words = "docker_dns", f"its name is not known ({reason})"
    elif path and error.errno in (errno.ENOENT, errno.ENOTDIR):
        rule = "docker_absent"
        words = "there is no such socket: no engine is installed on this host, or it is stopped, or listens elsewhere"
    elif path and error.errno == errno.ECONNREFUSED:
        rule, words = "docker_stopped", "the socket is there and nobody listens: the engine is stopped or has crashed"
    else:
        rule, words = "docker_unreachable", f"it cannot be reached ({reason})"
    return NoEngine(f"no Docker engine at {docker_host}: {words}", rule=rule, details={"docker_host": docker_host})


def _named(find, number):
    try:
        return find(number)[0]
    except KeyError:
        return str(number)
