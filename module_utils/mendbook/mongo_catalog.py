# SPDX-License-Identifier: MIT
"""What a database holds, from one listCollections, and the names that mendbook gives to its own collections."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import NamedTuple
from uuid import UUID

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion

from .errors import Refused

PREFIX = "__mend_"
LOCK = "__mend_lock"
BUCKETS = "system.buckets."
NAMESPACE_BYTES = 255
# UUIDs as uuid.UUID both ways, and dates that Python's datetime cannot hold survive the way back to the server
CODEC = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD, datetime_conversion=DatetimeConversion.DATETIME_AUTO, tz_aware=True
)
_OURS = re.compile(r"__mend_(?:[nos]_([0-9a-z]+)_|m_([0-9a-z]+)$)")


class Entry(NamedTuple):
    """One thing that listCollections shows; a view has no UUID, a time-series has the UUID of its buckets."""

    name: str
    type: str  # "collection", "view" or "timeseries"
    options: dict
    uuid: UUID | None


class Catalog:
    """One atomic look at a database: ``by_name`` and ``by_uuid`` map to `Entry`."""

    def __init__(self, entries):
        self.by_name = {entry.name: entry for entry in entries}
        self.by_uuid = {entry.uuid: entry for entry in entries if entry.uuid and entry.type != "timeseries"}

    def place(self, uuid):
        """Return the name under which a UUID stands now, or ``None``."""
        entry = self.by_uuid.get(uuid)
        return entry.name if entry else None

    def bucket_uuid(self, name):
        """Return the UUID of the buckets of the time-series ``name``, or ``None`` when there is none."""
        entry = self.by_name.get(BUCKETS + name)
        return entry.uuid if entry else None

    def live(self):
        """Return the user's own entries by name: without mendbook's collections and ``system.*``."""
        return {
            name: entry
            for name, entry in sorted(self.by_name.items())
            if not is_ours(name) and not name.startswith("system.")
        }

    def ours(self):
        """Return mendbook's marker, side, aside and stray entries by token: ``{token: {name: Entry}}``."""
        found = {}
        for name, entry in sorted(self.by_name.items()):
            token = token_of(name)
            if token and not name.startswith(BUCKETS):
                found.setdefault(token, {})[name] = entry
        return found


def catalog(database):
    """Read the whole catalogue of ``database`` with one listCollections."""
    entries = []
    # list_collections() knows no codec: UUIDs would be bytes, and an odd date in a view's pipeline an error
    preference = database.read_preference
    for found in database.cursor_command("listCollections", codec_options=CODEC, read_preference=preference):
        entries.append(Entry(found["name"], found["type"], found["options"], found["info"].get("uuid")))
    buckets = {entry.name[len(BUCKETS) :]: entry.uuid for entry in entries if entry.name.startswith(BUCKETS)}
    return Catalog(
        [entry._replace(uuid=buckets.get(entry.name)) if entry.type == "timeseries" else entry for entry in entries]
    )


def is_ours(name):
    """Tell whether a collection belongs to mendbook, its time-series buckets included."""
    return name.startswith((PREFIX, BUCKETS + PREFIX))


def token_of(name):
    """Return the token in the name of a marker or of a side, aside or stray collection, or ``None``."""
    match = _OURS.match(name)
    return match.group(1) or match.group(2) if match else None


def refuse_our_prefix(names):
    """Refuse names of the user's own that begin with our prefix: they could not be told from ours."""
    taken = sorted(name for name in names if is_ours(name))
    if taken:
        raise Refused(
            f"{taken[0]!r} begins with {PREFIX!r}, which mendbook keeps for itself: rename or leave out the collection",
            rule="names",
            details={"names": taken},
        )


def new_token():
    """Return a fresh token: it tells the collections of one swap from those of every other one."""
    return secrets.token_hex(4)


class Names:
    """The names that one swap uses in one database; each fits the server's 255 bytes for a namespace."""

    def __init__(self, database_name, token):
        self.token = token
        # room for system.buckets., because the same rule has to do for a time-series
        self._room = NAMESPACE_BYTES - len(f"{database_name}.{BUCKETS}".encode())

    @property
    def marker(self):
        """Return where the swap's own marker stands."""
        return f"{PREFIX}m_{self.token}"

    def side(self, name):
        """Return where the new data of ``name`` is built."""
        return self._fit(f"{PREFIX}n_{self.token}_", name)

    def aside(self, name):
        """Return where the old data of ``name`` is kept."""
        return self._fit(f"{PREFIX}o_{self.token}_", name)

    def stray(self, name, uuid):
        """Return where the documents go that clients wrote into ``name`` while it was missing; one per collection."""
        return self._fit(f"{PREFIX}s_{self.token}_{uuid.hex[:8]}_", name)

    def _fit(self, prefix, name):
        whole = prefix + name
        if len(whole.encode()) <= self._room:
            return whole
        # a number in place of a name that is too long; the marker holds the name beside it
        return prefix + "~" + hashlib.sha256(name.encode()).hexdigest()[:16]


def same_definition(one, other):
    """Compare options or view definitions as the server keeps them: also the order of keys counts."""
    return pack(one) == pack(other)


def pack(definition):
    """Return options or a view definition as BSON bytes, exactly and in order; ``None`` stays ``None``."""
    return None if definition is None else bson.encode(definition, codec_options=CODEC)


def unpack(packed):
    """Return what `pack` packed."""
    return None if packed is None else bson.decode(packed, codec_options=CODEC)
