"""What a person reads when S3 is not there, says nothing, or is not to be trusted."""

from __future__ import annotations

import socket
import ssl
import time

import pytest
import trustme
from ansible.module_utils.mendbook import s3
from s3_proxy import S3Proxy

pytestmark = pytest.mark.faults


def test_nobody_listening_is_said_quickly(store):
    # nobody else can listen there either, as long as it is ours
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{bound.getsockname()[1]}"
        began = time.monotonic()
        assert f"nobody listens at {endpoint}" in store.failure(s3_endpoint_url=endpoint).msg
    assert time.monotonic() - began < s3.PATIENCE_SECONDS / 2


def test_a_name_that_does_not_resolve_is_told_from_a_closed_port(store):
    assert "cannot be resolved" in store.failure(s3_endpoint_url="http://no-such-host.invalid:9000").msg


def test_a_virtual_host_that_does_not_resolve_points_to_the_path_style(store):
    error = store.failure(s3_endpoint_url="http://store.invalid:9000", s3_path_style=False)
    assert "s3_path_style: true" in error.msg


def test_a_silent_server_is_noticed(store, monkeypatch):
    monkeypatch.setitem(s3._LIMITS, "read_timeout", 1)
    monkeypatch.setattr(s3.Patience.__init__, "__defaults__", (2, 4, time.sleep))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = store.failure(s3_endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "sent nothing for" in error.msg


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def tls_proxy(store, authority, *names):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return S3Proxy(store.facts["endpoint_url"], tls=context)


def test_tls_with_the_authoritys_file_works(store, authority, tmp_path):
    store.put("errors/a.gz", b"dump")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    proxy = tls_proxy(store, authority, "localhost")
    try:
        found = store.listing(s3_endpoint_url=proxy.endpoint_url, s3_ca_file=str(tmp_path / "ca.pem"))
    finally:
        proxy.close()
    assert [b.key for b in found] == ["errors/a.gz"]


def test_tls_without_the_authoritys_file_names_the_option(store, authority):
    proxy = tls_proxy(store, authority, "localhost")
    try:
        assert "Name the authority's file with s3_ca_file" in store.failure(s3_endpoint_url=proxy.endpoint_url).msg
    finally:
        proxy.close()


def test_a_certificate_for_another_name_is_told_from_an_unknown_authority(store, authority, tmp_path):
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    proxy = tls_proxy(store, authority, "elsewhere.example")
    try:
        error = store.failure(s3_endpoint_url=proxy.endpoint_url, s3_ca_file=str(tmp_path / "ca.pem"))
    finally:
        proxy.close()
    assert "is for another name" in error.msg


def test_tls_towards_a_plain_port_is_called_so(store):
    error = store.failure(s3_endpoint_url=store.facts["endpoint_url"].replace("http:", "https:"))
    assert "does not speak TLS" in error.msg


def test_a_ca_file_without_certificates_is_an_error_in_words(store, authority, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing here")
    proxy = tls_proxy(store, authority, "localhost")
    try:
        error = store.failure(s3_endpoint_url=proxy.endpoint_url, s3_ca_file=str(tmp_path / "ca.pem"))
    finally:
        proxy.close()
    assert "s3_ca_file" in error.msg
