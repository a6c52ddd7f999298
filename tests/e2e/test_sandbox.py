"""The sandbox from outside: the servers it gives, what they refuse, and that nothing stays behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3
import botocore.exceptions
import pymongo
import pymongo.errors
import pytest
from botocore.config import Config

import mendbook.sandbox
from mendbook.sandbox import BinaryMissing, ServerDied
from mendbook.sandbox.ports import free_ports, is_free
from mendbook.sandbox.services import mongo, s3

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


def s3_with(facts, **changed):
    facts = facts | changed
    return boto3.client(
        "s3",
        endpoint_url=facts["endpoint_url"],
        aws_access_key_id=facts["access_key"],
        aws_secret_access_key=facts["secret_key"],
        region_name=facts["region"],
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def mongo_with(facts, **changed):
    facts = facts | changed
    options = {"serverSelectionTimeoutMS": 5000, "directConnection": True, "authSource": "admin"}
    return pymongo.MongoClient(
        facts["host"], facts["port"], username=facts["username"], password=facts["password"], **options
    )


def wait_until(true, seconds=10):
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def running(pid):
    """Whether a process lives; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def listening(pid):
    """(address, port) of every TCP socket that a process listens on, read from the kernel's tables."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(entry))
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    return found


def sockets_in_tmp(port):
    return list(Path("/tmp").glob(f"seaweedfs-*{port}.sock"))  # noqa: S108 - weed's own fixed names


def assert_nothing_left(facts, folder):
    pids = [facts["keeper"], facts["mongo"]["pid"], facts["s3"]["pid"]]
    assert wait_until(lambda: not any(map(running, pids))), "processes are left"
    assert wait_until(lambda: not Path(folder).exists()), "the folder is left"
    s3_port = int(facts["s3"]["endpoint_url"].rsplit(":", 1)[1])
    assert is_free(facts["mongo"]["port"]) and is_free(s3_port)
    assert not sockets_in_tmp(s3_port)


def test_mongo_serves_its_user_as_a_primary_with_majority_writes(sandbox, mongo_client):
    facts = sandbox.status()["mongo"]
    hello = mongo_client.admin.command("hello")
    assert hello["setName"] == facts["replica_set"] == "rs0" and hello["isWritablePrimary"]
    assert mongo_client.server_info()["versionArray"][:2] >= [6, 0]
    numbers = mongo_client.sandbox_test.get_collection(
        "n", write_concern=pymongo.WriteConcern("majority", wtimeout=5000)
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
    holders = [
        path
        for path in sandbox.directory.rglob("*")
        # the data files of mongod and weed are larger
        if path.is_file()
        and path.stat().st_size < 1 << 20
        and any(secret.encode() in path.read_bytes() for secret in secrets)
    ]
    assert [path.name for path in holders if path.stat().st_mode & 0o077] == []
    assert sandbox.directory / "sandbox.json" in holders


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
        owner.wait(10)
        assert_nothing_left(facts, folder)


def test_nothing_is_left_when_the_owner_dies_while_the_servers_start(tmp_path):
    folder = tmp_path / "box"
    with subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.DEVNULL) as owner:
        assert wait_until(lambda: (folder / "mongo").exists())
        owner.kill()
    assert wait_until(lambda: not folder.exists())
    assert not subprocess.run(["pgrep", "-f", f"{folder}/"], capture_output=True).stdout


def test_servers_die_with_a_killed_keeper_and_the_next_start_cleans_up(tmp_path):
    box = mendbook.sandbox.start(("mongo",), directory=tmp_path / "box")
    facts = box.status()
    os.kill(facts["keeper"], signal.SIGKILL)
    assert wait_until(lambda: not running(facts["mongo"]["pid"]))
    box.stop()
    assert (tmp_path / "box" / "mongo").exists()
    with mendbook.sandbox.start(("mongo",), directory=tmp_path / "box") as again:
        assert again.status()["mongo"]["password"] != facts["mongo"]["password"]
        assert not list((tmp_path / "box" / "mongo").glob(f"*{facts['mongo']['port']}*"))
    assert not (tmp_path / "box").exists()


def test_a_killed_mongod_comes_back_with_its_data_port_and_user(sandbox):
    victim = sandbox.add(mongo.Service(name="victim"))
    try:
        facts = sandbox.status()["victim"]
        with mongo_with(facts) as client:
            client.shop.orders.with_options(write_concern=pymongo.WriteConcern(w=1, j=True)).insert_one({"_id": 7})
        victim.kill()
        assert not running(facts["pid"]) and is_free(facts["port"])
        assert sandbox.status()["victim"]["running"] is False
        victim.restart()
        after = sandbox.status()["victim"]
        assert (after["port"], after["uri"]) == (facts["port"], facts["uri"]) and after["pid"] != facts["pid"]
        with mongo_with(after) as client:
            assert client.shop.orders.find_one() == {"_id": 7}
    finally:
        sandbox.remove("victim")


def test_a_standalone_asks_for_a_password_too(sandbox):
    single = sandbox.add(mongo.Service(name="single", replica_set=None))
    try:
        with pymongo.MongoClient(single.uri) as client:
            assert "setName" not in client.admin.command("hello")
            client.shop.orders.insert_one({})
        with mongo_with(single.describe(), password=WRONG) as client:
            with pytest.raises(pymongo.errors.OperationFailure):
                client.admin.command("ping")
    finally:
        sandbox.remove("single")


def test_a_set_of_three_has_a_primary_and_survives_its_death(sandbox):
    trio = sandbox.add(mongo.Service(name="trio", members=3))
    try:
        with pymongo.MongoClient(trio.uri, serverSelectionTimeoutMS=20000) as client:
            client.shop.orders.with_options(write_concern=pymongo.WriteConcern(3, wtimeout=20000)).insert_one(
                {"_id": 1}
            )
            assert len(client.nodes) == 3
            primary = client.primary
            trio.member(primary[1]).kill()
            assert wait_until(lambda: client.primary not in (None, primary), 20)
            assert client.shop.orders.find_one() == {"_id": 1}
    finally:
        sandbox.remove("trio")


@pytest.mark.parametrize("service", [mongo.Service(name="again"), s3.Service(name="again")], ids=["mongod", "weed"])
def test_a_port_that_was_taken_in_between_is_given_up(sandbox, monkeypatch, service):
    module = sys.modules[type(service).__module__]
    real, calls = module.free_ports, []
    taken_port = free_ports(1, partner=10000)[0]
    with socket.create_server(("127.0.0.1", taken_port)):

        def first_the_taken_one(count, **options):
            calls.append(count)
            ports = real(count, **options)
            return [taken_port, *ports[1:]] if len(calls) == 1 else ports

        monkeypatch.setattr(module, "free_ports", first_the_taken_one)
        try:
            sandbox.add(service)
            assert len(calls) == 2 and sandbox.status()["again"]["running"]
        finally:
            if "again" in sandbox.names:
                sandbox.remove("again")


def test_a_wrong_argument_is_reported_in_the_words_of_mongod(sandbox):
    with pytest.raises(ServerDied, match="noSuchOption"):
        sandbox.add(mongo.Service(name="odd", arguments=["--noSuchOption"]))
    assert "odd" not in sandbox.names and not (sandbox.directory / "odd").exists()


def fake_mongod(folder, script):
    path = folder / "mongod"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_missing_shared_library_names_the_debian_package(sandbox, tmp_path):
    loader = "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file: No such file"
    broken = fake_mongod(tmp_path, f"echo '{loader}' >&2; exit 127")
    with pytest.raises(BinaryMissing, match="mongod needs libcurl.so.4.*apt-get install libcurl4"):
        sandbox.add(mongo.Service(name="broken", binary=broken))


def test_a_processor_without_avx_is_named(sandbox, tmp_path):
    with pytest.raises(BinaryMissing, match="AVX"):
        sandbox.add(mongo.Service(name="broken", binary=fake_mongod(tmp_path, "kill -ILL $$")))


def test_a_file_that_is_no_program_is_named(sandbox, tmp_path):
    path = tmp_path / "mongod"
    path.write_bytes(b"\x00\x01not a program")
    path.chmod(0o755)
    with pytest.raises(mendbook.sandbox.SandboxError, match=f"{path} cannot be started: .*Exec format error"):
        sandbox.add(mongo.Service(name="broken", binary=str(path)))


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
