"""How much memory a dump takes: a bound that holds for any size of the data and of its documents."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from dump_lab import insert_large

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
LIMIT_BYTES = 200 * MIB
# The engine in a process of its own; what that process had of its parent before is not its own.
CHILD = """
import json, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1] + "/module_utils")
from ansible.module_utils.mendbook import mongo_dump
from ansible.module_utils.mendbook.mongo import connect

params = json.load(sys.stdin)
written = 0

def write(data):
    global written
    written += len(data)

with connect(params) as deployment:
    survey = mongo_dump.survey(deployment, params["database"], params)
    dumped = mongo_dump.dump(deployment, params["database"], survey, write)
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
json.dump({"peak": peak, "bytes": dumped.bytes, "written": written}, sys.stdout)
"""


def dump(**params: Any) -> dict[str, int]:
    given = {"connect_timeout_seconds": 30, "operation_timeout_seconds": 60, **params}
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, str(ROOT)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def small_documents(database: Database[Any]) -> None:
    for name in ("small", "more"):
        for start in range(0, 40_000, 10_000):
            noise = random.Random(start).randbytes(1000)
            database[name].insert_many(
                {"_id": number, "noise": noise, "rest": bytes(900)} for number in range(start, start + 10_000)
            )


def largest_documents(database: Database[Any]) -> None:
    """In both collections at once, and small ones before them, so that the first replies are as large as can be."""
    noise = random.Random(1).randbytes(8 * MIB)
    for name in ("huge", "enormous"):
        database[name].insert_many({"_id": number} for number in range(5000))
        rest = bytes(8 * MIB - 100)
        insert_large(database[name], ({"_id": 5000 + number, "noise": noise, "rest": rest} for number in range(5)))


@pytest.mark.parametrize("fill", [small_documents, largest_documents])
def test_a_dump_stays_below_200_mib(sandbox: Any, database: Database[Any], fill: Any) -> None:
    fill(database)
    found = dump(uri=sandbox.status()["mongo"]["uri"], database=database.name)
    assert found["bytes"] > 140 * MIB and found["written"] > MIB
    assert found["peak"] < LIMIT_BYTES, f"{found['peak'] / MIB:.0f} MiB for {found['bytes'] / MIB:.0f} MiB of documents"
