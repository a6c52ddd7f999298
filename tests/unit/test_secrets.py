"""Secrets that are named: where they are found, what is never taken for one, and that none is left in a record."""

import json
import os
import socket
import threading
from contextlib import contextmanager

import pytest
from ansible.module_utils.mendbook.errors import MendError, Refused
from ansible.module_utils.mendbook.plan import RISKS, cap, make_plan, refusal
from ansible.module_utils.mendbook.secrets import (
    HIDDEN,
    KEYS,
    SOCKET_SECONDS,
    VALUES,
    ask_environment,
    redact,
    resolve,
    resolve_options,
)
from hypothesis import given
from hypothesis import strategies as st

SPEC = {
    "uri": {"type": "str", "no_log": True, "aliases": ["url"]},
    "password": {"type": "str", "no_log": True},
    "database": {"type": "str"},
    "keys": {"type": "list", "elements": "str", "no_log": True},
    "account": {
        "type": "dict",
        "options": {"user": {"type": "str"}, "token": {"type": "str", "no_log": True}},
    },
    "peers": {"type": "list", "elements": "dict", "options": {"token": {"no_log": True}, "name": {}}},
}


def ask(name):
    return {"URI": "mongodb://u:p%40ss@db/x", "TOKEN": "tok-1234", "EMPTY": ""}.get(name)


def test_a_variable_is_looked_up_and_anything_else_is_taken_as_it_is():
    assert resolve("env:TOKEN", ask) == resolve("env?:TOKEN", ask) == "tok-1234"
    for text in ("plain", "mongodb://db/x", "environment:TOKEN", " env:TOKEN", "ENV:TOKEN", ""):
        assert resolve(text, ask) == text


def test_a_missing_variable_is_an_error_that_names_it():
    with pytest.raises(MendError, match="variable NOPE is not set on the control node"):
        resolve("env:NOPE", ask)
    with pytest.raises(MendError, match="variable EMPTY is empty"):
        resolve("env:EMPTY", ask)


@pytest.mark.parametrize("text", ["env?:NOPE", "env?:EMPTY"])
def test_a_missing_variable_with_a_question_mark_leaves_the_option_out(text):
    assert resolve(text, ask) is None
    assert resolve_options({"password": text, "database": "x"}, SPEC, ask) == ({"database": "x"}, [])


@pytest.mark.parametrize(
    "content, secret", [(b"s3cret\n", "s3cret"), (b"s3cret", "s3cret"), (b"s3cret\r\n", "s3cret"), (b" a\n\n", " a\n")]
)
def test_a_file_is_read_without_its_last_newline(tmp_path, content, secret):
    (tmp_path / "secret").write_bytes(content)
    assert resolve(f"file:{tmp_path}/secret") == secret


def test_a_file_that_cannot_be_the_secret_is_an_error_without_its_content(tmp_path):
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "huge").write_bytes(b"x" * ((1 << 20) + 1))
    os.mkfifo(tmp_path / "pipe")
    for name, words in [
        ("empty", "the file is empty"),
        ("binary", "not UTF-8"),
        ("huge", "no secret"),
        ("pipe", "not a regular file"),
        ("", "Is a directory"),
        ("missing", "No such file"),
    ]:
        with pytest.raises(MendError, match=words):
            resolve(f"file:{tmp_path}/{name}")


def test_a_relative_path_is_refused():
    with pytest.raises(MendError, match="must be absolute"):
        resolve("file:secret.txt")


def test_only_options_that_are_marked_no_log_are_resolved_nested_ones_and_aliases_too():
    options = {
        "url": "env:URI",
        "database": "env:TOKEN",
        "keys": ["env:TOKEN", "plain-key", "env?:NOPE"],
        "account": {"user": "env:TOKEN", "token": "env:TOKEN"},
        "peers": [{"token": "env:TOKEN", "name": "env:TOKEN"}],
        "other": "env:TOKEN",
    }
    before = json.dumps(options)
    resolved, secrets = resolve_options(options, SPEC, ask)
    assert resolved == {
        "url": "mongodb://u:p%40ss@db/x",
        "database": "env:TOKEN",
        "keys": ["tok-1234", "plain-key"],
        "account": {"user": "env:TOKEN", "token": "tok-1234"},
        "peers": [{"token": "tok-1234", "name": "env:TOKEN"}],
        "other": "env:TOKEN",
    }
    assert set(secrets) == {"mongodb://u:p%40ss@db/x", "p%40ss", "p@ss", "tok-1234", "plain-key"}
    assert json.dumps(options) == before


@pytest.mark.parametrize("value", [None, 5, True, {"a": "env:TOKEN"}])
def test_a_secret_option_of_another_type_is_the_modules_business(value):
    assert resolve_options({"password": value}, SPEC, ask)[0] == {} if value is None else {"password": value}


def test_a_text_where_a_dict_is_expected_is_left_to_the_module():
    assert resolve_options({"account": "token=env:TOKEN"}, SPEC, ask) == ({"account": "token=env:TOKEN"}, [])


def test_nothing_of_a_secret_is_left_in_keys_values_or_lists():
    record = {"msg": "at mongodb://u:hunter2@db/x", "done": [{"object": "hunter2"}, ("hunter2", 1)], "hunter2": None}
    assert redact(record, ["hunter2", "mongodb://u:hunter2@db/x"]) == {
        "msg": f"at {HIDDEN}",
        "done": [{"object": HIDDEN}, [HIDDEN, 1]],
        HIDDEN: None,
    }


def test_a_short_text_is_not_hunted_for():
    record = {"msg": "a cat sat"}
    assert redact(record, ["a", "at", "sat"]) is record


@pytest.mark.parametrize(
    "secret", ["s", "troy", "destroy", "fail", "failed", "plan", "change", "locked", "state", "caps", "12345"]
)
@pytest.mark.parametrize("option", ["password", "uri"])
def test_a_secret_that_stands_in_the_words_of_every_answer_is_refused_without_it(option, secret):
    # hidden, a failed module was done with exit code 0, and what destroys asked for no confirmation
    value = secret if option == "password" else f"redis://ops:{secret}@cache1/0"
    with pytest.raises(Refused, match=f"the secret in {option} is part of a word") as caught:
        resolve_options({option: value}, SPEC, ask)
    assert caught.value.rule == "secrets" and f" {secret} " not in caught.value.msg


@pytest.mark.parametrize(
    "secret", ["x", "ops", "root", "redis", "secret", "postgres", "changeme", "123456", "redis://:@cache1"]
)
def test_a_poor_password_that_can_be_hidden_is_nobody_s_business(secret):
    assert resolve_options({"password": secret}, SPEC, ask)[0] == {"password": secret}


def test_every_word_of_a_plan_is_one_that_no_secret_may_stand_in():
    change = {"op": "-", "object": "x", "before": 1, "after": None, "count": 1, "bytes": 1, "group": "g"}
    target = {"kind": "host", "id": "host:web1", "address": "web1", "facts": {}}
    given = {"caps": [cap("files", 1, 2)], "refusals": [refusal("rule", "words")], "undo": {"none": "gone"}}
    plan = make_plan(module="mend_x", target=target, risk="changes", changes=[change], identity=1, **given)
    used = {*plan, *plan["target"], *plan["changes"][0], *plan["caps"][0], *plan["refusals"][0]}
    # two letters are too short to be hidden in a key
    assert {word for word in used if len(word) > 2} <= set(KEYS) and set(RISKS) <= set(VALUES)


# one of stars could stand in the stars that hide it, and in what is beside them
_SECRETS = st.text(st.characters(codec="utf-8", exclude_characters=HIDDEN), min_size=4, max_size=20)


@given(_SECRETS, st.text(max_size=30), st.text(max_size=30))
def test_a_secret_is_hidden_whatever_surrounds_it(secret, before, after):
    shown = redact({"deep": [{"text": before + secret + after}]}, [secret])["deep"][0]["text"]
    assert HIDDEN in shown
    assert secret not in shown


@contextmanager
def wrapper(tmp_path, answer):
    """Answer each connection with the bytes ``answer(request)``; None closes without an answer."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    reply = answer(json.loads(connection.makefile("rb").readline()))
                    if reply:
                        connection.sendall(reply)

        threading.Thread(target=serve, daemon=True).start()
        yield path
        server.shutdown(socket.SHUT_RDWR)


def test_the_wrapper_is_asked_and_the_environment_is_not(tmp_path, monkeypatch):
    def answer(request):
        value = {"value": "x" * 100_000} if request == {"name": "URI"} else {"missing": True}
        return json.dumps(value).encode() + b"\n"

    monkeypatch.setenv("TOKEN", "from the environment")
    with wrapper(tmp_path, answer) as path:
        monkeypatch.setenv("MENDBOOK_SECRETS", path)
        assert resolve("env:URI") == "x" * 100_000
        assert resolve("env?:TOKEN") is None
        with pytest.raises(MendError, match="TOKEN is not set"):
            resolve("env:TOKEN")


def test_without_the_wrapper_the_environment_is_asked(monkeypatch):
    monkeypatch.delenv("MENDBOOK_SECRETS", raising=False)
    monkeypatch.setenv("TOKEN", "from the environment")
    assert ask_environment("TOKEN") == "from the environment"


@pytest.mark.parametrize("reply", [None, b"", b"half a line", b"not json hunter2\n", b"[]\n", b'{"other": 1}\n'])
def test_a_wrapper_that_answers_nonsense_is_an_error_without_its_words(tmp_path, monkeypatch, reply):
    with wrapper(tmp_path, lambda request: reply) as path:
        monkeypatch.setenv("MENDBOOK_SECRETS", path)
        with pytest.raises(MendError, match=r"env:URI: mendbook did not answer on \$MENDBOOK_SECRETS") as caught:
            resolve("env:URI")
    assert "hunter2" not in str(caught.value)


def test_a_wrapper_that_is_gone_is_an_error_and_not_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MENDBOOK_SECRETS", str(tmp_path / "gone"))
    monkeypatch.setenv("URI", "from the environment")
    with pytest.raises(MendError, match="did not answer"):
        resolve("env:URI")


def test_a_wrapper_that_hangs_is_given_up(tmp_path, monkeypatch):
    assert SOCKET_SECONDS <= 10
    monkeypatch.setattr("ansible.module_utils.mendbook.secrets.SOCKET_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        monkeypatch.setenv("MENDBOOK_SECRETS", str(tmp_path / "s"))
        with pytest.raises(MendError, match="did not answer"):
            resolve("env:URI")
