# SPDX-License-Identifier: MIT
"""Reads the directory form of mongodump, as a folder, from S3 or as a tar, without unpacking anything to disk."""

from __future__ import annotations

import os
import stat

from .dump_bson import DocumentStream
from .dump_files import collections_of, layout, prelude_versions
from .dump_metadata import OPLOG, RULE, Batch, End, shown
from .dump_queue import prefetch
from .dump_source import GZIP_MAGIC, MAX_RATIO, FileSource, gunzip
from .errors import MendError

_AHEAD_BYTES = 8 << 20
_MAX_METADATA_BYTES = 16 << 20


class DirectoryDump:
    """Files named DATABASE/COLLECTION.bson[.gz] and .metadata.json[.gz].

    A subclass says where the files are: ``_paths()`` lists them, ``_small(path)`` reads one whole, ``_each(paths)``
    yields (path, chunks) for the data files in the order that suits the carrier.
    """

    format = "directory"

    def __init__(self, name, root_database, max_batch_bytes=4 << 20, max_batch_docs=10_000, max_ratio=MAX_RATIO):
        self.name = name
        self._max_batch_bytes = max_batch_bytes
        self._max_batch_docs = max_batch_docs
        self._max_ratio = max_ratio
        self.warnings = []
        found = layout(self._paths())
        self.collections, self._data = collections_of(found, self._text, root_database, name, self.warnings)
        self.tool_version, self.server_version = prelude_versions(map(self._text, found.preludes))
        self.warnings += [f"{shown(path)} is not a part of a dump and was ignored" for path in found.ignored]
        if not self.collections and not found.oplog:
            raise MendError(f"{name} holds no dump: there is no .bson or .metadata.json file in it", rule=RULE)
        self.has_oplog = found.oplog is not None
        self.oplog_entries = None if self.has_oplog else 0
        packed = sum(path.endswith(".gz") for path in self._data.values())
        self.integrity = (
            "every byte by gzip's CRC-32"
            if packed == len(self._data)
            else "lengths and structure only: plain .bson files have no checksum, so only the manifest can prove them"
        )

    @property
    def databases(self):
        return sorted({db for db, _name in self.collections})

    def _text(self, path):
        chunks = self._small(path)
        if path.endswith(".gz"):
            chunks = gunzip(chunks, f"{self.name}, {shown(path)}", self._max_ratio)
        parts, size = [], 0
        for chunk in chunks:
            parts.append(bytes(chunk))
            size += len(chunk)
            if size > _MAX_METADATA_BYTES:
                raise MendError(f"{self.name}, {shown(path)}: more than 16 MiB of metadata", rule=RULE)
        try:
            return b"".join(parts).decode("utf-8")
        except UnicodeDecodeError as error:
            raise MendError(f"{self.name}, {shown(path)} is damaged: it is not UTF-8", rule=RULE) from error

    def iterate(self, include=None):
        """Yield Batch and End of every namespace, or of those whose (db, data name) is in ``include``; files of others
        are not read."""
        wanted = {path: namespace for namespace, path in self._data.items() if include is None or namespace in include}
        for path, chunks in self._each(wanted):
            yield from self._documents(wanted[path], path, chunks)

    def _documents(self, namespace, path, chunks):
        name = f"{self.name}, {shown(path)}"
        blocks = prefetch(gunzip(chunks, name, self._max_ratio) if path.endswith(".gz") else iter(chunks), _AHEAD_BYTES)
        total = 0
        try:
            stream = DocumentStream(_plain(blocks, path, name), name)
            for data, count in stream.batches(namespace, self._max_batch_docs, self._max_batch_bytes, False):
                total += count
                yield Batch(namespace, data, count)
        finally:
            blocks.close()
        if namespace == OPLOG:
            self.oplog_entries = total
        yield End(namespace, total)


def _plain(blocks, path, name):
    """The blocks of a .bson file; one that is gzip in spite of its name is named as such, not as damage."""
    first = True
    for block in blocks:
        if first and not path.endswith(".gz") and bytes(block[:10]).startswith(GZIP_MAGIC) and block[3:4] == b"\0":
            length = int.from_bytes(block[:4], "little")
            if length > len(block) or block[length - 1]:
                raise MendError(f"{name} is gzip but its name says plain BSON; name it .bson.gz", rule=RULE)
        first = False
        yield block


class SourcesDump(DirectoryDump):
    """A dump directory whose files are byte sources (dump_source.py): ``sources`` by their path inside the dump."""

    def __init__(self, name, root_database, sources, **limits):
        self._sources = sources
        super().__init__(name, root_database, **limits)

    @property
    def size(self):
        return sum(self._sources[path].size for path in self._data.values())

    @property
    def bytes_read(self):
        return sum(self._sources[path].bytes_read for path in self._data.values())

    def file_bytes(self, namespace):
        """How long the data file of a namespace is."""
        return self._sources[self._data[namespace]].size

    def _paths(self):
        return list(self._sources)

    def _small(self, path):
        return self._sources[path]

    def _each(self, paths):
        # The largest first: its indexes are then built while the others are read.
        for path in sorted(paths, key=lambda path: -self._sources[path].size):
            yield path, self._sources[path]


def open_folder(path, **limits):
    """Open a dump directory on disk; a folder that is itself one database is named after it."""
    root = os.path.abspath(path)
    return SourcesDump(path, os.path.basename(root), _files_below(root, path), **limits)


def _files_below(root, name):
    def stop(error):
        raise MendError(f"cannot read {shown(error.filename)}: {error.strerror}", rule=RULE) from error

    sources = {}
    for folder, folders, names in os.walk(root, onerror=stop):
        folders.sort()
        for entry in names + folders:
            path = os.path.join(folder, entry)
            kind = os.lstat(path).st_mode
            relative = os.path.relpath(path, root)
            if stat.S_ISREG(kind):
                sources[relative] = FileSource(path)
            elif not stat.S_ISDIR(kind):
                raise MendError(f"{name}: {shown(relative)} is a link or a special file: refused", rule=RULE)
    return sources
