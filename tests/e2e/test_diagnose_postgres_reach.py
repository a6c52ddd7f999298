"""How far a connection came is told apart: name, port, TLS, login; a pooler, silence, another protocol."""

from __future__ import annotations

import json
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from ansible.module_utils.mendbook import postgres_sessions
from certificates import client_certificate

from postgres_proxy import PostgresProxy, answering

pytestmark = pytest.mark.e2e
pytest_plugins = ["postgres_lab"]


@pytest.fixture
def refused(pg):
    """Run the module against this address: (rule, stage), after no password was found in its words."""

    def refused(uri, **options):
        # who is silent is waited for in one test only: a machine that stands still is no broken connection
        result = pg.info(uri=uri, **{"connect_timeout_seconds": 60, **options})
        assert result["rc"] == 1, result
        words = json.dumps({name: value for name, value in result.items() if name != "invocation"})
        assert "canary" not in words
        return result["mend"]["rule"], result["mend"]["details"].get("stage")

    return refused


def server_context(authority: trustme.CA, name: str = "127.0.0.1", wants: trustme.CA | None = None, **issued):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name, **issued).configure_cert(context)
    if wants is not None:
        wants.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def proxy(postgres):
    """Put something between the module and the server; returns the port."""
    made = []

    def between(**options):
        made.append(PostgresProxy(postgres.ports[0], **options))
        return made[-1]

    yield between
    for each in made:
        each.close()


def test_a_name_that_nobody_knows(refused):
    assert refused("postgresql://u:canary@db.nowhere.invalid/postgres") == ("postgres_dns", "dns")


def test_a_port_where_nothing_listens(refused):
    # a port that is taken and not listened on is nobody else's meanwhile
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        uri = f"postgresql://u:canary@127.0.0.1:{taken.getsockname()[1]}/postgres"
        assert refused(uri) == ("postgres_refused", "tcp")


def test_a_port_that_never_answers(refused):
    with answering(None) as port:
        uri = f"postgresql://u:canary@127.0.0.1:{port}/postgres"
        assert refused(uri, connect_timeout_seconds=2) == ("postgres_timeout", "tcp")


@pytest.mark.parametrize("words", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b""])
def test_something_that_is_no_postgresql(refused, words):
    with answering(words) as port:
        rule, _ = refused(f"postgresql://u:canary@127.0.0.1:{port}/postgres", tls_mode="disable")
    assert rule == ("postgres_protocol" if words else "postgres_closed")


@pytest.mark.parametrize(
    ("user", "database", "expected"),
    [
        ("{role}:canary", "postgres", "postgres_authentication"),
        ("nobody_of_that_name:canary", "postgres", "postgres_authentication"),
        ("{role}", "postgres", "postgres_authentication"),
        ("{role}:p%40ss%2Fw%3Ard%25", "no_such_database", "postgres_database"),
    ],
)
def test_a_login_that_fails(refused, pg, user, database, expected):
    address = f"{pg.admin.info.host}:{pg.admin.info.port}"
    assert refused(f"postgresql://{user.format(role=pg.name)}@{address}/{database}") == (expected, "login")


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://u:canary@127.0.0.1:notaport/postgres",
        "postgresql://u:canary@127.0.0.1/postgres?no_such_option=1",
        "mysql://u:canary@127.0.0.1/shop",
        "host=127.0.0.1 password=canary",
        "postgresql://u:x@canary@127.0.0.1/postgres",
        "postgresql://u:x/canary@127.0.0.1/postgres",
        "postgresql://u:x?canary@127.0.0.1/postgres",
        "postgresql://u:canary%zz@127.0.0.1/postgres",
        "",
    ],
)
def test_a_connection_string_that_is_none(refused, uri):
    assert refused(uri)[0] == "postgres_uri"


def test_a_server_without_tls(refused, pg):
    assert refused(pg.uri, tls_mode="require") == ("postgres_tls_unsupported", "tls")


def test_tls_with_the_right_authority_is_said(pg, proxy, tls_files):
    port = proxy(tls=server_context(tls_files.authority)).port
    uri = pg.uri.replace(str(pg.admin.info.port), str(port))
    result = pg.info(uri=uri, tls_mode="verify-full", tls_ca_file=tls_files.ca)
    assert result["rc"] == 0, result
    assert result["reached"] == {"address": f"127.0.0.1:{port}", "ip": "127.0.0.1", "tls": True, "pooled": False}


def test_every_failure_of_tls_has_its_own_name(refused, pg, proxy, tls_files, tmp_path):
    def against(context, **options):
        uri = pg.uri.replace(str(pg.admin.info.port), str(proxy(tls=context).port))
        return refused(uri, **{"tls_mode": "verify-full", "tls_ca_file": tls_files.ca, **options})

    ours, theirs = tls_files.authority, trustme.CA()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert against(server_context(theirs)) == ("postgres_tls_ca", "tls")
    assert against(server_context(ours, "db1.example.com")) == ("postgres_tls_hostname", "tls")
    assert against(server_context(ours, not_after=yesterday)) == ("postgres_tls_ca", "tls")
    wants = server_context(ours, wants=ours)
    assert against(wants) == ("postgres_tls_client_certificate", "tls")
    key, certificate = client_parts(client_certificate(theirs, tmp_path / "theirs.pem"), tmp_path)
    rule, stage = against(wants, tls_certificate_file=certificate, tls_key_file=key)
    assert rule in ("postgres_tls_ca", "postgres_tls_client_certificate") and stage == "tls"
    key, certificate = client_parts(client_certificate(ours, tmp_path / "ours.pem"), tmp_path)
    uri = pg.uri.replace(str(pg.admin.info.port), str(proxy(tls=wants).port))
    options = {"tls_mode": "verify-full", "tls_ca_file": tls_files.ca}
    assert pg.info(uri=uri, tls_certificate_file=certificate, tls_key_file=key, **options)["rc"] == 0


def client_parts(path, folder):
    """The key and the certificate of one PEM file, as libpq wants them."""
    text = Path(path).read_text()
    start = text.index("-----BEGIN CERTIFICATE")
    parts = folder / "client.key", folder / "client.pem"
    for part, content in zip(parts, (text[:start], text[start:]), strict=True):
        part.touch(mode=0o600)
        part.write_text(content)
    return [str(part) for part in parts]


@pytest.mark.parametrize("option", ["tls_ca_file", "tls_certificate_file", "tls_key_file"])
def test_a_file_that_is_not_there_is_named(refused, pg, option):
    assert refused(pg.uri, **{option: "/nowhere/file.pem"})[0] == "postgres_tls_file"


def test_a_pooler_is_seen(pg, proxy):
    uri = pg.uri.replace(str(pg.admin.info.port), str(proxy(pooled=True).port))
    result = pg.info(uri=uri)
    assert result["rc"] == 0 and result["reached"]["pooled"] is True
    assert any("a pooler answers" in line for line in result["summary"])
    assert pg.info()["reached"]["pooled"] is False


def test_a_server_that_falls_silent_is_left_in_time(pg, proxy, monkeypatch):
    between = proxy()

    def fall_silent(server, statements):
        between.mute()
        server.all("select 1")

    monkeypatch.setattr(postgres_sessions, "look", fall_silent)
    uri = pg.uri.replace(str(pg.admin.info.port), str(between.port))
    began = time.monotonic()
    result = pg.info(uri=uri, operation_timeout_seconds=1)
    assert (result["rc"], result["mend"]["rule"]) == (1, "postgres_timeout")
    assert time.monotonic() - began < 30


def test_a_query_that_takes_too_long_is_stopped_by_the_server(pg, monkeypatch):
    # however late its answer is heard
    monkeypatch.setattr("ansible.module_utils.mendbook.postgres._ANSWER_SECONDS", 120)
    monkeypatch.setattr(postgres_sessions, "look", lambda server, statements: server.all("select pg_sleep(600)"))
    result = pg.info(operation_timeout_seconds=1)
    assert (result["mend"]["rule"], result["mend"]["details"]["code"]) == ("postgres_timeout", "57014")
