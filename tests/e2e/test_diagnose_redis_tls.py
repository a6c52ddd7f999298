"""diagnose_redis by TLS: what opens a server, and the name of each failure."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from redis_cli import build, certificate, cli, info

pytestmark = pytest.mark.e2e
pytest_plugins = ["redis_lab"]


def test_tls_with_the_right_authority_leads_to_every_server(redis_added, redis_look, redis_certificate):
    service = redis_added(binary=build("debian"), certificate=redis_certificate, cluster=True)
    uri = f"rediss://127.0.0.1:{service.ports[0]}"
    facts = redis_look(uri, password=service.password, tls_ca_file=redis_certificate.authority)
    assert facts["rc"] == 0 and facts["target"]["facts"]["version"] == f"Redis {info(service, 'redis_version')}", facts
    assert [node["error"] for node in facts["nodes"]] == [None] * 6


@pytest.fixture
def tls_server():
    """A TLS server of our own that does no more than the handshake: `tls_server(context)` gives its port."""
    with contextlib.ExitStack() as stack:

        def start(context):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve():
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                            secured.recv(1)

            thread = threading.Thread(target=serve)
            thread.start()
            stack.callback(thread.join)
            stack.callback(lambda: listener.shutdown(socket.SHUT_RDWR))
            return listener.getsockname()[1]

        yield start


def context_of(authority, folder, *names, wants=None, **options):
    files = certificate(authority, folder, *names, **options)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.chain, files.key)
    if wants:
        wants.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_every_failure_of_tls_has_its_own_name(redis_refused, redis_tls, redis_authority, tls_server, tmp_path):
    ours, theirs = redis_authority, trustme.CA()
    ca = redis_tls.certificate.authority

    def against(context, **options):
        return redis_refused(f"rediss://127.0.0.1:{tls_server(context)}", **{"tls_ca_file": ca, **options})

    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert against(context_of(theirs, tmp_path, "127.0.0.1")) == ("redis_tls_ca", "tls")
    assert against(context_of(ours, tmp_path, "cache1.example.com")) == ("redis_tls_hostname", "tls")
    assert against(context_of(ours, tmp_path, "127.0.0.1", not_after=yesterday)) == ("redis_tls_expired", "tls")
    wants = context_of(ours, tmp_path, "127.0.0.1", wants=ours)
    assert against(wants) == ("redis_tls_client_certificate", "tls")
    # a name that the certificate has not may be let pass, and nothing else
    other_name = context_of(ours, tmp_path, "cache1.example.com")
    assert against(other_name, tls_allow_invalid_hostnames=True) != ("redis_tls_hostname", "tls")
    stranger = context_of(theirs, tmp_path, "127.0.0.1")
    assert against(stranger, tls_allow_invalid_hostnames=True) == ("redis_tls_ca", "tls")
    plain = f"redis://:canary@127.0.0.1:{redis_tls.ports[0]}"
    assert redis_refused(plain)[0] == "redis_closed"


def test_a_client_certificate_opens_a_server_that_wants_one(redis_added, redis_look, redis_authority, tmp_path):
    files = certificate(redis_authority, tmp_path, "127.0.0.1")
    service = redis_added(binary=build("debian"), certificate=files)
    cli(service, "config", "set", "tls-auth-clients", "yes")
    uri = f"rediss://127.0.0.1:{service.ports[0]}"
    options = {"password": service.password, "tls_ca_file": files.authority}
    denied = redis_look(uri, **options)
    assert denied["rc"] == 1 and denied["mend"]["rule"] == "redis_tls_client_certificate", denied
    own = {"tls_certificate_file": files.chain, "tls_key_file": files.key}
    assert redis_look(uri, **options, **own)["rc"] == 0


@pytest.mark.parametrize("option", ["tls_ca_file", "tls_certificate_file", "tls_key_file"])
def test_a_file_that_is_not_there_is_named(redis_refused, redis_tls, option):
    assert (
        redis_refused(f"rediss://127.0.0.1:{redis_tls.ports[0]}", **{option: "/nowhere/file.pem"})[0]
        == "redis_tls_file"
    )
