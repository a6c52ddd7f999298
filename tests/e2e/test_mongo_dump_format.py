"""docs/backup-format.md tells the truth: its program checks a backup without mendbook, the real tools restore it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from dump_lab import take
from restore_lab import Lab

pytestmark = pytest.mark.e2e

PAGE = Path(__file__).resolve().parents[2] / "docs" / "backup-format.md"
MONGORESTORE = shutil.which("mongorestore")


@pytest.fixture
def shop(database: Database[Any]) -> Database[Any]:
    database["orders"].insert_many([{"n": n} for n in range(5000)])
    database.create_collection("series", timeseries={"timeField": "at"}).insert_one({"at": datetime(2026, 1, 1)})
    database.create_collection("log", capped=True, size=4096).insert_one({"n": 1})
    database.create_collection("open_orders", viewOn="orders", pipeline=[])
    database.create_collection("empty")
    return database


@pytest.fixture
def backup(shop: Database[Any], sandbox: Any, tmp_path: Path) -> Iterator[Path]:
    """An archive with its manifest beside it."""
    path = tmp_path / "shop.archive.gz"
    taken = take(sandbox.status()["mongo"]["uri"], shop.name, path)
    write_manifest(path, taken.dumped.collections)
    yield path


def write_manifest(path: Path, collections: dict[str, Any]) -> None:
    described = {"schema": 1, "object": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}}
    Path(f"{path}.manifest.json").write_text(json.dumps({**described, "collections": collections}))


def check(path: Path, program: Path) -> subprocess.CompletedProcess[str]:
    """Run the page's own program, in an interpreter that finds nothing of mendbook's."""
    (text,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    program.write_text(text)
    command = [sys.executable, "-I", str(program), str(path), f"{path}.manifest.json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_pages_program_finds_a_backup_right(backup: Path, shop: Database[Any], tmp_path: Path) -> None:
    ended = check(backup, tmp_path / "check.py")
    assert ended.returncode == 0, ended.stderr
    assert sorted(ended.stdout.splitlines()) == sorted(
        f"{shop.name}.{name} {count} right"
        for name, count in {"orders": 5000, "series": 1, "log": 1, "open_orders": 0, "empty": 0}.items()
    )


@pytest.mark.parametrize(
    ("name", "field", "value", "words"),
    [
        ("orders", "count", 5001, "5000 documents, the manifest says 5001"),
        ("orders", "sum", "0" * 32, "orders: the documents are not those of the manifest"),
        ("series", "buckets", 2, "series: 1 documents, the manifest says 2"),
    ],
)
def test_the_pages_program_finds_a_manifest_that_lies(
    backup: Path, shop: Database[Any], tmp_path: Path, name: str, field: str, value: Any, words: str
) -> None:
    described = json.loads(Path(f"{backup}.manifest.json").read_text())
    described["collections"][f"{shop.name}.{name}"][field] = value
    write_manifest(backup, described["collections"])
    ended = check(backup, tmp_path / "check.py")
    assert ended.returncode == 1 and words in ended.stderr


def test_the_pages_program_finds_other_bytes_and_a_missing_end(backup: Path, tmp_path: Path) -> None:
    whole, described = backup.read_bytes(), json.loads(Path(f"{backup}.manifest.json").read_text())
    backup.write_bytes(whole[:-9])
    assert "other bytes" in check(backup, tmp_path / "check.py").stderr
    write_manifest(backup, described["collections"])
    assert "EOFError" in check(backup, tmp_path / "check.py").stderr


def test_every_field_of_an_entry_is_on_the_page(backup: Path) -> None:
    entries = json.loads(Path(f"{backup}.manifest.json").read_text())["collections"].values()
    named = set(re.findall(r"^\| `(\w+)`", PAGE.read_text(), re.MULTILINE))
    assert {field for entry in entries for field in entry} <= named


@pytest.mark.skipif(MONGORESTORE is None, reason="the real mongorestore is not on PATH")
def test_the_real_mongorestore_brings_it_back(backup: Path, shop: Database[Any], sandbox: Any) -> None:
    uri = sandbox.status()["mongo"]["uri"]
    copy = f"{shop.name}_copy"
    names = [f"--nsFrom={shop.name}.*", f"--nsTo={copy}.*"]
    try:
        subprocess.run(
            [str(MONGORESTORE), f"--uri={uri}", "--gzip", f"--archive={backup}", *names],
            capture_output=True,
            timeout=120,
            check=True,
        )
        assert Lab(uri, shop.client, copy).picture() == Lab(uri, shop.client, shop.name).picture()
    finally:
        shop.client.drop_database(copy)
