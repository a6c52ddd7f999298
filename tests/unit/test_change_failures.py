"""run_change and run_read when something fails: the answer says what it means for the target."""

import json
import os
import signal
from contextlib import contextmanager

import mend_disk_info
import mend_docker_info
import mend_mongo_undo
import mend_postgres_sessions_info
import mend_redis_info
import pytest
from ansible.module_utils._internal import _traceback
from ansible.module_utils.mendbook import errors
from ansible.module_utils.mendbook.change import done, run_read
from change_lab import Procedure, act, fails_at, receipt_for, run

from restore_lab import run_module

REASONS = [
    (errors.MendError("no"), None, "failed (nothing changed)", "partial", "partial"),
    (KeyError("bug"), None, "failed (nothing changed)", "partial", "partial"),
    (errors.VerifyFailed("no"), "verify", "failed (nothing changed)", "verify", "partial"),
    (errors.Nothing("no"), "nothing", "refused", "nothing", "partial"),
    (errors.Partial("no"), "partial", "partial", "partial", "partial"),
    (errors.Unknown("no"), "unknown", "UNKNOWN", "unknown", "UNKNOWN"),
    (errors.Undone("no"), None, "failed (undone)", None, "failed (undone)"),
]


@pytest.mark.parametrize("error, before, state_before, after, state_after", REASONS)
def test_an_error_means_by_when_it_happens_unless_it_says_so_itself(error, before, state_before, after, state_after):
    result = act(fails_at(0, error))
    assert (result["mend"]["reason"], result["state"], result["changed"]) == (before, state_before, False)
    result = act(fails_at(2, error))
    assert (result["mend"]["reason"], result["state"]) == (after, state_after)
    assert result["changed"] is not isinstance(error, errors.Undone)
    assert [entry["object"] for entry in result["done"]] == ["a", "b"]


@pytest.mark.parametrize("seconds", [0, -1])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (mend_mongo_undo, "connect_timeout_seconds"),
        (mend_postgres_sessions_info, "connect_timeout_seconds"),
        (mend_redis_info, "operation_timeout_seconds"),
        (mend_docker_info, "timeout_seconds"),
        (mend_disk_info, "timeout_seconds"),
    ],
)
def test_no_call_is_without_a_deadline(module, name, seconds):
    given = {"uri": "x://nowhere.invalid", "database": "estore", name: seconds}
    given = {option: value for option, value in given.items() if option in module.ARGUMENT_SPEC}
    result = run_module(module, check=True, **given)
    assert (result["rc"], result["mend"]["rule"]) == (1, "options")
    assert f"{name} is {seconds}, and must be more than 0" in result["msg"]


@pytest.fixture
def tracebacks(monkeypatch):
    """What -vvv switches on."""
    monkeypatch.setattr(_traceback, "_is_traceback_enabled", lambda event: True)


def test_partial_says_how_far_it_came():
    assert act(fails_at(1, errors.MendError("disk full")))["msg"] == "stopped after 1 of 3: disk full"


def test_a_bug_comes_with_its_traceback_and_a_refusal_without(tracebacks):
    for number in (0, 1):
        assert "\n    raise error\n" in act(fails_at(number, KeyError("bug")))["exception"]
    assert "\n    raise error\n" not in act(fails_at(0, errors.MendError("no")))["exception"]


def test_what_cannot_be_read_back_is_unknown():
    class Blind(Procedure):
        def read_back(self, client, plan):
            raise errors.MendError("connection lost")

    result = act(Blind())
    assert (result["mend"]["reason"], result["state"], result["changed"]) == ("unknown", "UNKNOWN", True)
    assert len(result["done"]) == 3


def test_a_read_back_that_differs_is_a_failed_verification():
    class Lying(Procedure):
        def read_back(self, client, plan):
            raise errors.VerifyFailed("a is still there")

    result = act(Lying())
    assert result["mend"]["reason"] == "verify" and result["changed"] is True


def test_a_lock_that_cannot_be_given_back_is_a_warning_when_all_is_done():
    class Sticky(Procedure):
        @contextmanager
        def lock(self, client, run):
            yield
            raise errors.MendError("cannot unlock")

    result = act(Sticky())
    assert (result["state"], result.get("failed")) == ("done", None)
    assert "cannot unlock" in str(result["warnings"])


def test_an_object_outside_the_plan_stops_the_module():
    class Greedy(Procedure):
        def act(self, client, plan, receipt):
            try:
                yield done("-", "z")
                yield done("-", "a")
            finally:
                self.log.append("act closed")

    procedure = Greedy()
    result = act(procedure)
    assert (result["mend"]["reason"], result["mend"]["rule"]) == ("partial", "plan")
    assert [entry["object"] for entry in result["done"]] == ["z"]
    assert "act closed" in procedure.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("before, state", [(0, "failed (nothing changed)"), (2, "partial")])
def test_a_signal_while_acting_cleans_up_and_says_how_far_it_came(number, before, state):
    class Interrupted(Procedure):
        def act(self, client, plan, receipt):
            for position, item in enumerate(super().act(client, plan, receipt)):
                if position == before:
                    os.kill(os.getpid(), number)
                yield item

    procedure = Interrupted()
    result = act(procedure)
    assert f"cancelled by {number.name}" in result["msg"]
    assert result["state"] == state
    assert procedure.log[-2:] == ["unlocked", "closed"]


def test_a_second_signal_does_not_interrupt_the_cleaning_up():
    class Interrupted(Procedure):
        def act(self, client, plan, receipt):
            os.kill(os.getpid(), signal.SIGTERM)
            yield done("-", "a")

        @contextmanager
        def lock(self, client, run):
            try:
                yield
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                self.log.append("really unlocked")

    procedure = Interrupted()
    assert act(procedure)["state"] == "failed (nothing changed)"
    assert "really unlocked" in procedure.log


def test_a_signal_inside_a_library_that_then_fails_itself_is_still_called_a_signal():
    class Interrupted(Procedure):
        def act(self, client, plan, receipt):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except Exception:
                {}["what Thread.start does when a signal comes while it waits"]
            yield done("-", "a")

    result = act(Interrupted())
    assert "cancelled by SIGTERM" in result["msg"]
    assert result["state"] == "failed (nothing changed)"


def test_the_handlers_of_before_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    run(Procedure(), check=True)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_connection_that_fails_is_a_plain_failure():
    class Offline(Procedure):
        def open(self, params):
            raise errors.MendError("refused by db:27017", rule="connect", details={"port": 27017})

    for options in ({"check": True}, {"receipt": receipt_for(Procedure())}):
        result = run(Offline(), **options)
        assert (result["failed"], result["changed"], result["state"]) == (True, False, "failed (nothing changed)")
        assert result["mend"] == {"reason": None, "rule": "connect", "details": {"port": 27017}}


def test_a_read_that_fails_says_why_with_its_details():
    class Wrong(Procedure):
        def observe(self, client):
            raise errors.VerifyFailed("2 documents are missing", rule="count", details={"missing": 2})

    result = run(Wrong(), runner=run_read)
    assert (result["failed"], result["msg"]) == (True, "2 documents are missing")
    assert result["mend"] == {"reason": "verify", "rule": "count", "details": {"missing": 2}}


def test_secrets_of_the_procedure_are_hidden_from_every_part_of_the_result(tracebacks):
    class Leaky(Procedure):
        warnings = ["warning hunter2secret"]

        def secrets(self, params):
            return ["hunter2secret", None]

        def act(self, client, plan, receipt):
            yield done("-", "a", note="done hunter2secret")
            raise KeyError("hunter2secret")

    options = {"password": "the-password"}
    result = act(Leaky(notes=["note hunter2secret"]), **options)
    assert "KeyError" in result["exception"]
    assert "hunter2secret" not in json.dumps(result) and "the-password" not in json.dumps(result)
    assert result["plan"]["notes"] == ["note ********"]
