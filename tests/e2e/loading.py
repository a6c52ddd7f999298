# SPDX-License-Identifier: MIT
"""Small dumps for the loader, and clients with few rights."""

from __future__ import annotations

import threading
import uuid

import pymongo
import pytest
from ansible.module_utils.mendbook.dump import open_dump
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.mongo_load import load

from dump_writer import MemorySource, archive, entry, metadata


def sides_of(dump):
    return {key: f"__mend_n_t_{key[1]}" for key, c in dump.collections.items() if c.type != "view"}


def load_all(database, dump, **options):
    return load(database, dump, sides_of(dump), **options)


def dump_of(collections, *entries, **options):
    """A dump of made documents; ``entries`` replace the archive's list of collections."""
    data = archive(collections)
    if entries:
        listed = b"".join(entry(db, name) for db, name in collections)
        data = data.replace(listed, b"".join(entries), 1)
    return open_dump(MemorySource(data), **options)


def one(documents, *indexes, options=None, **limits):
    """A dump of one collection ``shop.users``."""
    text = metadata("users", *indexes, options=options)
    return dump_of({("shop", "users"): documents}, entry("shop", "users", text), **limits)


def failure(database, dump, kind=MendError, **options):
    with pytest.raises(kind) as caught:
        load_all(database, dump, **options)
    threads_end()
    return caught.value


def threads_end():
    """A load leaves no thread; one that is inside a command when it fails ends a little later."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("mendbook")]
    for thread in threads:
        thread.join(30)
    assert not [thread for thread in threads if thread.is_alive()]


def indexes_of(database, name):
    return {spec["name"]: dict(spec) for spec in database.command({"listIndexes": name})["cursor"]["firstBatch"]}


class least:
    """A client of a new user that has only these roles."""

    def __init__(self, database, mongo_client, sandbox, roles):
        self._admin, self._name, self._database = mongo_client.admin, f"user{uuid.uuid4().hex[:8]}", database.name
        self._admin.command("createUser", self._name, pwd="secret", roles=roles)
        facts = sandbox.status()["mongo"]
        self._client = pymongo.MongoClient(
            facts["host"],
            facts["port"],
            username=self._name,
            password="secret",
            directConnection=True,  # noqa: S106
        )

    def __enter__(self):
        return self._client[self._database]

    def __exit__(self, *_error):
        self._client.close()
        self._admin.command("dropUser", self._name)
