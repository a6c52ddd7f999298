#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures restoring a MongoDB archive: ours, pymongo's insert_many of decoded documents, and the real mongorestore.

    python bench/mongo_restore.py --scale 0.2 --rounds 4

Every contender is a process of its own, from start to exit; they take turns in every round, on the same server and the
same archive, which is made (bench/estore_data.py). Printed are wall time, CPU of the client and its peak memory as the
minimum of all rounds, and the ratio to mongorestore (to insert_many where it is not on PATH).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATABASE = "estore"


def restore_ours(archive: Path, uri: str, proof: str) -> None:
    """Side collections, raw batches, indexes, the proof, and a rename into place."""
    import ansible.module_utils

    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
    import pymongo
    from ansible.module_utils.mendbook.dump import open_dump
    from ansible.module_utils.mendbook.mongo_load import load
    from ansible.module_utils.mendbook.mongo_side import drop_side_collections

    with pymongo.MongoClient(uri) as client:
        dump = open_dump(archive)
        sides = {key: f"__mend_n_bench_{key[1]}" for key in dump.collections}
        drop_side_collections(client[DATABASE], sides.values())  # of a run that was interrupted
        for loaded in load(client[DATABASE], dump, sides, proof=proof).values():
            names = {"renameCollection": f"{DATABASE}.{loaded.side}", "to": f"{DATABASE}.{loaded.name}"}
            client.admin.command({**names, "dropTarget": True})
            for name, seconds in loaded.ttl.items():
                index = {"name": name, "expireAfterSeconds": seconds}
                client[DATABASE].command({"collMod": loaded.name, "index": index})


def restore_insert_many(archive: Path, uri: str) -> None:
    """What a careful Python program would do: decode, insert_many in two threads, then the indexes."""
    import ansible.module_utils

    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
    import queue
    import threading

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


IN_PYTHON: dict[str, Callable[[Path, str], None]] = {
    "ours": lambda archive, uri: restore_ours(archive, uri, "full"),
    "ours, no read-back": lambda archive, uri: restore_ours(archive, uri, "count"),
    "insert_many": restore_insert_many,
}
MONGORESTORE = "mongorestore"


@dataclass
class Run:
    """One process: seconds, seconds of CPU, bytes."""

    wall: float
    cpu: float
    rss: int


def run_one(name: str, archive: Path, uri: str) -> Run:
    """Run one contender as a process and measure it from start to exit."""
    if name == MONGORESTORE:
        argv = [MONGORESTORE, "--quiet", f"--uri={uri}", "--drop", "--gzip", f"--archive={archive}"]
    else:
        argv = [sys.executable, __file__, "--contender", name, "--archive", str(archive), "--uri", uri]
    began = time.monotonic()
    pid = os.posix_spawnp(argv[0], argv, os.environ)
    _pid, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - began
    if status:
        raise SystemExit(f"{name} ended with status {status}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


@contextmanager
def server(uri: str | None) -> Iterator[str]:
    """The server that was named, or a sandbox with authentication as a one-node replica set."""
    if uri:
        yield uri
        return
    import mendbook.sandbox

    with mendbook.sandbox.start(("mongo",)) as sandbox:
        yield sandbox.status()["mongo"]["uri"]


def archive_of(scale: float, folder: Path) -> Path:
    """The archive of this scale, made once."""
    sys.path.insert(0, str(Path(__file__).parent))
    import estore_data

    path = folder / f"estore-{scale:g}.archive.gz"
    if not path.exists():
        print(f"making {path} ...", flush=True)
        estore_data.make(path, scale)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.2, help="1.0 is about 1 GB of BSON (default 0.2)")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--uri", help="a server with a user that may do everything; default: a sandbox")
    parser.add_argument("--archive", type=Path, help="restore this archive instead of making one")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where archives are kept")
    parser.add_argument("--only", action="append", help="only this contender, may be repeated")
    parser.add_argument("--contender", choices=IN_PYTHON, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        IN_PYTHON[options.contender](options.archive, options.uri)
        return
    archive = options.archive or archive_of(options.scale, options.folder)
    names = [*IN_PYTHON, *([MONGORESTORE] if shutil.which(MONGORESTORE) else [])]
    names = [name for name in names if not options.only or name in options.only]
    runs: dict[str, list[Run]] = {name: [] for name in names}
    with server(options.uri) as uri:
        for number in range(options.rounds):
            for name in names:
                runs[name].append(run_one(name, archive, uri))
                print(json.dumps({"round": number + 1, "contender": name, **vars(runs[name][-1])}), flush=True)
    show(runs, archive)


def show(runs: dict[str, list[Run]], archive: Path) -> None:
    """The table: minima, and the ratio of wall and CPU to the yardstick."""
    yardstick = next((name for name in (MONGORESTORE, "insert_many") if name in runs), next(iter(runs)))
    base = runs[yardstick]
    print(
        f"\n{archive.name}, {archive.stat().st_size / 1e6:.0f} MB; {yardstick} = 1.00 (minimum / median of the ratios)"
    )
    print(f"{'contender':<22}{'wall s':>8}{'ratio':>14}{'cpu s':>8}{'ratio':>7}{'peak MB':>9}")
    for name, results in runs.items():
        wall, cpu = min(run.wall for run in results), min(run.cpu for run in results)
        median = statistics.median(run.wall / other.wall for run, other in zip(results, base, strict=True))
        ratio = f"{wall / min(run.wall for run in base):.2f} / {median:.2f}"
        share = cpu / min(run.cpu for run in base)
        print(f"{name:<22}{wall:>8.2f}{ratio:>14}{cpu:>8.2f}{share:>7.2f}{max(r.rss for r in results) / 1e6:>9.0f}")


if __name__ == "__main__":
    main()
