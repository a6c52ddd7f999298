# SPDX-License-Identifier: MIT
"""The marker of a swap: what a run set out to do and how far it is, kept in the database that it changes.

Each swap has a collection of its own, ``__mend_m_<token>``, which is a log: every entry is the whole marker, its
``_id`` is one more than that of the entry before, and the newest entry is the truth. Inserting the next ``_id`` is the
compare-and-set: of two runs that both believe to own the lock one gets a duplicate key and stops. Nothing is ever
updated or deleted in it, because the least roles that can restore (backup and restore) allow neither.

An entry: ``{_id, schema, token, run, begun_by, owner, fence, number, phase, made, at, backup, keep_seconds, keep_until,
kept, settled, items: [...], live_ttl}``

``phase``   staging (side collections are being built) · prepared · swapping · swapped · undoing · undone
``kept``    yes · dropping · no: the data that is not live (old data once swapped, new data once undone)
``settled`` the TTL indexes of this phase have their values
"""

from __future__ import annotations

from datetime import timedelta

import pymongo
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from .errors import Unknown
from .lock import server_now
from .mongo_catalog import CODEC, Names, catalog

SCHEMA = 1
DURABLE = WriteConcern(w="majority", j=True)
IN_BETWEEN = ("prepared", "swapping", "undoing")
ENDED = ("swapped", "undone")
# ten years: what is later is beyond no calendar yet, and no undo is wanted then
MOST_KEEP_SECONDS = 10 * 365 * 86400
# longer than an election; while a server is gone the driver tries again for as long as this
_SECONDS = 20


class Marker:
    """The newest entry of one swap's log, and the way to write the next one."""

    def __init__(self, database, entry):
        self.database = database
        self.entry = entry

    @property
    def token(self):
        return self.entry["token"]

    @property
    def phase(self):
        return self.entry["phase"]

    @property
    def begun_by(self):
        """The run of the restore; ``run`` is that of whoever wrote last, an undo's for one."""
        return self.entry["begun_by"]

    @property
    def items(self):
        return self.entry["items"]

    @property
    def interrupted(self):
        """Whether live data may be neither all old nor all new, or its TTL indexes still sleep."""
        return self.phase in IN_BETWEEN or (self.phase in ENDED and not self.entry["settled"])

    def uuids(self):
        """Return every UUID that this swap knows as its own."""
        fields = ("old", "new", "making")
        return {item[field] for item in self.items if item["k"] != "v" for field in fields if item.get(field)}

    def advance(self, lease, **changes):
        """Write the next entry with ``changes``, durable on a majority; raise `Unknown` when somebody else did."""
        self._append(lease, lambda entry: changes)

    def update_item(self, lease, item, **fields):
        """Write the next entry with ``fields`` changed in one item (found by kind and name)."""

        def changed(entry):
            return {"items": [{**one, **fields} if _same(one, item) else one for one in entry["items"]]}

        self._append(lease, changed)
        item.update(fields)

    def _append(self, lease, changes_to):
        lease.check()
        now = server_now(self.database)
        for _ in range(2):
            changes = changes_to(self.entry)
            entry = {**self.entry, "run": lease.run, "owner": lease.owner, "fence": lease.fence, "at": now, **changes}
            entry["_id"] += 1
            if changes.get("phase") in ENDED and changes["phase"] != self.phase:
                kept = min(entry["keep_seconds"], MOST_KEEP_SECONDS)
                entry["keep_until"] = now + timedelta(seconds=kept)
            try:
                self._insert(entry)
            except DuplicateKeyError:
                found = read(self.database, self.token)
                if found and found.entry["owner"] == lease.owner and found.entry["_id"] == entry["_id"]:
                    # an insert of ours whose answer got lost: go on from there
                    self.entry = found.entry
                    continue
                self._refuse(found)
            self.entry = entry
            return
        self._refuse(self)

    def _refuse(self, found):
        raise Unknown(
            f"another run wrote the marker of swap {self.token} of {self.database.name} "
            f"({found.entry['run'] if found else 'it is gone'}): this one stopped; look at what that run does",
            rule="swap_marker",
        )

    def _insert(self, entry):
        with pymongo.timeout(_SECONDS):
            _log(self.database, self.token).insert_one(entry)

    def facts(self, now=None):
        """Return what a plan or a report says about this swap, as JSON."""
        entry = self.entry
        keep_until = entry.get("keep_until")
        return {
            "token": entry["token"],
            "run": entry["run"],
            "begun_by": self.begun_by,
            "phase": entry["phase"],
            "at": entry["at"].isoformat(timespec="seconds"),
            "backup": entry.get("backup"),
            "kept": entry["kept"],
            "settled": entry["settled"],
            "keep_until": keep_until.isoformat(timespec="seconds") if keep_until else None,
            "expired": bool(now and keep_until and keep_until < now),
            "objects": sorted({item["n"] for item in entry["items"]}),
            "interrupted": self.interrupted,
        }


def begin(database, token, lease):
    """Write the first entry of a swap, before its first side collection: from now on the token is known as ours."""
    earlier = markers(database)
    now = server_now(database)
    entry = {
        "_id": 1,
        "schema": SCHEMA,
        "token": token,
        "run": lease.run,
        "begun_by": lease.run,
        "owner": lease.owner,
        "fence": lease.fence,
        "number": max([marker.entry["number"] for marker in earlier], default=0) + 1,
        "phase": "staging",
        "made": now,
        "at": now,
        "backup": None,
        "keep_seconds": 0,
        "keep_until": None,
        "kept": "yes",
        "settled": True,
        "items": [],
    }
    marker = Marker(database, entry)
    lease.check()
    marker._insert(entry)
    return marker


def read(database, token):
    """Return the `Marker` of one swap as it is now, or ``None``."""
    with pymongo.timeout(_SECONDS):
        entry = _log(database, token).find_one(sort=[("_id", -1)])
    return Marker(database, entry) if entry else None


def markers(database, seen=None):
    """Return the markers of all swaps of a database, the oldest first; ``seen`` saves a look at the catalogue."""
    tokens = []
    for token, entries in (seen or catalog(database)).ours().items():
        if Names(database.name, token).marker in entries:
            tokens.append(token)
    found = [marker for marker in (read(database, token) for token in tokens) if marker]
    return sorted(found, key=lambda marker: (marker.entry["number"], marker.token))


def interrupted(database):
    """Return the `Marker` of the swap that was started and not ended, or ``None``; there is at most one."""
    for marker in reversed(markers(database)):
        if marker.interrupted:
            return marker
    return None


def _log(database, token):
    return database.get_collection(Names(database.name, token).marker, codec_options=CODEC, write_concern=DURABLE)


def _same(one, other):
    return one["k"] == other["k"] and one["n"] == other["n"]
