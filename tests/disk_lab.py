"""Folders with files of any age on this machine, and mend_disk_reclaim against them; a plugin of the disk tests."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import mend_disk_reclaim
import pytest
from ansible.module_utils.mendbook import host_lock

from restore_lab import receipt_for, run_module

DAY = 86400


class Disk:
    """A folder that may be cleaned, with another one beside it that may not."""

    def __init__(self, root: Path, victims: Path) -> None:
        self.root = root
        self.victims = victims
        self._runs = 0
        for folder in (root, victims):
            folder.mkdir(parents=True, exist_ok=True)

    def file(self, name: str | bytes, days: float = 60, size: int = 5000, folder: Path | None = None) -> Path:
        """Make a file below the root that was last written so many days ago."""
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder or self.root), os.fsencode(name))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        written = time.time() - days * DAY
        os.utime(path, (written, written))
        return path

    def names(self, folder: Path | None = None) -> list[str]:
        """The files below the root as find sees them, with what find escapes."""
        command = ["find", str(folder or self.root), "!", "-type", "d", "-printf", r"%P\0"]
        listed = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
        return sorted(name.decode("utf-8", "backslashreplace") for name in listed.split(b"\0") if name)

    def options(self, **changed: Any) -> dict[str, Any]:
        """A rule for logs that are a month old, unless the test says otherwise."""
        given = {"allowed_roots": [str(self.root)]}
        if not {"rules", "backups"} & set(changed):
            given["rules"] = [self.rule()]
        return {**given, **changed}

    def rule(self, *patterns: str, **changed: Any) -> dict[str, Any]:
        return {"root": str(self.root), "patterns": list(patterns or ["*.log"]), **changed}

    def plan(self, **options: Any) -> dict[str, Any]:
        """mend_disk_reclaim in check mode."""
        return run_module(mend_disk_reclaim, **{"check": True, **self.options(**options)})

    def act(self, planned: dict[str, Any], **options: Any) -> dict[str, Any]:
        """The same with the receipt for a plan."""
        self._runs += 1
        receipt = receipt_for(planned, f"lab-{self._runs}")
        return run_module(mend_disk_reclaim, receipt=receipt, **self.options(**options))

    def reclaim(self, **options: Any) -> dict[str, Any]:
        """Plan and act at once; the plan's own answer when it failed."""
        planned = self.plan(**options)
        return self.act(planned, **options) if planned["rc"] == 0 else planned

    @staticmethod
    def gone(result: dict[str, Any]) -> int:
        """How many files a result says that it removed or emptied."""
        return sum(entry.get("objects", 1) for entry in result["done"])

    @staticmethod
    def reasons(result: dict[str, Any]) -> dict[str, str]:
        """What was skipped, by the last part of its name, and why."""
        return {entry["object"].rpartition("/")[2]: entry["reason"] for entry in result["skipped_objects"]}


@pytest.fixture
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of the test's own: two workers are two operators at one host."""
    monkeypatch.setattr(host_lock, "_places", lambda: (str(tmp_path / "locks"),))


@pytest.fixture
def disk(tmp_path: Path, own_lock: None) -> Disk:
    return Disk(tmp_path / "cleaned", tmp_path / "victims")
