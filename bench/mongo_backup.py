#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures dumping a MongoDB database: ours, the real mongodump, and pymongo's find with zlib's gzip.

    python bench/mongo_backup.py --scale 0.2 --rounds 4

Ours is, from a process's start to its exit, the engine into a file (survey, snapshot, sum of every document, CRC-64,
gzip, SHA-256), and the whole work of the module mend_mongo_backup into S3 (upload, manifest, read-back) on a plan that
was made before. Find is what a careful Python program does: find, bson.encode, gzip at level 6, the same archive.
Every contender is a process of its own; they take turns in every round, on the same server and the same data
(bench/estore_data.py). Printed are wall time, CPU of the client and its peak memory as the minimum of all rounds, and
the ratio to mongodump --archive --gzip (to find where it is not on PATH). The goal is 0.45 of mongodump's wall time and
0.35 of its CPU. What the dump leaves behind is proven by the tests, not here.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estore_backup import BACKUP_MODULE, dump_to_file, find_and_gzip
from estore_contenders import DATABASE, insert_many, run_module
from estore_measure import Run, measure
from mongo_restore import archive_of, servers, show

MONGODUMP = "mongodump"
FIND = "find, gzip -6"


@dataclass
class Bench:
    """What every contender dumps, and where to."""

    uri: str
    s3: dict[str, Any]
    folder: Path
    number: int = 0

    def contenders(self) -> dict[str, Callable[[], list[str]]]:
        """A maker of the command line by name; what it prepares is not measured."""
        found: dict[str, Callable[[], list[str]]] = {
            "ours, to a file": lambda: self.this("--dump", self.uri, str(self.folder / "ours.gz")),
            "ours, to S3": self.module,
            FIND: lambda: self.this("--find", self.uri, str(self.folder / "find.gz")),
        }
        if shutil.which(MONGODUMP):
            arguments = ["--quiet", f"--uri={self.uri}", f"--db={DATABASE}", "--gzip"]
            found[MONGODUMP] = lambda: [MONGODUMP, *arguments, f"--archive={self.folder / 'mongodump.gz'}"]
        return found

    def this(self, *arguments: str) -> list[str]:
        return [sys.executable, __file__, *arguments]

    def module(self) -> list[str]:
        """The command that acts on a plan which is made here."""
        self.number += 1
        options = {
            "uri": self.uri,
            "database": DATABASE,
            "bucket": self.s3["bucket"],
            "prefix": "bench/",
            "key": f"bench/{self.number}.archive.gz",
            "s3_endpoint_url": self.s3["endpoint_url"],
            "s3_region": self.s3["region"],
            "s3_path_style": True,
            "s3_access_key": self.s3["access_key"],
            "s3_secret_key": self.s3["secret_key"],
        }
        printed, _run = measure(self.with_arguments({**options, "_ansible_check_mode": True}))
        plan = json.loads(printed)["plan"]
        if plan["refusals"]:
            raise SystemExit(f"refused: {plan['refusals'][0]['msg']}")
        kept = {name: value for name, value in plan.items() if name != "changes"}
        receipt = {"run": "bench", "plan": kept, "plan_sha256": plan["sha256"], "journal": "0" * 64}
        return self.with_arguments({**options, "receipt": receipt})

    def with_arguments(self, arguments: dict[str, Any]) -> list[str]:
        path = self.folder / "arguments.json"
        path.write_text(json.dumps(arguments))
        return self.this("--module", str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.2, help="1.0 is about 1 GB of BSON (default 0.2)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--uri", help="a server with a user that may do everything; default: a sandbox")
    parser.add_argument("--archive", type=Path, help="dump what this archive of a database estore holds")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where archives are kept")
    parser.add_argument("--only", action="append", help="only this contender, may be repeated")
    for hidden, number in (("--module", 1), ("--dump", 2), ("--find", 2), ("--fill", 2)):
        parser.add_argument(hidden, nargs=number, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.module:
        return run_module(BACKUP_MODULE, Path(options.module[0]))
    for arguments, run in ((options.dump, dump_to_file), (options.find, find_and_gzip), (options.fill, insert_many)):
        if arguments:
            return run(*arguments)
    archive = (options.archive or archive_of(options.scale, options.folder)).absolute()
    with servers(options.uri) as (uri, s3), tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bench = Bench(uri, s3, Path(folder))
        print("filling the server ...", flush=True)
        # memory that this leaves behind would be counted as the contenders'
        measure(bench.this("--fill", uri, str(archive)))
        contenders = {name: make for name, make in bench.contenders().items() if name in (options.only or [name])}
        runs: dict[str, list[Run]] = {name: [] for name in contenders}
        for number in range(options.rounds):
            for name, make in contenders.items():
                _printed, run = measure(make())
                runs[name].append(run)
                print(json.dumps({"round": number + 1, "contender": name, **vars(run)}), flush=True)
        show(runs, archive, (MONGODUMP, FIND))


if __name__ == "__main__":
    main()
