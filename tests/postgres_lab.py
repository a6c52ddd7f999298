"""A real PostgreSQL, sessions on it in every state, and our modules against them; a plugin of the PostgreSQL tests."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import mend_postgres_sessions_info
import mend_postgres_terminate
import psycopg
import pytest
import trustme
from ansible.module_utils.mendbook import postgres_terminate, postgres_terminate_plan
from psycopg import sql

import mendbook.sandbox
from mendbook.sandbox import Sandbox
from mendbook.sandbox.services.postgres import Service
from requirement import missing
from restore_lab import receipt_for, run_module
from waiting import until

PASSWORD = "p@ss/w:rd%"  # needs escaping in a URI
ESCAPED = "p%40ss%2Fw%3Ard%25"
# a machine that is busy with other tests may let a server wait
PATIENT = {"connect_timeout_seconds": 30}


@pytest.fixture(scope="session")
def postgres_box() -> Iterator[Sandbox]:
    """A sandbox with nothing but a PostgreSQL in it, one per worker; a test that breaks a server adds its own."""
    with mendbook.sandbox.start([Service()]) as box:
        yield box


@pytest.fixture(scope="session")
def postgres(postgres_box: Sandbox) -> Service:
    service = postgres_box.services["postgres"]
    assert isinstance(service, Service)
    return service


@pytest.fixture(scope="session")
def debian_server() -> str:
    """The PostgreSQL of Debian: another version, and built with TLS."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    if not found:
        missing("no PostgreSQL of Debian on this machine: apt-get install postgresql")
    return found[-1]


@dataclass
class TlsFiles:
    """A certificate authority, and the files of a server that it has signed for localhost."""

    authority: trustme.CA
    folder: Path

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    files = TlsFiles(trustme.CA(), tmp_path_factory.mktemp("postgres-tls"))
    files.authority.cert_pem.write_to_path(files.ca)
    # "localhost" is left out on purpose
    server = files.authority.issue_cert("127.0.0.1")
    server.cert_chain_pems[0].write_to_path(files.folder / "server.pem")
    server.private_key_pem.write_to_path(files.folder / "server.key")
    (files.folder / "server.key").chmod(0o600)
    return files


class Session:
    """A client's session, and the pid that the server gave it, also when it is gone."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.pid = connection.info.backend_pid

    def is_ended(self) -> bool:
        """Whether the client itself is told that an administrator has ended its session."""
        with contextlib.suppress(psycopg.errors.AdminShutdown):
            self.execute("select 1")
            return False
        return True


class PostgresLab:
    """A database with an application's user, its sessions, and what an administrator's own connection sees of them."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.name = f"shop_{uuid4().hex[:8]}"
        self.admin = psycopg.connect(uri, autocommit=True, application_name="the witness")
        self._sessions: list[Session] = []
        self._roles: list[str] = []
        self._databases: list[str] = []
        self._runs = 0
        self.make_role(self.name)
        self.make_database(self.name, f"owner {self.name}")

    def make_role(self, name: str, attributes: str = "") -> str:
        """A user that may log in, with PASSWORD and these attributes (``superuser``, ``in role pg_monitor``)."""
        self._sql(f"create role {{}} login password {{}} {attributes}", sql.Identifier(name), sql.Literal(PASSWORD))
        self._roles.append(name)
        return name

    def make_database(self, name: str, options: str = "") -> str:
        self._sql(f"create database {{}} {options}", sql.Identifier(name))
        self._databases.append(name)
        return name

    def _sql(self, statement: str, *parts: sql.Composable) -> None:
        self.admin.execute(sql.SQL(statement).format(*parts))

    def open(self, application: str = "shop-api", **options: Any) -> Session:
        """A new session that does nothing; closed at the end of the test."""
        given = {"user": self.name, "password": PASSWORD, "dbname": self.name, "application_name": application}
        session = Session(psycopg.connect(self.uri, **{**given, "autocommit": True, "connect_timeout": 60, **options}))
        self._sessions.append(session)
        return session

    def in_transaction(self, application: str = "shop-worker", **options: Any) -> Session:
        """A session that rests inside a transaction."""
        session = self.open(application, **options)
        session.execute("begin")
        session.execute("select 'card 4111111111111111'")
        return session

    def alive(self, *sessions: Session) -> list[bool]:
        """Which of these sessions the server still has, as another connection sees it."""
        pids = {pid for (pid,) in self.admin.execute("select pid from pg_stat_activity").fetchall()}
        return [session.pid in pids for session in sessions]

    def leave(self, session: Session) -> None:
        """Let a client go, and wait until the server has noticed."""
        session.connection.close()
        until(lambda: self.alive(session) == [False])

    def uri_of(self, role: str, database: str = "postgres") -> str:
        info = self.admin.info
        return f"postgresql://{role}:{ESCAPED}@{info.host}:{info.port}/{database}"

    def info(self, **options: Any) -> dict[str, Any]:
        """A run of mend_postgres_sessions_info."""
        return run_module(mend_postgres_sessions_info, **{"uri": self.uri, **PATIENT, **options})

    def plan(self, **options: Any) -> dict[str, Any]:
        """mend_postgres_terminate in check mode: whoever is idle in this database, however short."""
        given = {"uri": self.uri, "database": self.name, "idle_seconds": 0, "check": True, **PATIENT}
        return run_module(mend_postgres_terminate, **{**given, **options})

    def act(self, planned: dict[str, Any], **options: Any) -> dict[str, Any]:
        """The same with the receipt for a plan."""
        self._runs += 1
        given = {"uri": self.uri, "database": self.name, "idle_seconds": 0, **PATIENT}
        receipt = receipt_for(planned, f"lab-{self._runs}")
        return run_module(mend_postgres_terminate, **{**given, **options}, receipt=receipt)

    def terminate(self, **options: Any) -> dict[str, Any]:
        """Plan and act at once; the plan's own answer when it failed."""
        planned = self.plan(**options)
        return self.act(planned, **options) if planned["rc"] == 0 else planned

    @staticmethod
    def pids(entries: list[dict[str, Any]]) -> set[int]:
        """The pids of a plan's changes, or of what was done or skipped."""
        return {int(entry["object"].rpartition(" ")[2]) for entry in entries}

    def close(self) -> None:
        """Close every session, and drop what was made."""
        for session in self._sessions:
            session.connection.close()
        for name in self._databases:
            until(lambda name=name: self._dropped(name))
        for name in self._roles:
            self._sql("drop role {}", sql.Identifier(name))
        self.admin.close()

    def _dropped(self, name: str) -> bool:
        # the server gives those who are in it five seconds to go
        with contextlib.suppress(psycopg.errors.ObjectInUse):
            self._sql("drop database {} with (force)", sql.Identifier(name))
            return True
        return False


def lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests end what has only just fallen idle, however slowly it goes; options keep it at 5 s and more."""
    monkeypatch.setattr(postgres_terminate_plan, "MIN_SECONDS", 0)
    monkeypatch.setattr(postgres_terminate, "GONE_SECONDS", 60)


@pytest.fixture
def pg(postgres: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresLab]:
    """A database of the server, and nobody in it yet."""
    lowered(monkeypatch)
    with contextlib.closing(PostgresLab(postgres.uri)) as lab:
        yield lab
