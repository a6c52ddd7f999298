# SPDX-License-Identifier: MIT
"""Writes the archive of ``mongodump --archive --gzip`` as a stream: the other half of dump_archive.py.

Field by field what mongodump 100 writes, also where the format would not need it: mongorestore refuses an archive in
which a listed collection never comes to its end, views included.
"""

from __future__ import annotations

import bson
from bson import Int64, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from fastcrc.crc64 import xz as crc64
from isal import isal_zlib

from .dump_archive import MAGIC
from .dump_metadata import BUCKETS
from .mongo_catalog import CODEC

_TERMINATOR = b"\xff\xff\xff\xff"
_VERSION = "0.1"
_GZIP = 31
# what is compressed at once: the compressor makes as much room again as it is given
_SLICE_BYTES = 1 << 20
# with UUIDs as Binary, because json_util writes those as mongodump does
_PLAIN = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)


class ArchiveWriter:
    """One archive: the list of collections at once, then `block` and `end` in any mixture of namespaces, then `close`.

    ``write(bytes)`` gets the gzip stream in pieces. ``collections`` are dicts {db, collection, metadata, type} in the
    order of the archive; ``metadata`` is {options, indexes, uuid, collectionName, type} with BSON values, or None
    for users and roles. Blocks of at most ``concurrent_collections`` namespaces may alternate: mongorestore waits for
    as many at a time. ``level`` is ISA-L's, 0 (fast) to 3 (small). For one thread.
    """

    def __init__(self, write, collections, *, server_version, tool_version, level=1, concurrent_collections=4):
        self._write = write
        self._gzip = isal_zlib.compressobj(level, isal_zlib.DEFLATED, _GZIP)
        self._open = {}  # namespace -> CRC-64 so far
        self._awaited = set()  # namespaces that have not ended
        prelude = {
            "concurrent_collections": concurrent_collections,
            "version": _VERSION,
            "server_version": server_version,
            "tool_version": tool_version,
        }
        self._put(MAGIC + bson.encode(prelude))
        for one in collections:
            self._put(bson.encode(entry(**one)))
            data_name = BUCKETS + one["collection"] if one["type"] == "timeseries" else one["collection"]
            self._awaited.add((one["db"], data_name))
        self._put(_TERMINATOR)

    def block(self, namespace, *documents):
        """Add whole documents of ``namespace`` (db, data name): buffers with one or more, back to back."""
        crc = self._open.get(namespace, 0)
        self._put(_header(namespace))
        for data in documents:
            crc = crc64(data, crc)
            self._put(data)
        self._put(_TERMINATOR)
        self._open[namespace] = crc

    def end(self, namespace):
        """Say that nothing more of ``namespace`` comes; one without documents has one empty block, as mongodump has."""
        if namespace not in self._open:
            self.block(namespace)
        self._put(_header(namespace, True, self._open.pop(namespace)) + _TERMINATOR)
        self._awaited.remove(namespace)

    def close(self):
        """Write the gzip stream's end; ValueError when a listed namespace has not ended."""
        if self._awaited:
            raise ValueError(f"without an end: {sorted(self._awaited)}")
        last = self._gzip.flush()
        if last:
            self._write(last)

    def _put(self, data):
        view = memoryview(data)
        for start in range(0, len(view), _SLICE_BYTES):
            packed = self._gzip.compress(view[start : start + _SLICE_BYTES])
            if packed:
                self._write(packed)


def entry(db, collection, metadata, type):
    """What the list of collections says of one: the fields of mongodump in their order."""
    text = metadata_text(metadata) if metadata is not None else ""
    return {"db": db, "collection": collection, "metadata": text, "size": 0, "type": type}


def metadata_text(metadata):
    """Metadata as canonical extended JSON, without options and uuid where there are none."""
    kept = {key: value for key, value in metadata.items() if key not in ("options", "uuid") or value}
    plain = bson.decode(bson.encode(kept, codec_options=CODEC), codec_options=_PLAIN)
    return json_util.dumps(plain, json_options=json_util.CANONICAL_JSON_OPTIONS, separators=(",", ":"))


def _header(namespace, end=False, crc=0):
    db, collection = namespace
    signed = crc - (1 << 64) if crc >> 63 else crc
    return bson.encode({"db": db, "collection": collection, "EOF": end, "CRC": Int64(signed)})
