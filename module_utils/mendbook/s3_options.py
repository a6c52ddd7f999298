# SPDX-License-Identifier: MIT
"""Module options of everything that talks to S3, and what can be said about them before anything is contacted."""

from __future__ import annotations

import base64
import binascii
import datetime
import os
from urllib.parse import urlsplit

from ansible.module_utils.mendbook.errors import Refused
from ansible.module_utils.mendbook.manifest import moment

CONNECTION_SPEC = {
    "s3_endpoint_url": {"type": "str"},
    "s3_region": {"type": "str"},
    "s3_profile": {"type": "str"},
    "s3_role_arn": {"type": "str"},
    "s3_ca_file": {"type": "path"},
    "s3_path_style": {"type": "bool", "default": False},
    "s3_access_key": {"type": "str", "no_log": True},
    "s3_secret_key": {"type": "str", "no_log": True},
    "s3_session_token": {"type": "str", "no_log": True},
    "s3_sse_customer_key": {"type": "str", "no_log": True},
    "s3_via": {"type": "str"},
}

STORE_SPEC = {
    "storage_class": {"type": "str"},
    "server_side_encryption": {"type": "str", "choices": ["AES256", "aws:kms", "aws:kms:dsse"]},
    "sse_kms_key_id": {"type": "str"},
    "object_lock_mode": {"type": "str", "choices": ["GOVERNANCE", "COMPLIANCE"]},
    "object_lock_days": {"type": "int"},
}

PICK_SPEC = {
    "bucket": {"type": "str"},
    "prefix": {"type": "str", "default": ""},
    "pattern": {"type": "str", "default": "*"},
    "key": {"type": "str", "no_log": False},
    "version_id": {"type": "str"},
    "at": {"type": "str"},
    "latest": {"type": "bool", "default": False},
}
PICK_MUTUALLY_EXCLUSIVE = [("key", "at")]
PICK_REQUIRED_BY = {"version_id": "key"}


def check_options(params):
    """Raise Refused (rule options) when the connection options or a prefix cannot be meant; contacts nothing."""
    if bool(params.get("s3_access_key")) != bool(params.get("s3_secret_key")):
        raise _bad("s3_access_key and s3_secret_key belong together: give both, or neither to use a profile or a role")
    if params.get("s3_session_token") and not params.get("s3_access_key"):
        raise _bad("s3_session_token belongs to s3_access_key and s3_secret_key, which are missing")
    if params.get("s3_access_key") and params.get("s3_profile"):
        raise _bad("s3_profile and s3_access_key both name credentials: give one of them")
    endpoint = params.get("s3_endpoint_url")
    if endpoint is not None:
        _check_endpoint(endpoint)
    ca_file = params.get("s3_ca_file")
    if ca_file is not None:
        if not os.path.isabs(ca_file):
            raise _bad("s3_ca_file must be an absolute path")
        if not os.path.isfile(ca_file):
            raise _bad(f"s3_ca_file {ca_file} is not a file on this machine")
    _check_prefix(params.get("prefix") or "")
    sse_key(params)


def is_path(text):
    """Whether a key or a prefix is written like a path, of which some stores make another key than what was written."""
    return text.startswith("/") or "//" in text or not {".", ".."}.isdisjoint(text.split("/"))


def check_store(params):
    """Raise Refused (rule options) when the STORE_SPEC options contradict each other or the connection's."""
    encryption, days = params.get("server_side_encryption"), params.get("object_lock_days")
    if encryption and params.get("s3_sse_customer_key"):
        raise _bad("server_side_encryption and s3_sse_customer_key both encrypt: give one of them")
    if params.get("sse_kms_key_id") and encryption not in ("aws:kms", "aws:kms:dsse"):
        raise _bad("sse_kms_key_id needs server_side_encryption aws:kms or aws:kms:dsse")
    if bool(params.get("object_lock_mode")) != (days is not None):
        raise _bad("object_lock_mode and object_lock_days belong together: give both, or neither")
    if days is not None and days < 1:
        raise _bad("object_lock_days must be at least 1")


def check_pick(params):
    """Raise Refused (rule options) when the choice of a backup contradicts itself."""
    if not params.get("bucket"):
        raise _bad("bucket is empty: name the bucket that holds the backups")
    if params.get("latest") and (params.get("key") or params.get("at")):
        raise _bad("latest excludes key and at: it means what the key named latest stands for")
    if params.get("at"):
        try:
            moment(params["at"])
        except ValueError as error:
            raise _bad(f"at is {error}") from None


def sse_key(params):
    """Return the 32 bytes of the customer's encryption key (SSE-C), or None."""
    text = params.get("s3_sse_customer_key")
    if not text:
        return None
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise _bad("s3_sse_customer_key is not the base64 text of 32 bytes")
    return key


def sse_arguments(params):
    """Return the arguments that a GET or HEAD of an object needs for SSE-C; empty without a customer key."""
    key = sse_key(params)
    return {} if key is None else {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


def encryption_arguments(params):
    """Return the arguments of a new object for server_side_encryption; empty without it."""
    given = {"ServerSideEncryption": params.get("server_side_encryption"), "SSEKMSKeyId": params.get("sse_kms_key_id")}
    return {name: value for name, value in given.items() if value}


def store_arguments(params, *, small=False, retain=True):
    """Return the arguments of a new object for the STORE_SPEC options and SSE-C; ``retain`` is the object lock.

    ``small`` leaves the storage class out: a small object costs as much in every class, and from an archive class it
    could not be read.
    """
    arguments = dict(sse_arguments(params), **encryption_arguments(params))
    if params.get("storage_class") and not small:
        arguments["StorageClass"] = params["storage_class"]
    if params.get("object_lock_mode") and retain:
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=params["object_lock_days"])
        arguments.update(ObjectLockMode=params["object_lock_mode"], ObjectLockRetainUntilDate=until)
    return arguments


def is_store(params, host, port):
    """Whether ``host`` and ``port`` are those of the store, also with the bucket before it, or of Amazon's services."""
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) and ".docdb." not in host:
        return True
    parts = urlsplit(params.get("s3_endpoint_url") or "")
    at = (parts.hostname, parts.port or (80 if parts.scheme == "http" else 443))
    return (host.lower(), port) == at or (host.lower().endswith(f".{at[0]}") and port == at[1])


def shown_endpoint(url):
    """Return scheme, host and port of an endpoint, never what may stand before the host."""
    parts = urlsplit(url)
    return "{}://{}".format(parts.scheme, parts.netloc.rpartition("@")[2])


def _check_endpoint(endpoint):
    try:
        parts = urlsplit(endpoint)
        port_is_a_number = parts.port is None or parts.port > 0
    except ValueError:
        raise _bad("s3_endpoint_url is not a URL like https://s3.example.com:9000") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_a_number:
        raise _bad("s3_endpoint_url is not a URL like https://s3.example.com:9000")
    if "@" in parts.netloc:
        raise _bad("s3_endpoint_url holds credentials: give them as s3_access_key and s3_secret_key")
    if parts.query or parts.fragment:
        raise _bad("s3_endpoint_url has a query or a fragment: the bucket is named by the option bucket")


def _check_prefix(prefix):
    address, _colon, rest = prefix.rpartition("://")
    bucket, _slash, below = rest.partition("/") if address else ("", "", prefix)
    if not prefix.isprintable():
        raise _bad(f"prefix {prefix!r} has characters that cannot be printed")
    if address or is_path(prefix):
        parts = [part for part in below.split("/") if part not in ("", ".", "..")]
        meant = "/".join(parts) + ("/" if parts and below.endswith("/") else "")
        words = f"is an address: write bucket {bucket} and prefix" if address else "is a path, and keys are none: write"
        raise _bad(f"prefix {prefix!r} {words} {meant!r}")


def _bad(what):
    return Refused(f"S3 options: {what}.", rule="options")
