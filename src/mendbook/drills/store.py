# SPDX-License-Identifier: MIT
"""The bucket with a team's backups, as far as a drill itself touches it: its records beside the backups."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mendbook.drills.record import DrillRecord
from mendbook.errors import Failed, UsageError
from mendbook.variables import REFERENCE

_PLACE = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,254})(?:/(?P<prefix>.*))?", re.DOTALL)
_RECORD = re.compile(r".+\.drill\.(?P<run>[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6})\.json", re.DOTALL)
_MAX_BYTES = 1 << 20
# as the example inventory has them: read where they are set, left to boto3 where they are not
_FROM_ENVIRONMENT = {
    "s3_access_key": "env?:AWS_ACCESS_KEY_ID",
    "s3_secret_key": "env?:AWS_SECRET_ACCESS_KEY",
    "s3_session_token": "env?:AWS_SESSION_TOKEN",
}


@dataclass(frozen=True)
class Store:
    """``s3://bucket/prefix`` and how to reach it; ``options`` are the roles' s3_* options, secrets named."""

    bucket: str
    prefix: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def at(cls, place: str, options: Mapping[str, Any]) -> Store:
        """The store that the command line names; UsageError when it cannot be meant."""
        found = _PLACE.fullmatch(place)
        if not found:
            raise UsageError(f"--backup takes s3://bucket or s3://bucket/prefix/, not {place!r}")
        if bool(options.get("s3_access_key")) != bool(options.get("s3_secret_key")):
            raise UsageError("--s3-access-key and --s3-secret-key belong together")
        ours = {} if options.get("s3_access_key") or options.get("s3_profile") else _FROM_ENVIRONMENT
        given = {name: value for name, value in options.items() if value}
        return cls(found["bucket"], found["prefix"] or "", {**ours, **given})

    def put(self, record: DrillRecord) -> str:
        """Write the record beside its backup and return its key; MendError says why not."""
        if record.backup is None:
            raise UsageError("the record is of no backup")
        key = f"{record.backup.key}.drill.{record.run}.json"
        with _explained(f"s3://{self.bucket}/{key} cannot be written"):
            self._client().put_object(
                Bucket=self.bucket, Key=key, Body=msgspec.json.encode(record), ContentType="application/json"
            )
        return key

    def records(self, latest: int) -> Iterator[tuple[str, bytes]]:
        """(key, content) of the newest records under the prefix, oldest first; MendError when S3 does not answer."""
        client = self._client()
        with _explained(f"s3://{self.bucket}/{self.prefix} cannot be read"):
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", ()) if _RECORD.match(entry["Key"])]
            # the run's name begins with its time
            for key in sorted(keys, key=lambda key: key.rpartition(".drill.")[2])[-latest:]:
                body = client.get_object(Bucket=self.bucket, Key=key)["Body"]
                yield key, body.read(_MAX_BYTES)

    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        given = {name: resolved(str(value)) for name, value in self.options.items() if isinstance(value, str)}
        config = Config(
            connect_timeout=5,
            read_timeout=20,
            retries={"mode": "standard", "total_max_attempts": 4},
            s3={"addressing_style": "path" if self.options.get("s3_path_style") else "auto"},
        )
        with _explained("the S3 options cannot be used"):
            session = boto3.Session(
                aws_access_key_id=given.get("s3_access_key"),
                aws_secret_access_key=given.get("s3_secret_key"),
                aws_session_token=given.get("s3_session_token"),
                profile_name=given.get("s3_profile"),
                region_name=given.get("s3_region"),
            )
            there: dict[str, Any] = {
                "endpoint_url": given.get("s3_endpoint_url"),
                "verify": given.get("s3_ca_file"),
                "config": config,
            }
            if not session.region_name:
                there["region_name"] = "us-east-1"
            if given.get("s3_role_arn"):
                there |= _assumed(session, given)
            return session.client("s3", **there)


def resolved(text: str) -> str | None:
    """The value that ``env:NAME``, ``env?:NAME`` or ``file:/path`` names; other text is itself."""
    if not REFERENCE.match(text):
        return text
    kind, _, name = text.partition(":")
    if kind == "file":
        try:
            return Path(name).read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{text}: {error}") from error
    value = os.environ.get(name) or None
    if value is None and kind == "env":
        raise UsageError(f"{text}: the variable {name} is not set")
    return value


def _assumed(session: Any, given: Mapping[str, str | None]) -> dict[str, Any]:
    """Keys of the role; an hour is enough for one small object."""
    token = session.client("sts", region_name=session.region_name or "us-east-1").assume_role(
        RoleArn=given["s3_role_arn"], RoleSessionName="mendbook-drill"
    )["Credentials"]
    return {
        "aws_access_key_id": token["AccessKeyId"],
        "aws_secret_access_key": token["SecretAccessKey"],
        "aws_session_token": token["SessionToken"],
    }


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn the driver's errors into one sentence."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        answer = error.response.get("Error", {})
        raise Failed(f"{what}: {answer.get('Code')}, {answer.get('Message')}") from error
    except BotoCoreError as error:
        raise Failed(f"{what}: {error}") from error
