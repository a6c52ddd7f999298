"""Real servers that only a bastion reaches, by names that only the bastion knows; a plugin of the tests of `reach`."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pymongo
import pytest
import trustme

from ssh_lab import SshHosts

Answer = TypeVar("Answer")
NAME = "db.inside"
_CLONE_NEWNET = 0x40000000
_WITH_NAMES = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"']
_SERVERS = f"""
import json, sys, time
import mendbook.sandbox
from mendbook.sandbox.services import mongo, postgres, redis, s3
from pymongo import MongoClient

certificate, key, binary = sys.argv[1:]
services = [mongo.Service(members=3), s3.Service(), redis.Service()]
services.append(postgres.Service(binary=binary, certificate=(certificate, key)))
with mendbook.sandbox.start(services) as box:
    with MongoClient(box.status()["mongo"]["uri"]) as client:
        configuration = client.admin.command("replSetGetConfig")["config"]
        configuration["version"] += 1
        for member in configuration["members"]:
            member["host"] = member["host"].replace("127.0.0.1", "{NAME}")
        client.admin.command("replSetReconfig", configuration)
    # under their new names they look for each other again
    with MongoClient(box.status()["mongo"]["uri"].replace("127.0.0.1", "{NAME}")) as client:
        while not (client.primary and len(client.secondaries) == 2):
            time.sleep(0.05)
    print(json.dumps(box.status()), flush=True)
    sys.stdin.read()
"""


@dataclass
class Bastion:
    """``via`` leads to it, ``facts`` are those of its servers (a sandbox's status), all under `NAME` there."""

    hosts: SshHosts
    ca_file: Path
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def via(self) -> str:
        return f"ssh://bastion?config={self.hosts.ssh_config}"

    @property
    def mongo_uri(self) -> str:
        """Of a single member: the driver has to find the others."""
        facts = self.facts["mongo"]
        login = f"{facts['username']}:{facts['password']}"
        return f"mongodb://{login}@{NAME}:{facts['ports'][0]}/?authSource=admin&replicaSet={facts['replica_set']}"

    @property
    def postgres_uri(self) -> str:
        return self.facts["postgres"]["uri"].replace("127.0.0.1", NAME)

    @property
    def redis_uri(self) -> str:
        return self.facts["redis"]["uri"].replace("127.0.0.1", NAME)

    @property
    def s3(self) -> dict[str, Any]:
        """Options of our modules for the store."""
        facts = self.facts["s3"]
        return {
            "s3_endpoint_url": facts["endpoint_url"].replace("127.0.0.1", NAME),
            "s3_access_key": facts["access_key"],
            "s3_secret_key": facts["secret_key"],
            "s3_path_style": True,
        }

    def inside(self, look: Callable[[], Answer]) -> Answer:
        """Do something in the bastion's network, past mendbook: a thread of ours moves there, and ends."""

        def there() -> Answer:
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/proc/{self.hosts['bastion'].pid}/ns/net") as network:
                assert libc.setns(network.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            return look()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(there).result()

    def at_mongo(self, look: Callable[[pymongo.MongoClient[Any]], Answer]) -> Answer:
        """The same with an administrator's client of the primary."""
        facts = self.facts["mongo"]

        def there() -> Answer:
            deadline = time.monotonic() + 60
            # a busy machine lets a set elect anew
            while time.monotonic() < deadline:
                for port in facts["ports"]:
                    uri = f"mongodb://{facts['username']}:{facts['password']}@127.0.0.1:{port}/?authSource=admin"
                    with pymongo.MongoClient(uri, directConnection=True) as client:
                        if client.admin.command("hello")["isWritablePrimary"]:
                            return look(client)
                time.sleep(0.1)
            raise AssertionError("no primary")

        return self.inside(there)

    def drop_logins(self) -> None:
        """End the sessions of everybody who is logged in."""
        self.hosts["bastion"].run("pkill", "-KILL", "-u", "ops", "-x", "sshd", check=False)


@pytest.fixture(scope="session")
def bastion(can_host: None, debian_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bastion]:
    """A bastion with a replica set of three, a PostgreSQL with TLS, a Redis and an S3 store behind it."""
    folder = tmp_path_factory.mktemp("bastion")
    names, server, key = folder / "hosts", folder / "server.pem", folder / "server.key"
    names.write_text(f"127.0.0.1 localhost {NAME}\n")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued = authority.issue_cert(NAME)
    issued.cert_chain_pems[0].write_to_path(str(server))
    issued.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    for path in (server, key):
        os.chown(path, 65534, 65534)
    with contextlib.ExitStack() as stack:
        hosts = stack.enter_context(SshHosts(folder / "lab", ["bastion"], aliases={NAME: "127.0.0.1"}))
        child = [sys.executable, "-c", _SERVERS, str(server), str(key), debian_server]
        servers = subprocess.Popen(
            [*hosts["bastion"].in_network, *_WITH_NAMES, str(names), *child],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        stack.callback(servers.wait)
        assert servers.stdin and servers.stdout
        stack.enter_context(servers.stdout)
        stack.enter_context(servers.stdin)
        yield Bastion(hosts, folder / "ca.pem", json.loads(servers.stdout.readline()))
