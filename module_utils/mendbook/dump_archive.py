# SPDX-License-Identifier: MIT
"""Reads the archive of ``mongodump --archive [--gzip]`` as a stream.

Magic bytes, a prelude, one document per collection, a terminator (int32 -1); then blocks of documents of one namespace
each, in any mixture, each block = header document, documents, terminator. A namespace ends with a header whose EOF is
true and whose CRC is the CRC-64/XZ of all its documents.
"""

from __future__ import annotations

from fastcrc.crc64 import xz as crc64

from .dump_bson import DocumentStream
from .dump_metadata import (
    ACCESS_NAMES,
    OPLOG,
    RULE,
    Batch,
    DumpCollection,
    End,
    check_namespace,
    collection_from,
    shown,
)
from .dump_queue import prefetch
from .dump_source import MAX_RATIO, beginning, gunzip
from .errors import MendError

MAGIC = b"\x6d\xe2\x99\x81"
_HEADER = ("db", "collection", "EOF", "CRC")
_MAX_COLLECTIONS = 100_000
# Two blocks wait while one is worked on; more only costs memory.
_AHEAD_BYTES = 8 << 20
_MASK = (1 << 64) - 1


class ArchiveDump:
    """An archive; opening it reads the prelude only, ``iterate`` reads everything once."""

    def __init__(self, source, gzip, *, max_batch_bytes=4 << 20, max_batch_docs=10_000, max_ratio=MAX_RATIO):
        self.source = source
        self.format = "archive+gzip" if gzip else "archive"
        self.integrity = (
            "every byte by gzip's CRC-32, every document by the archive's CRC-64"
            if gzip
            else "every document by the archive's CRC-64; options and indexes only by the manifest, if there is one"
        )
        self._gzip = gzip
        self._max_batch_bytes = max_batch_bytes
        self._max_batch_docs = max_batch_docs
        self._max_ratio = max_ratio
        self.warnings = []
        self.collections = {}
        self.has_oplog = None  # an archive shows its oplog only when its last blocks come
        self.oplog_entries = None
        chunks = beginning(source)
        blocks = gunzip(chunks, source.name, max_ratio) if gzip else chunks
        stream = DocumentStream(blocks, source.name)
        prelude, entries = self._read_prelude = self._prelude(stream)
        blocks.close()
        self.tool_version = _text(prelude.get("tool_version"))
        self.server_version = _text(prelude.get("server_version"))
        for entry in entries:
            self._add(entry)

    @property
    def size(self):
        return self.source.size

    @property
    def bytes_read(self):
        return self.source.bytes_read

    @property
    def databases(self):
        return sorted({db for db, _name in self.collections})

    def _prelude(self, stream):
        if bytes(stream.take(4, "the magic number")) != MAGIC:
            raise MendError(f"{stream.name} is not a mongodump archive", rule=RULE)
        prelude = stream.document("the prelude")
        if prelude is None or not isinstance(prelude.get("version"), str):
            raise MendError(f"{stream.name} is damaged: the prelude has no version", rule=RULE)
        if prelude["version"] != "0.1":
            raise MendError(
                f"{stream.name} is an archive of format {shown(prelude['version'])!r}; this reader knows 0.1", rule=RULE
            )
        entries = []
        while True:
            entry = stream.document("the list of collections")
            if entry is None:
                return prelude, entries
            entries.append(entry)
            if len(entries) > _MAX_COLLECTIONS:
                raise MendError(f"{stream.name} lists more than {_MAX_COLLECTIONS} collections", rule=RULE)

    def _add(self, entry):
        db, name = entry.get("db"), entry.get("collection")
        where = f"{self.source.name}, {shown((str(db), str(name)))}"
        check_namespace(db, name, where)
        if (db, name) == OPLOG:
            self.has_oplog = True
            return
        if (db, name) in self.collections:
            raise MendError(f"{where}: listed twice in the archive", rule=RULE)
        text = entry.get("metadata")
        if not text and name not in ACCESS_NAMES and not name.startswith("system."):
            raise MendError(f"{where}: the archive has no metadata for it", rule=RULE)
        if text and not isinstance(text, str):
            raise MendError(f"{where}: the metadata is not text", rule=RULE)
        self.collections[db, name] = (
            collection_from(db, name, text, where, _text(entry.get("type")), self.warnings, checked=self._gzip)
            if text
            else DumpCollection(db, name, data_name=name, has_metadata=False)
        )

    def iterate(self, include=None):
        """Yield Batch and End of every namespace, or of those whose (db, data name) is in ``include``.

        Everything is read and checked either way. Ends normally only when every collection of the archive ended with
        the right CRC-64; otherwise raises MendError (rule ``archive``).
        """
        chunks = self.source
        blocks = gunzip(chunks, self.source.name, self._max_ratio) if self._gzip else iter(chunks)
        blocks = prefetch(blocks, _AHEAD_BYTES)
        try:
            yield from self._blocks(DocumentStream(blocks, self.source.name), include)
        finally:
            blocks.close()

    def _blocks(self, stream, include):
        # the stream is checked to its last bit, what opened the dump may have come from elsewhere
        if self._prelude(stream) != self._read_prelude:
            raise MendError(f"{stream.name} was replaced after it was opened; start again", rule=RULE)
        known = {c.namespace: c.type for c in self.collections.values()}
        known.update({(db, name): "collection" for db in self.databases for name in ACCESS_NAMES})
        open_sums = {}  # namespace -> [crc, count]
        ended = {}
        while not stream.at_end():
            start = stream.offset
            namespace, eof, crc = self._header(stream)
            place = f"{stream.name}, block at byte {start}"
            if namespace not in known and namespace != OPLOG:
                raise MendError(
                    f"{place}: it belongs to {shown(namespace)}, which the archive does not list", rule=RULE
                )
            if namespace in ended:
                raise MendError(f"{place}: more of {shown(namespace)} comes after its end", rule=RULE)
            sums = open_sums.setdefault(namespace, [0, 0])
            wanted = include is None or namespace in include
            if namespace == OPLOG:
                self.has_oplog = True
            for data, count in stream.batches(namespace, self._max_batch_docs, self._max_batch_bytes, True):
                if eof:
                    raise MendError(f"{place}: the end of {shown(namespace)} has documents in it", rule=RULE)
                sums[0] = crc64(data, sums[0])
                sums[1] += count
                if wanted:
                    yield Batch(namespace, data, count)
                data = None  # it may be large, and the next one is made now
            if not eof:
                continue
            if sums[0] != crc & _MASK:
                raise MendError(
                    f"{stream.name} is damaged: the {sums[1]} documents of {shown(namespace)} do not have the CRC-64 "
                    f"that the archive states at byte {start}",
                    rule=RULE,
                )
            ended[namespace] = sums[1]
            del open_sums[namespace]
            if namespace == OPLOG:
                self.oplog_entries = sums[1]
            if wanted:
                yield End(namespace, sums[1])
        self._check_all_ended(stream, known, ended, open_sums)

    def _header(self, stream):
        start = stream.offset
        header = stream.document("a block's header")
        # Exactly these fields, because nothing else protects these bytes.
        sound = header is not None and tuple(header) == _HEADER and isinstance(header["EOF"], bool)
        sound = sound and all(isinstance(header[key], str) for key in ("db", "collection"))
        crc = header["CRC"] if sound else None
        if not sound or not isinstance(crc, int) or isinstance(crc, bool) or (crc and not header["EOF"]):
            raise MendError(f"{stream.name} is damaged at byte {start}: no block's header where one must be", rule=RULE)
        return (header["db"], header["collection"]), header["EOF"], crc

    def _check_all_ended(self, stream, known, ended, open_sums):
        missing = []
        for collection in self.collections.values():
            if collection.namespace not in ended and collection.type != "view" and collection.has_metadata:
                missing.append(collection.namespace)
        missing += [namespace for namespace in open_sums if namespace not in missing]
        if missing:
            words = ", ".join(
                f"{shown(namespace)} ({open_sums.get(namespace, (0, 0))[1]} documents so far)"
                for namespace in sorted(missing)[:5]
            )
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise MendError(
                f"{stream.name} is truncated: it stops after {stream.offset} bytes, before the end of {words}{more}",
                rule=RULE,
            )
        if self.has_oplog is None:
            self.has_oplog = False


def _text(value):
    return value if isinstance(value, str) and value else None
