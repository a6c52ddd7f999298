"""The way to an endpoint: what goes by it and what does not, what is said of it, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
from ansible.module_utils.mendbook import reach
from ansible.module_utils.mendbook.errors import Locked, MendError, Partial, Undone
from ansible.module_utils.mendbook.postgres import _led_by
from ansible.module_utils.mendbook.s3_options import is_store

SECONDS = 30


class Carrier:
    """Dials one end of a pair of sockets; the test has the other."""

    name = "bastion b"

    def __init__(self):
        self.dialled = []
        self.far = []
        self.gone = None
        self.refusal = None

    def lost(self):
        return self.gone

    def wait_for(self, visits):
        end = time.monotonic() + SECONDS
        while len(self.far) < visits:
            assert time.monotonic() < end
            time.sleep(0.005)

    def dial(self, host, port):
        self.dialled.append((host, port))
        if self.refusal:
            raise MendError(self.refusal, rule="via_forward")
        near, far = socket.socketpair()
        far.settimeout(SECONDS)
        self.far.append(far)
        return near


@pytest.fixture
def carrier(monkeypatch):
    made = Carrier()
    monkeypatch.setattr(reach, "_carrier", lambda via, seconds: contextlib.nullcontext(made))
    yield made
    for far in made.far:
        far.close()


@pytest.fixture(autouse=True)
def nothing_stays():
    threads, resolver = set(threading.enumerate()), socket.getaddrinfo
    yield
    assert set(threading.enumerate()) <= threads
    assert socket.getaddrinfo is resolver


def connected(host="db1", port=27017):
    return socket.create_connection((host, port), timeout=SECONDS)


def visit(carrier, host, port):
    with connected(host, port):
        carrier.wait_for(len(carrier.far) + 1)


def read_all(source):
    return b"".join(iter(lambda: source.recv(65536), b""))


def test_without_a_way_everything_is_as_it_was():
    before = socket.getaddrinfo
    for via in (None, ""):
        with reach.route(via, 5) as way:
            assert way is None and socket.getaddrinfo is before


def test_a_name_that_means_nothing_here_is_reached_and_both_ends_may_stop_sending(carrier):
    data = bytes(range(256)) * 4000
    with reach.route("ssh://b", 5), connected() as near:
        sender = threading.Thread(target=lambda: (near.sendall(data), near.shutdown(socket.SHUT_WR)))
        sender.start()
        carrier.wait_for(1)
        assert read_all(carrier.far[0]) == data
        sender.join()
        carrier.far[0].sendall(b"the answer comes after the question's end")
        carrier.far[0].shutdown(socket.SHUT_WR)
        assert read_all(near) == b"the answer comes after the question's end"
    assert carrier.dialled == [("db1", 27017)]


def test_each_endpoint_has_one_port_and_each_connection_is_dialled(carrier):
    with reach.route("ssh://b", 5) as way:
        assert way.address("db1", 27017) == way.address("db1", 27017) != way.address("db2", 27017)
        assert way.behind(way.address("db2", 27017)[1]) == ("db2", 27017)
        for host in ("db1", "db2", "db1"):
            visit(carrier, host, 27017)
    assert sorted(carrier.dialled) == [("db1", 27017), ("db1", 27017), ("db2", 27017)]


def test_nothing_listens_when_the_way_is_closed_even_if_a_client_stays(carrier):
    with reach.route("ssh://b", 5) as way:
        address = way.address("db1", 27017)
        left = connected()
        carrier.wait_for(1)
    assert left.recv(1) == b""
    left.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=SECONDS)


@pytest.mark.parametrize("address", ["169.254.169.254", "169.254.170.23", "fe80::1", "fe80::1%eth0"])
def test_a_clouds_credentials_are_those_of_this_machine(carrier, address):
    with reach.route("ssh://b", 5):
        with contextlib.suppress(OSError):
            assert socket.getaddrinfo(address, 80)[0][4][0] != "127.0.0.1"
    assert carrier.dialled == []


def test_what_the_way_does_not_take_is_resolved_as_always(carrier):
    with reach.route("ssh://b", 5, takes=lambda host, port: port == 1):
        assert socket.getaddrinfo("127.0.0.1", 2, type=socket.SOCK_STREAM)[0][4] == ("127.0.0.1", 2)
        assert socket.getaddrinfo("127.0.0.1", None)[0][4] == ("127.0.0.1", 0)
        assert socket.getaddrinfo("db1", "1", type=socket.SOCK_STREAM)[0][4][1] > 1


def test_two_ways_stand_side_by_side(carrier, monkeypatch):
    other = Carrier()
    with reach.route("ssh://b", 5, takes=lambda host, port: port != 443):
        monkeypatch.setattr(reach, "_carrier", lambda via, seconds: contextlib.nullcontext(other))
        with reach.route("ssh://c", 5, takes=lambda host, port: port == 443):
            visit(other, "s3", 443)
            visit(carrier, "db1", 27017)
    assert (carrier.dialled, other.dialled) == ([("db1", 27017)], [("s3", 443)])
    other.far[0].close()


def test_a_refusal_at_the_other_end_is_the_reason_that_is_given(carrier):
    carrier.refusal = "the bastion b cannot reach db1:27017"
    with pytest.raises(MendError) as failed, reach.route("ssh://b", 5), connected() as near:
        assert near.recv(1) == b""
        raise MendError("MongoDB at db1: the connection was closed", rule="mongo_closed", details={"code": 1})
    assert failed.value.msg == "the bastion b cannot reach db1:27017. MongoDB at db1: the connection was closed"
    assert (failed.value.rule, failed.value.details) == ("via_forward", {"code": 1, "stage": "via"})
    assert str(failed.value) == failed.value.msg


@pytest.mark.parametrize(("error", "rule"), [(Partial("3 of 5", "partial"), "partial"), (Undone("taken back"), None)])
def test_a_lost_way_does_not_change_what_an_error_means(carrier, error, rule):
    carrier.gone = "the connection to the bastion b was lost"
    with pytest.raises(type(error)) as failed, reach.route("ssh://b", 5):
        raise error
    assert failed.value.msg.startswith("the connection to the bastion b was lost. ")
    assert (failed.value.rule, failed.value.details) == (rule, {})


def test_an_answer_of_the_endpoint_itself_stays_as_it_is(carrier):
    carrier.gone = "lost"
    with pytest.raises(Locked, match="^held by another run$"), reach.route("ssh://b", 5):
        raise Locked("held by another run", "lock")


def test_an_error_that_has_nothing_to_do_with_the_way_is_left_alone(carrier):
    with pytest.raises(MendError, match="^no such user$"), reach.route("ssh://b", 5):
        raise MendError("no such user")


def test_who_waits_is_told_when_the_way_is_lost_and_nobody_new_is_let_in(carrier):
    told = threading.Event()
    with reach.route("ssh://b", 5) as way:
        way.on_lost = told.set
        with connected() as near:
            carrier.wait_for(1)
            assert not told.is_set()
            carrier.gone = "the connection to the bastion b was lost"
            carrier.far[0].close()
            assert near.recv(1) == b""
        assert told.wait(SECONDS)
        with pytest.raises(OSError, match="bastion b was lost"):
            connected()


def test_another_users_connection_is_not_let_in(carrier, monkeypatch):
    monkeypatch.setattr(reach.os, "getuid", lambda: 12345)
    with reach.route("ssh://b", 5), connected() as near:
        assert near.recv(1) == b""
    assert carrier.dialled == []


@pytest.mark.parametrize(
    ("via", "words"),
    [
        ("bastion", "via must be like ssh://"),
        ("http://bastion", "via must be like ssh://"),
        ("ssh://[", "via must be like ssh://"),
        ("ssh://bastion:99999", "via must be like ssh://"),
        ("ssh://", "via must be like ssh://"),
        ("ssh://ops:canary@bastion", "via must be like ssh://"),
        ("ssh://bastion/tmp", "via must be like ssh://"),
        ("ssh://bastion?key=/x", "via must be like ssh://"),
        ("ssh://bastion?config=/no/such/file", "the configuration of ssh cannot be read"),
        ("k8s://shop/db", "k8s:// is not there yet"),
    ],
)
def test_a_way_that_cannot_be_meant_is_refused_before_anybody_is_asked(via, words):
    with pytest.raises(MendError, match=words) as failed, reach.route(via, 5):
        pass
    assert "canary" not in failed.value.msg


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("Host bastion\n  ProxyCommand nc %h %p\n", "has a ProxyCommand, which is not supported"),
        ("Match nonsense\n", "the configuration of ssh cannot be read"),
        ("Host bastion\n  ProxyJump nowhere.invalid\n", "the name of the bastion .*nowhere.invalid cannot be resolved"),
        ("Host bastion\n  ProxyJump a.invalid,b\n", "the name of the bastion .*a.invalid cannot be resolved"),
        ("Host bastion\n  ProxyJump b\nHost b\n  ProxyJump bastion\n", "leads in a circle: bastion, b, bastion"),
        ("Host bastion\n  HostName nowhere.invalid\n", "the name of the bastion .*bastion cannot be resolved"),
    ],
)
def test_the_users_configuration_decides_and_what_it_cannot_mean_is_said(tmp_path, lines, words):
    path = tmp_path / "config"
    path.write_text(lines)
    with pytest.raises(MendError, match=words), reach.route(f"ssh://bastion?config={path}", 5):
        pass


def test_what_the_configuration_includes_counts(tmp_path):
    (tmp_path / "included").write_text("Host bastion\n  HostName nowhere.invalid\n  Port 2222\n")
    (tmp_path / "config").write_text(f"Include {tmp_path}/included\n")
    with pytest.raises(MendError, match=r"bastion:2222 cannot be resolved"):
        reach.route(f"ssh://bastion?config={tmp_path}/config", 5).__enter__()


def test_without_the_program_ssh_the_configuration_still_counts(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "config").write_text("Host bastion\n  HostName nowhere.invalid\n  Port 2222\n")
    with pytest.raises(MendError, match=r"bastion:2222 cannot be resolved"):
        reach.route(f"ssh://bastion?config={tmp_path}/config", 5).__enter__()


@pytest.mark.parametrize(
    ("url", "host", "port", "expected"),
    [
        ("https://s3.inside:9000", "s3.inside", 9000, True),
        ("https://s3.inside:9000", "bucket.S3.inside", 9000, True),
        ("https://s3.inside:9000", "s3.inside", 27017, False),
        ("https://s3.inside", "s3.inside", 443, True),
        ("http://s3.inside", "s3.inside", 80, True),
        ("http://127.0.0.1:8333", "127.0.0.1", 27017, False),
        ("http://s3.inside", "nots3.inside", 80, False),
        (None, "bucket.s3.eu-central-1.amazonaws.com", 443, True),
        ("http://s3.inside", "sts.amazonaws.com", 443, True),
        (None, "shop.docdb.amazonaws.com", 27017, False),
        (None, "db1", 27017, False),
    ],
)
def test_a_store_is_told_from_a_database(url, host, port, expected):
    assert is_store({"s3_endpoint_url": url}, host, port) is expected


class Doors:
    def address(self, host, port):
        return "127.0.0.1", 10000 + port


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"host": "db1"}, {"hostaddr": "127.0.0.1", "port": "15432"}),
        ({"host": "db1", "port": "6"}, {"hostaddr": "127.0.0.1", "port": "10006"}),
        ({"host": "a,b", "port": "6"}, {"hostaddr": "127.0.0.1,127.0.0.1", "port": "10006,10006"}),
        ({"host": "a,b", "port": "6,"}, {"hostaddr": "127.0.0.1,127.0.0.1", "port": "10006,15432"}),
    ],
)
def test_libpq_is_led_by_address_and_keeps_the_names(options, expected):
    assert _led_by(Doors(), options) == expected
    assert _led_by(None, options) == {}


@pytest.mark.parametrize("host", [None, "", "a,", "/run/postgresql"])
def test_a_local_socket_is_not_led_anywhere(host):
    with pytest.raises(MendError, match="must name a host"):
        _led_by(Doors(), {"host": host})
