"""The gate lets a change through: planned, journalled, done, read back, in every way in which ansible runs a task."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from gate_lab import CONTENT, FAKE_SUDO, ROOT, Gate, trial

from requirement import missing

pytestmark = pytest.mark.e2e
RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


@pytest.fixture
def gate(core_bins, tmp_path, short_folder):
    return Gate(core_bins, tmp_path, short_folder)


def test_a_play_of_changes_is_planned_journalled_done_and_read_back(gate):
    a = gate.of("a")
    sudo = gate.folder / "sudo"
    sudo.write_text(FAKE_SUDO)
    sudo.chmod(0o755)
    for name in ("l1", "l2", "d", "s", "many", "r"):
        (a / name).mkdir()
    seen = gate.play(
        [
            {"name": "only planned", "mend_touch": {"folder": str(a), "names": ["x", "y"]}, "check_mode": True},
            {"name": "act", "mend_touch": {"folder": str(a), "names": ["x", "y"]}},
            {"name": "again", "mend_touch": {"folder": str(a), "names": ["x", "y"]}},
            {"name": "look", "mend_look": {"folder": str(a)}},
            trial("loop", f"{a}/{{{{ item }}}}", task_loop=["l1", "l2"]),
            trial("delegated", a / "d", task_delegate_to="b"),
            trial(
                "become",
                a / "s",
                task_become=True,
                task_become_user="daemon",
                task_vars={"ansible_become_exe": str(sudo)},
            ),
            trial("many", a / "many", count=1500, cap=1500),
            trial("some", a / "r", skip=["one"]),
        ]
    )
    assert seen.rc == 0, seen.output
    result = seen.results

    assert (result["only planned"]["state"], result["only planned"]["changed"]) == ("planned", True)
    assert result["act"]["plan"] == result["only planned"]["plan"]
    assert (result["act"]["state"], result["act"]["read_back"]["there"][-2:]) == ("done", ["x", "y"])
    assert (result["again"]["state"], result["again"]["changed"]) == ("nothing to do", False)
    assert result["look"]["there"][-2:] == ["x", "y"]
    assert [item["state"] for item in result["loop"]["results"]] == ["done", "done"]
    assert result["become"]["read_back"]["became"] == "yes"
    assert len(list((a / "many").iterdir())) == 1500
    assert len(result["many"]["plan"]["changes"]) == len(result["many"]["done"]) == 1000
    # a key named skipped would make ansible call the task skipped
    assert (result["some"]["_status"], result["some"]["changed"]) == ("ok", True)
    assert result["some"]["skipped_objects"] == [{"object": "one", "reason": "not wanted"}]

    first, *middle, last = seen.journal
    assert (first["event"], last["event"], last["without_end"]) == ("run_begin", "run_end", 0)
    assert [event["event"] for event in middle] == ["begin", "end"] * 7
    assert {event["procedure"] for event in seen.journal} == {"trial_1"}
    assert {event["run"] for event in seen.journal} == {result["act"]["run"]}
    assert RUN.fullmatch(result["act"]["run"])
    assert len({event["who"]["pid"] for event in seen.journal}) == 1
    begins, ends = seen.events("begin"), seen.events("end")
    assert begins[0]["plan"] == result["act"]["plan"]
    assert begins[0]["plan_sha256"] == result["act"]["plan"]["sha256"]
    assert ends[0]["done"] == result["act"]["done"] and ends[0]["read_back"] == result["act"]["read_back"]
    assert [begin["target"]["id"] for begin in begins[1:3]] == [f"{a}/l1", f"{a}/l2"]
    assert [(begin["host"], begin["delegate_to"]) for begin in begins[2:5]] == [("a", None), ("a", "b"), ("a", None)]
    assert not list(gate.state.glob("journal/.*")), "a reserve was left"
    for words in (f"PLAN mend_touch on a\n  target   {a}\n", "DONE mend_trial on a\n  done     1 of 2\n"):
        assert words in seen.output


def test_check_mode_changes_nothing_takes_no_lock_and_keeps_no_journal(gate):
    a = gate.of("a")
    hostile = ["\x1b[2Jcleared", "{{ lookup('pipe', 'touch " + str(a / "executed") + "') }}", "two\nlines"]
    seen = gate.play(
        [
            trial("plan", a, names="{{ hostile }}", risk="destroys", refuse=True, cap=1),
            trial("stubborn", a, task_check_mode=False),
        ],
        "--check",
        "--diff",
        "-e",
        "mend_hold=true",
        *gate.variables(hostile=hostile),
    )
    assert seen.rc == 0, seen.output
    assert gate.files("a") == [] and not gate.state.exists()
    plan = seen.results["plan"]
    assert [refusal["rule"] for refusal in plan["plan"]["refusals"]] == ["age", "cap files", "hold"]
    assert [seen.results[name]["state"] for name in ("plan", "stubborn")] == ["planned", "planned"]
    assert seen.output.count("PLAN mend_trial on a") == 2
    for words in (
        f"  target   {a}  at trial.example:1\n",
        "  source   name backup, age_seconds 60\n",
        "  changes  3 objects, 3 B, destroys data\n",
        "  cap      files: 3 of 1\n",
        "  takes    about 2 s\n",
        "  undo     playbook untouch -e names=",
        "  note     files appear one after the other\n",
        f'  note     to act, set the option confirm to "{a}"\n',
        "  refused  the backup is too old (-e trial_max_age=90)\n",
        "  refused  mend_hold is ",
        "+ two\\nlines  (1 B)\n",
        "+ \\x1b[2Jcleared  (1 B)\n",
    ):
        assert words in seen.output, words
    assert "\x1b" not in seen.output


def test_what_comes_from_a_module_is_never_templated(gate):
    executed = gate.of("b") / "executed"
    name = "{{ lookup('pipe', 'touch " + str(executed) + "') }}"
    tasks = [
        trial("act", gate.of(), names="{{ names }}", task_register="seen"),
        {"name": "later", "ansible.builtin.debug": {"msg": "{{ seen.done[0].object }}"}},
        {"name": "fact", "ansible.builtin.set_fact": {"from_outside": "{{ seen.plan.changes[0].object }}"}},
        trial("in a message", "{{ from_outside }}", task_ignore_errors=True),
    ]
    seen = gate.play(tasks, *gate.variables(names=[name]))
    assert seen.rc == 0, seen.output
    assert seen.results["act"]["done"][0]["object"] == name
    assert seen.results["later"]["msg"].startswith(name)
    assert not executed.exists()


def test_free_strategy_start_at_task_and_parallel_hosts_write_one_chain(gate):
    seen = gate.play(
        [{"name": "guard", "ansible.builtin.fail": {"msg": "is jumped over"}}]
        + [trial(f"act {n}", f"{gate.folder}/hosts/{{{{ inventory_hostname }}}}", names=[f"n{n}"]) for n in range(3)],
        "--start-at-task",
        "act 0",
        hosts="app",
        strategy="free",
    )
    assert seen.rc == 0, seen.output
    assert seen.journals == 1
    assert sorted(event["host"] for event in seen.events("end")) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    begun = {event["begin"] for event in seen.events("end")}
    assert len(begun) == 9 and all(event["state"] == "done" for event in seen.events("end"))
    assert all(gate.files(host) == ["n0", "n1", "n2"] for host in "abc")


def test_without_the_callback_the_hosts_of_a_run_share_a_journal_all_the_same(gate):
    tasks = [trial("act", f"{gate.folder}/hosts/{{{{ inventory_hostname }}}}")]
    seen = gate.play(tasks, hosts="app", env={"ANSIBLE_CALLBACKS_ENABLED": "json_lines"})
    assert seen.rc == 0, seen.output
    assert seen.journals == 1 and len(seen.events("begin")) == len(seen.events("end")) == len(seen.journal) / 2 == 3
    assert RUN.fullmatch(seen.journal[0]["run"])
    assert {event["procedure"] for event in seen.journal} == {"trial_1"}


def test_ad_hoc_goes_through_the_gate_too(gate):
    arguments = json.dumps({"folder": str(gate.of()), "names": ["x"]})
    command = [str(gate.bins / "ansible"), "a", "-i", str(gate.inventory), "-m"]
    seen = gate.run([*command, "mend_touch", "-a", arguments])
    assert seen.rc == 0 and gate.files() == ["x"], seen.output
    assert [event["event"] for event in seen.journal] == ["begin", "end"]
    assert {event["procedure"] for event in seen.journal} == {"ad hoc"}
    options = json.dumps({"folder": str(gate.of()), "names": ["y"]})
    assert "PLAN mend_touch on a" in gate.run([*command, "ansible.legacy.mend_touch", "-a", options, "--check"]).output
    assert gate.files() == ["x"]


def test_under_ansible_runner_the_gate_stands_and_the_wrapper_s_names_are_used(gate):
    runner = gate.bins / "ansible-runner"
    if not runner.exists():
        missing(f"ansible-runner is not installed in {gate.bins}")
    private = gate.folder / "private"
    (private / "project").mkdir(parents=True)
    shutil.copy(gate.playbook([trial("act", gate.of())]), private / "project" / "restore_trial.yml")
    progress = gate.folder / "progress"
    progress.mkdir()
    command = [str(runner), "run", str(private), "-p", "restore_trial.yml", "--inventory", str(gate.inventory)]
    # runner replaces callback_plugins by its own and keeps what this variable adds
    env = {"MENDBOOK_RUN": "run-of-the-wrapper", "MENDBOOK_PROGRESS": str(progress), "ANSIBLE_CALLBACKS_ENABLED": None}
    seen = gate.run(command, env)
    assert seen.rc == 0 and gate.files() == ["one", "two"], seen.output
    assert [event["event"] for event in seen.journal] == ["run_begin", "begin", "end", "run_end"]
    assert {(event["run"], event["procedure"]) for event in seen.journal} == {("run-of-the-wrapper", "restore_trial")}
    start, *steps = [json.loads(line) for line in (progress / "a-1.jsonl").read_text().splitlines()]
    assert start["phase"] == "start" and start["pid"] > 1
    assert steps[-1] == {"phase": "make", "done": 2, "total": 2, "unit": "files"}


def test_without_the_gate_a_module_refuses_by_itself(gate):
    config = gate.folder / "foreign.cfg"
    config.write_text(f"[defaults]\nlibrary={CONTENT / 'library'}\nmodule_utils={ROOT / 'module_utils'}\n")
    forged = {"run": "r", "plan": {}, "plan_sha256": "x", "journal": "y"}
    seen = gate.play(
        [
            trial("act", gate.of(), task_ignore_errors=True),
            trial("forged", gate.of(), receipt=forged, task_ignore_errors=True),
            trial("plan", gate.of(), task_check_mode=True),
        ],
        env={"ANSIBLE_CONFIG": str(config), "ANSIBLE_LIBRARY": None},
    )
    assert seen.rc == 0, seen.output
    for name in ("act", "forged"):
        assert seen.results[name]["mend"]["reason"] == "refused" and seen.results[name]["mend"]["rule"] == "receipt"
    assert "ANSIBLE_CONFIG" in seen.results["act"]["msg"]
    assert seen.results["plan"]["state"] == "planned"
    assert gate.files() == [] and seen.events("begin") == []


def test_a_change_is_one_procedure_and_nothing_else():
    source = (CONTENT / "library" / "mend_touch.py").read_text()
    procedure = source[source.index("class Touch") : source.index("def main")]
    assert len(procedure.split("\n")) <= 40
    assert not re.search(r"check_mode|receipt\[|exit_json|fail_json|except", procedure)
