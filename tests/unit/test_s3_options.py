"""S3 options that cannot be meant are refused before anything is contacted."""

from __future__ import annotations

import base64

import pytest
from ansible.module_utils.mendbook import s3_options
from ansible.module_utils.mendbook.errors import MendError

KEYS = {"s3_access_key": "a", "s3_secret_key": "canary-secret"}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"s3_access_key": "a"}, "s3_access_key and s3_secret_key belong together"),
        ({"s3_secret_key": "canary-secret"}, "s3_access_key and s3_secret_key belong together"),
        ({"s3_session_token": "canary-secret"}, "s3_session_token belongs to"),
        ({**KEYS, "s3_profile": "p"}, "both name credentials"),
        ({"s3_endpoint_url": "s3.example.com:9000"}, "s3_endpoint_url is not a URL"),
        ({"s3_endpoint_url": "ftp://s3.example.com"}, "s3_endpoint_url is not a URL"),
        ({"s3_endpoint_url": "http://host:port"}, "s3_endpoint_url is not a URL"),
        ({"s3_endpoint_url": "http://[::1"}, "s3_endpoint_url is not a URL"),
        ({"s3_endpoint_url": "https://user:canary-secret@host"}, "s3_endpoint_url holds credentials"),
        ({"s3_endpoint_url": "https://host/?x=1"}, "has a query"),
        ({"s3_ca_file": "ca.pem"}, "s3_ca_file must be an absolute path"),
        ({"s3_ca_file": "/nonexistent/ca.pem"}, "is not a file on this machine"),
        ({"s3_sse_customer_key": "canary-secret"}, "is not the base64 text of 32 bytes"),
        ({"s3_sse_customer_key": base64.b64encode(b"k" * 31).decode()}, "is not the base64 text of 32 bytes"),
        ({"s3_sse_customer_key": "ä" * 44}, "is not the base64 text of 32 bytes"),
    ],
)
def test_what_cannot_be_meant_is_refused_without_the_secret(params, words):
    with pytest.raises(MendError) as caught:
        s3_options.check_options(params)
    assert words in caught.value.msg
    assert "canary-secret" not in caught.value.msg


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("s3://backups/daily/", "'s3://backups/daily/' is an address: write bucket backups and prefix 'daily/'"),
        ("s3://backups", "write bucket backups and prefix ''"),
        ("https://s3.example.com/daily/x", "is an address"),
        ("/daily/", "'/daily/' is a path, and keys are none: write 'daily/'"),
        ("/", "write ''"),
        ("daily//x/", "write 'daily/x/'"),
        ("daily//", "write 'daily/'"),
        ("//daily", "write 'daily'"),
        ("./daily/shop-", "write 'daily/shop-'"),
        ("daily/../weekly/", "is a path"),
        ("daily/..", "write 'daily'"),
        ("daily\n/", "cannot be printed"),
        ("\x1b[31m//", "cannot be printed"),
    ],
)
def test_a_prefix_that_no_key_of_a_backup_begins_with_is_refused_and_the_words_say_what_to_write(prefix, words):
    with pytest.raises(MendError) as caught:
        s3_options.check_options({"prefix": prefix})
    assert words in caught.value.msg and caught.value.rule == "options"
    assert caught.value.msg.isprintable()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"bucket": None}, "bucket is empty"),
        ({"bucket": ""}, "bucket is empty"),
        ({"bucket": "b", "latest": True, "key": "k"}, "latest excludes key and at"),
        ({"bucket": "b", "latest": True, "at": "2026-11-20T00:00:00Z"}, "latest excludes key and at"),
        ({"bucket": "b", "at": "2026-11-20"}, "at is not a moment with a time zone"),
        ({"bucket": "b", "at": "2026-11-20T00:00:00"}, "at is not a moment with a time zone"),
    ],
)
def test_a_choice_that_contradicts_itself_is_refused(params, words):
    with pytest.raises(MendError, match=words):
        s3_options.check_pick(params)


@pytest.mark.parametrize(
    "params",
    [
        {},
        KEYS,
        {"s3_endpoint_url": "https://s3.example.com:9000/"},
        {"s3_endpoint_url": "https://project.example.com/storage/v1/s3"},
        {"s3_endpoint_url": "http://[::1]:9000"},
        {"prefix": None},
        {"prefix": "daily/"},
        {"prefix": "shop-test-"},
        {"prefix": "käse: 100%/..a/b.."},
        {"prefix": "a/b c/"},
    ],
)
def test_what_people_have_is_accepted(params):
    s3_options.check_options(params)


def test_a_customer_key_becomes_its_bytes():
    text = base64.b64encode(b"k" * 32).decode()
    assert s3_options.sse_arguments({"s3_sse_customer_key": text})["SSECustomerKey"] == b"k" * 32
    assert s3_options.sse_arguments({}) == {}


def test_endpoints_are_shown_without_what_stands_before_the_host():
    assert s3_options.shown_endpoint("https://u:p@host:1/x?y") == "https://host:1"


def test_every_secret_option_is_marked_for_ansible():
    secret = {name for name, option in s3_options.CONNECTION_SPEC.items() if option.get("no_log")}
    assert secret == {"s3_access_key", "s3_secret_key", "s3_session_token", "s3_sse_customer_key"}
