# SPDX-License-Identifier: MIT
"""A dump directory inside a tar, plain or gzip, read from a stream.

Metadata may stand after its data in a tar, and options must be known before a collection is made: so a first pass
finds the members and reads the small ones. In a plain tar with range reads that pass jumps from header to header; in
a tar.gz it has to inflate everything once, which also proves the gzip checksum before anything is loaded.
"""

from __future__ import annotations

import tarfile
from typing import NamedTuple

from .dump_directory import DirectoryDump
from .dump_metadata import RULE, shown
from .dump_queue import prefetch
from .dump_source import MAX_RATIO, gunzip
from .errors import MendError

BLOCK = 512
_AHEAD_BYTES = 8 << 20
_WINDOW_BYTES = 64 << 10
_MAX_SMALL_BYTES = 16 << 20
_MAX_MEMBERS = 200_000
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"


class Member(NamedTuple):
    path: str
    start: int
    size: int


class Window:
    """Reads at growing offsets, through ranges where the source has them, else from the stream."""

    def __init__(self, chunks, read_range=None):
        self._chunks = chunks
        self._read_range = read_range
        self._base = 0
        self._held = b""

    def at(self, offset, length):
        """``length`` bytes at ``offset`` (not before what was read last), fewer at the end."""
        if self._read_range:
            if offset < self._base or offset + length > self._base + len(self._held):
                self._base, self._held = offset, self._read_range(offset, max(length, _WINDOW_BYTES))
            return self._held[offset - self._base : offset - self._base + length]
        while offset >= self._base + len(self._held):
            self._base += len(self._held)
            self._held = next(self._chunks, b"")
            if not self._held:
                return b""
        while offset + length > self._base + len(self._held):
            more = next(self._chunks, b"")
            if not more:
                break
            rest = self._held[offset - self._base :]
            self._base, self._held = offset, bytes(rest) + bytes(more)
        return bytes(self._held[offset - self._base : offset - self._base + length])


def walk(window, name, small):
    """(members, {path: bytes of the small ones}) of a tar; ``small(path)`` says whose content is wanted now.

    Raises MendError for a header whose checksum is wrong, a member that is a link or a special file or that leads out
    of the folder, and an end that comes too early.
    """
    members, contents, offset, extended = {}, {}, 0, {}
    while True:
        block = window.at(offset, BLOCK)
        if len(block) < BLOCK:
            raise MendError(
                f"{name} is truncated: the tar stops after {offset + len(block)} bytes without its end marker",
                rule=RULE,
            )
        if not any(block):
            _check_end(window, offset, name)
            return members, contents
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise MendError(f"{name} is damaged at byte {offset}: no tar header ({error})", rule=RULE) from error
        start = offset + BLOCK
        size = int(extended.get("size", header.size))
        if size < 0:
            raise MendError(f"{name} is damaged at byte {offset}: a member of {size} bytes", rule=RULE)
        offset = start + -(-size // BLOCK) * BLOCK
        if header.type in (_PAX, _GNU_NAME, _GNU_LINK, _PAX_GLOBAL):
            body = _body(window, start, size, name)
            if header.type == _GNU_NAME:
                extended["path"] = body.rstrip(b"\0").decode("utf-8", "surrogateescape")
            elif header.type == _PAX:
                extended.update(_pax(body, name, start))
            continue
        path = _safe_path(extended.get("path", header.name), header, name)
        extended = {}
        if header.type == tarfile.DIRTYPE:
            continue
        if path in members:
            raise MendError(f"{name}: {shown(path)} is in the tar twice", rule=RULE)
        if len(members) >= _MAX_MEMBERS:
            raise MendError(f"{name}: more than {_MAX_MEMBERS} members", rule=RULE)
        members[path] = Member(path, start, size)
        if small(path):
            contents[path] = _body(window, start, size, name)


def _body(window, start, size, name):
    if size > _MAX_SMALL_BYTES:
        raise MendError(f"{name}: {size} bytes of metadata in one member, more than 16 MiB", rule=RULE)
    body = window.at(start, size) if size else b""
    if len(body) < size:
        raise MendError(f"{name} is truncated: the tar stops inside a member at byte {start + len(body)}", rule=RULE)
    return body


def _pax(body, name, start):
    """The path and size records of an extended header: "LENGTH KEY=VALUE\\n"..."""
    records, position = {}, 0
    while position < len(body):
        digits, _space, rest = body[position:].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = rest[: length - len(digits) - 2].partition(b"=")
        if not length or not equals or body[position + length - 1 : position + length] != b"\n":
            raise MendError(f"{name} is damaged at byte {start + position}: a broken extended tar header", rule=RULE)
        if key in (b"path", b"size"):
            records[key.decode()] = value.decode("utf-8", "surrogateescape")
        if key.startswith(b"GNU.sparse"):
            raise MendError(f"{name}: sparse members are not supported; pack the dump without --sparse", rule=RULE)
        position += length
    if not records.get("size", "0").isdigit():
        raise MendError(f"{name} is damaged at byte {start}: an impossible size in an extended tar header", rule=RULE)
    return records


def _safe_path(path, header, name):
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        raise MendError(f"{name}: the member {shown(path)!r} is a link or a special file: refused", rule="hostile")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise MendError(f"{name}: the member {shown(path)!r} leads out of the dump: refused", rule="hostile")
    return "/".join(parts)


def _check_end(window, offset, name):
    """Only zeros may follow: a block of zeros in the middle would hide every member after it."""
    while True:
        rest = window.at(offset, _WINDOW_BYTES)
        if not rest:
            return
        if any(rest):
            raise MendError(f"{name} is damaged: data follows the tar's end marker at byte {offset}", rule=RULE)
        offset += len(rest)


class TarDump(DirectoryDump):
    """Members of the tar in its own order; ``gzip`` for a tar.gz."""

    def __init__(self, source, gzip, root_database, *, max_ratio=MAX_RATIO, **limits):
        self.source = source
        self._gzip = gzip
        self._max_ratio = max_ratio
        self.format = "tar+gzip" if gzip else "tar"
        self._members, self._contents = self._first_pass()
        super().__init__(source.name, root_database, max_ratio=max_ratio, **limits)
        if gzip:
            self.integrity = "every byte by gzip's CRC-32"

    @property
    def size(self):
        return self.source.size

    @property
    def bytes_read(self):
        return self.source.bytes_read

    def _first_pass(self):
        read_range = None if self._gzip else getattr(self.source, "read_range", None)
        chunks = iter(()) if read_range else self._chunks()
        try:
            members, contents = walk(Window(chunks, read_range), self.source.name, _is_small)
        finally:
            getattr(chunks, "close", lambda: None)()
        for member in members.values():
            if read_range and self.source.size is not None and member.start + member.size > self.source.size:
                raise MendError(f"{self.source.name} is truncated inside {shown(member.path)}", rule=RULE)
        return members, contents

    def _chunks(self):
        return prefetch(
            gunzip(self.source, self.source.name, self._max_ratio) if self._gzip else iter(self.source), _AHEAD_BYTES
        )

    def _paths(self):
        return list(self._members)

    def _small(self, path):
        return [self._contents[path]]

    def _each(self, paths):
        chunks = self._chunks()
        try:
            cutter = _Cutter(chunks, self.source.name)
            wanted = [
                member for member in self._members.values() if member.path in paths or member.path in self._contents
            ]
            for member in sorted(wanted, key=lambda member: member.start):
                if member.path in paths:
                    yield member.path, cutter.member(member)
                # the stream is checked to its last bit, what the first pass read may have come from elsewhere
                elif b"".join(cutter.member(member)) != self._contents[member.path]:
                    raise MendError(f"{self.source.name} was replaced after it was opened; start again", rule=RULE)
            cutter.drain()
        finally:
            chunks.close()


def _is_small(path):
    return path.endswith((".metadata.json", ".metadata.json.gz", "prelude.json", "prelude.json.gz"))


class _Cutter:
    """Cuts members out of the stream, in the order of their places."""

    def __init__(self, chunks, name):
        self._chunks = chunks
        self._name = name
        self._base = 0
        self._held = memoryview(b"")

    def member(self, member):
        """Yield the bytes of one member."""
        end = member.start + member.size
        position = member.start
        while position < end:
            while position >= self._base + len(self._held):
                self._base += len(self._held)
                chunk = next(self._chunks, None)
                if chunk is None:
                    raise MendError(
                        f"{self._name} is truncated inside {shown(member.path)}: it stops after {self._base} bytes",
                        rule=RULE,
                    )
                self._held = memoryview(chunk)
            part = self._held[position - self._base : end - self._base]
            position += len(part)
            yield part

    def drain(self):
        """Read the rest, so that the checks at the source's end are made."""
        for _chunk in self._chunks:
            pass
