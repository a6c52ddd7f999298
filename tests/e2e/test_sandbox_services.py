"""Servers that die, come back, have odd shapes or do not run at all on this machine."""

import socket
import sys

import pymongo
import pymongo.errors
import pytest
from sandbox_probes import mongo_with, running

import mendbook.sandbox
from mendbook.sandbox import BinaryMissing, ServerDied
from mendbook.sandbox.ports import free_ports, is_free
from mendbook.sandbox.services import mongo, s3
from waiting import until

pytestmark = pytest.mark.e2e
WRONG = "wrong"


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
        with pymongo.MongoClient(trio.uri, serverSelectionTimeoutMS=60000) as client:
            client.shop.orders.with_options(write_concern=pymongo.WriteConcern(3, wtimeout=60000)).insert_one(
                {"_id": 1}
            )
            until(lambda: len(client.nodes) == 3)
            primary = client.primary
            trio.member(primary[1]).kill()
            until(lambda: client.primary not in (None, primary))
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
