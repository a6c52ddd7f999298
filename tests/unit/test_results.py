"""From ansible-runner's events to words and exit codes."""

import pytest

from mendbook.results import Step, Story, host_result, is_mend, plain

PLAN = {
    "schema": 1,
    "module": "mend_x",
    "target": {"kind": "t", "id": "t1"},
    "risk": "changes",
    "changes": [{"op": "+", "object": "o"}],
    "fingerprint": "f",
}


def event(kind, host="a", module="mend_x", task="T", ignored=None, **result):
    data = {"host": host, "task": task, "task_action": module, "res": result}
    if ignored is not None:
        data["ignore_errors"] = ignored
    return {"event": kind, "event_data": data}


def ok(**facts):
    return event("runner_on_ok", **facts)


def failed(reason=None, **facts):
    return event("runner_on_failed", **{"mend": {"reason": reason}, "msg": "because", "failed": True, **facts})


def story(*events, failures=(), dark=(), processed=("a",)):
    told = Story()
    for each in events:
        told.take(each)
    stats = {
        "processed": dict.fromkeys(processed, 1),
        "failures": dict.fromkeys(failures, 1),
        "dark": dict.fromkeys(dark, 1),
    }
    told.take({"event": "playbook_on_stats", "event_data": stats})
    return told


def host(*events, check=False, **stats):
    return story(*events, **stats).hosts(check)["a"]


@pytest.mark.parametrize(
    ("reason", "code", "word"),
    [
        ("refused", 6, "refused"),
        ("drift", 6, "refused"),
        ("nothing", 7, "nothing matched"),
        ("locked", 75, "locked"),
        ("verify", 5, "failed (undone)"),
        ("partial", 3, "partial"),
        ("unknown", 70, "UNKNOWN"),
        (None, 2, "failed (nothing changed)"),
        ("a reason from the future", 2, "failed"),
    ],
)
def test_the_reason_of_a_module_decides(reason, code, word):
    state = {5: "failed (undone)", 3: "partial", 70: "UNKNOWN", 2: word}.get(code, "refused")
    result = host(failed(reason, state=state), failures=["a"])
    assert (result.exit_code, result.word, result.msg, result.reason) == (code, word, "because", reason)


def test_the_last_failure_of_a_host_counts():
    result = host(failed("locked", task="1", ignored=True), failed("verify", task="2"), failures=["a"])
    assert result.exit_code == 5


def test_a_failure_that_was_ignored_does_not_count():
    result = host(failed("verify", task="1"), failed("unknown", task="2", ignored=True), failures=["a"])
    assert result.exit_code == 5


def test_a_host_that_ansible_counts_as_well_is_well_whatever_failed_before():
    assert host(failed("unknown", ignored=True), ok(changed=False)).exit_code == 0


def test_the_worst_item_of_a_loop_speaks():
    items = [{"failed": True, "msg": str(i), "mend": {"reason": r}} for i, r in enumerate([None, "partial", "refused"])]
    result = host(failed(msg="One or more items failed", results=[{"changed": True}, *items]), failures=["a"])
    assert (result.exit_code, result.msg) == (3, "1")


def test_items_without_the_word_failed_are_judged_by_what_they_say():
    # as ansible-core 2.21 gives them
    items = [{"changed": True, "plan": PLAN}, {"msg": "because", "mend": {"reason": "locked"}}]
    assert host(failed(None, mend=None, results=items), failures=["a"]).exit_code == 75


def test_a_loop_that_failed_without_a_failed_item_is_failed():
    assert host(failed(None, mend=None, results=[{"changed": False}]), failures=["a"]).exit_code == 2


def test_an_unreachable_host_is_4():
    result = host(event("runner_on_unreachable", msg="no route"), dark=["a"])
    assert (result.exit_code, result.word, result.msg) == (4, "unreachable", "no route")


def test_a_host_that_is_lost_in_a_loop_says_why():
    items = [{"msg": "fine"}, {"unreachable": True, "msg": "host key verification failed"}]
    result = host(event("runner_on_unreachable", msg="All items completed", results=items), dark=["a"])
    assert (result.exit_code, result.msg) == (4, "host key verification failed")


def test_a_host_that_failed_without_a_task_is_failed():
    assert host(failures=["a"]).exit_code == 2


def test_the_result_with_the_plan_speaks_for_a_host():
    result = host(ok(changed=True, plan=PLAN, state="done", done=[{"op": "+", "object": "o"}]), ok(module="debug"))
    assert result.word == "done" and result.plan.target.id == "t1" and result.done[0]["object"] == "o"


MEASURED = {"rto_seconds": 3.0, "objectives": {"rto_seconds": 60.0}, "missed": [], "summary": ["RTO 3 s"]}


def test_what_was_measured_after_a_change_is_told_beside_it():
    change = ok(changed=True, plan=PLAN, state="done", figures={"load_seconds": 2.0})
    result = host(change, ok(verified=True, summary={"checks": 9}), ok(**MEASURED))
    assert (result.word, result.plan.target.id, result.figures) == ("done", "t1", {"load_seconds": 2.0})
    assert result.facts == MEASURED and result.changed


def test_what_was_read_after_a_change_and_has_no_objective_is_not_its_result():
    result = host(ok(changed=True, plan=PLAN, state="done"), ok(verified=True, summary={"checks": 9}))
    assert result.facts == {}


def test_check_mode_says_planned():
    assert host(ok(changed=True, plan=PLAN, state="planned"), check=True).word == "planned"


def test_nothing_to_do_is_said_by_the_module():
    assert host(ok(changed=False, plan=PLAN | {"changes": []}, state="nothing to do")).word == "nothing to do"


def test_a_change_of_another_module_is_not_hidden_by_a_plan_without_changes():
    quiet = ok(changed=False, plan=PLAN | {"changes": []}, state="nothing to do")
    assert host(ok(module="ansible.builtin.copy", changed=True), quiet).changed


def test_a_reading_module_gives_its_facts():
    result = host(ok(changed=False, backups=[1], invocation={"module_args": {}}, _ansible_no_log=False))
    assert result.word == "done" and result.facts == {"backups": [1]}


def test_modules_that_read_one_after_the_other_have_one_summary():
    both = host(ok(summary=["a disk"], disks=1), ok(summary=["an engine"], images=2))
    assert both.facts == {"summary": ["a disk", "an engine"], "images": 2}
    # numbers are no sentences
    assert host(ok(summary={"checks": 3})).facts == {"summary": {"checks": 3}}


def test_a_skipped_host_did_nothing():
    assert host(event("runner_on_skipped")).word == "nothing to do"


def test_a_plan_of_another_schema_is_a_warning_and_no_crash():
    result = host(ok(changed=True, plan=PLAN | {"schema": 9}, state="done"))
    assert result.plan is None and "schema 1" in result.warnings[0]


@pytest.mark.parametrize("odd", [None, [], "text", {"mend": "x"}, {"mend": {"reason": 3}}, {"done": 1, "diff": "x"}])
def test_a_result_of_any_shape_is_taken(odd):
    told = Story()
    told.take({"event": "runner_on_failed", "event_data": {"host": "a", "task_action": "mend_x", "res": odd}})
    told.take({"event": "playbook_on_stats", "event_data": {"processed": {"a": 1}, "failures": {"a": 1}}})
    assert told.hosts(False)["a"].exit_code == 2


def test_text_of_a_target_cannot_steer_the_terminal():
    hostile = "a\x1b[31mred\x1b[0m\x1b]0;title\x07\x1bc\r\x00\u202eb\n"
    assert plain(hostile) == "aredb\n"


def test_messages_of_a_target_are_cleaned():
    step = Step("a", "T", "mend_x", "failed", False, {"msg": "\x1b[2Jgone"})
    assert host_result(step, False).msg == "gone"


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("mend_x", True),
        ("ansible.legacy.mend_x", True),
        ("a.b.mend_x", True),
        ("debug", False),
        ("a.mend_b.copy", False),
    ],
)
def test_modules_behind_the_gate_are_known_by_name(module, expected):
    assert is_mend(module) is expected


def test_tasks_that_run_are_known_until_they_end():
    told = Story()
    told.take({"event": "runner_on_start", "event_data": {"host": "a", "task": "T", "task_action": "mend_x"}})
    assert told.running == {"a": ("T", "mend_x")}
    told.take(ok())
    assert told.running == {}
