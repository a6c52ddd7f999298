"""Folders with files of any age on this machine, and mend_disk_reclaim against them; a plugin of the disk tests."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mend_disk_reclaim
import pytest
from ansible.module_utils.mendbook import disk_rules, host_lock

from restore_lab import receipt_for, run_module

DAY = 86400
MONTH = 30 * DAY


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


@pytest.fixture
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of the test's own: two workers are two operators at one host."""
    monkeypatch.setattr(host_lock, "_places", lambda: (str(tmp_path / "locks"),))


@pytest.fixture
def disk(tmp_path: Path, own_lock: None, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(tmp_path / "cleaned", tmp_path / "victims")


@pytest.fixture
def old_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what came a moment ago be old: nobody can set when a file was changed."""
    monkeypatch.setattr(disk_rules, "MIN_AGE_SECONDS", 0)


@contextmanager
def mounted(folder: Path, options: str = "size=1m", kind: str = "tmpfs") -> Iterator[Path]:
    """A small file system at a folder, or with ``bind`` another folder (``kind``); only root may make one."""
    if os.geteuid():
        words = "only root can mount a file system"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
    folder.mkdir(parents=True, exist_ok=True)
    how = ["--bind", kind] if options == "bind" else ["-t", kind, "-o", options, kind]
    subprocess.run(["mount", *how, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def filled(folder: Path, leave: int = 0) -> None:
    """Take every byte of a small file system but for ``leave``."""
    with (folder / "ballast").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            file.truncate(max(0, file.tell() - leave))


def reasons(result: dict[str, Any]) -> dict[str, str]:
    """What was skipped, by the last part of its name, and why."""
    return {entry["object"].rpartition("/")[2]: entry["reason"] for entry in result["skipped_objects"]}


def gone(result: dict[str, Any]) -> int:
    """How many files a result says that it removed or emptied."""
    return sum(entry.get("objects", 1) for entry in result["done"])
