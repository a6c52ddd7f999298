"""backup_mongo by bare ansible-playbook: from a real replica set into a real S3, and back by restore_mongo."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import bson
import pymongo
import pytest
import xxhash
from bson.raw_bson import RawBSONDocument

import backup_lab
from backup_lab import BackupLab, fill

pytestmark = pytest.mark.e2e

PASSWORD = "canary-shop-password"  # noqa: S105 (a user of a server on loopback)


@pytest.fixture
def lab(sandbox: Any, s3_client: Any) -> Iterator[BackupLab]:
    facts = sandbox.status()
    with backup_lab.backup_lab(facts["mongo"]["uri"], s3_client, facts["s3"]) as lab:
        fill(lab.database)
        yield lab


def variables(lab: BackupLab, role: str = "mongo_backup", **more: Any) -> dict[str, Any]:
    given = {name: value for name, value in lab.options.items() if name != "uri"}
    given |= {"s3_access_key": "env:SANDBOX_S3_ACCESS_KEY", "s3_secret_key": "env:SANDBOX_S3_SECRET_KEY", **more}
    return {f"{role}_{name}": value for name, value in given.items() if value is not None}


def sum_of(collection: Any) -> str:
    """The sum of a manifest, by another way: each raw document hashed by itself."""
    raw = collection.with_options(codec_options=bson.CodecOptions(document_class=RawBSONDocument)).find()
    return f"{sum(xxhash.xxh3_128_intdigest(one.raw) for one in raw) % 2**128:032x}"


def test_a_plan_then_a_backup_then_another_one(playbook, lab, sandbox, state) -> None:
    database, before = lab.picture(), lab.everything()
    checked = playbook("backup_mongo", "--check", "--diff", variables=variables(lab))
    assert checked.rc == 0, checked.stdout + checked.stderr
    (planned,) = checked.of("mend_mongo_backup")
    assert planned["changed"] is True and planned["plan"]["refusals"] == []
    assert (lab.picture(), lab.everything()) == (database, before), "check mode changes nothing"

    ran = playbook("backup_mongo", variables=variables(lab, latest=True))
    assert ran.rc == 0, ran.stdout + ran.stderr
    (result,) = ran.of("mend_mongo_backup")
    assert (result["state"], [entry["op"] for entry in result["done"]]) == ("done", ["+", "+"])
    assert lab.picture() == database
    (key,) = lab.whole()
    assert lab.keys() == [key, f"{key}.manifest.json", "latest"]
    assert key.startswith(f"{lab.database.name}-20") and key.endswith("Z.archive.gz")
    assert json.loads(lab.body("latest")) == {"key": lab.prefix + key, "version_id": None}

    # repeats: the next one is another backup, and latest moves
    again = playbook("backup_mongo", variables=variables(lab, latest=True))
    assert again.rc == 0, again.stdout
    (result,) = again.of("mend_mongo_backup")
    assert [entry["op"] for entry in result["done"]] == ["+", "~"]
    assert len(lab.whole()) == 2 and key in lab.whole()
    (newest,) = set(lab.whole()) - {key}
    assert json.loads(lab.body("latest"))["key"] == lab.prefix + newest
    assert f"the last one is of {lab.manifest(key)['finished']}" in " ".join(result["plan"]["notes"])

    # journalled, and no secret anywhere
    ends = [line for line in again.journal() if line["event"] == "end"]
    assert len(ends) == 2 and all(line["changed"] and line["read_back"]["size_bytes"] for line in ends)
    facts = sandbox.status()
    said = checked.stdout + ran.stdout + again.stdout + again.stderr + json.dumps(again.results)
    said += "".join(path.read_text() for path in state.rglob("*") if path.is_file())
    said += json.dumps(lab.manifest(key)) + lab.body(".mendbook-lock.json").decode()
    for secret in (facts["s3"]["secret_key"], facts["mongo"]["password"]):
        assert secret not in said


def test_the_manifest_says_what_an_independent_client_sees(playbook, lab) -> None:
    ran = playbook("backup_mongo", variables=variables(lab, verify=True))
    assert ran.rc == 0, ran.stdout
    (key,) = lab.whole()
    data, manifest = lab.body(key), lab.manifest(key)
    described = manifest["object"]
    assert described == {
        "key": lab.prefix + key,
        "version_id": None,
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "format": "archive+gzip",
    }
    assert gzip.decompress(data)[:4] == b"\x6d\xe2\x99\x81"
    host, port = lab.database.client.address
    assert manifest["source"] == {
        "id": f"rs0@{host}:{port}/{lab.database.name}",
        "address": f"{host}:{port}",
        "version": lab.database.client.server_info()["version"],
    }
    assert manifest["tool"].startswith("mendbook") and manifest["consistency"] == "snapshot"
    assert manifest["started"] <= manifest["finished"] and manifest["cluster_time"]["t"] > 0
    seen = {}
    for entry in lab.database.list_collections():
        name = entry["name"]
        if name.startswith("system."):
            continue
        data_name = f"system.buckets.{name}" if entry["type"] == "timeseries" else name
        view, capped = entry["type"] == "view", entry["options"].get("capped", False)
        seen[f"{lab.database.name}.{name}"] = (
            entry["type"],
            None if view else lab.database[name].count_documents({}),
            None if view or capped else sum_of(lab.database[data_name]),
            [] if view else sorted(index["name"] for index in lab.database[name].list_indexes()),
            sorted(entry["options"]),
        )
    told = {
        name: (one["type"], one["count"], one["sum"], sorted(i["name"] for i in one["indexes"]), sorted(one["options"]))
        for name, one in manifest["collections"].items()
    }
    assert told == seen
    assert manifest["collections"][f"{lab.database.name}.users"]["newest"] == "2026-01-01T00:04:59Z"


def test_a_backup_restored_by_restore_mongo_equals_the_source(playbook, lab) -> None:
    name, client = lab.database.name, lab.database.client
    role = {"resource": {"db": name, "collection": "users"}, "actions": ["find"]}
    lab.database.command("createRole", "clerk", privileges=[role], roles=[])
    lab.database.command("createUser", "shop", pwd=PASSWORD, roles=["readWrite", "clerk"])
    source = lab.picture()
    assert playbook("backup_mongo", variables=variables(lab, users_and_roles=True)).rc == 0
    lab.database.command("dropUser", "shop")
    lab.database.command("dropRole", "clerk")
    client.drop_database(name)

    host, port = client.address
    more = {
        "confirm": f"rs0@{host}:{port}/{name}",
        "users": ["shop"],
        "roles": ["clerk"],
        "collections": [name for name in source if not name.startswith("system.buckets.")],
    }
    restored = playbook("restore_mongo", variables=variables(lab, "mongo_restore", **more))
    assert restored.rc == 0, restored.stdout
    assert lab.picture() == source
    with pymongo.MongoClient(host, port, username="shop", password=PASSWORD, authSource=name) as shop:
        assert shop[name]["users"].count_documents({}) == 300

    # of a backup without being asked for, nobody learns a password's hash
    assert playbook("backup_mongo", variables=variables(lab)).rc == 0
    newest = lab.found().backups[0].key[len(lab.prefix) :]
    assert b"SCRAM" not in gzip.decompress(lab.body(newest))
    verified = playbook("verify_mongo", variables=variables(lab, "mongo_verify", prefix=None, key=lab.prefix + newest))
    assert verified.rc == 0, verified.stdout
    lab.database.command("dropAllUsersFromDatabase")
    lab.database.command("dropAllRolesFromDatabase")
