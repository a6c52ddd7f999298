"""verify_mongo against a real server: what is right passes, nothing is written, and the least roles are enough."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from ansible.module_utils.mendbook.mongo_content import manifest_of
from pymongo.database import Database

pytestmark = pytest.mark.e2e
pytest_plugins = ["seeded_shop"]
PASSWORD = "canary-pw"  # noqa: S105 (looked for in every output)


def fingerprint(database: Database) -> dict[str, Any]:
    """What an independent client sees of a database, and the last thing that was written to the server."""
    hashed = database.command("dbHash")
    # the server itself writes down every few minutes which sessions there are
    ours = {"op": {"$ne": "n"}, "ns": {"$not": {"$regex": "^config[.]"}}}
    oplog = database.client.local["oplog.rs"].find(ours, sort=[("$natural", -1)], limit=1)
    return {
        "hashes": hashed["collections"],
        "indexes": {one["name"]: str(database.command("listIndexes", one["name"])["cursor"]["firstBatch"])
                    for one in database.list_collections(filter={"type": "collection"})},
        "written": [entry["ts"] for entry in oplog],
        "databases": database.client.list_database_names(),
    }  # fmt: skip


def test_what_is_right_passes_and_nothing_is_written(shop, verify_shop):
    before = fingerprint(shop)
    result = verify_shop(critical=["users"], min_counts={"users": 120, "metrics": 200}, indexes={"users": ["email_1"]})
    assert result["rc"] == 0, result["msg"]
    assert (result["changed"], result["verified"], result["extra"]) == (False, True, [])
    assert result["summary"]["failed"] == 0
    assert result["summary"]["collections"] == 7
    assert result["target"].endswith(f"/{shop.name}")
    assert result["figures"]["documents_read"] == 120 + 1 + 1 + shop["system.buckets.metrics"].count_documents({})
    assert result["figures"]["bytes_read"] > 0
    assert all(check["ok"] for check in result["checks"])
    assert fingerprint(shop) == before


def test_check_mode_is_the_same_as_a_run(verify_shop):
    checked, ran = verify_shop(check=True), verify_shop()
    for result in (checked, ran):
        result["figures"].pop("seconds")
    assert checked == ran


@pytest.fixture
def user(mongo_client, sandbox) -> Iterator[Callable[..., str]]:
    """Make a user with exactly these roles; returns the connection string to log in with."""
    made = []

    def make(*roles: dict[str, str]) -> str:
        name = f"u{uuid4().hex[:8]}"
        mongo_client.admin.command("createUser", name, pwd=PASSWORD, roles=list(roles))
        made.append(name)
        return f"mongodb://{name}:{PASSWORD}@127.0.0.1:{sandbox.status()['mongo']['port']}/?authSource=admin"

    yield make
    for name in made:
        mongo_client.admin.command("dropUser", name)


def test_the_least_roles_are_enough(shop, verify_shop, user):
    reader = user({"role": "read", "db": shop.name})
    assert verify_shop(uri=reader, content="none")["rc"] == 0
    assert verify_shop(uri=user({"role": "read", "db": shop.name}, {"role": "backup", "db": "admin"}))["rc"] == 0
    shop.drop_collection("metrics")
    result = verify_shop(uri=reader, collections=["users", "audit", "active"], critical=["notes"])
    assert result["rc"] == 0, result["msg"]


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ([], 'may not list the collections in "shop"'),
        ([("read", "elsewhere")], 'may not list the collections in "shop"'),
        ([("clusterMonitor", "admin")], 'may not list the collections in "shop"'),
        (
            [("read", "shop")],
            'may not read the buckets of the time-series "metrics" in "shop": grant the role backup on',
        ),
    ],
)
def test_a_missing_role_is_named(shop, verify_shop, user, roles, words):
    uri = user(*({"role": role, "db": shop.name if where == "shop" else where} for role, where in roles))
    result = verify_shop(uri=uri)
    assert (result["rc"], result["mend"]["reason"], result["mend"]["rule"]) == (1, "refused", "privileges")
    assert words.replace('"shop"', f'"{shop.name}"') in result["msg"]
    assert "grantRolesToUser" in result["msg"]
    assert PASSWORD not in json.dumps(result)


def test_a_wrong_password_is_a_failed_login(sandbox, run_verify, user):
    result = run_verify(uri=user().replace(PASSWORD, "canary-wrong"), database="shop", critical=["users"])
    assert (result["rc"], result["mend"]["rule"]) == (1, "mongo_authentication")
    assert "canary" not in json.dumps(result)


def s3_variables(sandbox, key):
    facts = sandbox.status()["s3"]
    return {
        "mongo_verify_bucket": facts["bucket"],
        "mongo_verify_key": key,
        "mongo_verify_s3_endpoint_url": facts["endpoint_url"],
        "mongo_verify_s3_region": facts["region"],
        "mongo_verify_s3_path_style": True,
        "mongo_verify_s3_access_key": "env:SANDBOX_S3_ACCESS_KEY",
        "mongo_verify_s3_secret_key": "env:SANDBOX_S3_SECRET_KEY",
    }


def test_the_playbook_verifies_against_the_manifest_in_s3(shop, sandbox, s3_client, playbook, write_manifest):
    bucket, key = sandbox.status()["s3"]["bucket"], f"{shop.name}/estore.archive.gz"
    s3_client.upload_file(write_manifest(manifest_of(shop)), bucket, f"{key}.manifest.json")
    variables = {**s3_variables(sandbox, key), "mongo_verify_database": shop.name}
    before = fingerprint(shop)
    for arguments in (["--check"], []):
        played = playbook("verify_mongo", *arguments, variables=variables)
        assert played.rc == 0, played.stdout
        (result,) = played.of("mend_mongo_verify")
        assert (result["verified"], result["changed"]) == (True, False)
        assert result["manifest"] == {
            "source": f"s3://{bucket}/{key}.manifest.json",
            "finished": "2026-01-02T00:00:00Z",
        }
    assert fingerprint(shop) == before
    shop.users.delete_one({})
    played = playbook("verify_mongo", variables={**variables, "mongo_verify_key": f"{key}.manifest.json"})
    assert played.rc == 2
    (result,) = played.failed()
    assert '"users" has 119 documents, expected 120 (1 missing)' in result["msg"]
    assert result["mend"]["reason"] == "verify"


@pytest.mark.parametrize(
    ("variables", "reason", "words"),
    [
        ({}, "nothing", "verify what?"),
        ({"mongo_verify_newest": {"users": {"feild": "x", "max_age_seconds": 5}}}, "refused", 'did you mean "field"?'),
        ({"mongo_verify_criticle": ["users"]}, "refused", "mongo_verify_criticle"),
        (
            {"mongo_verify_uri": "mongodb://127.0.0.1:9/?directConnection=true", "mongo_verify_critical": ["a"]},
            None,
            "",
        ),
    ],
)
def test_the_playbook_says_no_with_a_reason(playbook, variables, reason, words):
    played = playbook("verify_mongo", variables={"mongo_verify_database": "shop", **variables})
    assert played.rc == 2, played.stdout
    (result,) = played.failed()
    assert words in result["msg"]
    assert reason is None or result["mend"]["reason"] == reason


def test_a_manifest_that_is_not_there_is_named(sandbox, playbook):
    played = playbook("verify_mongo", variables={**s3_variables(sandbox, "no/such"), "mongo_verify_database": "shop"})
    assert played.rc == 2
    assert "no/such.manifest.json" in played.failed()[0]["msg"]


def test_a_long_read_tells_how_far_it_is(shop, playbook, write_manifest, tmp_path):
    folder = tmp_path / "progress"
    folder.mkdir()
    variables = {"mongo_verify_database": shop.name, "mongo_verify_manifest_file": write_manifest(manifest_of(shop))}
    assert playbook("verify_mongo", variables=variables, env={"MENDBOOK_PROGRESS": str(folder)}).rc == 0
    first, *steps = [json.loads(line) for line in (folder / "estore-1.jsonl").read_text().splitlines()]
    assert first["phase"] == "start" and first["pid"] > 0
    assert steps[-1]["done"] == steps[-1]["total"] and steps[-1]["unit"] == "documents"


def test_no_secret_reaches_any_output(shop, playbook, user):
    uri = user({"role": "read", "db": shop.name})
    variables = {"mongo_verify_database": shop.name, "mongo_verify_critical": ["users", "nothing"]}
    played = playbook("verify_mongo", "-vvv", variables=variables, env={"SANDBOX_MONGO_URI": uri})
    assert played.rc == 2
    assert '"nothing" is missing' in played.failed()[0]["msg"]
    assert PASSWORD not in played.stdout + played.stderr + json.dumps(played.results)
