# SPDX-License-Identifier: MIT
"""What may still forbid the swap, while the backup is loaded and when it is: nothing live was touched before."""

from __future__ import annotations

import time

from pymongo import errors as driver

from .errors import MendError, Refused, Unknown, VerifyFailed
from .mongo_writers import writers

# A load takes hours: who begins to write at its start should not be told at its end.
_LOOK_SECONDS = 10


class SwapGuards:
    """The guards of one load; ``since`` are the counters of writes when the plan was made (mongo_writers.py)."""

    def __init__(self, client, lease, params, since):
        self._client = client
        self._lease = lease
        self._params = params
        self._since = since
        self._tenure = client.deployment.tenure()
        self._next_look = 0

    def must_stop(self):
        """Asked several times a second while the backup is loaded: False, or an error that ends the load."""
        try:
            self._lease.check()
        except Unknown as error:
            # only a swap leaves it open what is live, and this is before it
            raise MendError(
                f"{error.msg.split(';')[0]}, while the backup was loaded; live data was not touched: look at the "
                "server, then run the restore again",
                rule=error.rule,
                details=error.details,
            ) from error
        if time.monotonic() > self._next_look and not self._params["allow_writers"]:
            self._next_look = time.monotonic() + _LOOK_SECONDS
            try:
                self._refuse_writers()
            except driver.PyMongoError:
                pass  # the load itself knows how to wait for a server that is gone, and the last look counts
        return False

    def refuse_differences(self, loaded, expected):
        """Raise VerifyFailed when what was loaded is not what the manifest promised (``expected``, or None)."""
        for (_db, name), found in loaded.items():
            promised = (expected or {}).get(name) or {}
            # what is loaded of a time-series are its buckets; its count in the manifest is of measurements
            count = promised.get("buckets" if found.type == "timeseries" else "count")
            for what, said, value in (("documents", count, found.count), ("sum", promised.get("sum"), found.hex)):
                if said is not None and said != value:
                    raise VerifyFailed(
                        f"the backup's {name} has {what} {value}, its manifest says {said}: "
                        "it is not what was backed up; take another one",
                        rule="manifest",
                    )

    def refuse_swap(self, swap):
        """Raise what forbids the swap of a backup that stands complete beside the live data; return warnings."""
        self._refuse_oplog()
        warnings = self._refuse_writers()
        self._refuse_lost_writes(swap)
        return warnings

    def _refuse_oplog(self):
        """An archive shows its oplog only at its end."""
        dump = self._client.source.dump
        if dump.has_oplog and not self._params["ignore_oplog"]:
            raise Refused(
                f"the backup was made with --oplog and holds {dump.oplog_entries} entries, which are not replayed: "
                "each collection is whole, but they are not all of one moment; restore it all the same with "
                "-e mongo_restore_ignore_oplog=true",
                rule="oplog",
            )

    def _refuse_writers(self):
        """Nothing may be written from the observation to the swap: it would stay in the old data only."""
        writing, _unknown = writers(self._client.deployment, self._client.database, seconds=0, since=self._since)
        if not writing:
            return []
        names = ", ".join(f"{writer['namespace']}, {writer['writes']} writes" for writer in writing)
        if not self._params["allow_writers"]:
            raise Refused(
                f"the database has been written since this run began ({names}): stop the writers, or "
                "-e mongo_restore_allow_writers=true",
                rule="writers",
            )
        return [f"written while the backup was loaded, kept in the old data only: {names}"]

    def _refuse_lost_writes(self, swap):
        """Batches are confirmed by one member's memory; after this they are in the journals of a majority."""
        swap.marker.advance(self._lease)
        if self._client.deployment.tenure() != self._tenure:
            raise MendError(
                "MongoDB was restarted or another member became primary while the backup was loaded, and what was "
                "loaded before may be lost; live data was not touched: run the restore again",
                rule="mongo_restarted",
            )
