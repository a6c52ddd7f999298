"""How much memory a backup takes: a bound that holds for any size of the database and of its documents."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import backup_lab
from backup_lab import BackupLab
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
import mend_mongo_backup
from ansible.module_utils.testing import patch_module_args

def tell():
    with open("/proc/self/status") as file:
        peak = next(line for line in file if line.startswith("VmHWM"))
    print(peak.split()[1], file=sys.stderr)

atexit.register(tell)
with patch_module_args(json.load(sys.stdin)):
    mend_mongo_backup.main()
"""
# {collection: (documents, bytes of each)}; both are read at the same time
SHAPE = {"small": (60_000, 1000), "largest": (7, 16 * MIB - 100)}


@pytest.fixture
def lab(sandbox: Any, s3_client: Any) -> Iterator[BackupLab]:
    facts = sandbox.status()
    with backup_lab.backup_lab(facts["mongo"]["uri"], s3_client, facts["s3"]) as lab:
        yield lab


def module(**arguments: Any) -> tuple[dict[str, Any], int]:
    """The result of one run of the module, and the peak of its memory in bytes."""
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, str(ROOT)],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout), int(ended.stderr.split()[-1]) * 1024


def test_a_backup_stays_below_256_mib(lab):
    # noise, so that the object is as large as the database: parts of it wait for S3
    chance = random.Random(1)
    for name, (number, size) in SHAPE.items():
        for start in range(0, number, 10_000):
            numbers = range(start, min(start + 10_000, number))
            lab.database[name].insert_many({"_id": n, "noise": chance.randbytes(size - 50)} for n in numbers)
    planned, _peak = module(_ansible_check_mode=True, **lab.options)
    result, peak = module(receipt=receipt_for(planned, "memory"), **lab.options)
    figures = result["figures"]
    assert result["state"] == "done" and figures["document_bytes"] > 160 * MIB
    assert figures["object_bytes"] > 160 * MIB, "it was compressed, and S3 had little to do"
    assert peak < LIMIT_BYTES, f"{peak / MIB:.0f} MiB"
    print(f"{peak / MIB:.0f} MiB for {figures['document_bytes'] / MIB:.0f} MiB")
