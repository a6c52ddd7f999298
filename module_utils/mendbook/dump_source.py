# SPDX-License-Identifier: MIT
"""Where the bytes of a dump come from, and gzip on the way.

A byte source is any object with
``__iter__()``  every byte from the first to the last, in chunks; each call starts again at the beginning
``size``        number of bytes, or None when that is not known
``name``        for messages
``bytes_read``  how far the newest iteration is, for progress
``read_range(start, length) -> bytes``  optional; shorter than asked only at the end
S3 objects implement the same in s3_stream.py.
"""

from __future__ import annotations

import os
import stat
import zlib

from .errors import MendError

try:
    from isal import isal_zlib as inflater

    INFLATE_ERRORS = (zlib.error, inflater.error)
except ImportError:  # slower by a fifth, same results
    inflater = zlib
    INFLATE_ERRORS = (zlib.error,)

CHUNK_BYTES = 4 << 20
_PIECE_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b\x08"
RULE = "archive"
# Deflate reaches 1032; real dumps stay under 60. Small inputs are left alone: their output cannot hurt.
MAX_RATIO = 200
RATIO_FREE_BYTES = 256 << 20


class FileSource:
    """A regular file; a file that changes while it is read is an error, never a mixture."""

    def __init__(self, path, start=0, length=None):
        self.path = path
        self.name = path
        self._state = self._look()
        self._start = start
        self.size = self._state[2] if length is None else length
        self.bytes_read = 0

    def _look(self):
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise MendError(f"cannot read {self.path}: {error.strerror}", rule=RULE) from error
        if not stat.S_ISREG(found.st_mode):
            raise MendError(f"{self.path} is not a regular file", rule=RULE)
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def __iter__(self):
        self.bytes_read = 0
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(self._start)
                while self.bytes_read < self.size:
                    chunk = file.read(min(CHUNK_BYTES, self.size - self.bytes_read))
                    if not chunk:
                        break
                    self.bytes_read += len(chunk)
                    yield chunk
        except OSError as error:
            raise MendError(
                f"{self.path}: reading failed at byte {self._start + self.bytes_read}: {error.strerror}", rule=RULE
            ) from error
        if self._look() != self._state:
            raise MendError(f"{self.path} was changed while it was being read; start again", rule=RULE)

    def read_range(self, start, length):
        """``length`` bytes from ``start``, fewer at the end of the file."""
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(self._start + start)
                parts = []
                length = max(0, min(length, self.size - start))
                while length:
                    chunk = file.read(length)
                    if not chunk:
                        break
                    parts.append(chunk)
                    length -= len(chunk)
                return b"".join(parts)
        except OSError as error:
            raise MendError(f"{self.path}: reading failed at byte {start}: {error.strerror}", rule=RULE) from error


def head(source, length):
    """The first ``length`` bytes of a source, fewer when it is shorter."""
    if hasattr(source, "read_range"):
        return source.read_range(0, length)
    parts, have = [], 0
    for chunk in source:
        parts.append(bytes(chunk))
        have += len(chunk)
        if have >= length:
            break
    return b"".join(parts)[:length]


def beginning(source):
    """The source's bytes in small, growing chunks, for a reader that will soon stop (a range is cheaper than a
    stream whose parts are fetched ahead)."""
    if not hasattr(source, "read_range"):
        yield from source
        return
    start, length = 0, 64 << 10
    while True:
        chunk = source.read_range(start, length)
        if chunk:
            yield chunk
        if len(chunk) < length:
            return
        start += length
        length = min(length * 2, CHUNK_BYTES)


def gunzip(chunks, name, max_ratio=MAX_RATIO, block_bytes=CHUNK_BYTES):
    """Inflate gzip (any number of members) to blocks of at most ``block_bytes``.

    Every member's CRC-32 and length is checked. Raises MendError (rule ``archive``; ``ratio`` for an output that is
    out of all proportion) with the place in the compressed bytes.
    """
    stream = inflater.decompressobj(31)
    started = False  # inside a member: an end here is a truncation
    members = consumed = produced = 0
    for chunk in _pieces(chunks):
        data = chunk
        consumed += len(chunk)
        while True:
            if not started:
                data = _next_member(data, members, consumed, name)
                if not data:
                    break
                started = True
            try:
                block = stream.decompress(data, block_bytes)
            except INFLATE_ERRORS as error:
                at = max(0, consumed - len(chunk))
                raise MendError(
                    f"{name}: the gzip data is damaged between byte {at} and {consumed} ({_words(error)}); "
                    "fetch the backup again or take another one",
                    rule=RULE,
                ) from error
            if block:
                produced += len(block)
                if produced > RATIO_FREE_BYTES and produced > consumed * max_ratio:
                    raise MendError(
                        f"{name}: {consumed} bytes of gzip became {produced} bytes, more than {max_ratio} times as "
                        "many; if this backup really is so repetitive, raise the limit",
                        rule="ratio",
                    )
                yield block
            if stream.eof:
                data, stream = stream.unused_data, inflater.decompressobj(31)
                started, members = False, members + 1
                if not data:
                    break
                continue
            data = stream.unconsumed_tail
            if not data and len(block) < block_bytes:
                break
    if started or not members:
        raise MendError(
            f"{name} is truncated: the gzip stream stops after {consumed} bytes without its checksum", rule=RULE
        )


def _pieces(chunks):
    """The chunks in pieces: the inflater copies what it has not used yet of a piece, again for every block."""
    for chunk in chunks:
        if len(chunk) <= _PIECE_BYTES:
            yield chunk
            continue
        view = memoryview(chunk)
        for start in range(0, len(view), _PIECE_BYTES):
            yield view[start : start + _PIECE_BYTES]


def _next_member(data, members, consumed, name):
    """What is left of ``data`` to inflate at the border of two members; zero padding (tape blocks) is let through."""
    if members and data[:1] != GZIP_MAGIC[:1]:
        rest = bytes(data).lstrip(b"\0")
        if rest:
            raise MendError(
                f"{name}: {len(rest)} bytes or more that are not gzip follow the end of the gzip data, at byte "
                f"{consumed - len(rest)}",
                rule=RULE,
            )
        return b""
    return data


def _words(error):
    return " ".join(str(error).split()) or type(error).__name__
