"""What a person reads when S3 says no: each names the next step and never a secret."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.auth
import pytest
from ansible.module_utils.mendbook import s3
from ansible.module_utils.mendbook.errors import Nothing
from ansible.module_utils.mendbook.s3_catalogue import catalogue
from s3_proxy import Fault

pytestmark = pytest.mark.faults

SECRET = "canary-secret-0123456789"


def test_a_missing_bucket_is_nothing_and_named(store):
    error = store.failure("no-such-bucket")
    assert isinstance(error, Nothing)
    assert "there is no bucket no-such-bucket at this endpoint" in error.msg


def test_a_bucket_name_that_cannot_be_is_refused_in_words(store):
    assert "an option has a value that S3 does not allow" in store.failure("No/Such").msg


def test_a_wrong_secret_key_is_told_from_an_unknown_access_key(store):
    assert "does not belong to the access key" in store.failure(s3_secret_key=SECRET).msg
    assert "does not know the access key" in store.failure(s3_access_key="AKIANOBODY").msg


@pytest.mark.parametrize("days", [-2, 2])
def test_a_wrong_clock_is_named(store, monkeypatch, days):
    real = botocore.auth.get_current_datetime
    shift = datetime.timedelta(days=days)
    for signer in ("botocore.auth", "botocore.crt.auth"):  # the second where awscrt is installed
        with contextlib.suppress(ImportError):
            module = importlib.import_module(signer)
            monkeypatch.setattr(module, "get_current_datetime", lambda *a, **k: real(*a, **k) + shift)
    assert "the clock of this machine is more than 15 minutes from S3's" in store.failure().msg


def test_a_denied_listing_names_the_permission(store):
    store.proxy.faults = [Fault(status=403, code="AccessDenied")]
    assert "credentials need s3:ListBucket here" in store.failure().msg


def test_without_the_permission_for_versions_the_listing_goes_on_and_says_so(store):
    store.put("errors/a.gz", b"dump")
    store.proxy.faults = [Fault(r"GET .*versions", status=403, code="AccessDenied")]
    found = store.listing()
    assert [b.key for b in found] == ["errors/a.gz"]
    assert "s3:ListBucketVersions" in found.notes[0]


def test_a_store_without_versions_is_listed_all_the_same(store):
    store.put("errors/a.gz", b"dump")
    store.proxy.faults = [Fault(r"GET .*versions", status=501, code="NotImplemented")]
    assert [b.key for b in store.listing()] == ["errors/a.gz"]


def test_busy_three_times_recovers(store):
    store.put("errors/a.gz", b"dump")
    store.proxy.faults = [Fault(times=3, status=503)]
    assert [b.key for b in store.listing()] == ["errors/a.gz"]


def test_busy_for_ever_ends_within_the_patience_in_words(store, monkeypatch):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr(s3.Patience.__init__, "__defaults__", (2, 4, sleep))
    store.proxy.faults = [Fault(status=503)]
    assert "S3 answered 503 SlowDown to each of" in store.failure().msg
    assert slept and sum(slept) <= 2


def test_a_listing_that_is_cut_is_asked_for_again(store):
    store.put("errors/a.gz", b"dump")
    store.proxy.faults = [Fault(times=2, reset_at=40), Fault(times=1, end_at=50)]
    assert [b.key for b in store.listing()] == ["errors/a.gz"]


def test_a_page_that_fails_never_shortens_the_listing(store):
    """botocore's own paginator ends in silence when a page is asked for again after a fault."""
    for number in range(5):
        store.s3.put_object(Bucket=store.bucket, Key=f"pages/{number}", Body=b"x")
    client = s3.client(store.params)
    events = client.meta.events
    events.register("provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 2})
    store.proxy.faults = [Fault("continuation-token", times=1, status=503), Fault("continuation-token", times=1)]
    assert len(catalogue(client, store.bucket, "pages/", params=store.params)) == 5


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
        error = store.failure(s3_endpoint_url=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    assert "answers like a web server, not like S3" in error.msg


def test_hostile_words_of_the_store_reach_no_terminal_and_no_format(store):
    store.proxy.faults = [Fault(status=418, code="Strange{0}&#8238;{action}")]
    error = store.failure()
    assert "\u202e" not in error.msg and "Strange{0}" in error.msg
