# SPDX-License-Identifier: MIT
"""What runs inside the measured processes: the module as ansible runs it, and a careful Python program."""

from __future__ import annotations

import importlib
import json
import queue
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATABASE = "estore"
MODULE = "mend_mongo_restore"


def run_module(name: str, arguments: Path) -> None:
    """Run a module of library/ with the arguments in a JSON file; it prints its result and exits."""
    content_on_path()
    from ansible.module_utils.testing import patch_module_args

    with patch_module_args(json.loads(arguments.read_text())):
        importlib.import_module(name).main()


def insert_many(uri: str, archive: str) -> None:
    """What a careful Python program would do: decode, insert_many in two threads, then the indexes."""
    content_on_path()
    import bson
    import pymongo
    from ansible.module_utils.mendbook.dump import open_dump
    from ansible.module_utils.mendbook.dump_metadata import Batch

    batches: queue.Queue = queue.Queue(4)
    with pymongo.MongoClient(uri) as client:
        database = client[DATABASE]
        dump = open_dump(archive)
        for _db, name in dump.collections:
            database.drop_collection(name)

        def insert() -> None:
            while batch := batches.get():
                database[batch.namespace[1]].insert_many(bson.decode_all(bytes(batch.data)), ordered=False)

        threads = [threading.Thread(target=insert) for _ in range(2)]
        for thread in threads:
            thread.start()
        for item in dump.iterate():
            if isinstance(item, Batch):
                batches.put(item)
        for _thread in threads:
            batches.put(None)
        for thread in threads:
            thread.join()
        for (_db, name), collection in dump.collections.items():
            specs = [spec for spec in collection.indexes if spec["name"] != "_id_"]
            database.command({"createIndexes": name, "indexes": specs})


def content_on_path() -> None:
    """Let this process import the modules and what they share."""
    import ansible.module_utils

    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
    sys.path.insert(0, str(ROOT / "library"))
