# SPDX-License-Identifier: MIT
"""A sample of the backup's own documents, looked up in a database: cheap for a server that is busy.

The whole backup is read once and proven by its own checksums; of the server only the documents of the sample are read.
"""

from __future__ import annotations

from contextlib import contextmanager

from . import manifest as manifests
from .dump_metadata import Batch
from .errors import Refused
from .mongo_compare import Check
from .mongo_proof import Sample
from .mongo_restore_source import open_backup


@contextmanager
def open_sample(params, database_name):
    """Give the `BackupSample` of the backup that the manifest of these options stands beside."""
    path, key = params.get("manifest_file"), params.get("key")
    if path:
        path = manifests.object_key(path)
        if path is None:
            raise Refused(
                "content is sample, which reads the backup beside the manifest, and manifest_file does not end with "
                f"{manifests.SUFFIX}: set content to full or none",
                rule="content",
            )
    else:
        key = manifests.object_key(key) or key
    with open_backup({**params, "path": path, "key": key, "prefix": key}) as source:
        # what the manifest promises and the dump lacks could not be compared
        source.expected(database_name)
        yield BackupSample(source, database_name)


class BackupSample:
    """Up to 1,000 documents of each collection of an open backup, and how many it has."""

    def __init__(self, source, database_name):
        self._source = source
        self._database_name = database_name
        self._samples = {}
        self._counts = {}

    def read(self, names, progress):
        """Read the backup to its end and pick; MendError or VerifyFailed when it is damaged."""
        self._source.prove_bytes()
        dump = self._source.dump
        self._samples = {name: Sample() for name in names}
        wanted = {dump.collections[self._database_name, name].namespace: name for name in names}
        for item in dump.iterate(include=frozenset(wanted)):
            name = wanted[item.namespace]
            if isinstance(item, Batch):
                self._samples[name].pick(item.data)
            else:
                self._counts[name] = item.count
            progress.update("read", dump.bytes_read, dump.size, "bytes")

    def size(self, name):
        """How many documents of a collection were picked."""
        return len(self._samples[name])

    def compare(self, name, entry, collection):
        """The checks of one collection: the backup holds what its manifest (``entry``) says, the server the sample."""
        promised = entry.get("buckets" if entry["type"] == "timeseries" else "count")
        count, sample = self._counts[name], self._samples[name]
        differing = sample.differing(collection)
        backup_words = f"the backup itself holds {count} documents, its manifest says {promised}"
        words = (
            f"{len(differing)} of {len(sample)} documents that were looked at are missing or not what the backup has"
        )
        if differing:
            words += f", the first has _id {differing[0]!r}"[:200]
        return [
            Check("backup", name, promised, count, promised in (None, count), backup_words),
            Check("sample", name, len(sample), len(sample) - len(differing), not differing, words),
        ]
