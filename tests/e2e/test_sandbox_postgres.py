"""The sandbox's PostgreSQL: who it serves and refuses, its standby, its crash, and that nothing of it stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sandbox_probes import listening, running

import mendbook.sandbox
from mendbook.sandbox import SandboxError, ServerDied
from mendbook.sandbox.ports import is_free
from mendbook.sandbox.services.postgres import Service
from waiting import until

pytestmark = pytest.mark.e2e
pytest_plugins = ["postgres_lab"]


@pytest.fixture(scope="session")
def sandbox(postgres_box):
    """Only PostgreSQL, in the place of the sandbox with everything."""
    return postgres_box


def value(uri: str, statement: str, *parameters: object) -> object:
    with psycopg.connect(uri, connect_timeout=60) as client:
        return client.execute(statement, parameters).fetchone()[0]


def test_it_serves_its_superuser_by_tcp_and_scram_alone(postgres):
    facts = postgres.describe()
    assert value(facts["uri"], "select rolsuper from pg_roles where rolname = current_user") is True
    assert str(value(facts["uri"], "show server_version")).startswith("18.")
    assert value(facts["uri"], "select rolpassword like 'SCRAM-SHA-256$%%' from pg_authid where oid = 10") is True
    assert value(facts["uri"], "show unix_socket_directories") == ""
    assert {address for address, _ in listening(facts["pid"])} == {"0100007F"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": "wrong"}, "password authentication failed"),
        ({"user": "somebody"}, "password authentication failed"),
        ({"password": ""}, "no password supplied"),
        ({"dbname": "nosuch"}, 'database "nosuch" does not exist'),
    ],
)
def test_it_refuses_whoever_has_no_password(postgres, changed, words):
    with pytest.raises(psycopg.OperationalError, match=words):
        psycopg.connect(postgres.uri, **changed)


def test_no_password_is_in_an_argument_list_or_in_a_file_for_others(postgres):
    for pid in [process.pid for process in postgres.processes]:
        assert postgres.password not in Path(f"/proc/{pid}/cmdline").read_text()
    holders = [path for path in postgres.folder.iterdir() if path.is_file() and postgres.password in path.read_text()]
    assert {path.name for path in holders} == {"password", "pgpass"}
    assert [path.name for path in holders if path.stat().st_mode & 0o077] == []


def test_a_standby_follows_and_a_kill_loses_nothing(sandbox):
    pair = sandbox.add(Service(name="pair", standby=True, max_connections=12))
    try:
        assert value(pair.uri, "show max_connections") == "12"
        with psycopg.connect(pair.uri, autocommit=True) as client:
            client.execute("create table orders as select 7 as number")
        assert value(pair.standby_uri, "select pg_is_in_recovery()") is True
        arrived = "select count(*) from pg_class where relname = 'orders'"
        until(lambda: value(pair.standby_uri, arrived) == 1)
        identity = "select system_identifier from pg_control_system()"
        assert value(pair.uri, identity) == value(pair.standby_uri, identity)
        pids = [process.pid for process in pair.processes]
        pair.kill()
        assert not any(map(running, pids)) and is_free(pair.ports[0])
        assert sandbox.status()["pair"]["running"] is False
        pair.restart()
        assert sandbox.status()["pair"]["running"] is True
        assert value(pair.uri, "select number from orders") == 7
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            value(pair.standby_uri, "create table x ()")
    finally:
        sandbox.remove("pair")


def shared_memory() -> set[str]:
    """The System V segments of this machine, as the kernel lists them; empty where there is no list."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        return {f"{fields[0]} {fields[1]}" for fields in (line.split() for line in lines)}
    return set()


OWNER = """
import json, sys, time
import mendbook.sandbox
with mendbook.sandbox.start(("postgres",), directory=sys.argv[1]) as box:
    print(json.dumps(box.status()), flush=True)
    time.sleep(120)
"""


@pytest.mark.parametrize("victim", ["the program that started it", "the keeper"])
def test_nothing_is_left_when_its_owner_or_its_keeper_is_killed(tmp_path, victim):
    folder = tmp_path / "box"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        facts = json.loads(owner.stdout.readline())
        server = facts["postgres"]["pid"]
        mine = {line for line in shared_memory() if line in _segments_of(folder)}
        os.kill(owner.pid if victim != "the keeper" else facts["keeper"], 9)
        until(lambda: not running(server) and not running(facts["keeper"]))
        until(lambda: is_free(facts["postgres"]["port"]))
        # its shared memory is numbered in postmaster.pid, and goes with it
        assert mine
        until(lambda: not mine & shared_memory())
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    if victim == "the keeper":
        mendbook.sandbox.stop_in(folder)
    until(lambda: not folder.exists())


def _segments_of(folder: Path) -> set[str]:
    """The segments that the server in this folder has written down as its own, ``key id``."""
    lines = (folder / "postgres" / "data" / "postmaster.pid").read_text().splitlines()
    return {" ".join(lines[6].split())}


def test_a_setting_that_there_is_not_is_reported_in_its_own_words(sandbox):
    with pytest.raises(ServerDied, match='unrecognized configuration parameter "no_such"'):
        sandbox.add(Service(name="odd", settings={"no_such": "1"}))
    assert "odd" not in sandbox.names and not (sandbox.directory / "odd").exists()


def test_a_build_without_tls_says_so(sandbox):
    with pytest.raises(ServerDied, match="SSL is not supported by this build"):
        sandbox.add(Service(name="odd", certificate=("server.pem", "server.key")))


def test_root_without_setpriv_is_told_what_is_missing(sandbox, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda program: None if program == "setpriv" else program)
    with pytest.raises(SandboxError, match="setpriv .util-linux. is not there"):
        sandbox.add(Service(name="odd"))


def test_the_server_of_debian_takes_tls_alone(sandbox, tls_files, debian_server):
    files = (str(tls_files.folder / "server.pem"), str(tls_files.folder / "server.key"))
    options = {"sslmode": "verify-full", "sslrootcert": tls_files.ca}
    service = Service(name="secured", binary=debian_server, certificate=files, client_options=options)
    sandbox.add(service)
    try:
        assert value(service.uri, "select ssl from pg_stat_ssl where pid = pg_backend_pid()") is True
        with pytest.raises(psycopg.OperationalError, match="no pg_hba.conf entry"):
            psycopg.connect(service.uri, sslmode="disable")
    finally:
        sandbox.remove("secured")
