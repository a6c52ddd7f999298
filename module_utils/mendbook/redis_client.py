# SPDX-License-Identifier: MIT
"""The way to a Redis or Valkey: clients of each of its servers, with one set of credentials and with deadlines."""

from __future__ import annotations

import os
import re
import socket
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .errors import MendError
from .host import user
from .reach import route
from .redis_errors import CONNECTING, translate, translated
from .redis_options import APPLICATION, Endpoint, address_text


@contextmanager
def connect(params, run=None):
    """Give the `Access` that the connection options lead to, and close every connection of it at the end.

    Errors of the driver inside the block leave it as `MendError` with the next step in words.
    """
    access = Access(params, run)
    if params.get("via") and access.endpoint.path:
        raise MendError("uri must name a host when via is set: a local socket cannot be reached", rule="redis_uri")
    try:
        with route(params.get("via"), params["connect_timeout_seconds"]), translated(params):
            access.enter()
            yield access
    finally:
        access.close()


class Access:
    """Opens clients of any server by the same options.

    ``client`` is that of the first host of the URI that answered, ``host`` and ``port`` where that is (port is None
    for a socket), ``db`` the database that the URI names.
    """

    def __init__(self, params, run=None):
        self.params = params
        self.endpoint = Endpoint(params)
        self.db = self.endpoint.db
        self.name = client_name(run)
        self.client = self.host = self.port = None
        self._clients = []
        self._options = self._connection_options()

    @property
    def address(self):
        return address_text(self.host, self.port)

    def enter(self):
        """Connect to the first host that lets us in; raise the first error when none does."""
        failed = []
        for host, port in self.endpoint.entries or [(self.endpoint.path, None)]:
            try:
                self.client, self.host, self.port = self.open(host, port), host, port
                return
            except MendError as error:
                failed.append(error)
        if len(failed) > 1:
            others = ", ".join(error.details["address"] for error in failed[1:])
            failed[0].msg += f"; nor did {others} let us in"
        raise failed[0]

    def open(self, host, port):
        """Return a client of one server that has let us in; it is closed with the rest. MendError when it did not.

        Threads may share it. Bytes come as bytes.
        """
        place = {"path": host} if port is None else {"host": host, "port": port}
        pool = redis.ConnectionPool(**self._options, **place)
        client = redis.Redis(connection_pool=pool)
        self._clients.append(client)
        where = address_text(host, port)
        with translated(self.params, CONNECTING, where):
            pool.release(pool.get_connection())
        return client

    def error(self, error, host, port, doing="", keys=()):
        """Return the `MendError` for an error of the driver that a client of this server has raised.

        ``keys`` are the patterns (bytes) of the keys that it was asked about.
        """
        return translate(error, self.params, doing, address_text(host, port), keys)

    def close(self):
        for client in self._clients:
            client.connection_pool.disconnect()

    def _connection_options(self):
        endpoint = self.endpoint
        kind = redis.SSLConnection if endpoint.tls else redis.Connection
        options = {
            "connection_class": redis.UnixDomainSocketConnection if endpoint.path else kind,
            "username": endpoint.username,
            "password": endpoint.password,
            "db": endpoint.db,
            "protocol": 2,
            "socket_timeout": self.params["operation_timeout_seconds"],
            "retry": Retry(NoBackoff(), 0),
            "driver_info": None,
            "redis_connect_func": self._greet,
        }
        if not endpoint.path:
            options.update(socket_connect_timeout=self.params["connect_timeout_seconds"], socket_keepalive=True)
        if endpoint.tls:
            options.update(self._tls_options())
        return options

    def _tls_options(self):
        files = self.endpoint.files
        for name, path in files.items():
            if path and not os.access(path, os.R_OK):
                raise MendError(f"{name}: {path} cannot be read on {socket.gethostname()}", rule="redis_tls_file")
        return {
            "ssl_ca_certs": files["tls_ca_file"],
            "ssl_certfile": files["tls_certificate_file"],
            "ssl_keyfile": files["tls_key_file"],
            "ssl_password": self.params.get("tls_key_password"),
            "ssl_check_hostname": not self.params.get("tls_allow_invalid_hostnames"),
        }

    def _greet(self, connection):
        """Log in, and say who we are where that is allowed."""
        connection.on_connect()
        connection.send_command("CLIENT", "SETNAME", self.name, check_health=False)
        try:
            connection.read_response()
        except redis.ResponseError as error:
            # a user without this right, or a provider that has no CLIENT: nameless is good enough to read
            if str(error).startswith("DENIED"):
                raise


def client_name(run):
    """Return the name of our connections in CLIENT LIST: ``mendbook:RUN:USER@HOST:PID``, which holds no blanks."""
    name = f"{APPLICATION}:{run or '-'}:{user()}@{socket.gethostname()}:{os.getpid()}"
    return re.sub(r"[^!-~]", "_", name)
