"""Addresses out of connection strings, nothing else out of them; names and ports told apart."""

from __future__ import annotations

import re
import socket
import tomllib

import pytest

from contract import content
from mendbook.preflight import drivers, endpoint, reach
from mendbook.preflight.inventory import modules_of, plays_hosts, with_engines
from mendbook.preflight.reach import Deadline, Stopped, tcp
from mendbook.preflight.target import Target


@pytest.mark.parametrize(
    ("variable", "value", "places"),
    [
        ("mongo_uri", "mongodb://u:p@a:1,b,[::1]:3/db?replicaSet=x", [("a", 1), ("b", 27017), ("::1", 3)]),
        ("mongo_restore_uri", "mongodb://a", [("a", 27017)]),
        ("postgres_uri", "postgresql://u:p@a:1,b:2/db", [("a", 1), ("b", 2)]),
        ("postgres_uri", "postgres://u@a,b/db", [("a", 5432), ("b", 5432)]),
        ("postgres_uri", "postgresql:///db?host=a&port=7", [("a", 7)]),
        ("postgres_uri", "postgresql://name/db?hostaddr=10.0.0.1", [("10.0.0.1", 5432)]),
        ("redis_uri", "redis://:p@a:1/0", [("a", 1)]),
        ("redis_uri", "rediss://u:p@[::1]/0", [("::1", 6379)]),
        ("redis_uri", "redis://a:1,b", [("a", 1), ("b", 6379)]),
        ("s3_endpoint_url", "https://s3.example.com", [("s3.example.com", 443)]),
        ("mongo_restore_s3_endpoint_url", "http://a:9000/x", [("a", 9000)]),
        ("s3_endpoint_url", "http://a", [("a", 80)]),
    ],
)
def test_the_addresses_of_a_connection_string(variable, value, places):
    assert endpoint.addresses(variable, value) == (places, "")


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("mongo_uri", "env:NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE is not set here"),
        ("mongo_uri", "file:/no/such", "/no/such cannot be read here"),
        ("mongo_uri", "mongodb+srv://u:hunter2@cluster.example.com", "DNS records"),
        ("mongo_uri", "mongodb://u:hunter2/@x", "cannot be read"),
        ("mongo_uri", "hunter2", "cannot be read"),
        ("postgres_uri", "postgresql://u:hunter2@a:port/db", "cannot be read"),
        ("postgres_uri", "postgresql://u:hunter2@a:1,b:2,c/db?port=1,2", "cannot be read"),
        ("postgres_uri", "postgresql:///db", "local socket"),
        ("postgres_uri", "postgresql:///db?host=/run/postgresql", "local socket"),
        ("redis_uri", "unix:///run/redis.sock", "local socket"),
        ("redis_uri", "redis://:hunter2@a:port", "cannot be read"),
        ("redis_uri", "redis://anna:123/hunter2@a", "cannot be read"),
        ("redis_uri", "redis://anna:123?hunter2@a", "cannot be read"),
    ],
)
def test_what_is_not_known_is_said_without_the_secret(variable, value, why):
    places, said = endpoint.addresses(variable, value)
    assert places == []
    assert why in said and "hunter2" not in said


def test_references_are_resolved_as_for_a_run(monkeypatch, tmp_path):
    monkeypatch.setenv("CACHE", "redis://a:1")
    (tmp_path / "uri").write_text("redis://b:2\n")
    assert endpoint.addresses("redis_uri", "env:CACHE") == ([("a", 1)], "")
    assert endpoint.addresses("redis_uri", "env?:CACHE") == ([("a", 1)], "")
    assert endpoint.addresses("redis_uri", f"file:{tmp_path}/uri") == ([("b", 2)], "")


def test_each_address_is_tried_once_and_one_that_fails_does_not_hide_another():
    tried = []

    def connect(host, port, deadline):
        tried.append((host, port))
        if host == "b":
            raise Stopped("port closed", "b:1", "nothing listens")

    values = {"redis_uri": "redis://a:1,b:1", "redis_flush_uri": "redis://b:1,c:1", "redis_other_uri": ""}
    answers = endpoint.look(values, connect, Deadline.after(60))
    assert tried == [("a", 1), ("b", 1), ("c", 1)]
    assert [(each.where, each.stage) for each in answers] == [("a:1", ""), ("b:1", "port closed"), ("c:1", "")]


def test_an_address_that_never_answers_leaves_the_others_their_time():
    left = []

    def connect(host, port, deadline):
        left.append(deadline.left())
        raise Stopped("no answer", f"{host}:{port}", "no answer")

    endpoint.look({"redis_uri": "redis://a,b,c"}, connect, Deadline.after(300))
    assert left == [pytest.approx(100, abs=30), pytest.approx(150, abs=30), pytest.approx(300, abs=30)]


def test_a_store_beside_a_database_has_a_way_of_its_own():
    given = dict.fromkeys(["mongo_uri", "mongo_restore_s3_endpoint_url", "s3_endpoint_url"], "x")
    near = {name: "x" for name in ("mongo_uri", "s3_endpoint_url")}
    beside = {"mongo_restore_s3_endpoint_url": "x"}
    assert endpoint.ways(given, "ssh://b", "") == [("ssh://b", near), ("", beside)]
    assert endpoint.ways(beside, "ssh://b", "ssh://c") == [("ssh://c", beside)]
    assert endpoint.ways({}, "ssh://b", "ssh://c") == []


def test_what_stops_at_the_bastion_is_no_answer_of_an_address():
    def connect(host, port, deadline):
        raise Stopped("login", "ops@jump:22", "refused", at_bastion=True)

    with pytest.raises(Stopped, match="refused"):
        endpoint.look({"redis_uri": "redis://a:1"}, connect, Deadline.after(60))


@pytest.mark.parametrize(
    ("error", "stage"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "dns"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "dns"),
        (UnicodeError("label too long"), "dns"),
    ],
)
def test_a_name_that_is_not_known_is_no_closed_port(monkeypatch, error, stage):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(reach.socket, "getaddrinfo", fail)
    with pytest.raises(Stopped) as stopped:
        tcp("db", 5432, Deadline.after(60))
    assert (stopped.value.stage, "db" in stopped.value.text) == (stage, True)


@pytest.mark.parametrize(
    ("error", "stage"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "port closed"),
        (TimeoutError("timed out"), "no answer"),
        (OSError(113, "No route to host"), "network"),
    ],
)
def test_each_end_of_a_connection_has_its_stage(monkeypatch, error, stage):
    def fail(self, address):
        raise error

    monkeypatch.setattr(reach.socket.socket, "connect", fail)
    with pytest.raises(Stopped) as stopped:
        tcp("127.0.0.1", 1, Deadline.after(60))
    assert stopped.value.stage == stage


def test_the_second_address_of_a_name_is_tried_when_the_first_is_closed(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", each.getsockname()) for each in (closed, server)]
        monkeypatch.setattr(reach.socket, "getaddrinfo", lambda *arguments, **options: places)
        tcp("db", 1, Deadline.after(60)).close()


def test_the_libraries_of_an_engine_are_those_that_its_modules_require():
    required: dict[str, set[str]] = {}
    for path in (content.ROOT / "library").glob("mend_*.py"):
        engine = path.stem.split("_")[1]
        for call in re.findall(r"deps\.require\((.*)\)", path.read_text(encoding="utf-8")):
            required.setdefault(engine, set()).update(re.findall(r'(?<!\[)"(\w+)"', call))
    assert {engine: set(names) for engine, names in drivers.OF_ENGINE.items()} == required


def test_every_library_of_an_engine_is_one_of_mendbooks_own():
    project = tomllib.loads((content.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = {re.split(r"[^\w-]", requirement)[0] for requirement in project["dependencies"]}
    assert {name for names in drivers.OF_ENGINE.values() for name in names} <= own
    assert set(drivers.PACKAGES) <= own


def test_the_first_library_of_an_engine_is_always_needed_and_none_twice():
    needs = {need.library: need.always for need in drivers.needs(["mongo", "s3"])}
    assert needs == {"pymongo": True, "boto3": True, "isal": False, "fastcrc": False, "xxhash": False}


@pytest.mark.parametrize(
    ("groups", "modules", "engines"),
    [
        (("all", "mongo"), (), ("mongo",)),
        (("mongo_scratch", "postgres"), (), ("mongo", "postgres")),
        (("mongodb_hosts", "hosts", "redistribution"), (), ()),
        (("mongo",), ("mend_s3_backup_check",), ("s3",)),
        (("mongo",), ("mend_disk_info",), ()),
    ],
)
def test_engines_come_from_the_procedure_or_from_the_groups(groups, modules, engines):
    (target,) = with_engines([Target("h", groups)], modules)
    assert target.engines == engines


def test_a_procedure_tells_its_hosts_and_its_modules():
    from mendbook.content import procedure

    found = procedure("kill_idle_postgres", content.ROOT)
    assert plays_hosts(found) == ["{{ mend_hosts | default('postgres') }}"]
    assert modules_of(found) == ("mend_postgres_terminate",)
