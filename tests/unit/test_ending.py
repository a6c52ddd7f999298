"""What is said of a run that ended without ansible's final word."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mendbook import content, ending, errors, processes
from mendbook.ending import Request, conclude
from mendbook.events import Progressed
from mendbook.results import Story

NOTES = Path(__file__).resolve().parents[1] / "e2e" / "content"
SURVIVOR = processes.Process(4242, 1, "python", 1)


@dataclasses.dataclass
class Stopped:
    """In place of Stop: why it was asked to stop, and what is left."""

    why: str | None = None
    left: list = dataclasses.field(default_factory=list)

    def survivors(self, modules):
        return self.left


class Watched:
    """In place of Watch: what the journal and the progress files say."""

    def __init__(self, matched=(), **acts):
        self.acts, self.plans, self.modules, self.matched = acts, {}, set(), set(matched)
        self.last = {"a": Progressed("a", "load", 5, 10, "documents")}

    def look(self):
        pass


@pytest.fixture
def request_(tmp_path, monkeypatch):
    monkeypatch.setattr(ending, "_ANSWER_SECONDS", 240)
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(
        "notes:\n  hosts:\n    a: {ansible_connection: local}\n    far: {ansible_host: 192.0.2.1}\n"
        "    through: {ansible_connection: '{{ x }}'}\n"
    )
    return Request(content.procedure("write_note", NOTES), (str(inventory),), None, False, "r1", tmp_path)


def told(*running, messages=()):
    story = Story(messages=list(messages))
    for host in running:
        data = {"host": host, "task": "Write", "task_action": "mend_note"}
        story.take({"event": "runner_on_start", "event_data": data})
    return story


def raised(request_, story, stop, watch=None):
    with pytest.raises(errors.MendError) as caught:
        conclude(request_, story, 254, stop, watch or Watched(), 0.0)
    return caught.value


def test_stopped_with_nothing_under_way_is_cancelled(request_):
    error = raised(request_, told(), Stopped("SIGINT"))
    assert type(error) is errors.Cancelled and "no change was under way" in error.msg


def test_stopped_while_planning_has_changed_nothing(request_):
    error = raised(request_, told("a"), Stopped("timeout"))
    assert type(error) is errors.TimedOut
    assert error.outcome.hosts["a"].word == "failed (nothing changed)"


@pytest.mark.parametrize("state", ["failed (nothing changed)", "partial", "done"])
def test_the_journal_says_what_a_cut_off_change_left(request_, state):
    end = {"event": "end", "module": "mend_note", "state": state, "changed": state != "failed (nothing changed)"}
    end |= (
        {} if state == "done" else {"msg": "cancelled by SIGTERM", "reason": "partial" if state == "partial" else None}
    )
    error = raised(request_, told("a"), Stopped("SIGTERM"), Watched(a=end))
    assert type(error) is errors.Cancelled and f"a: {state}" in error.msg
    assert error.outcome.hosts["a"].word == state and error.outcome.exit_code == 130


def test_an_end_that_the_module_could_not_tell_is_unknown(request_):
    end = {"event": "end", "module": "mend_note", "state": "UNKNOWN", "reason": "unknown", "msg": "no answer"}
    error = raised(request_, told("a"), Stopped("SIGINT"), Watched(a=end))
    assert type(error) is errors.StateUnknown and "mendbook run write_note -i" in error.msg and "--check" in error.msg


def test_a_change_without_an_end_is_not_called_read_back(request_):
    error = raised(request_, told("a"), Stopped("SIGINT"), Watched(a={"event": "begin"}))
    assert type(error) is errors.Cancelled
    assert "a was not read back, last seen: load 5 of 10 documents; read it with: mendbook run" in error.msg


@pytest.mark.parametrize("host", ["far", "through"])
def test_a_change_on_a_machine_where_its_process_cannot_be_seen_is_unknown(request_, host):
    error = raised(request_, told(host), Stopped("SIGINT"), Watched(**{host: {"event": "begin"}}))
    assert type(error) is errors.StateUnknown and f"cannot be seen on {host}" in error.msg


def test_a_host_that_ansible_does_not_know_counts_as_elsewhere(request_):
    assert not ending._is_local(request_, "not-in-the-inventory")
    assert not ending._is_local(dataclasses.replace(request_, inventory=("/no/such",)), "a")


def test_without_proc_no_end_is_confirmed(request_, monkeypatch):
    monkeypatch.setattr(processes, "PROC", Path("/no/such"))
    error = raised(request_, told("a"), Stopped("SIGINT"), Watched(a={"event": "begin"}))
    assert type(error) is errors.StateUnknown


def test_a_process_that_is_left_makes_it_unknown_and_is_named(request_):
    error = raised(request_, told("a"), Stopped("SIGINT", [SURVIVOR]), Watched(a={"event": "begin"}))
    assert type(error) is errors.StateUnknown
    assert "was told to end and is still at work: python (pid 4242)" in error.msg and "ps -fp 4242" in error.msg


def test_ansible_killed_under_a_change_is_unknown(request_):
    error = raised(request_, told("a"), Stopped(), Watched(a={"event": "begin"}))
    assert type(error) is errors.StateUnknown and "ansible-playbook was killed while 'Write' on a" in error.msg


def test_ansible_killed_after_the_change_ended_keeps_its_result(request_):
    end = {"event": "end", "module": "mend_note", "state": "done", "changed": True}
    story = told("a")
    story.take({"event": "runner_on_ok", "event_data": {"host": "b", "task_action": "debug", "res": {}}})
    error = raised(request_, story, Stopped(), Watched(a=end))
    assert type(error) is errors.Failed and error.outcome.hosts["a"].word == "done"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (
            "ERROR! Specified inventory, host pattern and/or --limit leaves us with no hosts to\ntarget.",
            "NothingMatched",
        ),
        ("[ERROR]: Completely failed to parse inventory source /x/inventory.yml", "InvalidInventory"),
        ("[ERROR]: the role 'x' was not found", "Failed"),
        ("", "Failed"),
    ],
)
def test_what_ansible_said_decides_between_bad_input_and_failure(request_, message, kind):
    assert type(raised(request_, told(messages=[message]), Stopped())).__name__ == kind


def test_no_host_in_the_final_statistics_is_nothing_matched_although_ansible_calls_it_success(request_):
    story = told()
    story.take({"event": "playbook_on_stats", "event_data": {"processed": {}}})
    with pytest.raises(errors.NothingMatched, match="mend_hosts"):
        conclude(request_, story, 0, Stopped(), Watched(), 0.0)


def test_ansible_failing_with_every_host_well_is_failed(request_):
    story = told(messages=["an error between the plays"])
    story.take({"event": "playbook_on_stats", "event_data": {"processed": {"a": 1}}})
    outcome = conclude(request_, story, 1, Stopped(), Watched(), 0.0)
    assert (outcome.exit_code, outcome.word, outcome.msg) == (2, "failed", "an error between the plays")


def test_hosts_that_a_failure_kept_from_beginning_are_named_and_are_no_success(request_):
    story, watch = told("a", "b"), Watched(matched=["d", "a", "b", "c"])
    story.take({"event": "runner_on_failed", "event_data": {"host": "a", "task_action": "mend_note", "res": {}}})
    story.take({"event": "playbook_on_stats", "event_data": {"processed": {"a": 1}, "failures": {"a": 1}}})
    outcome = conclude(request_, story, 2, Stopped(), watch, 0.0)
    assert (outcome.exit_code, outcome.word) == (2, "failed")
    # b was skipped, and has begun
    hosts = {name: (host.word, host.exit_code) for name, host in outcome.hosts.items()}
    assert hosts == {"a": ("failed", 2), "c": ("not begun", 2), "d": ("not begun", 2)}
    # none of them decides: every other code is worse than nothing matched
    story.steps[0].result = {"mend": {"reason": "nothing"}}
    assert conclude(request_, story, 2, Stopped(), watch, 0.0).exit_code == 7


@pytest.mark.parametrize(
    ("check", "changed", "word"),
    [(False, True, "failed"), (False, False, "failed (nothing changed)"), (True, True, "failed (nothing changed)")],
)
def test_a_run_that_has_changed_one_host_does_not_say_that_nothing_was_changed(request_, check, changed, word):
    story = told("a", "b")
    done = {"changed": changed, "state": "done"}
    failed = {"state": "failed (nothing changed)", "mend": {"reason": None}}
    story.take({"event": "runner_on_ok", "event_data": {"host": "a", "task_action": "mend_note", "res": done}})
    story.take({"event": "runner_on_failed", "event_data": {"host": "b", "task_action": "mend_note", "res": failed}})
    story.take({"event": "playbook_on_stats", "event_data": {"processed": {"a": 1, "b": 1}, "failures": {"b": 1}}})
    outcome = conclude(dataclasses.replace(request_, check=check), story, 2, Stopped(), Watched(), 0.0)
    assert (outcome.word, outcome.exit_code) == (word, 2)
    assert outcome.hosts["b"].word == "failed (nothing changed)"


def test_hosts_without_a_task_in_a_run_that_went_well_are_not_named(request_):
    story = told()
    story.take({"event": "playbook_on_stats", "event_data": {"processed": {"a": 1}}})
    assert list(conclude(request_, story, 0, Stopped(), Watched(matched=["a", "b"]), 0.0).hosts) == ["a"]


def test_a_stopped_run_names_those_that_it_did_not_come_to(request_):
    error = raised(request_, told("a"), Stopped("SIGINT"), Watched(matched=["a", "b"]))
    assert type(error) is errors.Cancelled and error.outcome.hosts["b"].word == "not begun"


def test_a_run_that_ended_well_before_it_could_be_stopped_is_done(request_):
    story = told()
    result = {"changed": True, "state": "done"}
    story.take({"event": "runner_on_ok", "event_data": {"host": "a", "task_action": "mend_note", "res": result}})
    story.take({"event": "playbook_on_stats", "event_data": {"processed": {"a": 1}}})
    assert conclude(request_, story, 0, Stopped("SIGINT"), Watched(), 0.0).word == "done"


def test_a_stop_that_comes_when_all_is_counted_comes_too_late(request_):
    story = told(messages=["an error between the plays"])
    story.take({"event": "playbook_on_stats", "event_data": {"processed": {"a": 1}}})
    outcome = conclude(request_, story, 99, Stopped("SIGINT"), Watched(), 0.0)
    assert outcome.exit_code == 0
