# SPDX-License-Identifier: MIT
"""Which manifest a database is compared with, and which part of it."""

from __future__ import annotations

import os

from . import manifest as manifests
from .errors import MendError, Nothing, Refused
from .mongo_expect import nearest, quoted


def read_manifest(params):
    """The checked manifest, with ``source_of`` saying where it came from; MendError when it cannot be read."""
    if params.get("bucket"):
        found, source = _from_s3(params)
    else:
        found, source = _from_file(params["manifest_file"])
    return {**found, "source_of": source}


def _from_file(path):
    if not os.path.isabs(path):
        raise Refused(f"manifest_file must be an absolute path, not {quoted(path)}", rule="manifest")
    try:
        with open(path, "rb") as file:
            data = file.read(manifests.MAX_BYTES + 1)
    except OSError as error:
        raise MendError(f"the manifest {quoted(path)} cannot be read: {error.strerror}", rule="manifest") from None
    return manifests.parse(data, path), path


def _from_s3(params):
    from . import s3

    key = params["key"] if manifests.object_key(params["key"]) else manifests.manifest_key(params["key"])
    name = f"s3://{params['bucket']}/{key}"
    with s3.connect(params) as client:
        data = s3.get_small(client, params["bucket"], key, manifests.MAX_BYTES, params)
    return manifests.parse(data, name), name


def select_entries(manifest, database, names=None):
    """``{collection: entry}`` of ``database`` in the manifest, only ``names`` when there are some.

    Raises Nothing when the manifest has no such database or collection, naming what it has.
    """
    by_database = {}
    for namespace, entry in (manifest.get("collections") or {}).items():
        its_database, _, name = namespace.partition(".")
        by_database.setdefault(its_database, {})[name] = entry
    source = manifest["source_of"]
    if not by_database:
        raise Nothing(
            f"the manifest {source} describes no collections: there is nothing to compare with", rule="selector"
        )
    if database not in by_database:
        has = ", ".join(quoted(one) for one in sorted(by_database)[:10])
        raise Nothing(
            f"the manifest {source} has no database {quoted(database)}; it has {has}: say which with source_database",
            rule="selector",
        )
    entries = by_database[database]
    for name in names or ():
        if name not in entries:
            raise Nothing(
                f"the manifest {source} has no collection {quoted(name)} in {quoted(database)}{nearest(name, entries)}",
                rule="selector",
            )
    return {name: entries[name] for name in names} if names else entries
