"""What a person reads when S3 says no, says nothing, or is not there: each names the next step and never a secret."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.auth
import pytest
import trustme
from ansible.module_utils.mendbook import s3
from ansible.module_utils.mendbook.errors import MendError, Nothing
from ansible.module_utils.mendbook.s3_catalogue import catalogue
from s3_proxy import Fault, S3Proxy

pytestmark = pytest.mark.faults

SECRET = "canary-secret-0123456789"


def listing(store, bucket=None, **changed):
    params = {**store.params, **changed}
    return catalogue(s3.client(params), bucket or store.bucket, "errors/", params=params)


def failure(store, bucket=None, **changed):
    with pytest.raises(MendError) as caught:
        listing(store, bucket, **changed)
    secret = {**store.params, **changed}["s3_secret_key"]
    assert secret not in caught.value.msg and secret not in repr(caught.value.details)
    return caught.value


def test_a_missing_bucket_is_nothing_and_named(store):
    error = failure(store, "no-such-bucket")
    assert isinstance(error, Nothing)
    assert "there is no bucket no-such-bucket at this endpoint" in error.msg


def test_a_bucket_name_that_cannot_be_is_refused_in_words(store):
    assert "an option has a value that S3 does not allow" in failure(store, "No/Such").msg


def test_a_wrong_secret_key_is_told_from_an_unknown_access_key(store):
    assert "does not belong to the access key" in failure(store, s3_secret_key=SECRET).msg
    assert "does not know the access key" in failure(store, s3_access_key="AKIANOBODY").msg


@pytest.mark.parametrize("days", [-2, 2])
def test_a_wrong_clock_is_named(store, monkeypatch, days):
    real = botocore.auth.get_current_datetime
    shift = datetime.timedelta(days=days)
    for signer in ("botocore.auth", "botocore.crt.auth"):  # the second where awscrt is installed
        with contextlib.suppress(ImportError):
            module = importlib.import_module(signer)
            monkeypatch.setattr(module, "get_current_datetime", lambda *a, **k: real(*a, **k) + shift)
    assert "the clock of this machine is more than 15 minutes from S3's" in failure(store).msg


def test_a_denied_listing_names_the_permission(store):
    store.proxy.faults = [Fault(status=403, code="AccessDenied")]
    assert "credentials need s3:ListBucket here" in failure(store).msg


def test_without_the_permission_for_versions_the_listing_goes_on_and_says_so(store):
    store.put("errors/a.gz", b"dump")
    store.proxy.faults = [Fault(r"GET .*versions", status=403, code="AccessDenied")]
    found = listing(store)
    assert [b.key for b in found] == ["errors/a.gz"]
    assert "s3:ListBucketVersions" in found.notes[0]


def test_a_store_without_versions_is_listed_all_the_same(store):
    store.put("errors/a.gz", b"dump")
    store.proxy.faults = [Fault(r"GET .*versions", status=501, code="NotImplemented")]
    assert [b.key for b in listing(store)] == ["errors/a.gz"]


def test_busy_three_times_recovers(store):
    store.put("errors/a.gz", b"dump")
    store.proxy.faults = [Fault(times=3, status=503)]
    assert [b.key for b in listing(store)] == ["errors/a.gz"]


def test_busy_for_ever_ends_within_the_patience_in_words(store, monkeypatch):
    monkeypatch.setattr(s3.Patience.__init__, "__defaults__", (2, 4, time.sleep))
    store.proxy.faults = [Fault(status=503)]
    began = time.monotonic()
    assert "S3 answered 503 SlowDown to each of" in failure(store).msg
    assert time.monotonic() - began < 4


def test_a_listing_that_is_cut_is_asked_for_again(store):
    store.put("errors/a.gz", b"dump")
    store.proxy.faults = [Fault(times=2, reset_at=40), Fault(times=1, end_at=50)]
    assert [b.key for b in listing(store)] == ["errors/a.gz"]


def test_a_page_that_fails_never_shortens_the_listing(store):
    """botocore's own paginator ends in silence when a page is asked for again after a fault."""
    for number in range(5):
        store.s3.put_object(Bucket=store.bucket, Key=f"pages/{number}", Body=b"x")
    client = s3.client(store.params)
    events = client.meta.events
    events.register("provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 2})
    store.proxy.faults = [Fault("continuation-token", times=1, status=503), Fault("continuation-token", times=1)]
    assert len(catalogue(client, store.bucket, "pages/", params=store.params)) == 5


def test_nobody_listening_is_said_quickly(store):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    began = time.monotonic()
    assert (
        f"nobody listens at http://127.0.0.1:{port}" in failure(store, s3_endpoint_url=f"http://127.0.0.1:{port}").msg
    )
    assert time.monotonic() - began < 5


def test_a_name_that_does_not_resolve_is_told_from_a_closed_port(store):
    assert "cannot be resolved" in failure(store, s3_endpoint_url="http://no-such-host.invalid:9000").msg


def test_a_virtual_host_that_does_not_resolve_points_to_the_path_style(store):
    error = failure(store, s3_endpoint_url="http://store.invalid:9000", s3_path_style=False)
    assert "s3_path_style: true" in error.msg


def test_a_silent_server_is_noticed(store, monkeypatch):
    monkeypatch.setitem(s3._LIMITS, "read_timeout", 1)
    monkeypatch.setattr(s3.Patience.__init__, "__defaults__", (2, 4, time.sleep))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(store, s3_endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "sent nothing for" in error.msg


def test_what_is_not_s3_is_called_so(store):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"<html><body>Welcome to nginx & <b></body>")

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        error = failure(store, s3_endpoint_url=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    assert "answers like a web server, not like S3" in error.msg


def test_hostile_words_of_the_store_reach_no_terminal_and_no_format(store):
    store.proxy.faults = [Fault(status=418, code="Strange{0}&#8238;{action}")]
    error = failure(store)
    assert "\u202e" not in error.msg and "Strange{0}" in error.msg


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
        found = listing(store, s3_endpoint_url=proxy.endpoint_url, s3_ca_file=str(tmp_path / "ca.pem"))
    finally:
        proxy.close()
    assert [b.key for b in found] == ["errors/a.gz"]


def test_tls_without_the_authoritys_file_names_the_option(store, authority):
    proxy = tls_proxy(store, authority, "localhost")
    try:
        assert "Name the authority's file with s3_ca_file" in failure(store, s3_endpoint_url=proxy.endpoint_url).msg
    finally:
        proxy.close()


def test_a_certificate_for_another_name_is_told_from_an_unknown_authority(store, authority, tmp_path):
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    proxy = tls_proxy(store, authority, "elsewhere.example")
    try:
        error = failure(store, s3_endpoint_url=proxy.endpoint_url, s3_ca_file=str(tmp_path / "ca.pem"))
    finally:
        proxy.close()
    assert "is for another name" in error.msg


def test_tls_towards_a_plain_port_is_called_so(store):
    error = failure(store, s3_endpoint_url=store.facts["endpoint_url"].replace("http:", "https:"))
    assert "does not speak TLS" in error.msg


def test_a_ca_file_without_certificates_is_an_error_in_words(store, authority, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing here")
    proxy = tls_proxy(store, authority, "localhost")
    try:
        error = failure(store, s3_endpoint_url=proxy.endpoint_url, s3_ca_file=str(tmp_path / "ca.pem"))
    finally:
        proxy.close()
    assert "s3_ca_file" in error.msg


def test_no_credentials_at_all_names_the_ways_to_give_them(store, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    params = {k: v for k, v in store.params.items() if k not in ("s3_access_key", "s3_secret_key")}
    with pytest.raises(MendError, match="no usable credentials. Give s3_access_key and s3_secret_key, s3_profile"):
        catalogue(s3.client(params), store.bucket, params=params)


@pytest.fixture
def profiles(tmp_path, monkeypatch, store):
    (tmp_path / "credentials").write_text(
        f"[backup]\naws_access_key_id = {store.facts['access_key']}\n"
        f"aws_secret_access_key = {store.facts['secret_key']}\n"
    )
    (tmp_path / "config").write_text("[profile backup]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return {"s3_endpoint_url": store.proxy.endpoint_url, "s3_path_style": True}


def test_a_profile_brings_credentials_and_region(store, profiles):
    client = s3.client({**profiles, "s3_profile": "backup"})
    assert client.meta.region_name == "eu-central-1"
    catalogue(client, store.bucket)


def test_an_unknown_profile_is_named_as_the_cause(profiles):
    with pytest.raises(MendError, match="s3_profile is not in the AWS configuration"):
        s3.client({**profiles, "s3_profile": "nobody"})


ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret_key}</SecretAccessKey><SessionToken></SessionToken>
<Expiration>{expiration}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
DENIED = """<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not you</Message></Error>
</ErrorResponse>"""


class Sts:
    """An STS that answers AssumeRole in the real wire format: keys that expire after ``seconds``, or a refusal."""

    def __init__(self, facts):
        self.calls, self.seconds, self.denies = [], 3600, False
        sts = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self):
                sts.calls.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                expiration = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=sts.seconds)
                body = DENIED if sts.denies else ASSUMED.format(expiration=expiration.isoformat(), **facts)
                self.send_response(403 if sts.denies else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def sts(store, monkeypatch):
    stub = Sts(store.facts)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{stub.server.server_port}")
    yield stub
    stub.server.shutdown()
    stub.server.server_close()


ROLE = {
    "s3_role_arn": "arn:aws:iam::123456789012:role/backup-reader",
    "s3_access_key": "first",
    "s3_secret_key": SECRET,
}


def test_a_role_is_assumed_once_and_used(store, sts):
    params = {**store.params, **ROLE}
    client = s3.client(params)
    catalogue(client, store.bucket, params=params)
    catalogue(client, store.bucket, params=params)
    assert len(sts.calls) == 1
    assert "Action=AssumeRole" in sts.calls[0] and "role%2Fbackup-reader" in sts.calls[0]


def test_a_role_is_renewed_before_it_expires(store, sts):
    sts.seconds = 60  # botocore renews what ends within ten minutes
    params = {**store.params, **ROLE}
    client = s3.client(params)
    catalogue(client, store.bucket, params=params)
    catalogue(client, store.bucket, params=params)
    assert len(sts.calls) > 1


def test_a_role_that_may_not_be_assumed_names_the_permission(store, sts):
    sts.denies = True
    error = failure(store, **ROLE)
    assert "assume the role arn:aws:iam::123456789012:role/backup-reader" in error.msg
    assert "sts:AssumeRole" in error.msg
    assert SECRET not in error.msg


def test_an_sts_that_is_away_is_named_and_not_the_store(store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    error = failure(store, **ROLE)
    assert "assume the role" in error.msg and "nobody listens at http://127.0.0.1:9" in error.msg


def test_a_store_that_is_not_amazons_is_its_own_sts(store, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS", raising=False)
    store.proxy.faults = [Fault("POST /", status=403, code="AccessDenied")]
    failure(store, **ROLE)
    assert [r.method for r in store.proxy.requests] == ["POST"]
