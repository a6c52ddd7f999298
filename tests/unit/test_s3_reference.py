"""The digests with which the bytes of a backup are compared, against values computed by hand."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from ansible.module_utils.mendbook import s3_reference
from ansible.module_utils.mendbook.s3_backup import Backup

DATA = bytes(range(256)) * 41  # 10,496 bytes


class Head:
    """The HEAD of one object: what S3 tells of the whole, and the sizes of its parts."""

    class meta:
        endpoint_url = "http://s3.example.com"

    def __init__(self, part_sizes=(), etag="0" * 32, **told):
        self.part_sizes, self.etag, self.told, self.asked = part_sizes, etag, told, 0

    def head_object(self, PartNumber=None, **_arguments):
        self.asked += 1
        if PartNumber:
            return {"ContentLength": self.part_sizes[PartNumber - 1]}
        return {"ETag": f'"{self.etag}"', **self.told}


def backup(manifest=None):
    return Backup("b", "k", None, "e", len(DATA), None, None, "last_modified", "a" * 64, None, None, manifest=manifest)


def found(head, whole_multipart=False, manifest=None):
    return s3_reference.reference(head, backup(manifest), {}, whole_multipart)


def result(reference, data=DATA, step=1000):
    digest = reference.digest()
    for start in range(0, len(data), step):
        digest.update(data[start : start + step])
    return digest.result()


def b64(digest):
    return base64.b64encode(digest).decode()


def crc32(data):
    return zlib.crc32(data).to_bytes(4, "big")


def test_a_manifest_is_compared_without_asking_s3():
    head = Head()
    known = found(head, manifest={"object": {}})
    assert (known.name, known.expected, head.asked) == ("the manifest's SHA-256", "a" * 64, 0)
    assert result(known) == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CRC32", b64(crc32(DATA))),
        ("SHA1", b64(hashlib.sha1(DATA).digest())),  # noqa: S324
        ("SHA256", b64(hashlib.sha256(DATA).digest())),
    ],
)
def test_checksums_of_the_whole_object(name, value):
    known = found(Head(**{f"Checksum{name}": value}))
    assert known.name == f"S3's checksum {name}"
    assert result(known) == known.expected == value
    assert result(known, DATA[:-1] + b"x") != value


def test_crc32c_and_crc64nvme_have_their_published_check_values():
    known = found(Head(ChecksumCRC32C=b64(bytes.fromhex("e3069283"))))
    assert result(known, b"123456789", 4) == known.expected
    known = found(Head(ChecksumCRC64NVME=b64(bytes.fromhex("ae8b14860a799888"))))
    assert result(known, b"123456789", 4) == known.expected


def test_a_checksum_that_cannot_be_computed_falls_back_to_the_etag(monkeypatch):
    monkeypatch.setitem(s3_reference._CHECKSUMS, "CRC64NVME", None)
    known = found(Head(etag=hashlib.md5(DATA).hexdigest(), ChecksumCRC64NVME="AAAA"))  # noqa: S324
    assert known.name == "the ETag (MD5)"
    assert result(known) == known.expected


def parts_of(sizes):
    pieces, start = [], 0
    for size in sizes:
        pieces.append(DATA[start : start + size])
        start += size
    return pieces


@pytest.mark.parametrize("sizes", [(5000, 5000, 496), (5248, 5248), (len(DATA),)])
def test_sums_over_parts_are_rebuilt(sizes):
    pieces = parts_of(sizes)
    composite = b64(crc32(b"".join(crc32(piece) for piece in pieces)))
    md5 = hashlib.md5(b"".join(hashlib.md5(piece).digest() for piece in pieces)).hexdigest()  # noqa: S324
    known = found(Head(sizes, ChecksumCRC32=f"{composite}-{len(sizes)}"), whole_multipart=True)
    assert known.name == f"S3's checksum CRC32 over {len(sizes)} parts"
    assert result(known) == known.expected == composite
    known = found(Head(sizes, etag=f"{md5}-{len(sizes)}"), whole_multipart=True)
    assert result(known, step=777) == known.expected == md5


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (Head(etag="0" * 32 + "-3"), "the ETag is a sum over parts"),
        (Head(ChecksumCRC32="AAAA-3", etag="0" * 32 + "-3"), "S3's checksum CRC32 is a sum over parts"),
        (Head(ServerSideEncryption="aws:kms"), "the ETag of an encrypted object is no MD5"),
        (Head(SSECustomerAlgorithm="AES256"), "the ETag of an encrypted object is no MD5"),
        (Head(etag="not-a-sum"), "the ETag is no MD5"),
    ],
)
def test_where_nothing_can_be_compared_it_is_said_why(head, why):
    known = found(head)
    assert known.name is None
    assert why in known.why and "no manifest" in known.why


@pytest.mark.parametrize("sizes", [(4000, 6000, 496), (5000, 5000, 5001), (100, 100, 100)])
def test_parts_of_other_sizes_are_never_guessed(sizes):
    known = found(Head(sizes, etag="0" * 32 + "-3"), whole_multipart=True)
    assert known.name is None
