"""Records of drills for tests that look at what is made of them."""

from __future__ import annotations

from typing import Any

from mendbook.drills.record import BackupTaken, DrillRecord, Objectives, Phase


def record(day: int = 1, **changed: Any) -> DrillRecord:
    """A drill that passed on this day of November."""
    facts: dict[str, Any] = {
        "schema": 1,
        "drill": "restore_mongo",
        "run": f"202611{day:02}T030000Z-00000{day % 10}",
        "started": f"2026-11-{day:02}T03:00:00.000Z",
        "finished": f"2026-11-{day:02}T03:20:00.000Z",
        "result": "passed",
        "verified": True,
        "objectives": Objectives(),
        "backup": BackupTaken("estore-backups", "daily/estore.archive.gz", size=1000, sha256="0" * 64),
        "phases": [Phase("find", 1.0, "a backup"), Phase("restore", 600.0, "10 documents")],
        "rto_seconds": 700.0,
        "rpo_seconds": 3600.0,
        "documents": 10,
        "bytes": 4_000_000,
    }
    return DrillRecord(**{**facts, **changed})
