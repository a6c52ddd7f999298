# SPDX-License-Identifier: MIT
"""The files of a schedule on disk: written whole or not at all, and only over what this program has written."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mendbook.errors import MendError, NothingMatched, Refused, UsageError

_MARK = re.compile(r"\A# [^\n]*\n# mendbook-schedule sha256:([0-9a-f]{64})\n")


@dataclass(frozen=True)
class File:
    """A file with its whole text, which begins with the mark."""

    path: Path
    text: str


def marked(path: Path, text: str, asked: str) -> File:
    """A file that says who has written it, and by whose sum a change by hand is seen."""
    try:
        digest = hashlib.sha256(text.encode()).hexdigest()
    except UnicodeEncodeError:
        raise UsageError(
            "a path or a value is not UTF-8 and cannot stand in such a file: give it another name"
        ) from None
    head = f"# Written by `{asked}`: asked again it replaces this file, with --remove it takes it away."
    return File(path, f"{head}\n# mendbook-schedule sha256:{digest}\n{text}")


def install(files: list[File]) -> list[Path]:
    """Write what is not yet as it should be, and return that; nothing is written where a file is in the way."""
    wanted = [file for file in files if _present(file.path) != file.text]
    for file in wanted:
        _refuse_other(file.path, "replaced")
    for file in wanted:
        _write(file)
    return [file.path for file in wanted]


def check_removable(paths: list[Path]) -> None:
    """NothingMatched when none of the files is there, Refused when one is not ours."""
    there = [path for path in paths if os.path.lexists(path)]
    if not there:
        raise NothingMatched(f"nothing to remove: there is no {' and no '.join(map(str, paths))}")
    for path in there:
        _refuse_other(path, "removed")


def remove(paths: list[Path]) -> list[Path]:
    """Take away those of the checked files that are there, and return them."""
    there = [path for path in paths if os.path.lexists(path)]
    for path in there:
        try:
            path.unlink()
        except OSError as error:
            raise MendError(f"{path} cannot be removed: {error.strerror}") from error
    return there


def _present(path: Path) -> str | None:
    """The text of a regular file; None for what is missing or something else."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError as error:
        raise MendError(f"{path} cannot be read: {error.strerror}") from error


def _refuse_other(path: Path, verb: str) -> None:
    if not os.path.lexists(path):
        return
    text = _present(path)
    mark = _MARK.match(text or "")
    if text is None or mark is None:
        raise Refused(f"{path} is in the way and was not written by mendbook schedule: it is not {verb}")
    if hashlib.sha256(text[mark.end() :].encode()).hexdigest() != mark[1]:
        raise Refused(
            f"{path} was changed by hand since it was written: it is not {verb}. Take it away yourself, or put your "
            "changes beside it (systemctl edit)"
        )


def _write(file: File) -> None:
    """First under a name with a dot in front, which neither systemd nor cron reads, then the whole file as itself."""
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{file.path.name}.", dir=file.path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as opened:
                opened.write(file.text)
                opened.flush()
                os.fsync(opened.fileno())
            os.chmod(name, 0o644)
            os.replace(name, file.path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise MendError(f"{file.path} cannot be written: {error.strerror}; it is as it was") from error
