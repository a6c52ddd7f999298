"""How much memory a restore takes: a bound that holds for any size of the dump and of its documents, also from S3."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import bson
import pytest
from isal import igzip

import dump_writer
from restore_lab import receipt_for

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
LIMIT_BYTES = 256 * MIB
# The module as ansible runs it, in a process of its own; what that process had of its parent before is not its own.
CHILD = """
import atexit, json, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1] + "/module_utils")
sys.path.insert(0, sys.argv[1] + "/library")
import mend_mongo_restore
from ansible.module_utils.testing import patch_module_args

def tell():
    with open("/proc/self/status") as file:
        peak = next(line for line in file if line.startswith("VmHWM"))
    print(peak.split()[1], file=sys.stderr)

atexit.register(tell)
with patch_module_args(json.load(sys.stdin)):
    mend_mongo_restore.main()
"""


def module(**arguments: Any) -> tuple[dict[str, Any], int]:
    """The result of one run of the module, and the peak of its memory in bytes."""
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, str(ROOT)],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout), int(ended.stderr.split()[-1]) * 1024


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
    planned, _peak = module(_ansible_check_mode=True, **options)
    result, peak = module(receipt=receipt_for(planned, "memory"), **options)
    s3_client.delete_object(Bucket=facts["s3"]["bucket"], Key=options["key"])
    assert result["state"] == "done" and result["figures"]["document_bytes"] == size
    assert peak < LIMIT_BYTES, f"{peak / MIB:.0f} MiB for a dump of {size / MIB:.0f} MiB"
