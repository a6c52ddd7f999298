"""diagnose_redis where it cannot get in, or only in part: each cause has its name, and what can be told is told."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path

import pytest

from redis_cli import BUILDS, build, cli

pytestmark = pytest.mark.e2e
pytest_plugins = ["redis_lab"]


@pytest.mark.parametrize(
    ("changed", "rule", "stage"),
    [
        ({"PASSWORD": "canary"}, "redis_authentication", "login"),
        ({":PASSWORD": "nobody:canary"}, "redis_authentication", "login"),
        ({":PASSWORD@": ""}, "redis_password_needed", "login"),
        ({"/0": "/77"}, "redis_database", "login"),
        ({"127.0.0.1:PORT": "no-such-host.invalid"}, "redis_dns", "dns"),
        ({"PORT": "1"}, "redis_refused", "tcp"),
        ({"redis://": "rediss://"}, "redis_timeout", "tcp"),
    ],
)
def test_every_way_in_that_is_closed_has_its_name(redis_refused, redis_single, changed, rule, stage):
    uri = "redis://:PASSWORD@127.0.0.1:PORT/0"
    for old, new in changed.items():
        uri = uri.replace(old, new)
    uri = uri.replace("PASSWORD", redis_single.password).replace("PORT", str(redis_single.ports[0]))
    # only who is to be silent is not waited for: a loaded machine answers late
    options = {"operation_timeout_seconds": 1} if rule == "redis_timeout" else {}
    assert redis_refused(uri, **options) == (rule, stage)


def test_a_server_without_a_free_connection_says_so(redis_refused, redis_added):
    service = redis_added(settings={"maxclients": "2"})
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(service.client(service.ports[0])).ping()
        held = [socket.create_connection(("127.0.0.1", service.ports[0])) for _ in range(2)]
        assert redis_refused(service.uri) == ("redis_connections", "login")
        for one in held:
            one.close()


@contextlib.contextmanager
def answering(*said):
    """A server that answers one thing after the other with these bytes, and hangs up; with none it stays silent."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                taken.append(listener.accept()[0])
                for answer in said:
                    taken[-1].recv(65536)
                    taken[-1].sendall(answer)
                if said:
                    taken[-1].shutdown(socket.SHUT_RDWR)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    finally:
        # a thread inside accept would keep the port open
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for each in (listener, *taken):
            each.close()


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "redis_protocol"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], "redis_protocol"),
        ([b""], "redis_closed"),
        ([], "redis_timeout"),
        ([b"-DENIED Redis is running in protected mode because protected mode is enabled\r\n"], "redis_protected"),
        # it lets us in, and then has nothing to tell
        ([b"+OK\r\n", b"-LOADING Redis is loading the dataset in memory\r\n"], "redis_loading"),
        ([b"+OK\r\n", b"-BUSY Redis is busy running a script.\r\n"], "redis_busy"),
        ([b"+OK\r\n", b"-ERR unknown command 'info'\r\n"], "redis_command"),
    ],
)
def test_who_is_no_redis_or_is_not_ready_is_told(redis_refused, said, rule):
    with answering(*said) as uri:
        began = time.monotonic()
        assert redis_refused(uri, operation_timeout_seconds=20 if said else 1)[0] == rule
        assert time.monotonic() - began < 30


@pytest.mark.parametrize("name", ["package", "debian"])
def test_what_a_user_may_not_ask_is_named_and_the_rest_is_told(redis_added, redis_look, name):
    rules = ">secret ~* +@all -config -slowlog -memory -latency -client"
    service = redis_added(binary=build(name), users={"watcher": rules})
    cli(service, "set", "order:1", "x")
    facts = redis_look(f"redis://watcher:secret@127.0.0.1:{service.ports[0]}")
    assert facts["rc"] == 0 and facts["verdict"] == "unknown" and facts["totals"]["keys"] == 1
    missing = {one["fact"]: one["command"].split()[0] for one in facts["missing"]}
    assert missing == {
        "slow commands": "SLOWLOG",
        "latency events": "LATENCY",
        "clients": "CLIENT",
        "biggest prefixes": "MEMORY",
    }
    unknown = {one["check"] for one in facts["verdicts"] if one["verdict"] == "unknown"}
    assert unknown == {"max_slow_seconds"} and "max_slow_seconds" in facts["headline"]
    assert sum("not known at" in line for line in facts["summary"]) == 4


@pytest.mark.parametrize("name", BUILDS)
def test_the_rights_that_the_page_names_are_enough(redis_added, redis_look, name):
    page = (Path(__file__).parents[2] / "docs" / "diagnose_redis.md").read_text()
    (rules,) = [line.partition(" on ")[2] for line in page.splitlines() if "ACL SETUSER ops on" in line]
    service = redis_added(binary=build(name), users={"ops": rules.replace(">...", ">secret")}, cluster=name == "valkey")
    if not service.cluster:
        cli(service, "-n", 3, "set", "order:1", "x")
    facts = redis_look(f"redis://ops:secret@127.0.0.1:{service.ports[0]}")
    assert facts["rc"] == 0 and facts["missing"] == [] and facts["notes"] == [], facts


def test_a_user_without_info_learns_what_is_needed(redis_added, redis_look):
    service = redis_added(users={"watcher": ">secret ~* +get"})
    result = redis_look(f"redis://watcher:secret@127.0.0.1:{service.ports[0]}")
    assert (result["rc"], result["mend"]["rule"]) == (1, "redis_permission")
    assert result["mend"]["details"]["command"] == "INFO"


def test_a_user_of_some_keys_is_told_of_those(redis_added, redis_look):
    service = redis_added(users={"watcher": ">secret ~order:* +@all"})
    for key in ("order:1", "order:2", "hidden:1"):
        cli(service, "set", key, "x")
    facts = redis_look(f"redis://watcher:secret@127.0.0.1:{service.ports[0]}")
    assert [one["prefix"] for one in facts["prefixes"]] == ["order:"] and facts["sampled"]["seen"] == 3


def test_a_command_that_a_provider_has_switched_off_is_named(redis_added, redis_look):
    service = redis_added(settings={"rename-command": 'CLIENT ""'})
    facts = redis_look(service.uri)
    (missing,) = facts["missing"]
    assert facts["rc"] == 0 and (missing["fact"], missing["command"]) == ("clients", "CLIENT")
    assert missing["rule"] == "redis_command" and facts["verdict"] == "ok"


def test_a_cluster_that_may_not_be_asked_is_told_as_far_as_it_is_seen(redis_added, redis_look):
    service = redis_added(users={"watcher": ">secret ~* +@all -cluster"}, settings={"cluster-enabled": "yes"})
    facts = redis_look(f"redis://watcher:secret@127.0.0.1:{service.ports[0]}")
    assert facts["rc"] == 0 and (facts["kind"], facts["whole"]) == ("cluster", False)
    assert "the other nodes of the cluster are not known" in facts["notes"][0]
    unknown = {one["check"] for one in facts["verdicts"] if one["verdict"] == "unknown"}
    assert unknown >= {"max_lost_nodes", "max_uncovered_slots", "max_masters_without_replica"}


def test_an_address_that_means_nothing_here_is_said(redis_added, redis_look):
    service = redis_added(replicas=1, settings={"replica-announce-ip": "203.0.113.1"})
    facts = redis_look(service.uri, connect_timeout_seconds=1)
    assert facts["rc"] == 0 and [bool(node["error"]) for node in facts["nodes"]] == [False, True]
    assert f"203.0.113.1:{service.ports[1]}" in facts["headline"] and "cannot be reached from here" in facts["notes"][0]


def test_a_stranger_at_an_announced_address_is_not_taken_for_the_replica(redis_added, redis_look, redis_single):
    port = str(redis_single.ports[0])
    service = redis_added(replicas=1, settings={"replica-announce-ip": "127.0.0.1", "replica-announce-port": port})
    # the same user and password would let us in there
    cli(service, "config", "set", "requirepass", redis_single.password)
    uri = service.uri.replace(service.password, redis_single.password)
    facts = redis_look(uri)
    assert [node["error"] and "another Redis answers" in node["error"] for node in facts["nodes"]] == [None, True]


def test_a_server_that_falls_silent_is_left_in_time(redis_added, redis_look):
    service = redis_added(replicas=1)
    os.kill(service.node(service.ports[1]).pid, signal.SIGSTOP)
    began = time.monotonic()
    # the master answers in between, also where it has to wait for this machine
    facts = redis_look(service.uri, operation_timeout_seconds=5)
    assert time.monotonic() - began < 60
    assert facts["rc"] == 0 and "no answer in time" in facts["nodes"][1]["error"]
    os.kill(service.pid, signal.SIGSTOP)
    result = redis_look(service.uri, operation_timeout_seconds=1)
    assert (result["rc"], result["mend"]["rule"]) == (1, "redis_timeout")


def test_a_socket_of_this_machine_is_a_way_in(redis_added, redis_look):
    # a socket's path has 107 bytes at most
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "r.sock"
        service = redis_added(settings={"unixsocket": str(path)})
        facts = redis_look(f"unix://{path}", password=service.password)
        assert facts["rc"] == 0 and facts["target"]["id"] == f"redis@{path}"
        assert redis_look(f"unix://{path}.old")["mend"]["rule"] == "redis_refused"
        assert redis_look(f"unix://{path}", via="ssh://bastion")["mend"]["rule"] == "redis_uri"


def test_two_looks_need_time_between_them(redis_single, redis_look):
    assert redis_look(redis_single.uri, interval_seconds=0)["mend"]["rule"] == "options"
