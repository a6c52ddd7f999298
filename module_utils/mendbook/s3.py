# SPDX-License-Identifier: MIT
"""The client for S3: credentials of every kind, deadlines on every call, patience with a bound."""

from __future__ import annotations

import random
import time
from contextlib import closing, contextmanager

import boto3
import botocore.session
from ansible.module_utils.mendbook import reach
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.s3_errors import (
    FAILURES,
    code_of,
    explain,
    is_transient,
    is_unreachable,
    place,
    status_of,
)
from ansible.module_utils.mendbook.s3_options import check_options, is_store, sse_arguments
from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, DeferredRefreshableCredentials

CONNECT_SECONDS = 5
READ_SECONDS = 20
PATIENCE_SECONDS = 60
ROLE_SECONDS = 3600


class Patience:
    """How long one piece of work is tried again although nothing comes of it.

    ``wait`` sleeps before the next try, or raises the error when it is of the lasting kind, when nothing has
    progressed for ``seconds`` and ``least_tries``, or, with ``unreachable_tries``, when nobody listened that often.
    """

    def __init__(self, seconds=PATIENCE_SECONDS, unreachable_tries=4, sleep=time.sleep, *, least_tries=1):
        self.tries = 0
        self._seconds = seconds
        self._least_tries = least_tries
        self._unreachable_tries = unreachable_tries
        self._sleep = sleep
        self._fruitless = 0
        self._since = time.monotonic()

    def progressed(self):
        """Something came of the last try: the patience starts anew."""
        self._fruitless = 0
        self._since = time.monotonic()

    def wait(self, error):
        """Sleep before the next try (0.1 s, doubling to 8 s, with jitter), or raise ``error``."""
        self.tries += 1
        self._fruitless += 1
        if not is_transient(error):
            raise error
        if is_unreachable(error) and self._unreachable_tries and self._fruitless >= self._unreachable_tries:
            raise error
        # equal jitter, so that parallel readers do not return at the same instant
        pause = min(8.0, 0.05 * 2**self._fruitless) * random.uniform(0.5, 1.0)  # noqa: S311 (not a secret)
        if self._fruitless >= self._least_tries and time.monotonic() - self._since + pause > self._seconds:
            raise error
        self._sleep(pause)


@contextmanager
def connect(params):
    """Give a client() by the way that s3_via names, and close both at the end."""
    with reach.route(params.get("s3_via"), CONNECT_SECONDS, takes=lambda host, port: is_store(params, host, port)):
        with closing(client(params)) as s3:
            yield s3


def client(params, connections=16):
    """Return a boto3 S3 client for the CONNECTION_SPEC options; MendError when they cannot be meant.

    Connecting ends after 5 s, a read that brings nothing after 20 s; botocore's own retries are off, because call()
    and the stream know better what may be repeated. A role is assumed on the first call and renewed while it is used.
    """
    check_options(params)
    try:
        session = botocore.session.Session(profile=params.get("s3_profile"))
        if params.get("s3_access_key"):
            session.set_credentials(params["s3_access_key"], params["s3_secret_key"], params.get("s3_session_token"))
        if params.get("s3_role_arn"):
            session = _in_role(session, params)
        config = Config(
            # "when_supported" would hide the body behind a checking stream, which cannot check a range anyway
            response_checksum_validation="when_required",
            # "when_supported" would send a sum that older stores do not know; what is written has its Content-MD5
            request_checksum_calculation="when_required",
            s3={"addressing_style": "path"} if params.get("s3_path_style") else None,
            max_pool_connections=connections,
            **_LIMITS,
        )
        return _create(session, "s3", params, params.get("s3_endpoint_url"), config)
    except FAILURES as error:
        raise explain(error, "set up S3", "", params.get("s3_endpoint_url") or "https://s3.amazonaws.com") from error
    except ValueError as error:
        raise MendError("Cannot set up S3: {}.".format(str(error).rstrip(".")), rule="options") from error


def call(operation, doing, action, endpoint, bucket="", key=None, patience=None):
    """Return operation(), tried again while S3 is busy for up to a minute; MendError in words when it stays so."""
    patience = patience or Patience()
    while True:
        try:
            return operation()
        except FAILURES as error:
            try:
                patience.wait(error)
            except FAILURES as final:
                raise explain(final, doing, action, endpoint, bucket, key, patience.tries) from final


def get_small(s3, bucket, key, limit_bytes, params, version_id=None, patience=None):
    """Return the bytes of a small object; MendError when it has more than ``limit_bytes``."""

    def get(arguments):
        answer = s3.get_object(Bucket=bucket, Key=key, **arguments)
        with answer["Body"] as raw:
            if answer["ContentLength"] > limit_bytes:
                raise MendError(
                    "{} has {} bytes, more than the {} that are read of such an object.".format(
                        place(bucket, key), answer["ContentLength"], limit_bytes
                    ),
                    rule="size",
                )
            return raw.read()

    def get_with_or_without_key():
        pinned = {"VersionId": version_id} if version_id else {}
        encryption = sse_arguments(params)
        try:
            return get(dict(pinned, **encryption))
        except FAILURES as error:
            # the dumps may be encrypted with a customer key while the small objects beside them are not
            if encryption and status_of(error) == 400 and code_of(error) in ("InvalidRequest", "InvalidArgument"):
                return get(pinned)
            raise

    action = "s3:GetObjectVersion" if version_id else "s3:GetObject"
    doing = f"read {place(bucket, key, version_id)}"
    return call(get_with_or_without_key, doing, action, s3.meta.endpoint_url, bucket, key, patience)


_LIMITS = {
    "connect_timeout": CONNECT_SECONDS,
    "read_timeout": READ_SECONDS,
    "retries": {"total_max_attempts": 1},
    "tcp_keepalive": True,
    "user_agent_extra": "mendbook",
}


def _create(session, service, params, endpoint_url, config):
    region = params.get("s3_region") or session.get_config_variable("region") or "us-east-1"
    return boto3.Session(botocore_session=session, region_name=region).client(
        service, endpoint_url=endpoint_url, verify=params.get("s3_ca_file"), config=config
    )


def _in_role(session, params):
    """Return a session whose credentials are those of s3_role_arn, fetched with the credentials of ``session``."""
    sts = _sts(session, params)
    arn = params["s3_role_arn"]

    def fetch():
        answer = call(
            lambda: sts.assume_role(RoleArn=arn, RoleSessionName="mendbook", DurationSeconds=ROLE_SECONDS),
            f"assume the role {arn}",
            "sts:AssumeRole",
            sts.meta.endpoint_url,
            key=arn,
        )
        got = answer["Credentials"]
        return {
            "access_key": got["AccessKeyId"],
            "secret_key": got["SecretAccessKey"],
            "token": got["SessionToken"],
            "expiry_time": got["Expiration"].isoformat(),
        }

    class Role(CredentialProvider):
        METHOD = "mendbook-role"

        def load(self):
            return DeferredRefreshableCredentials(fetch, self.METHOD)

    assumed = botocore.session.Session(profile=params.get("s3_profile"))
    assumed.register_component("credential_provider", CredentialResolver([Role()]))
    return assumed


def _sts(session, params):
    sts = _create(session, "sts", params, None, Config(**_LIMITS))
    endpoint = params.get("s3_endpoint_url")
    if endpoint and _is_aws(sts.meta.endpoint_url) and not _is_aws(endpoint):
        # MinIO, Ceph and SeaweedFS answer STS where they answer S3
        return _create(session, "sts", params, endpoint, Config(**_LIMITS))
    return sts


def _is_aws(url):
    host = url.split("://")[-1].split("/")[0].split(":")[0]
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
