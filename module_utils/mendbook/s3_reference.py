# SPDX-License-Identifier: MIT
"""What the bytes of a backup can be compared with, best first: its manifest, S3's checksum, an ETag that is an MD5."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import importlib
import re
import zlib

from ansible.module_utils.mendbook import s3
from ansible.module_utils.mendbook.s3_errors import place
from ansible.module_utils.mendbook.s3_options import sse_arguments


@dataclasses.dataclass(frozen=True)
class Reference:
    """``expected`` (text) is what ``digest`` must give over every byte; ``name`` is None when nothing is known.

    ``digest`` makes a new object with update(bytes) and result(); ``why`` says why there is nothing to compare with.
    """

    name: str | None
    expected: str | None = None
    digest: object = None
    why: str | None = None


def reference(client, backup, params, whole_multipart=False):
    """Return the Reference of a backup; asks S3 (one HEAD) only when the backup has no manifest.

    ``whole_multipart`` also compares sums over parts, which costs two requests more and trusts that all parts but the
    last have one size.
    """
    if backup.manifest is not None:
        return Reference("the manifest's SHA-256", backup.sha256, _Sha256)
    head = _head(client, backup, params, ChecksumMode="ENABLED")
    reasons = ["no manifest"]
    for name, make in _CHECKSUMS.items():
        stored = head.get("Checksum" + name)
        if not stored:
            continue
        expected, dash, parts = stored.partition("-")
        if make is None:
            reasons.append(f"{name} cannot be computed here")
        elif not dash:
            return Reference(f"S3's checksum {name}", expected, functools.partial(_Encoded, make))
        else:
            found = _over_parts(client, backup, params, int(parts), make) if whole_multipart else None
            if found:
                return Reference(f"S3's checksum {name} over {parts} parts", expected, found)
            reasons.append(f"S3's checksum {name} is a sum over parts")
    return _etag_reference(client, backup, params, head, reasons, whole_multipart)


def _etag_reference(client, backup, params, head, reasons, whole_multipart):
    match = re.fullmatch(r"([0-9a-f]{32})(?:-([1-9]\d{0,4}))?", head["ETag"].strip('"'))
    # S3 encrypts with customer and KMS keys before it sums, and others do so for every encryption
    if head.get("ServerSideEncryption") or head.get("SSECustomerAlgorithm"):
        reasons.append("the ETag of an encrypted object is no MD5")
    elif not match:
        reasons.append("the ETag is no MD5")
    elif not match[2]:
        return Reference("the ETag (MD5)", match[1], functools.partial(_Hexadecimal, _md5))
    else:
        found = _over_parts(client, backup, params, int(match[2]), _md5, _Hexadecimal) if whole_multipart else None
        if found:
            return Reference(f"the ETag (MD5 over {match[2]} parts)", match[1], found)
        reasons.append("the ETag is a sum over parts")
    return Reference(None, why=", ".join(reasons))


def _head(client, backup, params, **arguments):
    if backup.version_id:
        arguments["VersionId"] = backup.version_id
    return s3.call(
        lambda: client.head_object(Bucket=backup.bucket, Key=backup.key, **arguments, **sse_arguments(params)),
        f"look at {place(backup.bucket, backup.key, backup.version_id)}",
        "s3:GetObjectVersion" if backup.version_id else "s3:GetObject",
        client.meta.endpoint_url,
        backup.bucket,
        backup.key,
    )


def _over_parts(client, backup, params, parts, make, encode=None):
    """Return a maker of the digest over parts of one size, or None when the parts are not so."""
    sizes = [_head(client, backup, params, PartNumber=number)["ContentLength"] for number in sorted({1, parts})]
    first, last = sizes[0], sizes[-1]
    if first * (parts - 1) + last != backup.size or last > first:
        return None
    return lambda: (encode or _Encoded)(functools.partial(_Parts, make, first))


class _Parts:
    """The digest of the digests of parts of ``part_bytes`` each, as S3 sums a multipart upload."""

    def __init__(self, make, part_bytes):
        self._make, self._part_bytes = make, part_bytes
        self._all, self._part, self._room = make(), make(), part_bytes

    def update(self, data):
        view = memoryview(data)
        while len(view):
            piece = view[: self._room]
            self._part.update(piece)
            self._room -= len(piece)
            view = view[len(piece) :]
            if not self._room:
                self._close_part()

    def digest(self):
        if self._room < self._part_bytes:
            self._close_part()
        return self._all.digest()

    def _close_part(self):
        self._all.update(self._part.digest())
        self._part, self._room = self._make(), self._part_bytes


class _Crc:
    """A CRC of ``size`` bytes with the face of hashlib; ``step(data, previous)`` continues a sum."""

    def __init__(self, step, size):
        self._step, self._size, self._sum = step, size, 0

    def update(self, data):
        self._sum = self._step(bytes(data), self._sum)

    def digest(self):
        return self._sum.to_bytes(self._size, "big")


class _Encoded:
    """A digest whose result is the base64 text that S3's checksum headers have."""

    def __init__(self, make):
        self._digest = make()
        self.update = self._digest.update

    def result(self):
        return base64.b64encode(self._digest.digest()).decode("ascii")


class _Hexadecimal(_Encoded):
    def result(self):
        return self._digest.digest().hex()


class _Sha256(_Hexadecimal):
    def __init__(self):
        super().__init__(hashlib.sha256)


def _md5():
    return hashlib.md5(usedforsecurity=False)


def _sha1():
    return hashlib.sha1(usedforsecurity=False)


def _optional_crc(library, name, size):
    """Return a maker of the CRC that a library computes, or None where the library is not installed."""
    try:
        step = getattr(importlib.import_module(library), name)
    except (ImportError, AttributeError):
        return None
    return functools.partial(_Crc, step, size)


_CHECKSUMS = {
    "SHA256": hashlib.sha256,
    "SHA1": _sha1,
    # AWS stores this one for every object that came without any; only its own runtime computes it at speed
    "CRC64NVME": _optional_crc("awscrt.checksums", "crc64nvme", 8),
    "CRC32C": _optional_crc("fastcrc.crc32", "iscsi", 4),
    "CRC32": functools.partial(_Crc, zlib.crc32, 4),
}
