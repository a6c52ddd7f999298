"""The secret server answers the gate, and nobody else learns anything."""

import json
import socket
import threading

import pytest
from ansible.module_utils.mendbook import secrets

from mendbook import secret_server
from mendbook.secret_server import SecretServer

URI = "mongodb://root:p%40ssw0rd@db:27017/"


@pytest.fixture
def server(tmp_path):
    with SecretServer(tmp_path / "s", {"URI": URI, "EMPTY": "", "SHORT": "abc"}) as server:
        server.serve()
        yield server


def ask(server, raw):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(server.path))
        try:
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
            return client.makefile("rb").read()
        except OSError:
            # it hung up before we had asked
            return b""


def test_the_gates_own_client_gets_the_value(server, monkeypatch):
    monkeypatch.setenv("MENDBOOK_SECRETS", str(server.path))
    assert secrets.resolve("env:URI") == URI
    assert secrets.resolve("env?:NOT_THERE") is None


def test_a_name_that_is_not_set_is_missing(server):
    assert json.loads(ask(server, b'{"name": "NOT_THERE"}\n')) == {"missing": True}
    assert json.loads(ask(server, b'{"name": "EMPTY"}\n')) == {"value": ""}


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"not json\n", b"[]\n", b'{"name": ["URI"]}\n', b'{"name": "URI"}', b"x" * 5000 + b"\n"]
)
def test_a_question_of_another_form_gets_no_value_and_the_next_is_answered(server, raw):
    assert URI.encode() not in ask(server, raw)
    assert json.loads(ask(server, b'{"name": "URI"}\n'))["value"] == URI


def test_another_user_gets_no_answer(server, monkeypatch):
    monkeypatch.setattr(secret_server.os, "getuid", lambda: 12345)
    assert ask(server, b'{"name": "URI"}\n') == b""


def test_many_ask_at_once(server):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(server, b'{"name": "URI"}\n'))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 40 and all(URI.encode() in answer for answer in answers)


def test_questions_wait_until_the_server_serves(tmp_path):
    with SecretServer(tmp_path / "s", {"A": "value"}) as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.path))
        client.sendall(b'{"name": "A"}\n')
        server.serve()
        assert b"value" in client.recv(100)


def test_the_socket_is_for_the_user_alone_and_gone_afterwards(tmp_path):
    with SecretServer(tmp_path / "s", {}) as server:
        assert server.path.stat().st_mode & 0o777 == 0o600
    assert not server.path.exists()


def test_what_was_handed_out_is_hidden_everywhere(server):
    ask(server, b'{"name": "URI"}\n')
    said = {"msg": f"cannot reach {URI}", "list": ["p@ssw0rd", {"p%40ssw0rd": 1}], "n": 1}
    assert server.hide(said) == {"msg": "cannot reach ***", "list": ["***", {"***": 1}], "n": 1}


def test_of_an_event_the_values_are_hidden_and_not_the_words_by_which_it_is_read(tmp_path):
    with SecretServer(tmp_path / "s", {}) as server:
        for password in ("runner", "event", "host", "stats"):
            server.remember(password)
        data = {"host": "a host", "res": {"msg": "the runner"}, "failures": {"a host": 1}}
        assert server.hide_in({"event": "runner_on_ok", "stdout": "event", "event_data": data}) == {
            "event": "runner_on_ok",
            "stdout": "***",
            "event_data": {"host": "a ***", "res": {"msg": "the ***"}, "failures": {"a ***": 1}},
        }
        assert server.hide_in({"event": "verbose"}) == {"event": "verbose"}


def test_what_nobody_asked_for_and_what_is_too_short_stays_as_it_is(server):
    assert server.hide("p@ssw0rd abc") == "p@ssw0rd abc"
    ask(server, b'{"name": "SHORT"}\n')
    assert server.hide("abc") == "abc"
