"""Reaching MongoDB: what it is, why it does not answer, what the user may do; against real servers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

import pytest
from ansible.module_utils.mendbook.errors import MendError, Refused
from ansible.module_utils.mendbook.mongo import connect, refusals, refuse_unfit
from ansible.module_utils.mendbook.mongo_privileges import missing_privileges
from ansible.module_utils.mendbook.mongo_space import free_space

from mendbook.sandbox.services.mongo import Service
from waiting import until

pytestmark = pytest.mark.e2e

WRONG = "wr0ng-and-secret"


def params(uri: str, **options: Any) -> dict[str, Any]:
    return {"uri": uri, "connect_timeout_seconds": 30, "operation_timeout_seconds": 60, **options}


@pytest.fixture(scope="module")
def mongo(sandbox):
    return sandbox.status()["mongo"]


@pytest.fixture(scope="module")
def three(sandbox):
    service = sandbox.add(Service(name="three", members=3))
    yield service
    sandbox.remove("three")


def refused(uri: str, **options: Any) -> MendError:
    """The error; a driver that may try again does so until the time is over, so there is little of it at first."""
    for seconds in (2, 20):
        with pytest.raises(MendError) as caught, connect(params(uri, connect_timeout_seconds=seconds, **options)):
            pass
        # a machine that stood still for the whole of it has found out nothing
        if caught.value.rule != "mongo_timeout":
            break
    return caught.value


def test_a_replica_set_says_what_it_is(mongo):
    with connect(params(mongo["uri"]), "run-1") as deployment:
        assert (deployment.kind, deployment.primary) == ("replica_set", True)
        assert deployment.version[:2] >= (6, 0)
        assert deployment.target_id("estore") == f"rs0@127.0.0.1:{mongo['port']}/estore"
        assert deployment.identity() == {
            "kind": "replica_set",
            "set": "rs0",
            "hosts": [f"127.0.0.1:{mongo['port']}"],
        }
        assert deployment.facts()["user"] == "root@admin"
        assert refusals(deployment) == []
        apps = {one.get("appName") for one in deployment.client.admin.aggregate([{"$currentOp": {"allUsers": True}}])}
        assert "mendbook run-1" in apps


def test_a_standalone_says_what_it_is(sandbox):
    service = sandbox.add(Service(name="alone", replica_set=None))
    try:
        with connect(params(service.uri)) as deployment:
            assert deployment.target_id("estore") == f"standalone@127.0.0.1:{service.ports[0]}/estore"
            assert missing_privileges(deployment, "estore", timeseries=True) == []
    finally:
        sandbox.remove("alone")


def test_the_target_is_the_same_from_every_member_and_a_secondary_is_refused(three):
    ids = set()
    for port in three.ports:
        with connect(params(three._uri([port], login=True))) as deployment:
            ids.add(deployment.target_id("estore"))
            assert deployment.primary, "one member leads to the primary"
        with connect(params(three._uri([port], login=True, directConnection="true"))) as deployment:
            if deployment.primary:
                continue
            assert refusals(deployment)[0]["rule"] == "mongo_secondary"
            with pytest.raises(Refused, match="not the primary"):
                refuse_unfit(deployment)
    assert ids == {f"rs0@127.0.0.1:{min(three.ports)}/estore"}


def test_a_set_without_a_primary_is_told_from_one_that_is_down(three):
    for port in three.ports[1:]:
        three.member(port).kill()
    try:
        found = until(lambda: alone(three))
        assert found[0]["rule"] == "mongo_secondary"
    finally:
        three.restart()


def alone(three: Service) -> list[dict[str, Any]] | None:
    """What forbids to change data on a set without a primary; None as long as there is one."""
    # without an answer in this time another look is taken
    with contextlib.suppress(MendError), connect(params(three.uri, connect_timeout_seconds=3)) as deployment:
        if not deployment.primary:
            return refusals(deployment)
    return None


def test_a_wrong_password_is_named_and_not_printed(mongo):
    error = refused(mongo["uri"].replace(mongo["password"], WRONG))
    assert error.rule == "mongo_authentication"
    assert "auth_source" in error.msg
    assert WRONG not in error.msg + repr(error.details)


def test_no_user_where_one_is_wanted(mongo):
    with pytest.raises(MendError) as caught, connect(params(f"mongodb://127.0.0.1:{mongo['port']}")) as deployment:
        deployment.client.estore.list_collection_names()
    assert caught.value.rule == "mongo_authentication"
    assert "username" in caught.value.msg


def test_nothing_listens():
    # taken, and not listened to: nobody else listens there either
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        error = refused(f"mongodb://127.0.0.1:{port}")
    assert (error.rule, error.details["address"]) == ("mongo_refused", f"127.0.0.1:{port}")


@pytest.mark.parametrize("uri", ["mongodb://nosuch.invalid", "mongodb+srv://nosuch.invalid"])
def test_a_name_that_does_not_resolve(uri):
    assert refused(uri).rule in ("mongo_dns", "mongo_srv")


def test_a_server_that_accepts_and_never_answers_is_reported_in_time():
    took = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"mongodb://127.0.0.1:{silent.getsockname()[1]}"
        # one of a few: a machine may stand still
        while len(took) < 4 and min(took, default=8) >= 8:
            begun = time.monotonic()
            with pytest.raises(MendError) as caught, connect(params(uri, connect_timeout_seconds=2)):
                pass
            took.append(time.monotonic() - begun)
            assert caught.value.rule == "mongo_timeout"
            assert "connect_timeout_seconds" in caught.value.msg
    assert min(took) < 8


def test_a_server_that_is_not_mongodb():
    with socket.create_server(("127.0.0.1", 0)) as other:
        thread = threading.Thread(target=_answer_http, args=(other,), daemon=True)
        thread.start()
        assert refused(f"mongodb://127.0.0.1:{other.getsockname()[1]}").rule == "mongo_protocol"


def _answer_http(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" + b"x" * 64)


def test_tls_where_the_server_has_none(mongo):
    error = refused(f"mongodb://127.0.0.1:{mongo['port']}", tls=True)
    assert error.rule == "mongo_tls_version"


@pytest.mark.parametrize(
    ("uri", "options", "words"),
    [
        ("http://db", {}, "must begin with mongodb://"),
        ("mongodb://u:p@ss@db", {}, "escaped"),
        ("mongodb://db", {"username": "u"}, "without password"),
        ("mongodb://db", {"tls": True, "tls_ca_file": "/nonexistent/ca.pem"}, "cannot be read"),
    ],
)
def test_options_that_cannot_work_are_refused_before_any_connection(uri, options, words):
    assert words in refused(uri, **options).msg


@pytest.fixture
def user(sandbox, mongo_client, mongo):
    """Make a user with roles; the connection string."""
    made = []

    def make(*roles):
        name = f"user{len(made)}"
        mongo_client.admin.command("createUser", name, pwd="pw", roles=list(roles))
        made.append(name)
        return f"mongodb://{name}:pw@127.0.0.1:{mongo['port']}/?authSource=admin"

    yield make
    for name in made:
        mongo_client.admin.command("dropUser", name)


BACKUP_AND_RESTORE = ({"role": "backup", "db": "admin"}, {"role": "restore", "db": "admin"})
READ_WRITE_AND_ADMIN = ({"role": "readWrite", "db": "estore"}, {"role": "dbAdmin", "db": "estore"})


@pytest.mark.parametrize(
    ("roles", "timeseries", "missing"),
    [
        (BACKUP_AND_RESTORE, True, set()),
        (READ_WRITE_AND_ADMIN, False, set()),
        (READ_WRITE_AND_ADMIN, True, {"insert", "bypassDocumentValidation"}),
        (READ_WRITE_AND_ADMIN[:1], False, {"collMod", "bypassDocumentValidation"}),
        (BACKUP_AND_RESTORE[1:], False, {"find"}),
        (({"role": "read", "db": "estore"},), False, {"insert", "dropCollection", "collMod"}),
        (({"role": "readWrite", "db": "other"}, {"role": "dbAdmin", "db": "other"}), False, {"find", "insert"}),
    ],
)
def test_what_a_user_lacks_is_found_without_changing_anything(user, mongo_client, roles, timeseries, missing):
    before = mongo_client.estore.list_collection_names()
    with connect(params(user(*roles))) as deployment:
        found = missing_privileges(deployment, "estore", timeseries=timeseries)
    named = {one["privilege"] for one in found}
    assert missing <= named and bool(missing) == bool(named)
    assert all("grantRolesToUser" in one["msg"] and "restore" in one["role"] for one in found)
    assert mongo_client.estore.list_collection_names() == before


def test_free_space_is_known_or_said_to_be_unknown(user, mongo_client):
    mongo_client.drop_database("estore")
    with connect(params(user(*READ_WRITE_AND_ADMIN))) as deployment:
        assert "does not exist yet" in free_space(deployment, "estore")["msg"]
    mongo_client.estore.orders.insert_one({})
    with connect(params(user(*READ_WRITE_AND_ADMIN))) as deployment:
        assert free_space(deployment, "estore")["free_bytes"] > 1 << 20
    with connect(params(user(*BACKUP_AND_RESTORE))) as deployment:
        space = free_space(deployment, "estore")
    assert space["free_bytes"] is None
    assert "dbStats" in space["msg"]
    mongo_client.drop_database("estore")
