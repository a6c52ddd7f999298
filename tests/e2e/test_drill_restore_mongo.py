"""drill_restore_mongo by bare ansible-playbook: a backup in a real S3, restored into a real server that is scratch."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import junitparser
import pytest
from ansible.module_utils.mendbook.mongo_content import manifest_of
from ansible.module_utils.mendbook.mongo_scratch import COLLECTION, DATABASE, ID
from bson import ObjectId

import restore_lab

pytestmark = pytest.mark.e2e

PREFIX = "drilled/"
KEY = f"{PREFIX}estore.archive.gz"
HOUR_AGO = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def documents() -> dict[str, list[dict[str, Any]]]:
    """A shop whose newest record is an hour old."""
    ids = [
        ObjectId(int((HOUR_AGO - timedelta(minutes=n)).timestamp()).to_bytes(4, "big") + bytes(8)) for n in range(30)
    ]
    return {"orders": [{"_id": id, "value": "kept"} for id in ids], "users": restore_lab.numbered(12, "kept")}


@pytest.fixture
def in_bucket(s3_client, sandbox, database) -> Iterator[Callable[..., None]]:
    """Put the backup and its manifest into the bucket; ``damaged`` and ``manifest`` say what is wrong with it."""
    bucket = sandbox.status()["s3"]["bucket"]

    def put(*, damaged: bool = False, manifest: bool = True) -> None:
        for name, found in documents().items():
            database[name].insert_many(found)
        described = {name.replace(database.name, "estore", 1): entry for name, entry in manifest_of(database).items()}
        database.client.drop_database(database.name)
        data = gzip.compress(restore_lab.archive_of("estore", documents()), mtime=0)
        text = restore_lab.manifest_of(KEY, data, {"finished": HOUR_AGO.isoformat(), "collections": described})
        if damaged:
            data = data[:100] + bytes([data[100] ^ 1]) + data[101:]
        s3_client.put_object(Bucket=bucket, Key=KEY, Body=data)
        if manifest:
            s3_client.put_object(Bucket=bucket, Key=f"{KEY}.manifest.json", Body=text)

    yield put
    for entry in s3_client.list_objects_v2(Bucket=bucket, Prefix=PREFIX).get("Contents", ()):
        s3_client.delete_object(Bucket=bucket, Key=entry["Key"])


@pytest.fixture
def variables(sandbox, database) -> Callable[..., dict[str, Any]]:
    """The playbook's variables, for the sandbox's server with this test's database."""
    store = sandbox.status()["s3"]

    def given(**changed: Any) -> dict[str, Any]:
        values = {
            "database": database.name,
            "source_database": "estore",
            "bucket": store["bucket"],
            "prefix": PREFIX,
            "s3_endpoint_url": store["endpoint_url"],
            "s3_region": store["region"],
            "s3_path_style": True,
            "s3_access_key": "env:SANDBOX_S3_ACCESS_KEY",
            "s3_secret_key": "env:SANDBOX_S3_SECRET_KEY",
            **changed,
        }
        return {"mend_hosts": "mongo", **{f"mongo_drill_{name}": value for name, value in values.items()}}

    return given


@pytest.fixture
def drill(playbook, variables) -> Callable[..., Any]:
    """Run the playbook by bare ansible-playbook."""

    def run(*arguments: str, **changed: Any) -> Any:
        return playbook("drill_restore_mongo", *arguments, variables=variables(**changed))

    return run


def tasks(played: Any) -> list[str]:
    """The modules of ours that ran, in order."""
    names = [entry["module"].rpartition(".")[2] for entry in played.results if entry["status"] != "skipped"]
    return [name for name in names if name.startswith("mend_")]


def test_a_drill_finds_restores_verifies_and_measures_and_the_second_measures_nothing(drill, in_bucket, database):
    in_bucket()
    checked = drill("--check")
    assert checked.rc == 0, checked.stdout
    assert tasks(checked) == ["mend_s3_backup_info", "mend_mongo_restore"]
    assert database.list_collection_names() == []

    began = time.time()
    played = drill()
    assert played.rc == 0, played.stdout
    assert {name: list(database[name].find()) for name in documents()} == documents()
    (measured,) = played.of("mend_mongo_recovery_info")
    assert measured["missed"] == [] and 0 < measured["rto_seconds"] <= time.time() - began + 1
    # the RPO is counted from the newest record of the data to the beginning of the drill
    assert measured["newest"] == {"collection": "orders", "field": "_id", "at": f"{HOUR_AGO:%Y-%m-%dT%H:%M:%SZ}"}
    least, most = (moment - HOUR_AGO.timestamp() for moment in (began, time.time()))
    assert least - 1 <= measured["rpo_seconds"] <= most + 1
    (verified,) = played.of("mend_mongo_verify")
    assert verified["verified"] and verified["summary"]["documents"] == 42

    again = drill()
    (failed,) = again.failed()
    assert again.rc == 2 and failed["mend"]["rule"] == "objectives" and failed["mend"]["reason"] == "verify"
    assert "the scratch server held this backup already" in failed["msg"]
    assert failed["mend"]["details"]["rto_seconds"] is None


def test_run_by_the_wrapper_it_tells_rto_and_rpo_with_their_objectives_in_the_outcome_and_in_junit(
    in_bucket, variables, inventory, state, sandbox_secrets, short_folder, tmp_path
):
    in_bucket()
    (tmp_path / "drill.json").write_text(json.dumps(variables(rpo_seconds=90000)))
    ran = subprocess.run(
        [sys.executable, "-m", "mendbook", "run", "drill_restore_mongo", "-i", inventory, "-e", "@drill.json"]
        + ["--json", "--junit", "drill.xml"],
        env=os.environ | sandbox_secrets | {"MENDBOOK_STATE": str(state), "TMPDIR": str(short_folder)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (host,) = json.loads(ran.stdout.splitlines()[-1])["outcome"]["hosts"].values()
    assert host["word"] == "done" and host["plan"]["module"] == "mend_mongo_restore"
    facts = host["facts"]
    assert 0 < facts["rto_seconds"] < 14400 and 3600 <= facts["rpo_seconds"] < 90000 and facts["missed"] == []
    rto, rpo = facts["summary"]
    assert rto.endswith(": met, the objective is 4 h")
    assert "by the newest record (orders._id): met, the objective is 1.04 d" in rpo
    (suite,) = junitparser.JUnitXml.fromfile(str(tmp_path / "drill.xml"))
    assert [case.name.rpartition(": ")[2] for case in suite][1:] == ["RTO", "RPO"]
    assert [case.result for case in suite] == [[], [], []]
    assert all("the objective is" in case.system_out for case in list(suite)[1:])


def test_without_a_manifest_what_is_stated_is_verified_and_a_missed_rpo_fails(drill, in_bucket, database):
    in_bucket(manifest=False)
    fields = {"order": "createdAt", "users": "nope"}
    played = drill(rpo_seconds=60, critical=["users", "orders"], time_fields=fields)
    (failed,) = played.failed()
    assert failed["mend"]["details"]["notes"] == [
        'time_fields names "order", which is not there; did you mean "orders"?',
        'no record of "users" has a time in its field "nope"',
    ]
    assert failed["mend"]["details"]["missed"] == ["rpo_seconds"] and failed["mend"]["details"]["rpo_from"] == "data"
    (verified,) = played.of("mend_mongo_verify")
    assert verified["summary"]["checks"] == 2
    assert {name: list(database[name].find()) for name in documents()} == documents()


def test_a_server_that_is_not_scratch_is_refused_and_stays_as_it_is(drill, in_bucket, database, mongo_client):
    in_bucket()
    database["orders"].insert_one({"_id": 1, "value": "worth keeping"})
    place = mongo_client[DATABASE][COLLECTION]
    marker = place.find_one_and_delete({"_id": ID})
    try:
        (failed,) = drill().failed()
    finally:
        place.insert_one(marker)
    assert (failed["mend"]["reason"], failed["mend"]["rule"]) == ("refused", "scratch")
    # a drill has no such way
    assert "can be confirmed instead, no drill" in failed["msg"] and "leave out" not in failed["msg"]
    assert list(database["orders"].find()) == [{"_id": 1, "value": "worth keeping"}]


def test_a_damaged_backup_is_found_by_the_restore_and_nothing_is_swapped(drill, in_bucket, database):
    in_bucket(damaged=True)
    database["orders"].insert_one({"_id": 1, "value": "of the drill before"})
    played = drill()
    assert tasks(played)[-1] == "mend_mongo_restore" and played.rc == 2
    assert played.failed()[0]["state"] in ("failed (nothing changed)", "refused")
    assert list(database["orders"].find()) == [{"_id": 1, "value": "of the drill before"}]


def test_without_a_backup_there_is_nothing_to_drill(drill):
    played = drill(prefix="drilled-nowhere/")
    (failed,) = played.failed()
    assert tasks(played) == ["mend_s3_backup_info"] and failed["mend"]["reason"] == "nothing"
    assert json.dumps(failed).count("drilled-nowhere/")
