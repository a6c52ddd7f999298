"""`mendbook drill restore_mongo`: one drill of the made shop looked at from every side, then a team's own backups."""

from __future__ import annotations

import gzip
import json
import socket
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

import restore_lab
from drilled import gone, place
from mendbook.drills.record import DrillRecord

pytestmark = pytest.mark.e2e

PHASES = ["sandbox", "shop", "backup", "writes", "disaster", "find", "restore", "verify", "measure", "compare"]
FILES = ("--junit", "drill.xml", "--markdown", "drill.md")
PREFIX = "team/"
KEY = f"{PREFIX}estore.archive.gz"


@pytest.fixture(scope="module")
def drills():
    with place() as made:
        yield made


@pytest.fixture(scope="module")
def shop(drills):
    """The whole drill, once for all of its tests."""
    (drills.folder / "drill.md").write_text("before\n")
    return drills.run("restore_mongo", "--json", *FILES, "--scale", "0.2")


def test_a_shop_is_backed_up_wrecked_and_brought_back_and_each_phase_says_what_it_found(shop):
    assert shop.code == 0, shop.err
    *phases, record = shop.lines
    assert [phase["phase"] for phase in phases] == PHASES and all(phase["found"] for phase in phases)
    assert (record["result"], record["verified"], record["error"]) == ("passed", True, None)
    assert shop.seconds >= record["seconds"] >= sum(phase["seconds"] for phase in phases)


def test_rto_is_from_the_disaster_to_verified_data_and_rpo_is_what_was_written_and_is_gone(shop):
    *phases, record = shop.lines
    took = {phase["phase"]: phase["seconds"] for phase in phases}
    recovery = sum(took[name] for name in ("disaster", "find", "restore", "verify"))
    assert took["restore"] + took["verify"] < record["rto_seconds"] <= recovery + took["measure"]
    # 25 orders, 20 milliseconds and more between them, were placed after the backup
    assert 0.5 <= record["rpo_seconds"] <= took["backup"] + took["writes"]
    assert record["rpo_from"] == "the newest record, orders.placedAt"
    assert record["objectives"] == {"rto_seconds": 14400, "rpo_seconds": 86400}


def test_nothing_is_left_but_the_files_that_were_asked_for(shop, drills):
    assert gone(drills)
    assert sorted(path.name for path in drills.folder.iterdir()) == ["drill.md", "drill.xml", "home", "state"]


def test_the_reports_for_ci_tell_the_same(shop):
    cases = shop.cases
    assert list(cases) == [*PHASES, "RTO", "RPO"] and not any(case.result for case in cases.values())
    assert "documents" in cases["restore"].system_out
    page = (shop.folder / "drill.md").read_text()
    assert page.startswith("before\n### drill of restore\\_mongo: passed in ")
    assert "| RTO | " in page and " | 4 h | met |" in page and "| compare |" in page


def test_the_record_is_in_the_history_and_is_of_the_schema(shop):
    (kept,) = shop.history
    printed = shop.lines[-1]
    assert msgspec.to_builtins(kept) == {name: value for name, value in printed.items() if name != "seconds"}
    assert kept.schema == 1 and kept.backup.key.startswith("daily/estore-") and kept.backup.size > 100_000
    assert len(kept.backup.sha256) == 64 and kept.documents > 5_000 and kept.bytes > 1_000_000


class Team:
    """A team's bucket in the sandbox's S3, with one backup, and the options that lead to it."""

    def __init__(self, sandbox, client):
        self.facts, self._client = sandbox.status()["s3"], client
        self.options = ["--backup", f"s3://{self.facts['bucket']}/{PREFIX}", "--s3-path-style"]
        self.options += ["--s3-endpoint-url", self.facts["endpoint_url"], "--s3-region", self.facts["region"]]
        self.keys = {"AWS_ACCESS_KEY_ID": self.facts["access_key"], "AWS_SECRET_ACCESS_KEY": self.facts["secret_key"]}

    def put(self, *, damaged=False, documents=restore_lab.RESTORED):
        data = gzip.compress(restore_lab.archive_of("estore", documents), mtime=0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        text = restore_lab.manifest_of(KEY, data, {"finished": now})
        if damaged:
            data = data[:-1] + bytes([data[-1] ^ 1])
        self._client.put_object(Bucket=self.facts["bucket"], Key=KEY, Body=data)
        self._client.put_object(Bucket=self.facts["bucket"], Key=f"{KEY}.manifest.json", Body=text)

    def put_neighbour(self, database):
        """A complete and newer backup of another application under the same prefix, told by its manifest alone."""
        key, data = (
            f"{PREFIX}{database}.archive.gz",
            gzip.compress(restore_lab.archive_of(database, {"a": []}), mtime=0),
        )
        described = {f"{database}.a": {"type": "collection", "count": 0}}
        later = datetime.now(UTC) + timedelta(minutes=1)
        changed = {"finished": later.isoformat(timespec="seconds"), "collections": described}
        self._client.put_object(Bucket=self.facts["bucket"], Key=key, Body=data)
        text = restore_lab.manifest_of(key, data, changed)
        self._client.put_object(Bucket=self.facts["bucket"], Key=f"{key}.manifest.json", Body=text)
        return key

    def objects(self):
        listed = self._client.list_objects_v2(Bucket=self.facts["bucket"], Prefix=PREFIX).get("Contents", ())
        return {entry["Key"]: entry["ETag"] for entry in listed}

    def read(self, key):
        return self._client.get_object(Bucket=self.facts["bucket"], Key=key)["Body"].read()

    def clear(self):
        for key in self.objects():
            self._client.delete_object(Bucket=self.facts["bucket"], Key=key)


@pytest.fixture
def team(sandbox, s3_client):
    made = Team(sandbox, s3_client)
    made.put()
    yield made
    made.clear()


@pytest.fixture
def own():
    with place() as made:
        yield made


def test_a_teams_backup_is_restored_its_record_stands_beside_it_and_the_history_shows_it(team, own):
    neighbour = team.put_neighbour("big")
    before = team.objects()
    # an objective that nobody meets: the data is proven all the same
    drilled = own.run("restore_mongo", *team.options, "--database", "estore", "--rto", "0.001s", *FILES, **team.keys)
    assert drilled.code == 5, drilled.err
    assert "drill of restore_mongo: MISSED its objectives in " in drilled.out and "the RTO is 0.001 s" in drilled.err
    assert [name for name, case in drilled.cases.items() if case.result] == ["RTO"]
    assert "MISSED" in (own.folder / "drill.md").read_text()
    (new,) = team.objects().keys() - before.keys()
    assert new.startswith(f"{KEY}.drill.") and {key: team.objects()[key] for key in before} == before
    record = msgspec.json.decode(team.read(new), type=DrillRecord)
    assert (record.result, record.verified, record.documents) == ("missed", True, 27) and [record] == drilled.history
    assert (record.backup.bucket, record.backup.key) == (team.facts["bucket"], KEY)
    # nothing in this backup has a time, so it is as old as it says
    assert record.rpo_from.startswith("the time when the backup was finished") and record.rpo_seconds < 300
    assert any("no manifest says what the backup should hold" in note for note in record.notes)
    assert f"passed over the newer {neighbour}: it is of another database: big, not estore" in record.notes
    assert gone(own)

    shown = own.run("--history", *team.options, "--svg", "drills.svg", **team.keys)
    assert shown.code == 0 and f"s3://{team.facts['bucket']}/{KEY}" in shown.out.splitlines()[1]
    assert "1 drill of restore_mongo" in (own.folder / "drills.svg").read_text()


def test_a_damaged_backup_fails_the_drill_and_every_report_says_in_which_phase(team, own):
    team.put(damaged=True)
    drilled = own.run("restore_mongo", *team.options, "--database", "estore", "--json", *FILES, **team.keys)
    *phases, record = drilled.lines
    assert drilled.code not in (0, 64, 70) and [phase["phase"] for phase in phases] == ["sandbox", "find"]
    assert (record["result"], record["verified"]) == ("failed", False) and record["error"] in drilled.err
    assert [name for name, case in drilled.cases.items() if case.result] == ["restore", "RTO", "RPO"]
    assert "FAILED in the phase 'restore'" in (own.folder / "drill.md").read_text()
    # the record says that this backup is no good, and no check takes it for a proof
    (kept,) = [key for key in team.objects() if ".drill." in key]
    assert json.loads(team.read(kept))["verified"] is False
    assert gone(own)


def test_a_store_that_is_not_there_and_a_backup_that_is_not_there_are_told_apart(team, own):
    nothing = own.run("restore_mongo", *team.options, "--database", "estore", "--key", "team/none.gz", **team.keys)
    assert nothing.code == 7 and "FAILED in the phase 'find'" in nothing.out
    with socket.socket() as taken:
        # nobody else can listen there meanwhile
        taken.bind(("127.0.0.1", 0))
        store = f"http://127.0.0.1:{taken.getsockname()[1]}"
        options = [store if word == team.facts["endpoint_url"] else word for word in team.options]
        unreachable = own.run("--history", *options, **team.keys)
    assert unreachable.code == 2 and "cannot be read" in unreachable.err
    assert [record.backup for record in nothing.history] == [None]
