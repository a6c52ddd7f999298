# SPDX-License-Identifier: MIT
"""The single steps of a swap: each is one command that the server itself guards by the collection's UUID."""

from __future__ import annotations

import signal

import bson
import pymongo
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from .held_signals import held_signals
from .mongo_catalog import CODEC, Names, catalog, unpack
from .mongo_marker import DURABLE
from .mongo_swap_state import Tampered

RAW = CodecOptions(document_class=RawBSONDocument)
NOT_FOUND, EXISTS, UUID_MISMATCH, DUPLICATE = 26, 48, 361, 11000
# a writer that makes the collection again and again is met this often; then it is stronger than we are
_ATTEMPTS = 20
# a rename waits for the database's lock behind whatever holds it; longer than the lease would be in vain
STEP_SECONDS = 25
_BATCH = 500


class Steps:
    """Commands on one database, each sent only while the lease is surely ours; ``hook(name)`` is called after each."""

    def __init__(self, database, token, lease, hook=None):
        self.database = database
        self.names = Names(database.name, token)
        self.lease = lease
        self.strays = []
        self.hook = hook or (lambda name: None)

    def command(self, command, name, admin=False):
        """Run one command that changes something; majority and journal, with a deadline."""
        self.lease.confirm()
        database = self.database.client.admin if admin else self.database
        try:
            # whoever takes back a step that the server is still at sees nothing to take back, and then it is done
            with held_signals() as came, pymongo.timeout(STEP_SECONDS):
                database.command({**command, "writeConcern": DURABLE.document}, codec_options=CODEC)
        except PyMongoError:
            if came:
                # what failed is tried again, and a signal comes only once
                signal.raise_signal(came[0])
            raise
        self.hook(name)

    def mark(self, marker, item, **fields):
        """Note progress of one item in the marker."""
        marker.update_item(self.lease, item, **fields)
        self.hook(f"mark {item['n']}")

    def advance(self, marker, phase, **changes):
        """Take the marker to the next phase."""
        marker.advance(self.lease, phase=phase, **changes)
        self.hook(f"phase {phase}")

    def rename(self, source, target, uuid, replacing=None):
        """Rename if ``source`` is still ``uuid``; in the same step drop ``target`` if it is ``replacing``."""
        command = {
            "renameCollection": f"{self.database.name}.{source}",
            "to": f"{self.database.name}.{target}",
            "collectionUUID": uuid,
        }
        if replacing:
            command["dropTarget"] = replacing
        self.command(command, f"rename {source} {target}", admin=True)

    def put(self, source, target, uuid, known):
        """Rename ``source`` to ``target``, also when a client has made ``target`` again in the gap before.

        Such a stray collection is fenced, its documents are kept in a collection of their own, and it is replaced in
        one step; a client that writes into it meanwhile gets error 121 and no acknowledgement. A ``target`` that is
        one of ``known`` (this restore's and earlier ones' own) is no stray.
        """
        for _ in range(_ATTEMPTS):
            try:
                return self.rename(source, target, uuid)
            except OperationFailure as error:
                if error.code != EXISTS:
                    raise
            stray = catalog(self.database).by_name.get(target)
            if stray is None:
                continue
            self._refuse_no_stray(stray, known)
            try:
                self._fence(stray)
                self._keep_documents(stray)
                return self.rename(source, target, uuid, replacing=stray.uuid)
            except OperationFailure as error:
                if error.code not in (UUID_MISMATCH, NOT_FOUND):
                    raise
        raise Tampered(
            f"writers make {target} again faster than it can be replaced: stop them, then run undo_restore_mongo",
            details={"name": target},
        )

    def clear(self, target, known):
        """Take a stray collection at ``target`` out of the way of a view or time-series: no rename can replace it."""
        stray = catalog(self.database).by_name.get(target)
        if stray is None or stray.type != "collection":
            return
        self._refuse_no_stray(stray, known)
        away = self.names.stray(target, stray.uuid)
        self.rename(target, away, stray.uuid)
        self._note(target, away)

    def drop(self, name, uuid=None):
        """Drop ``name``, if it is still the collection ``uuid`` (a view and a time-series cannot be named so)."""
        self.command({"drop": name, **({"collectionUUID": uuid} if uuid else {})}, f"drop {name}")

    def view(self, item, wanted, known):
        """Make the view of ``item`` what ``wanted`` says (packed, or ``None``: no view)."""
        name = item["n"]
        for _ in range(_ATTEMPTS):
            entry = catalog(self.database).by_name.get(name)
            current = entry.options if entry and entry.type == "view" else None
            definition = unpack(wanted)
            try:
                if definition is None:
                    return self.drop(name) if current is not None else None
                if current is not None:
                    if current.get("collation") == definition.get("collation"):
                        change = {key: definition[key] for key in ("viewOn", "pipeline")}
                        return self.command({"collMod": name, **change}, f"view {name}")
                    # a view keeps its collation for life
                    self.drop(name)
                self.clear(name, known)
                return self.command({"create": name, **definition}, f"view {name}")
            except OperationFailure as error:
                if error.code not in (EXISTS, NOT_FOUND, UUID_MISMATCH):
                    raise
        raise Tampered(f"writers make {name} again faster than it can be replaced: stop them", details={"name": name})

    def _refuse_no_stray(self, entry, known):
        if entry.type != "collection":
            raise Tampered(
                f"{entry.name} is now a {entry.type}: nothing more was touched", details={"name": entry.name}
            )
        if entry.uuid in known:
            raise Tampered(
                f"{entry.name} holds UUID {entry.uuid}, which belongs elsewhere: nothing more was touched",
                details={"name": entry.name, "live": str(entry.uuid)},
            )

    def _fence(self, stray):
        self.command(
            {
                "collMod": stray.name,
                "validator": {"$expr": False},
                "validationLevel": "strict",
                "validationAction": "error",
                "collectionUUID": stray.uuid,
            },
            f"fence {stray.name}",
        )

    def _keep_documents(self, stray):
        away = self.names.stray(stray.name, stray.uuid)
        source = self.database.get_collection(stray.name, codec_options=RAW)
        kept = 0
        for documents in batches(source):
            copy_into(self.database.get_collection(away, write_concern=DURABLE), documents)
            kept += len(documents)
        if kept:
            self.hook(f"keep {away}")
            self._note(stray.name, away)

    def _note(self, name, away):
        self.strays.append({"name": name, "kept_in": away})


def batches(collection):
    """Yield the documents of a collection raw, in lists."""
    batch = []
    with collection.find(no_cursor_timeout=False) as cursor:
        for document in cursor:
            batch.append(document)
            if len(batch) == _BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def copy_into(collection, documents):
    """Insert raw documents; those that are there already (from a try before) are fine."""
    try:
        collection.insert_many(documents, ordered=False, bypass_document_validation=True)
    except BulkWriteError as error:
        others = [one for one in error.details.get("writeErrors", ()) if one["code"] != DUPLICATE]
        if others or error.details.get("writeConcernErrors"):
            raise


def raw_batches(collection):
    """Yield the documents of a collection as whole BSON, back to back."""
    with collection.find_raw_batches(batch_size=_BATCH) as cursor:
        for batch in cursor:
            if batch:
                yield batch


def split(batch):
    """Return the documents of a raw batch as raw documents."""
    return bson.decode_all(batch, RAW)
