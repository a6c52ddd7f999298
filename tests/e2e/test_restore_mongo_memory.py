"""How much memory a restore takes: a bound that holds for any size of the dump and of its documents, also from S3."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import bson
import pytest
from isal import igzip

import dump_writer
from module_memory import measured
from restore_lab import receipt_for

pytestmark = pytest.mark.e2e


MIB = 1 << 20
LIMIT_BYTES = 256 * MIB


def half_noise(number: int, size: int, chance: random.Random) -> Iterator[bytes]:
    """So many documents of ``size`` bytes that gzip makes half as long."""
    for i in range(number):
        noise = chance.randbytes(size // 2)
        yield bson.encode({"_id": i, "noise": noise, "rest": bytes(size - size // 2)})


def write_archive(path: Path, collections: Mapping[str, tuple[int, int]]) -> int:
    """An archive.gz of {name: (documents, bytes of each)}, block by block; returns the bytes of all documents."""
    chance, total = random.Random(1), 0
    with igzip.open(path, "wb", compresslevel=1) as out:
        out.write(dump_writer.MAGIC + dump_writer.prelude())
        for name in collections:
            out.write(dump_writer.entry("big", name))
        out.write(dump_writer.TERMINATOR)
        for name, (number, size) in collections.items():
            crc = 0
            documents = list(half_noise(number, size, chance))
            for start in range(0, number, max(1, 8 * MIB // size)):
                some = documents[start : start + max(1, 8 * MIB // size)]
                crc = dump_writer.crc64(b"".join(some), crc)
                out.write(dump_writer.block("big", name, some))
            out.write(dump_writer.end("big", name, [], crc=crc - (crc >> 63 << 64)))
            total += sum(map(len, documents))
    return total


DUMPS = {
    "many small documents": {"small": (100_000, 500), "more": (50_000, 2000)},
    "the largest documents": {"huge": (10, 16 * MIB - 100)},
}


@pytest.mark.parametrize("kind", DUMPS)
def test_a_restore_from_s3_stays_below_256_mib(sandbox: Any, s3_client: Any, database: Any, tmp_path: Path, kind: str):
    facts = sandbox.status()
    archive = tmp_path / "big.archive.gz"
    size = write_archive(archive, DUMPS[kind])
    assert size > 140 * MIB
    s3_client.upload_file(str(archive), facts["s3"]["bucket"], f"memory/{kind}.archive.gz")
    options = {
        "uri": facts["mongo"]["uri"],
        "database": database.name,
        "source_database": "big",
        "keep_seconds": 0,
        "bucket": facts["s3"]["bucket"],
        "key": f"memory/{kind}.archive.gz",
        "s3_endpoint_url": facts["s3"]["endpoint_url"],
        "s3_region": facts["s3"]["region"],
        "s3_path_style": True,
        "s3_access_key": facts["s3"]["access_key"],
        "s3_secret_key": facts["s3"]["secret_key"],
    }
    planned, _peak = measured("mend_mongo_restore", _ansible_check_mode=True, **options)
    result, peak = measured("mend_mongo_restore", receipt=receipt_for(planned, "memory"), **options)
    s3_client.delete_object(Bucket=facts["s3"]["bucket"], Key=options["key"])
    assert result["state"] == "done" and result["figures"]["document_bytes"] == size
    assert peak < LIMIT_BYTES, f"{peak / MIB:.0f} MiB for a dump of {size / MIB:.0f} MiB"
