"""The sandbox from outside: the servers it gives, what they refuse, and that nothing stays behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import botocore.exceptions
import pymongo
import pymongo.errors
import pytest
from botocore.config import Config
from sandbox_probes import assert_nothing_left, listening, mongo_with, running, s3_with

import mendbook.sandbox
from waiting import until

pytestmark = pytest.mark.e2e

WRONG = "wrong"
UNSIGNED = Config(signature_version=botocore.UNSIGNED, s3={"addressing_style": "path"})
# what a library user writes: the servers must not outlive this process, however it ends
OWNER = """
import json, sys, time
import mendbook.sandbox
with mendbook.sandbox.start(directory=sys.argv[1]) as box:
    print(json.dumps(box.status()), flush=True)
    time.sleep(60)
"""


def test_mongo_serves_its_user_as_a_primary_with_majority_writes(sandbox, mongo_client):
    facts = sandbox.status()["mongo"]
    hello = mongo_client.admin.command("hello")
    assert hello["setName"] == facts["replica_set"] == "rs0" and hello["isWritablePrimary"]
    assert mongo_client.server_info()["versionArray"][:2] >= [6, 0]
    numbers = mongo_client.sandbox_test.get_collection(
        "n", write_concern=pymongo.WriteConcern("majority", wtimeout=60000)
    )
    numbers.insert_one({"_id": 1})
    assert numbers.find_one() == {"_id": 1}
    mongo_client.drop_database("sandbox_test")


@pytest.mark.parametrize("changed", [{"password": WRONG}, {"username": "somebody"}])
def test_mongo_refuses_wrong_credentials(sandbox, changed):
    with mongo_with(sandbox.status()["mongo"], **changed) as client:
        with pytest.raises(pymongo.errors.OperationFailure, match="Authentication failed"):
            client.admin.command("ping")


def test_mongo_refuses_nobody_and_a_second_first_user(sandbox):
    facts = sandbox.status()["mongo"]
    with pymongo.MongoClient(facts["host"], facts["port"], directConnection=True) as client:
        for attempt in (
            lambda: client.sandbox_test.n.insert_one({}),
            lambda: client.admin.command("createUser", "thief", pwd=WRONG, roles=["root"]),
        ):
            with pytest.raises(pymongo.errors.OperationFailure) as refused:
                attempt()
            assert refused.value.code == 13


def test_s3_stores_and_returns_bytes(sandbox, s3_client):
    bucket = sandbox.status()["s3"]["bucket"]
    assert bucket == "backups"
    data = os.urandom(6 << 20)
    s3_client.put_object(Bucket=bucket, Key="sandbox-test/a b", Body=data)
    assert s3_client.get_object(Bucket=bucket, Key="sandbox-test/a b")["Body"].read() == data
    s3_client.delete_object(Bucket=bucket, Key="sandbox-test/a b")


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"secret_key": WRONG}, "SignatureDoesNotMatch"), ({"access_key": "UNKNOWNKEY"}, "InvalidAccessKeyId")],
)
def test_s3_refuses_wrong_keys(sandbox, changed, code):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        s3_with(sandbox.status()["s3"], **changed).list_objects_v2(Bucket="backups")
    assert refused.value.response["Error"]["Code"] == code


def test_s3_refuses_nobody(sandbox):
    facts = sandbox.status()["s3"]
    nobody = boto3.client("s3", endpoint_url=facts["endpoint_url"], region_name=facts["region"], config=UNSIGNED)
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        nobody.list_objects_v2(Bucket="backups")


def test_every_port_is_on_loopback(sandbox):
    facts = sandbox.status()
    for name in ("mongo", "s3"):
        found = listening(facts[name]["pid"])
        assert found
        assert {address for address, _ in found} == {"0100007F"}
    assert not listening(facts["keeper"])


def test_no_credential_is_in_an_argument_list_or_in_a_file_for_others(sandbox):
    facts = sandbox.status()
    secrets = [facts["mongo"]["password"], facts["s3"]["secret_key"], facts["s3"]["access_key"]]
    for pid in (facts["keeper"], facts["mongo"]["pid"], facts["s3"]["pid"]):
        arguments = Path(f"/proc/{pid}/cmdline").read_text()
        assert not [secret for secret in secrets if secret in arguments]
    assert sandbox.directory.stat().st_mode & 0o077 == 0
    holders = {}
    for folder, _, names in os.walk(sandbox.directory):
        for path in [Path(folder, name) for name in names]:
            # the servers remove files meanwhile, and have sockets
            with contextlib.suppress(OSError), path.open("rb") as file:
                status = os.fstat(file.fileno())
                # the data files of mongod and weed are larger
                content = file.read() if status.st_size < 1 << 20 else b""
                if any(secret.encode() in content for secret in secrets):
                    holders[path] = status.st_mode & 0o077
    assert set(holders.values()) == {0} and sandbox.directory / "sandbox.json" in holders


def test_two_sandboxes_live_side_by_side_and_share_nothing(sandbox):
    with mendbook.sandbox.start() as other:
        mine, theirs = sandbox.status(), other.status()
        assert mine["mongo"]["port"] != theirs["mongo"]["port"]
        with (
            pytest.raises(pymongo.errors.OperationFailure),
            mongo_with(mine["mongo"] | {"port": theirs["mongo"]["port"]}) as client,
        ):
            client.admin.command("ping")
        s3_with(theirs["s3"]).put_object(Bucket="backups", Key="only-there", Body=b"x")
        assert "Contents" not in s3_with(mine["s3"]).list_objects_v2(Bucket="backups", Prefix="only-there")
    assert_nothing_left(theirs, other.directory)
    assert sandbox.status()["mongo"]["running"]
    with mongo_with(mine["mongo"]) as client:
        client.admin.command("ping")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_nothing_is_left_when_the_owner_dies(tmp_path, number):
    folder = tmp_path / "box"
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as owner:
        facts = json.loads(owner.stdout.readline())
        assert running(facts["mongo"]["pid"]) and running(facts["s3"]["pid"])
        owner.send_signal(number)
        owner.wait(60)
        assert_nothing_left(facts, folder)


def test_nothing_is_left_when_the_owner_dies_while_the_servers_start(tmp_path):
    folder = tmp_path / "box"
    with subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.DEVNULL) as owner:
        until(lambda: (folder / "mongo").exists())
        owner.kill()
    until(lambda: not folder.exists())
    assert not subprocess.run(["pgrep", "-f", f"{folder}/"], capture_output=True).stdout


def test_servers_die_with_a_killed_keeper_and_the_next_start_cleans_up(tmp_path):
    box = mendbook.sandbox.start(("mongo",), directory=tmp_path / "box")
    facts = box.status()
    os.kill(facts["keeper"], signal.SIGKILL)
    until(lambda: not running(facts["mongo"]["pid"]))
    box.stop()
    assert (tmp_path / "box" / "mongo").exists()
    with mendbook.sandbox.start(("mongo",), directory=tmp_path / "box") as again:
        assert again.status()["mongo"]["password"] != facts["mongo"]["password"]
        assert not list((tmp_path / "box" / "mongo").glob(f"*{facts['mongo']['port']}*"))
    assert not (tmp_path / "box").exists()


def test_the_playbook_fixture_reads_results_back(playbook):
    tasks = [
        {"name": "Say", "ansible.builtin.debug": {"msg": "{{ word }}"}},
        {"name": "Fail", "ansible.builtin.fail": {"msg": "on purpose"}},
    ]
    played = playbook([{"name": "Look", "hosts": "mongo", "tasks": tasks}], variables={"word": "hello"})
    assert played.rc == 2
    assert [entry["status"] for entry in played.results] == ["ok", "failed"]
    assert played.of("debug")[0]["msg"] == "hello"
    assert played.failed()[0]["msg"] == "on purpose"
