# SPDX-License-Identifier: MIT
"""Drills: a procedure run for real, on servers of its own that are gone afterwards, and looked at by another client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mendbook import sandbox
from mendbook.content import did_you_mean
from mendbook.errors import UsageError, VerifyFailed
from mendbook.report import duration, size
from mendbook.runs import run

if TYPE_CHECKING:
    from mendbook.events import Event
    from mendbook.outcome import Outcome

SAMPLES = Path(__file__).resolve().parent / "samples"
_DATABASE = "estore"
_KEY = f"drill/{_DATABASE}.archive.gz"
_CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Phase:
    """One step of a drill that went well, how long it took, and what it found."""

    name: str
    seconds: float
    found: str


@dataclass
class Drill:
    """Runs the phases in order; ``tell`` hears of each at its end, ``on_event`` what the runs inside say.

    ``current`` is the phase that was begun last.
    """

    tell: Callable[[Phase], None]
    on_event: Callable[[Event], None] | None = None
    current: str = "start"

    @contextmanager
    def phase(self, name: str) -> Iterator[list[str]]:
        """Time a step; what is put into the list is what it found."""
        self.current = name
        began, found = time.monotonic(), list[str]()
        yield found
        self.tell(Phase(name, round(time.monotonic() - began, 3), ", ".join(found)))


def drill(name: str, drilled: Drill) -> None:
    """Run the drill of a procedure; it raises what goes wrong, and nothing is left on this machine."""
    if name not in DRILLS:
        raise UsageError(
            f"there is no drill of {name!r}"
            + did_you_mean(name, list(DRILLS), "there are drills of " + ", ".join(DRILLS))
        )
    DRILLS[name](drilled)


def _restore_mongo(drilled: Drill) -> None:
    with drilled.phase("sandbox") as found:
        box = sandbox.start(("mongo", "s3"))
        found.append("MongoDB as a replica set with authentication, and S3")
    with box, TemporaryDirectory(prefix="mendbook-drill-") as folder:
        servers = box.status()
        with drilled.phase("backup") as found:
            found.append(f"{size(_upload(servers['s3']))} in s3://{servers['s3']['bucket']}/{_KEY}")
        with drilled.phase("live data") as found:
            found.append(f"{_fill_with_other_data(servers['mongo']):,} documents that are not those of the backup")
        inventory = Path(folder) / "inventory.json"
        inventory.write_text(json.dumps(_INVENTORY))

        def play(procedure: str, role: str, **options: Any) -> Outcome:
            values = _variables(role, servers, options.pop("key_too", False))
            outcome = run(procedure, inventory=inventory, variables=values, on_event=drilled.on_event, **options)
            return outcome.raise_if_failed()

        with drilled.phase("plan") as found:
            plan = play("restore_mongo", "mongo_restore", check=True).hosts["drill"].plan
            if plan is None or not plan.changes:
                raise VerifyFailed("the plan of the restore holds no change, although the live data differs")
            found.append(f"{len(plan.changes)} changes on {plan.target.id}")
        with drilled.phase("restore") as found:
            done = play("restore_mongo", "mongo_restore", confirm=plan.target.id).hosts["drill"]
            found.append(", ".join(f"{name} {_figure(name, value)}" for name, value in done.figures.items()))
        with drilled.phase("verify") as found:
            play("verify_mongo", "mongo_verify", key_too=True)
            found.append("equal to the backup's manifest: documents, indexes, options")
        with drilled.phase("compare") as found:
            found.append(f"{_compare(servers['mongo'])} collections have the hashes that the dumped server gave")


_INVENTORY = {
    "mongo": {
        "hosts": {"drill": {}},
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
    }
}


def _variables(role: str, servers: Mapping[str, Any], key_too: bool) -> dict[str, Any]:
    """The connection of a role; ``run`` keeps what is secret in it out of every file."""
    store = servers["s3"]
    values = {
        "database": _DATABASE,
        "bucket": store["bucket"],
        "s3_endpoint_url": store["endpoint_url"],
        "s3_region": store["region"],
        "s3_path_style": True,
        "s3_access_key": store["access_key"],
        "s3_secret_key": store["secret_key"],
    }
    # the restore finds the newest complete backup by itself
    values |= {"key": _KEY} if key_too else {"prefix": "drill/"}
    return {"mongo_uri": servers["mongo"]["uri"], **{f"{role}_{name}": value for name, value in values.items()}}


def _upload(store: Mapping[str, Any]) -> int:
    """Put the sample into the bucket as a backup that has just been finished; its size in bytes."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=store["endpoint_url"],
        region_name=store["region"],
        aws_access_key_id=store["access_key"],
        aws_secret_access_key=store["secret_key"],
        config=Config(connect_timeout=5, read_timeout=20, s3={"addressing_style": "path"}),
    )
    archive = (SAMPLES / f"{_DATABASE}.archive.gz").read_bytes()
    manifest = json.loads((SAMPLES / f"{_DATABASE}.manifest.json").read_text(encoding="utf-8"))
    manifest["finished"] = manifest["started"] = datetime.now(UTC).isoformat(timespec="seconds")
    manifest["object"]["key"] = _KEY
    client.put_object(Bucket=store["bucket"], Key=_KEY, Body=archive)
    client.put_object(Bucket=store["bucket"], Key=f"{_KEY}.manifest.json", Body=json.dumps(manifest).encode())
    return len(archive)


@contextmanager
def _database(server: Mapping[str, Any]) -> Iterator[Any]:
    """The database by plain pymongo, apart from everything that the procedures use."""
    from pymongo import MongoClient

    client: MongoClient[dict[str, Any]] = MongoClient(server["uri"], serverSelectionTimeoutMS=_CONNECT_SECONDS * 1000)
    with client:
        yield client[_DATABASE]


def _fill_with_other_data(server: Mapping[str, Any]) -> int:
    """A shop as after a bad deployment: other orders, no users, half of the products, a collection of its own."""
    with _database(server) as database:
        database["orders"].insert_many([{"_id": number, "status": "lost"} for number in range(500)])
        database["products"].insert_many([{"_id": number, "title": "?"} for number in range(200)])
        database["notes"].insert_one({"_id": 1, "text": "written after the backup"})
    return 701


def _compare(server: Mapping[str, Any]) -> int:
    """Compare the restored collections with the dumped ones by the server's own hash; how many there are."""
    stated = json.loads((SAMPLES / f"{_DATABASE}.hashes.json").read_text(encoding="utf-8"))
    with _database(server) as database:
        hashes = database.command("dbHash")["collections"]
        notes = database["notes"].count_documents({})
    differing = sorted(name for name, value in stated.items() if hashes.get(name) != value)
    if differing:
        raise VerifyFailed(f"not as in the backup: {', '.join(differing)}")
    if notes != 1:
        raise VerifyFailed("the collection that the backup does not have was touched")
    return len(stated)


def _figure(name: str, value: Any) -> str:
    if name.endswith("_seconds"):
        return duration(value)
    return size(value) if name.endswith("_bytes") else str(value)


DRILLS: dict[str, Callable[[Drill], None]] = {"restore_mongo": _restore_mongo}
