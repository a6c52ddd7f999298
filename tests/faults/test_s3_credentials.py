"""Profiles, roles and no credentials at all, against a real store and an STS that speaks the real wire format."""

from __future__ import annotations

import datetime
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible.module_utils.mendbook import s3
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_catalogue import catalogue
from s3_proxy import Fault
from upload_target import PART_BYTES

from waiting import until

pytestmark = pytest.mark.faults

SECRET = "canary-secret-0123456789"


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


def test_a_role_is_renewed_in_the_middle_of_an_upload(store, sts, target, noise):
    data = noise(2 * PART_BYTES + 1)
    client = s3.client({**store.params, **ROLE})
    sts.seconds = 60  # each request finds credentials that are about to end
    with target.upload(client=client) as upload:
        upload.write(data[:PART_BYTES])
        until(lambda: upload.bytes_sent == PART_BYTES)
        renewals = len(sts.calls)
        upload.write(data[PART_BYTES:])
        upload.finish()
    assert len(sts.calls) > renewals
    assert target.content() == data


def test_a_role_that_may_not_be_assumed_any_more_ends_an_upload(store, sts, target, noise):
    client = s3.client({**store.params, **ROLE})
    sts.seconds = 60
    with (
        pytest.raises(MendError, match="sts:AssumeRole.* could not be removed"),
        target.upload(client=client) as upload,
    ):
        upload.write(noise(PART_BYTES))
        until(lambda: upload.bytes_sent == PART_BYTES)
        sts.denies = True
        upload.write(noise(PART_BYTES))
        upload.finish()
    assert target.content() is None


def test_a_role_that_may_not_be_assumed_names_the_permission(store, sts):
    sts.denies = True
    error = store.failure(**ROLE)
    assert "assume the role arn:aws:iam::123456789012:role/backup-reader" in error.msg
    assert "sts:AssumeRole" in error.msg
    assert SECRET not in error.msg


def test_an_sts_that_is_away_is_named_and_not_the_store(store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    error = store.failure(**ROLE)
    assert "assume the role" in error.msg and "nobody listens at http://127.0.0.1:9" in error.msg


def test_a_store_that_is_not_amazons_is_its_own_sts(store, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS", raising=False)
    store.proxy.faults = [Fault("POST /", status=403, code="AccessDenied")]
    store.failure(**ROLE)
    assert [r.method for r in store.proxy.requests] == ["POST"]
