#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures restoring a MongoDB archive: ours, pymongo's insert_many of decoded documents, and the real mongorestore.

    python bench/mongo_restore.py --scale 0.2 --rounds 4

Ours is the whole work of the module mend_mongo_restore from a process's start to its exit: read, load, build indexes,
prove, swap, read back, drop the old data; from a file, from S3, and with proof=count. Every contender is a process of
its own; they take turns in every round, on the same server, the same archive, which is made (bench/estore_data.py), and
the same live data. Printed are wall time, CPU of the client and its peak memory as the minimum of all rounds, and the
ratio to mongorestore (to insert_many where it is not on PATH). Below stands, once each, what comes on top of ours in a
playbook: the plan, ansible's own start, and all of `ansible-playbook playbooks/restore_mongo.yml`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estore_contenders import DATABASE, MODULE, insert_many, run_module
from estore_measure import Run, measure

ROOT = Path(__file__).resolve().parents[1]
MONGORESTORE = "mongorestore"
INSERT_MANY = "insert_many"


@dataclass
class Bench:
    """What every contender restores, and where to: ``bucket`` holds options of the module, with the key."""

    uri: str
    archive: Path
    bucket: dict[str, Any]
    folder: Path

    def contenders(self) -> dict[str, Callable[[], list[str]]]:
        """A maker of the command line by name; what it prepares is not measured."""
        found: dict[str, Callable[[], list[str]]] = {
            "ours": lambda: self.ours(path=str(self.archive)),
            "ours, from S3": lambda: self.ours(**self.bucket),
            "ours, proof=count": lambda: self.ours(path=str(self.archive), proof="count"),
            INSERT_MANY: lambda: [sys.executable, __file__, "--insert-many", self.uri, str(self.archive)],
        }
        if shutil.which(MONGORESTORE):
            arguments = ["--quiet", f"--uri={self.uri}", "--drop", "--gzip", f"--archive={self.archive}"]
            found[MONGORESTORE] = lambda: [MONGORESTORE, *arguments]
        return found

    def ours(self, **options: Any) -> list[str]:
        """The command that acts on a plan which is made here."""
        planned, _run = measure(self.module(True, **options))
        plan = json.loads(planned)["plan"]
        if plan["refusals"]:
            raise SystemExit(f"refused: {plan['refusals'][0]['msg']}")
        kept = {name: value for name, value in plan.items() if name != "changes"}
        receipt = {"run": "bench", "plan": kept, "plan_sha256": plan["sha256"], "journal": "0" * 64}
        return self.module(False, receipt=receipt, **options)

    def module(self, check: bool, **options: Any) -> list[str]:
        """The command that runs the module with these options."""
        arguments = {"uri": self.uri, "database": DATABASE, "keep_seconds": 0, "_ansible_check_mode": check, **options}
        path = self.folder / "arguments.json"
        path.write_text(json.dumps(arguments))
        return [sys.executable, __file__, "--module", str(path)]

    def live_data(self) -> None:
        """The same live data for everybody, and nothing of the one before in the server's way."""
        import pymongo

        with pymongo.MongoClient(self.uri) as client:
            client.drop_database(DATABASE)
            for name in ("users", "orders"):
                client[DATABASE][name].insert_many([{"_id": number, "live": True} for number in range(1000)])
            client.admin.command("fsync")

    def beside(self) -> dict[str, Run]:
        """What stands beside the module's work in a playbook, measured once."""
        self.live_data()
        planned, plan = measure(self.module(True, path=str(self.archive)))
        target = json.loads(planned)["plan"]["target"]["id"]
        inventory = self.folder / "inventory.yml"
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        groups = {"mongo": {"hosts": {"here": None}}}
        inventory.write_text(json.dumps({"all": {"children": groups, "vars": {**host, "mongo_uri": "env:BENCH_URI"}}}))
        empty = self.folder / "ping.yml"
        empty.write_text(
            json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.ping": None}]}])
        )
        variables = {
            "mongo_restore_database": DATABASE,
            "mongo_restore_path": str(self.archive),
            "mongo_restore_confirm": target,
        }
        play = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory)]
        env = os.environ | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "MENDBOOK_STATE": str(self.folder / "state"),
            "BENCH_URI": self.uri,
        }
        restore = [*play, str(ROOT / "playbooks/restore_mongo.yml"), "-e", json.dumps(variables)]
        return {
            "the plan (check mode)": plan,
            "ansible-playbook, a ping": measure([*play, str(empty)], env)[1],
            "restore_mongo.yml, all": measure(restore, env)[1],
        }


@contextmanager
def servers(uri: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The MongoDB that was named, or a sandbox's (with authentication, a one-node set), and the facts of an S3."""
    import mendbook.sandbox

    with mendbook.sandbox.start(("s3",) if uri else ("mongo", "s3")) as sandbox:
        facts = sandbox.status()
        yield uri or facts["mongo"]["uri"], facts["s3"]


def upload(archive: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Put the archive into the sandbox's S3; the module's options that lead to it."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=facts["endpoint_url"],
        aws_access_key_id=facts["access_key"],
        aws_secret_access_key=facts["secret_key"],
        region_name=facts["region"],
        config=Config(s3={"addressing_style": "path"}),
    )
    client.upload_file(str(archive), facts["bucket"], "bench/estore.archive.gz")
    client.close()
    return {
        "bucket": facts["bucket"],
        "key": "bench/estore.archive.gz",
        "s3_endpoint_url": facts["endpoint_url"],
        "s3_region": facts["region"],
        "s3_path_style": True,
        "s3_access_key": facts["access_key"],
        "s3_secret_key": facts["secret_key"],
    }


def archive_of(scale: float, folder: Path) -> Path:
    """The archive of this scale, made once, by a process of its own: memory that it leaves behind would be counted."""
    path = folder / f"estore-{scale:g}.archive.gz"
    if not path.exists():
        print(f"making {path} ...", flush=True)
        maker = Path(__file__).with_name("estore_data.py")
        subprocess.run([sys.executable, str(maker), str(path), f"--scale={scale}"], check=True)  # noqa: S603
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.2, help="1.0 is about 1 GB of BSON (default 0.2)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--uri", help="a server with a user that may do everything; default: a sandbox")
    parser.add_argument("--archive", type=Path, help="restore this archive of a database estore instead of making one")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where archives are kept")
    parser.add_argument("--only", action="append", help="only this contender, may be repeated")
    parser.add_argument("--module", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--insert-many", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.module:
        return run_module(MODULE, options.module)
    if options.insert_many:
        return insert_many(*options.insert_many)
    archive = (options.archive or archive_of(options.scale, options.folder)).absolute()
    with servers(options.uri) as (uri, s3), tempfile.TemporaryDirectory() as folder:
        bench = Bench(uri, archive, upload(archive, s3), Path(folder))
        contenders = {name: make for name, make in bench.contenders().items() if name in (options.only or [name])}
        runs: dict[str, list[Run]] = {name: [] for name in contenders}
        for number in range(options.rounds):
            for name, make in contenders.items():
                bench.live_data()
                command = make()
                output, run = measure(command)
                runs[name].append(run)
                line = {"round": number + 1, "contender": name, **vars(run)}
                if name.startswith("ours"):
                    line["figures"] = json.loads(output)["figures"]
                print(json.dumps(line), flush=True)
        show(runs, archive)
        if not options.only:
            print("beside it, once each:")
            for name, run in bench.beside().items():
                print(f"{name:<26}{run.wall:>8.2f}{run.cpu:>22.2f}{run.rss / 1e6:>16.0f}")


def show(runs: dict[str, list[Run]], archive: Path, yardsticks: Iterable[str] = (MONGORESTORE, INSERT_MANY)) -> None:
    """The table: minima, and the ratio of wall and CPU to the first of the yardsticks that was measured."""
    yardstick = next((name for name in yardsticks if name in runs), next(iter(runs)))
    base = runs[yardstick]
    size = archive.stat().st_size / 1e6
    print(f"\n{archive.name}, {size:.0f} MB; {yardstick} = 1.00 (minimum / median of the rounds' ratios)")
    print(f"{'contender':<26}{'wall s':>8}{'ratio':>14}{'cpu s':>8}{'ratio':>7}{'peak MB':>9}")
    for name, results in runs.items():
        wall, cpu = min(run.wall for run in results), min(run.cpu for run in results)
        median = statistics.median(run.wall / other.wall for run, other in zip(results, base, strict=True))
        ratio = f"{wall / min(run.wall for run in base):.2f} / {median:.2f}"
        share = cpu / min(run.cpu for run in base)
        print(f"{name:<26}{wall:>8.2f}{ratio:>14}{cpu:>8.2f}{share:>7.2f}{max(r.rss for r in results) / 1e6:>9.0f}")


if __name__ == "__main__":
    main()
