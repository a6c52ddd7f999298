# SPDX-License-Identifier: MIT
"""The way to a PostgreSQL server: connect with deadlines, and ask it in transactions that leave nothing behind."""

from __future__ import annotations

import getpass
import os
import socket
import time
from contextlib import closing, contextmanager

import psycopg
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from . import reach
from .errors import MendError
from .postgres_errors import translated
from .postgres_options import APPLICATION, NAMED, SCHEMES, is_escaped

MINIMUM_VERSION = 14
# what the server keeps of an application's name
_NAME_BYTES = 63
# a server that stopped answering is told from one that works by this much more than its own limit
_ANSWER_SECONDS = 2
_SLOT_SECONDS = 1.0
_IN_TRANSACTION, _IN_ERROR = psycopg.pq.TransactionStatus.INTRANS, psycopg.pq.TransactionStatus.INERROR


@contextmanager
def connect(params, run=None):
    """Give the `Server` that the connection options lead to, and close the connection at the end.

    Errors of the driver inside the block leave it as `MendError` with the next step in words.
    """
    options = _options(params, run)
    with reach.route(params.get("via"), params["connect_timeout_seconds"]) as way:
        connection = _open({**options, **_led_by(way, options)}, params)
        connection.answer_seconds = params["operation_timeout_seconds"] + _ANSWER_SECONDS
        with closing(connection):
            with translated(params):
                server = Server(connection, params, way)
            if server.version < MINIMUM_VERSION:
                raise MendError(
                    f"PostgreSQL {server.version} is too old: {MINIMUM_VERSION} or newer is needed",
                    rule="postgres_version",
                )
            with translated(params):
                yield server


class Server:
    """A PostgreSQL that answered; ``version`` is its major version."""

    def __init__(self, connection, params, way=None):
        self.connection = connection
        self._way = way
        self.version = connection.info.server_version // 10000
        self._settings = (
            f"search_path = pg_catalog; set {{}}statement_timeout = '{params['operation_timeout_seconds']}s'"
        )
        self.pid = connection.execute("select pg_catalog.pg_backend_pid() as pid").fetchone()["pid"]
        if not self.pooled:
            connection.execute("set " + self._settings.format(""))

    @property
    def pooled(self):
        """Whether a pooler stands in between: then the one who answered the login is not the one who answers now."""
        return self.connection.info.backend_pid != self.pid

    @property
    def address(self):
        info = self.connection.info
        if info.host.startswith("/"):
            return info.host
        return f"{info.host}:{self._way.behind(info.port)[1] if self._way else info.port}"

    def reached(self):
        """Return how the server was reached: address, ip (None by a socket or a way), whether by TLS, and a pooler."""
        info = self.connection.info
        ip = None if info.host.startswith("/") or self._way else info.hostaddr
        return {"address": self.address, "ip": ip, "tls": self.connection.pgconn.ssl_in_use, "pooled": self.pooled}

    def all(self, statement, parameters=None):
        """Return the rows of one statement, each a dict; in a transaction of its own."""
        if not self.pooled:
            return self.connection.execute(statement, parameters).fetchall()
        with self.look():
            return self.connection.execute(statement, parameters).fetchall()

    @contextmanager
    def look(self):
        """One transaction. What it sets ends with it, because a pooler would hand a session's settings to others.

        Without its search_path a database's owner could put a function of his own in the place of a built-in one.
        """
        self.connection.execute("begin; set local " + self._settings.format("local "))
        try:
            yield
        except BaseException:
            # on a connection that is lost or still at work there is nothing to say
            if self.connection.info.transaction_status in (_IN_TRANSACTION, _IN_ERROR):
                self.connection.execute("rollback")
            raise
        self.connection.execute("commit")


def _led_by(way, options):
    """Return libpq's options for a way: it resolves names by itself, and checks certificates by the name."""
    if way is None:
        return {}
    hosts = str(options.get("host") or "").split(",")
    ports = str(options.get("port") or "5432").split(",")
    if not all(hosts) or any(host.startswith("/") for host in hosts):
        raise MendError("uri must name a host when via is set: a local socket cannot be reached", rule="postgres_uri")
    if len(ports) == 1:
        ports *= len(hosts)
    ends = [way.address(host, int(port or 5432)) for host, port in zip(hosts, ports)]
    return {"hostaddr": ",".join(end[0] for end in ends), "port": ",".join(str(end[1]) for end in ends)}


def _open(options, params):
    """Return the connection; where all are taken it waits a moment: the run before may just be leaving its own."""
    deadline = time.monotonic() + _SLOT_SECONDS
    while True:
        try:
            with translated(params, "connecting"):
                return _Connection.connect(**options)
        except MendError as error:
            if error.rule != "postgres_slots" or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def application_name(run):
    """Return the name of our session, which tells other runs who holds the lock: ``mendbook RUN USER@HOST:PID``."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a uid without an entry, as in a container
        user = str(os.getuid())
    start, end = f"{APPLICATION} {run or '-'} {user[:16]}@", f":{os.getpid()}"
    return start + socket.gethostname()[: max(0, _NAME_BYTES - len((start + end).encode()))] + end


class _Connection(psycopg.Connection):
    """A connection that does not wait for ever for a server that is alive and says nothing."""

    answer_seconds = 60

    def wait(self, gen, *args, **kwargs):
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen):
        deadline = time.monotonic() + self.answer_seconds
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer in {self.answer_seconds} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


class _Text(Loader):
    """Another database's text may be in another encoding, and comes as its bytes."""

    def load(self, data):
        return bytes(data).decode("utf-8", "replace")


def _options(params, run):
    uri = params["uri"]
    if not uri.startswith(SCHEMES):
        raise MendError(
            "uri must begin with postgresql://, for example postgresql://db1:5432/postgres: set postgres_uri in the "
            "inventory, for example to env:POSTGRES_URI, or the role's own variable",
            rule="postgres_uri",
        )
    if not is_escaped(uri):
        raise MendError(
            "uri: a @, a / or a ? in a user's name or a password is written %40, %2F, %3F", rule="postgres_uri"
        )
    for name in ("tls_ca_file", "tls_certificate_file", "tls_key_file"):
        if params.get(name) and not os.access(params[name], os.R_OK):
            raise MendError(
                f"{name}: {params[name]} cannot be read on {socket.gethostname()}", rule="postgres_tls_file"
            )
    with translated(params, "reading uri"):
        named = conninfo_to_dict(uri)
    named.update({libpq: params[name] for name, libpq in NAMED.items() if params.get(name)})
    context = psycopg.adapt.AdaptersMap(psycopg.adapters)
    for kind in ("text", "name"):
        context.register_loader(kind, _Text)
    return {
        "dbname": "postgres",
        **named,
        "application_name": application_name(run),
        "client_encoding": "UTF8",
        "connect_timeout": params["connect_timeout_seconds"],
        "autocommit": True,
        # a pooler hands the next statement to another session
        "prepare_threshold": None,
        "row_factory": dict_row,
        "context": _Context(context),
    }


class _Context:
    """What psycopg calls an adapt context: our loaders, and no connection yet."""

    connection = None

    def __init__(self, adapters):
        self.adapters = adapters
