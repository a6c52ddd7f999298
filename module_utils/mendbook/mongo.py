# SPDX-License-Identifier: MIT
"""The way to a MongoDB deployment: connect with deadlines, and know what it is that answered."""

from __future__ import annotations

import os
import socket
import warnings
from contextlib import closing, contextmanager

import pymongo
from pymongo import errors as driver
from pymongo.read_preferences import ReadPreference

from . import reach
from .errors import MendError, Refused
from .mongo_errors import translate, translated
from .mongo_options import SCHEMES
from .s3_options import is_store

APP_NAME = "mendbook"
MINIMUM_VERSION = (6, 0)
# elections take up to 12 seconds; what runs through one waits this long for the new primary
_SELECTION_SECONDS = 20


@contextmanager
def connect(params, run=None):
    """Give the `Deployment` that the connection options lead to, and close it at the end.

    Errors of the driver inside the block leave it as `MendError` with the next step in words. The first contact has
    ``connect_timeout_seconds``; there is no limit on the client as a whole, because an index may take hours to build:
    short operations run inside `Deployment.deadline`, and a server that stopped answering is noticed by the driver's
    monitor (within 15 seconds), which also ends operations that wait for it.
    """
    _check_options(params)
    seconds = params["connect_timeout_seconds"]
    # a module's backups have a way of their own
    with reach.route(params.get("via"), seconds, takes=lambda host, port: not is_store(params, host, port)) as way:
        with translated(params, "connecting"):
            client = _client(params, run)
        with closing(client):
            if way:
                way.on_lost = lambda: _give_up(client)
            with translated(params, "connecting"):
                deployment = Deployment(client, params, *_first_contact(client, seconds))
            with translated(params):
                yield deployment


def _give_up(client):
    """Let what waits for a server fail now; the driver's own goodbye would wait for it, too."""
    with pymongo.timeout(1):
        client.close()


def _client(params, run):
    try:
        with warnings.catch_warnings():
            # about options in the URI that the driver does not know; it goes on without them
            warnings.simplefilter("ignore")
            return pymongo.MongoClient(params["uri"], **_client_options(params, run))
    except (OSError, ValueError, TypeError) as error:
        raise driver.ConfigurationError(str(error)) from None


class Deployment:
    """A MongoDB that answered: ``client``, ``hello``, ``address``, ``version`` and what they say about it."""

    def __init__(self, client, params, hello, version, address):
        self.client = client
        self.params = params
        self.hello = hello
        self.version = version
        self.address = address

    @property
    def kind(self):
        """``"replica_set"``, ``"standalone"`` or ``"mongos"``."""
        if self.hello.get("msg") == "isdbgrid":
            return "mongos"
        return "replica_set" if self.hello.get("setName") else "standalone"

    @property
    def primary(self):
        """Whether the member that answered takes writes."""
        return bool(self.hello.get("isWritablePrimary"))

    def target_id(self, database):
        """Return the target's name: ``rs0@<first of the sorted hosts>/estore`` or ``standalone@host:port/estore``."""
        if self.kind == "replica_set":
            return f"{self.hello['setName']}@{self._hosts()[0]}/{database}"
        return f"{self.kind}@{self.address}/{database}"

    def identity(self):
        """Return what tells this deployment from others, as JSON: kind, set name and members, not who is primary."""
        return {"kind": self.kind, "set": self.hello.get("setName"), "hosts": self._hosts()}

    def _hosts(self):
        return sorted(self.hello.get("hosts") or [self.address])

    def tenure(self):
        """Return what changes when the primary is restarted or another member takes its place, as JSON.

        Between two equal answers no write was lost that a later write, confirmed by a majority's journal, follows.
        """
        hello = self.command("hello")
        process = (hello.get("topologyVersion") or {}).get("processId")
        return [hello.get("me"), str(process), str(hello.get("electionId"))]

    def facts(self):
        """Return what a plan shows about the deployment."""
        return {
            "kind": self.kind,
            "set": self.hello.get("setName"),
            "hosts": self._hosts(),
            "version": ".".join(str(part) for part in self.version),
            "primary": self.primary,
            "user": self.user(),
        }

    def user(self):
        """Return the first authenticated user as ``name@database``, or ``None`` without authentication."""
        users = self.command("connectionStatus")["authInfo"]["authenticatedUsers"]
        return f"{users[0]['user']}@{users[0]['db']}" if users else None

    def command(self, *args, database="admin", **kwargs):
        """Run one command within ``operation_timeout_seconds``."""
        with self.deadline():
            return self.client[database].command(*args, **kwargs)

    @contextmanager
    def deadline(self, seconds=None):
        """Bound what the block asks of the server: on the wire, and at the server by maxTimeMS.

        Bounds the thread that enters it only. Not for index builds and bulk loads.
        """
        with pymongo.timeout(seconds or self.params.get("operation_timeout_seconds") or 60):
            yield

    def translate(self, error, doing=""):
        """Return the `MendError` for a driver's error."""
        return translate(error, self.params, doing)


@contextmanager
def only_member(deployment, address):
    """Give a client of the same deployment that reads from one member only: ``(host, port)`` as the set names it.

    Its databases have to be taken with a read preference that allows a secondary.
    """
    over = False

    def only(servers):
        # the driver's own goodbye goes to the primary, and would wait for it
        return servers if over else [server for server in servers if server.address == address]

    options = {
        **_client_options(deployment.params, None),
        "appname": deployment.client.options.pool_options.appname,
        # no election brings back a member that is gone
        "serverSelectionTimeoutMS": int(1000 * (deployment.params.get("connect_timeout_seconds") or 5)),
    }
    client = pymongo.MongoClient(deployment.params["uri"], **options, server_selector=only)
    try:
        yield client
    finally:
        over = True
        client.close()


def refusals(deployment, timeseries=False):
    """Return what forbids to change data here, as the plan's refusals: a mongos, a secondary, a server too old."""
    found = []

    def refuse(rule, msg, value, limit, override):
        found.append({"rule": rule, "msg": msg, "value": value, "limit": limit, "override": override})

    version = ".".join(str(part) for part in deployment.version[:2])
    if deployment.kind == "mongos":
        refuse(
            "mongo_sharded",
            "this is a mongos: sharded clusters are not supported",
            "mongos",
            "replica set or standalone",
            "none: restore into a replica set",
        )
    elif not deployment.primary:
        refuse(
            "mongo_secondary",
            f"{deployment.address} is not the primary and takes no writes (primary: {deployment.hello.get('primary')})",
            deployment.address,
            "primary",
            "name the whole replica set in the URI, without directConnection",
        )
    if deployment.version[:2] < MINIMUM_VERSION:
        refuse(
            "mongo_version",
            f"MongoDB {version} cannot guard a rename by the collection's UUID, which the swap stands on; 6.0 can",
            version,
            "6.0",
            "none: upgrade the server to 6.0 or newer",
        )
    if timeseries and deployment.version[:2] >= (7, 0):
        refuse(
            "mongo_timeseries_version",
            f"time-series collections on MongoDB {version} are not tested",
            version,
            "6.x",
            "leave the time-series collections out",
        )
    return found


def refuse_unfit(deployment, timeseries=False):
    """Raise `Refused` for the first of `refusals`."""
    for refusal in refusals(deployment, timeseries):
        raise Refused(f"{refusal['msg']}; {refusal['override']}", rule=refusal["rule"], details=refusal)


def me():
    """Return who runs this, for locks and application names: host and process id."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _check_options(params):
    uri = params.get("uri") or ""
    if not uri:
        raise MendError(
            "uri is empty: set mongo_uri in the inventory, for example to env:MONGO_URI, or the role's own variable",
            rule="mongo_uri",
        )
    if not uri.startswith(SCHEMES) or "@@" in uri:
        raise MendError(
            "uri: must begin with mongodb:// or mongodb+srv://, for example mongodb://db1:27017/estore",
            rule="mongo_uri",
        )
    for name in ("tls_ca_file", "tls_certificate_key_file"):
        path = params.get(name)
        if path and not os.access(path, os.R_OK):
            raise MendError(f"{name}: {path} cannot be read on {socket.gethostname()}", rule="mongo_tls_file")
    if params.get("username") and not params.get("password") and params.get("auth_mechanism") != "MONGODB-X509":
        raise MendError("username is given without password: set password (env:NAME or file:/path)", rule="mongo_uri")


def _client_options(params, run):
    seconds = params.get("connect_timeout_seconds") or 5
    named = {
        "username": params.get("username"),
        "password": params.get("password"),
        "authSource": params.get("auth_source"),
        "authMechanism": params.get("auth_mechanism"),
        "tls": params.get("tls"),
        "tlsCAFile": params.get("tls_ca_file"),
        "tlsCertificateKeyFile": params.get("tls_certificate_key_file"),
        "tlsCertificateKeyFilePassword": params.get("tls_certificate_key_file_password"),
        "tlsAllowInvalidHostnames": True if params.get("tls_allow_invalid_hostnames") else None,
    }
    if params.get("auth_mechanism") == "MONGODB-X509":
        named["authSource"] = "$external"
    return {
        **{name: value for name, value in named.items() if value is not None},
        "appname": f"{APP_NAME} {run}" if run else APP_NAME,
        # a little less than the whole, so that the reason is known before the time is over
        "connectTimeoutMS": int(seconds * 800),
        "serverSelectionTimeoutMS": _SELECTION_SECONDS * 1000,
        "retryWrites": True,
        "retryReads": True,
        "readPreference": "primary",
        "uuidRepresentation": "standard",
        "w": "majority",
        # what suits an application's URI would end an index build half way
        "socketTimeoutMS": None,
        "timeoutMS": None,
    }


def _first_contact(client, seconds):
    """Return hello, version and address of the primary; of any member when there is no primary."""
    admin = client.admin
    try:
        with pymongo.timeout(seconds):
            hello = admin.command("hello")
    except driver.ServerSelectionTimeoutError as without_primary:
        try:
            # all that could be found in time was found already; this only asks whether anybody is there
            with pymongo.timeout(1):
                hello = admin.command("hello", read_preference=ReadPreference.NEAREST)
        except driver.PyMongoError:
            raise without_primary from None
    with pymongo.timeout(seconds):
        build = admin.command("buildInfo", read_preference=ReadPreference.NEAREST)
    host, port = client.address if hello.get("isWritablePrimary") else (None, None)
    address = hello.get("me") or (f"{host}:{port}" if host else "unknown")
    return hello, tuple(build["versionArray"][:3]), address
