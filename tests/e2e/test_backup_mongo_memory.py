"""How much memory a backup takes: a bound that holds for any size of the database and of its documents."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

import backup_lab
from backup_lab import BackupLab
from dump_lab import insert_large
from module_memory import measured
from restore_lab import receipt_for

pytestmark = pytest.mark.e2e


MIB = 1 << 20
LIMIT_BYTES = 256 * MIB
# {collection: (documents, bytes of each)}; both are read at the same time
SHAPE = {"small": (60_000, 1000), "largest": (7, 16 * MIB - 100)}


@pytest.fixture
def lab(sandbox: Any, s3_client: Any) -> Iterator[BackupLab]:
    facts = sandbox.status()
    with backup_lab.backup_lab(facts["mongo"]["uri"], s3_client, facts["s3"]) as lab:
        yield lab


def test_a_backup_stays_below_256_mib(lab):
    # noise, so that the object is as large as the database: parts of it wait for S3
    chance = random.Random(1)
    for name, (number, size) in SHAPE.items():
        for start in range(0, number, 10_000):
            numbers = range(start, min(start + 10_000, number))
            documents = ({"_id": n, "noise": chance.randbytes(size - 50)} for n in numbers)
            insert_large(lab.database[name], documents) if size > MIB else lab.database[name].insert_many(documents)
    planned, _peak = measured("mend_mongo_backup", _ansible_check_mode=True, **lab.options)
    result, peak = measured("mend_mongo_backup", receipt=receipt_for(planned, "memory"), **lab.options)
    figures = result["figures"]
    assert result["state"] == "done" and figures["document_bytes"] > 160 * MIB
    assert figures["object_bytes"] > 160 * MIB, "it was compressed, and S3 had little to do"
    assert peak < LIMIT_BYTES, f"{peak / MIB:.0f} MiB"
    print(f"{peak / MIB:.0f} MiB for {figures['document_bytes'] / MIB:.0f} MiB")
