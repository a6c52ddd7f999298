# SPDX-License-Identifier: MIT
"""The drills before: a file of JSON lines on this machine, or the records beside the backups."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from mendbook import environment
from mendbook.drills.record import DrillRecord
from mendbook.errors import NothingMatched


def default_file() -> Path:
    """``drills.jsonl`` in the state folder."""
    return environment.state_folder() / "drills.jsonl"


def append(path: Path, record: DrillRecord) -> None:
    """Add a record so that it is whole on the disk, or not there; OSError when it cannot be.

    Several drills may end at once. A line that a dead writer has cut off stays, and hurts no other.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        cut_off = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        line = (b"\n" if cut_off else b"") + msgspec.json.encode(record) + b"\n"
        if os.write(descriptor, line) != len(line):
            os.ftruncate(descriptor, size)
            raise OSError("the disk is full")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each line of a history file; NothingMatched when there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NothingMatched(f"there is no history in {path}: mendbook drill restore_mongo begins it") from None
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            yield f"{path}, line {number}", line


def read(entries: Iterable[tuple[str, bytes]]) -> tuple[list[DrillRecord], list[str]]:
    """(records, oldest first, and in words what could not be read) of named lines or objects."""
    decoder = msgspec.json.Decoder(DrillRecord)
    records, broken = [], []
    for name, content in entries:
        try:
            records.append(decoder.decode(content))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            broken.append(f"{name} is not a drill's record and is left out: {error}")
    return sorted(records, key=lambda record: record.started), broken
