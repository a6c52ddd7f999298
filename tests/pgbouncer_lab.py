"""A real PgBouncer between clients and a real PostgreSQL; a plugin of the tests of what it hides from us."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mendbook.sandbox.ports import LOOPBACK, free_ports
from ordinary_user import NOBODY
from postgres_lab import PASSWORD, PostgresLab
from requirement import missing
from waiting import until

PROGRAM = "/usr/sbin/pgbouncer"
# each transaction is another session's than the one before it
CONFIGURATION = """
[databases]
postgres = host={host} port={server}
{database} = host={host} port={server}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
pool_mode = transaction
default_pool_size = 2
server_round_robin = 1
auth_type = scram-sha-256
auth_file = {folder}/users
auth_user = {user}
auth_query = select usename, passwd from pg_shadow where usename = $1
"""


class PgBouncer:
    """A pooler of transactions with two sessions for each user of each database; ``user`` is its own on the server."""

    def __init__(self, pg: PostgresLab, folder: Path) -> None:
        if not os.access(PROGRAM, os.X_OK):
            missing(f"no {PROGRAM} on this machine: apt-get install pgbouncer")
        self._pg = pg
        self._folder = folder
        self._log = folder / "log"
        self._clients: list[psycopg.Connection[Any]] = []
        # who asks for passwords is a superuser, or has been given the right to
        self.user = pg.make_role(f"pgbouncer_{pg.name}", "superuser")
        (folder / "users").write_text(f'"{self.user}" "{PASSWORD}"\n')
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # somebody else may have taken the port meanwhile
        for _ in range(5):
            self._start(free_ports(1)[0])
            if until(self._answer) == "up":
                return
        pytest.fail(f"PgBouncer did not start: {self._log.read_text()}")

    def _start(self, port: int) -> None:
        self.port, facts = port, {"host": LOOPBACK, "server": self._pg.admin.info.port, "folder": self._folder}
        facts |= {"database": self._pg.name, "user": self.user}
        (self._folder / "ini").write_text(CONFIGURATION.format(**facts, port=port))
        # it refuses to be root, and goes with the worker that has started it
        command = [shutil.which("setpriv") or "setpriv", "--pdeathsig=KILL", PROGRAM, str(self._folder / "ini")]
        if os.geteuid() == 0:
            command[1:1] = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def _answer(self) -> str | None:
        assert self._process
        if self._process.poll() is not None:
            return "gone"
        return "up" if "process up" in self._log.read_text() else None

    def uri(self, uri: str) -> str:
        """A connection string of the server, and the way through the pooler."""
        return uri.replace(f":{self._pg.admin.info.port}/", f":{self.port}/")

    def client(self, uri: str, **options: Any) -> psycopg.Connection[Any]:
        """A client of the pooler; closed at the end of the test."""
        # statements that are prepared stay in a session that the next statement does not see
        given = {"autocommit": True, "prepare_threshold": None, "connect_timeout": 60}
        self._clients.append(psycopg.connect(self.uri(uri), **{**given, **options}))
        return self._clients[-1]

    def fill(self, uri: str) -> set[int]:
        """Let it open both of its sessions for this user; their pids on the server."""
        clients = [self.client(uri) for _ in range(2)]
        with contextlib.ExitStack() as stack:
            for client in clients:
                stack.enter_context(client.transaction())
            return {client.execute("select pg_backend_pid()").fetchone()[0] for client in clients}  # type: ignore[index]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        if self._process:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def pgbouncer(pg: PostgresLab, short_folder: Path) -> Iterator[PgBouncer]:
    """A PgBouncer in front of the lab's server."""
    with contextlib.closing(PgBouncer(pg, short_folder)) as pooler:
        pooler.start()
        yield pooler
