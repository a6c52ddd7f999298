"""The module from its arguments to its one exit, as far as no server is needed."""

from __future__ import annotations

import json
import socket

import mend_mongo_verify
import pytest
from ansible.module_utils.mendbook import mongo_verify
from ansible.module_utils.mendbook.errors import VerifyFailed
from ansible.module_utils.testing import patch_module_args

FACTS = {"verified": True, "checks": [], "summary": {"checks": 0}}


@pytest.fixture
def run(capsys):
    """Run the module: its result and exit code."""

    def run_module(check=False, **arguments):
        arguments = {"uri": "mongodb://u:canary@127.0.0.1:1/", "database": "estore", **arguments}
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit) as ended:
            mend_mongo_verify.main()
        return json.loads(capsys.readouterr().out), ended.value.code

    return run_module


@pytest.fixture
def observed(monkeypatch):
    """Verify without a server: what observe returns or raises is put here."""
    answer = {}

    class Fake(mongo_verify.Verify):
        def observe(self, deployment):
            if "raises" in answer:
                raise answer["raises"]
            return dict(FACTS)

    class Connected:
        def __init__(self, params, run=None):
            pass

        def __enter__(self):
            return None

        def __exit__(self, *exception):
            return False

    monkeypatch.setattr(mongo_verify, "Verify", Fake)
    monkeypatch.setattr(mongo_verify, "connect", Connected)
    return answer


@pytest.mark.usefixtures("observed")
def test_a_run_in_check_mode_is_the_same_as_a_run(run):
    checked, code = run(check=True, critical=["users"])
    assert (checked, code) == run(critical=["users"])
    assert (checked["changed"], checked["verified"], code) == (False, True, 0)


def test_a_failed_check_is_reason_verify_with_everything_in_its_details(run, observed):
    observed["raises"] = VerifyFailed("orders has 1", rule="count", details={"verified": False, "checks": [1]})
    result, code = run(critical=["users"])
    assert (code, result["failed"], result["changed"]) == (1, True, False)
    assert result["msg"] == "orders has 1"
    assert result["mend"] == {"reason": "verify", "rule": "count", "details": {"verified": False, "checks": [1]}}


@pytest.mark.parametrize(
    ("arguments", "reason", "words"),
    [
        ({}, "nothing", "verify what?"),
        ({"newest": {"orders": {"max_age": 5}}}, "refused", 'did you mean "max_age_seconds"?'),
        ({"critical": ["users"], "collections": ["users"]}, "nothing", "collections chooses from a manifest"),
        ({"manifest_file": "/nowhere/m.json"}, None, "cannot be read"),
    ],
)
def test_says_no_with_a_reason(run, arguments, reason, words):
    result, code = run(**arguments)
    assert code == 1
    assert words in result["msg"]
    assert result["mend"]["reason"] == reason
    assert "exception" not in result


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bucket": "b"}, "required together: bucket, key"),
        ({"key": "k"}, "required together: bucket, key"),
        ({"bucket": "b", "key": "k", "manifest_file": "/m"}, "mutually exclusive: bucket|manifest_file"),
        ({"content": "half"}, "content must be one of"),
        ({"extra": "ignore"}, "extra must be one of"),
        ({"min_count": {"orders": 5}}, "Unsupported parameters"),
        ({"newest": "orders"}, "newest"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(run, arguments, words):
    result, code = run(**arguments)
    assert code == 1
    assert words in result["msg"]


def test_a_server_that_is_not_there_is_named_without_the_password(run):
    with socket.socket() as nobody:
        # a port that is taken and where nobody listens: a free one may be somebody's a moment later
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        uri = f"mongodb://u:canary@127.0.0.1:{port}/?directConnection=true"
        for patience in (1, 10, 60):
            result, code = run(uri=uri, critical=["users"], connect_timeout_seconds=patience)
            # a machine that stood still for all that time has learnt nothing of the server
            if result["mend"]["rule"] != "mongo_timeout":
                break
    assert code == 1
    assert "the connection was refused" in result["msg"]
    assert f"127.0.0.1:{port}" in result["msg"]
    assert result["mend"]["rule"] == "mongo_refused"
    assert "canary" not in json.dumps(result)


def test_a_missing_driver_is_named(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xxhash", None)
    result, _ = run(critical=["users"])
    assert "xxhash" in result["msg"]
