# SPDX-License-Identifier: MIT
"""Opens a MongoDB dump in whatever form it comes; the form is found by the bytes, never by the name."""

from __future__ import annotations

import os
import re
import tarfile

from .dump_archive import MAGIC, ArchiveDump
from .dump_directory import open_folder
from .dump_source import (
    GZIP_MAGIC,
    MAX_RATIO,
    RULE,
    FileSource,
    gunzip,
    head,
)
from .dump_tar import TarDump
from .errors import MendError

_HEAD_BYTES = 4096
_FOREIGN = (
    (b"PGDMP", "a PostgreSQL custom dump"),
    (b"REDIS", "a Redis RDB file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"Salted__", "encrypted by openssl; decrypt it first"),
    (b"age-encryption.org", "encrypted by age; decrypt it first"),
    (b"-----BEGIN PGP", "encrypted by PGP; decrypt it first"),
    (b"\x85\x01", "encrypted by PGP; decrypt it first"),
    (b"\x85\x02", "encrypted by PGP; decrypt it first"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; only gzip is read"),
    (b"\xfd7zXZ\x00", "compressed by xz; only gzip is read"),
    (b"BZh", "compressed by bzip2; only gzip is read"),
    (b"\x04\x22\x4d\x18", "compressed by lz4; only gzip is read"),
    (b"PK\x03\x04", "a zip file; only gzip and tar are read"),
    (b"\x7fELF", "a program"),
    (b"<?xml", "XML (an error page of the store?)"),
    (b"<!DOCTYPE", "HTML (an error page?)"),
    (b"<html", "HTML (an error page?)"),
    (b"-- MySQL dump", "a MySQL dump"),
    (b"--\n-- PostgreSQL", "a PostgreSQL SQL dump"),
)


def open_dump(source, *, max_batch_bytes=4 << 20, max_batch_docs=10_000, max_ratio=MAX_RATIO, database=None):
    """Open a dump: ``source`` is a byte source (dump_source.py), or the path of a file or a dump directory.

    Reads what describes the dump, not its data. ``database`` names the database of a directory that holds the files of
    one database without a folder around them. The result has

    ``format``       "archive", "archive+gzip", "directory", "tar" or "tar+gzip"
    ``collections``  {(db, name): DumpCollection}; ``databases`` their sorted names
    ``tool_version``, ``server_version``  text or None
    ``has_oplog``    True, False, or None when only the last blocks will tell; ``oplog_entries`` a number or None
    ``integrity``    what the format itself proves, in words; ``warnings`` sentences for the operator
    ``size``, ``bytes_read``  for progress, in bytes of the source
    ``iterate(include=None)``  yields Batch and End (dump_metadata.py)

    Raises MendError with rule ``archive`` (not a dump, truncated, damaged), ``hostile`` or ``ratio``.
    """
    limits = {"max_batch_bytes": max_batch_bytes, "max_batch_docs": max_batch_docs, "max_ratio": max_ratio}
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if os.path.isdir(path):
            return open_folder(path, **limits)
        source = FileSource(path)
    start = head(source, _HEAD_BYTES)
    if not start:
        raise MendError(f"{source.name} is empty (0 bytes): the backup was never written", rule=RULE)
    if start.startswith(MAGIC):
        return ArchiveDump(source, gzip=False, **limits)
    gzip = start.startswith(GZIP_MAGIC)
    inner = _inflated_head(start, source) if gzip else start
    if gzip and inner.startswith(MAGIC):
        return ArchiveDump(source, gzip=True, **limits)
    if _is_tar(inner):
        return TarDump(source, gzip, database or _database_from(source.name), **limits)
    what = _describe(inner)
    raise MendError(
        f"{source.name} is not a MongoDB dump (mongodump's archive, or its directory as a folder or tar): it "
        f"{'holds, in gzip, ' if gzip else 'looks like '}{what}",
        rule=RULE,
    )


def _inflated_head(start, source):
    """The beginning of the inflated bytes; damage that comes later is the reader's to report."""
    blocks = gunzip([start], source.name)
    try:
        inner = next(blocks, b"")
    except MendError:
        if source.size is None or source.size > len(start):
            raise
        raise MendError(
            f"{source.name} is damaged or truncated: {len(start)} bytes of broken gzip", rule=RULE
        ) from None
    finally:
        blocks.close()
    return bytes(inner[:_HEAD_BYTES])


def _is_tar(start):
    if len(start) < 512:
        return False
    try:
        tarfile.TarInfo.frombuf(start[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return start[257:262] == b"ustar"
    return True


def _database_from(name):
    """The database that a tar without folders most likely holds: the first part of its name."""
    stem = re.split(r"[/\\]", name)[-1].split(".")[0]
    return stem if re.fullmatch(r"[A-Za-z0-9_-]{1,63}", stem) else "dump"


def _describe(start):
    """What these bytes look like, for the message."""
    if not start:
        return "nothing (0 bytes)"
    for magic, words in _FOREIGN:
        if start.startswith(magic):
            return words
    if not start.strip(b"\0"):
        return "zero bytes only"
    # before BSON: these bytes are a length, too, and the gzip's time stamp may look like a type
    if start.startswith(GZIP_MAGIC):
        return "gzip inside gzip; unpack it once"
    length = int.from_bytes(start[:4], "little")
    if 5 <= length <= 16 << 20 and len(start) > 5 and 1 <= start[4] <= 0x13:
        return "one collection's .bson file; restore the whole dump directory, with its metadata.json files"
    if start.lstrip()[:1] in (b"{", b"["):
        return "JSON (a manifest, or mongoexport's output?)"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start[:200]):
        return "text"
    return "unknown or encrypted bytes"
