# SPDX-License-Identifier: MIT
"""Writes small MongoDB dumps, right or wrong in one place, from real or made documents."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import bson
from bson import Int64
from fastcrc.crc64 import xz as crc64

DATA = Path(__file__).resolve().parent / "data"
MAGIC = b"\x6d\xe2\x99\x81"
TERMINATOR = b"\xff\xff\xff\xff"
ID_INDEX = {"v": 2, "key": {"_id": 1}, "name": "_id_"}

Documents = Iterable[bytes]


def made(number: int, start: int = 0, filler: str = "x" * 40) -> list[bytes]:
    """So many different documents."""
    return [bson.encode({"_id": start + i, "name": f"n{start + i}", "filler": filler}) for i in range(number)]


def metadata(name: str, *indexes: Mapping[str, Any], options: Any = None, kind: str = "collection") -> str:
    """The metadata text of a collection, as mongodump writes it (numbers in their short form)."""
    value: dict[str, Any] = {"indexes": [ID_INDEX, *indexes] if kind == "collection" else list(indexes)}
    if options:
        value = {"options": options, **value}
    return json.dumps({**value, "uuid": "0" * 32, "collectionName": name, "type": kind})


def prelude(version: str = "0.1") -> bytes:
    return bson.encode(
        {
            "concurrent_collections": 4,
            "version": version,
            "server_version": "6.0.5",
            "tool_version": "100.18.0",
        }
    )


def entry(db: str, name: str, text: str | None = None, kind: str = "collection") -> bytes:
    """One line of an archive's list of collections."""
    text = metadata(name) if text is None else text
    return bson.encode({"db": db, "collection": name, "metadata": text, "size": 0, "type": kind})


def header(db: str, name: str, eof: bool = False, crc: int = 0) -> bytes:
    return bson.encode({"db": db, "collection": name, "EOF": eof, "CRC": Int64(crc)})


def block(db: str, name: str, documents: Documents) -> bytes:
    return header(db, name) + b"".join(documents) + TERMINATOR


def crc_of(documents: Documents) -> int:
    crc = crc64(b"".join(documents))
    return crc - (1 << 64) if crc >> 63 else crc


def end(db: str, name: str, documents: Documents, crc: int | None = None) -> bytes:
    """The end of a namespace, with the right CRC-64 unless another one is given."""
    return header(db, name, True, crc_of(documents) if crc is None else crc) + TERMINATOR


def archive(collections: Mapping[tuple[str, str], Documents], *extra: bytes, entries: Iterable[bytes] = ()) -> bytes:
    """A whole archive: each collection in two interleaved blocks, then ``extra`` bytes at the end."""
    whole = {key: list(documents) for key, documents in collections.items()}
    parts = [MAGIC, prelude(), *(entry(db, name) for db, name in whole), *entries, TERMINATOR]
    parts += [block(db, name, documents[: len(documents) // 2]) for (db, name), documents in whole.items()]
    for (db, name), documents in whole.items():
        parts += [block(db, name, documents[len(documents) // 2 :]), end(db, name, documents)]
    return b"".join([*parts, *extra])


def tar_of(files: Mapping[str, bytes], **attributes: Any) -> bytes:
    """A tar of these files; ``attributes`` are set on every member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for attribute, value in attributes.items():
                setattr(member, attribute, value)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def directory_files(db: str, collections: Mapping[str, Documents], packed: bool = True) -> dict[str, bytes]:
    """The files of a dump directory."""
    files = {}
    for name, documents in collections.items():
        pair = {"bson": b"".join(documents), "metadata.json": metadata(name).encode()}
        for ending, content in pair.items():
            path = f"{db}/{name}.{ending}"
            files[path + ".gz" if packed else path] = gzip.compress(content, mtime=0) if packed else content
    return files


class MemorySource:
    """A byte source in memory that hands out chunks of the size a test wants."""

    def __init__(self, data: bytes, chunk_bytes: int = 1 << 20, name: str = "dump", ranges: bool = True) -> None:
        self.data, self.name, self.size, self.bytes_read = data, name, len(data), 0
        self._chunk_bytes = chunk_bytes
        if ranges:
            self.read_range = lambda start, length: data[start : start + length]

    def __iter__(self):
        self.bytes_read = 0
        for start in range(0, len(self.data), self._chunk_bytes):
            chunk = self.data[start : start + self._chunk_bytes]
            self.bytes_read += len(chunk)
            yield chunk
