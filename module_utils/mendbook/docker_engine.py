# SPDX-License-Identifier: MIT
"""A client of the Docker Engine API with nothing but the standard library, because it runs wherever an engine does."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from urllib.parse import quote, urlencode, urlsplit

from .docker_errors import ApiError, DockerError, Gone, no_engine, not_allowed
from .plan_text import clean

DEFAULT_HOST = "unix:///var/run/docker.sock"
# what is used here is in every version from the oldest (Docker 19.03) to the newest; a newer one changes /system/df
OLDEST_API = (1, 40)
NEWEST_API = (1, 47)
_CONNECT_SECONDS = 10
# a removal takes as long as the disk needs for it
_REMOVAL_FACTOR = 10


class Engine:
    """One engine: ``get``, ``post`` and ``delete`` give the JSON of its answer, or None when it is empty.

    ``docker_host`` is unix:///PATH or tcp://HOST:PORT, with TLS when any of the files is given; ``timeout_seconds`` is
    for one request with its whole answer, ten times as long when it is no GET. Nothing is asked before the first one.
    """

    def __init__(
        self, docker_host=DEFAULT_HOST, timeout_seconds=60, ca_file=None, certificate_file=None, key_file=None
    ):
        self.docker_host = docker_host
        self.timeout_seconds = timeout_seconds
        self.is_local = docker_host.startswith("unix://")
        self._address = _address(docker_host)
        self._tls = None
        if ca_file or certificate_file or key_file:
            self._tls = _tls(docker_host, ca_file, certificate_file, key_file)
        self._version = None

    @property
    def version(self):
        """What /version says; `DockerError` when this engine is too old, or too new, to be talked to."""
        if self._version is None:
            said = self._ask("GET", "/version", {}, None)
            if not isinstance(said, dict) or "ApiVersion" not in said:
                raise DockerError(
                    f"{self.docker_host} answers, but not as a Docker engine does", rule="docker_protocol"
                )
            if api_version(said) < OLDEST_API:
                raise DockerError(
                    "the Docker engine {} (API {}) is too old; 19.03 (API {}.{}) is the oldest that can be used".format(
                        clean(said.get("Version")), clean(said["ApiVersion"]), *OLDEST_API
                    ),
                    rule="docker_version",
                )
            if _numbers(said.get("MinAPIVersion")) > NEWEST_API:
                raise DockerError(
                    "the Docker engine {} speaks only API {} and newer, and API {}.{} is the newest that is known "
                    "here: its answers may mean something else; a newer mendbook may know them".format(
                        clean(said.get("Version")), clean(said["MinAPIVersion"]), *NEWEST_API
                    ),
                    rule="docker_version",
                )
            self._version = said
        return self._version

    @property
    def api(self):
        """The version of the API that both sides know, (1, 41)."""
        return min(NEWEST_API, api_version(self.version))

    def get(self, path, **query):
        return self._request("GET", path, query)

    def post(self, path, body=None, **query):
        return self._request("POST", path, query, body)

    def delete(self, path, **query):
        return self._request("DELETE", path, query)

    def _request(self, method, path, query, body=None):
        return self._ask(method, "/v{}.{}{}".format(*self.api, path), query, body)

    def _ask(self, method, path, query, body):
        seconds = self.timeout_seconds * (1 if method == "GET" else _REMOVAL_FACTOR)
        deadline = time.monotonic() + seconds
        target = quote(path, safe="/:") + ("?" + urlencode(_words(query)) if query else "")
        connection = self._connection()
        try:
            self._connect(connection)
            try:
                status, data = _exchange(connection, method, target, body, deadline)
            except socket.timeout as error:
                raise Gone(
                    f"the Docker engine at {self.docker_host} has not answered {method} {path} in "
                    f"{seconds} s: raise timeout_seconds, or look whether it hangs (its log, docker info)",
                    rule="docker_timeout",
                ) from error
            except (OSError, http.client.HTTPException) as error:
                raise self._lost(error, method, path) from error
        finally:
            connection.close()
        return self._answer(method, path, status, data)

    def _connection(self):
        if self.is_local:
            return _UnixConnection(self._address)
        host, port = self._address
        if self._tls:
            return http.client.HTTPSConnection(host, port, timeout=_CONNECT_SECONDS, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=_CONNECT_SECONDS)

    def _connect(self, connection):
        try:
            connection.connect()
        except PermissionError as error:
            raise not_allowed(self._address, self.docker_host) from error
        except OSError as error:
            raise no_engine(error, self._address if self.is_local else None, self.docker_host) from error

    def _lost(self, error, method, path):
        if isinstance(error, ssl.SSLError):
            # an engine that wants a certificate says so only when it is first asked something
            return no_engine(error, None, self.docker_host)
        return Gone(
            f"the Docker engine at {self.docker_host} went away during {method} {path}: "
            f"{type(error).__name__} {error}".rstrip(),
            rule="docker_gone",
        )

    def _answer(self, method, path, status, data):
        if not data.strip() and status < 400 and status != http.client.NO_CONTENT:
            # cut off in its headers it looks like an answer in which nothing is
            raise self._lost(http.client.IncompleteRead(b""), method, path)
        try:
            answer = json.loads(data) if data.strip() else None
        except ValueError:
            answer = {"message": data.decode("utf-8", "replace").strip()}
            if status < 400:
                raise DockerError(
                    f"{self.docker_host} answers {method} {path} with {clean(repr(data[:60]))}: no Docker engine, or "
                    "one that speaks TLS where none is used",
                    rule="docker_protocol",
                ) from None
        if status >= 400:
            text = answer.get("message") if isinstance(answer, dict) else None
            raise ApiError(status, clean(text or f"HTTP {status}", 500), f"{method} {path}")
        return answer


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("docker", timeout=_CONNECT_SECONDS)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def engine_of(params):
    """Return the `Engine` of a module's options."""
    return Engine(
        params["docker_host"],
        params["timeout_seconds"],
        params["tls_ca_file"],
        params["tls_certificate_file"],
        params["tls_key_file"],
    )


def api_version(said):
    return _numbers(said["ApiVersion"])


def _numbers(text):
    try:
        major, _, minor = str(text or "0.0").partition(".")
        return int(major), int(minor)
    except ValueError:
        return (0, 0)


def _address(docker_host):
    scheme, _, rest = docker_host.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return rest
    if scheme == "tcp":
        try:
            parts = urlsplit(docker_host)
            if parts.hostname and parts.port and parts.path in ("", "/") and not parts.username:
                return parts.hostname, parts.port
        except ValueError:
            pass
    hint = "; for ssh:// let Ansible connect to that host, and name its socket" if scheme == "ssh" else ""
    raise DockerError(
        f"docker_host {clean(docker_host)!r} is neither unix:///PATH nor tcp://HOST:PORT{hint}", rule="docker_host"
    )


def _tls(docker_host, ca_file, certificate_file, key_file):
    if docker_host.startswith("unix://"):
        raise DockerError(f"TLS files are given, but {docker_host} is a socket of this host", rule="docker_tls")
    if not ca_file or bool(certificate_file) != bool(key_file):
        raise DockerError(
            "TLS needs tls_ca_file, and tls_certificate_file together with tls_key_file", rule="docker_tls"
        )
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if certificate_file:
            # a password would be asked for at the terminal
            context.load_cert_chain(certificate_file, key_file, password="")
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(name for name in (ca_file, certificate_file, key_file) if name)
        raise DockerError(f"the TLS files {names} cannot be used: {error}", rule="docker_tls") from error
    return context


def _exchange(connection, method, target, body, deadline):
    """One request; its status and its whole body."""
    sock = connection.sock
    sock.settimeout(_left(deadline))
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, target, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    parts = []
    while True:
        sock.settimeout(_left(deadline))
        part = response.read1(1 << 20)
        if not part:
            break
        parts.append(part)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return response.status, b"".join(parts)


def _left(deadline):
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout
    return left


def _words(query):
    """Booleans and filters as the API wants them."""
    return {
        name: json.dumps(value) if isinstance(value, (dict, list)) else int(value) if isinstance(value, bool) else value
        for name, value in query.items()
    }
