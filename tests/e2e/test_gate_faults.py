"""What happens while a change is under way: the end in the journal is what the module said, or unknown, never done."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess

import pytest
from gate_lab import CONTENT, Gate, command_lines, trial

from requirement import missing
from waiting import until

pytestmark = pytest.mark.e2e


@pytest.fixture
def gate(core_bins, tmp_path, short_folder):
    return Gate(core_bins, tmp_path, short_folder)


# how the module ends after its first object -> (reason, state, objects that it says it has done)
ENDINGS = {
    "error": ("partial", "partial", 1),
    "bug": ("partial", "partial", 1),
    "term": ("partial", "partial", 1),
    "unknown": ("unknown", "UNKNOWN", 1),
    "undone": (None, "failed (undone)", 1),
    "kill": ("unknown", "UNKNOWN", None),
    "exit": ("unknown", "UNKNOWN", None),
    "verify": ("verify", "partial", 2),
    "read back": ("unknown", "UNKNOWN", 2),
    "unplanned": ("partial", "partial", 3),
}


def test_the_end_of_every_failure_is_in_the_journal_as_the_result_says_it(gate):
    for how in (*ENDINGS, "before"):
        (gate.of() / how).mkdir()
    tasks = [trial(how, gate.of() / how, fail=how, task_ignore_errors=True) for how in ENDINGS]
    tasks.append(trial("before", gate.of() / "before", fail="error", fail_after=0, task_ignore_errors=True))
    tasks.append(trial("cannot open", gate.of(), fail="open", task_ignore_errors=True))
    seen = gate.play(tasks)
    assert seen.rc == 0, seen.output
    expected = {**ENDINGS, "before": (None, "failed (nothing changed)", 0)}
    assert len(seen.events("begin")) == len(seen.events("end")) == len(expected)
    for end, (how, (reason, state, done)) in zip(seen.events("end"), expected.items(), strict=True):
        result = seen.results[how]
        assert result["_status"] == "ignored", how
        assert (result["mend"]["reason"], result["state"]) == (end["reason"], end["state"]) == (reason, state), how
        assert end["done"] == result.get("done") and (None if end["done"] is None else len(end["done"])) == done, how
        assert result["changed"] is (state not in ("failed (undone)", "failed (nothing changed)")), how
        assert end["changed"] is result["changed"] and end["msg"]
    assert "look at the target before anything is run again" in seen.results["kill"]["msg"]
    assert (seen.results["cannot open"]["mend"]["rule"], seen.results["cannot open"]["state"]) == (
        "trial",
        "failed (nothing changed)",
    )
    # whatever ended, its lock is given back, unless the process was killed
    left = {how for how in ENDINGS if (gate.of() / how / ".lock").exists()}
    assert left == {"kill", "exit"}


def test_a_connection_that_is_lost_while_acting_leaves_the_outcome_unknown(gate):
    lost = {"ansible_connection": "breaking", "ansible_pipelining": True}
    tasks = [
        trial("before", gate.of(), names=["1"], task_vars={**lost, "breaking_lasts": 0}, task_ignore_unreachable=True),
        trial("acting", gate.of(), names=["2"], task_vars={**lost, "breaking_lasts": 1}, task_ignore_errors=True),
    ]
    seen = gate.play(tasks, env={"ANSIBLE_CONNECTION_PLUGINS": str(CONTENT / "connection_plugins")})
    assert seen.results.get("before", {}).get("_status") == "unreachable", seen.output
    assert [event["host"] for event in seen.events("unreachable")] == ["a"]
    result = seen.results["acting"]
    assert (result["mend"]["reason"], result["state"]) == ("unknown", "UNKNOWN") and "the line is dead" in result["msg"]
    assert [event["state"] for event in seen.events("end")] == ["UNKNOWN"]
    assert gate.files() == ["2"], "the module has acted, and only the answer was lost"


def start(gate: Gate, *tasks: dict) -> subprocess.Popen:
    path = gate.playbook(tasks)
    command = [str(gate.bins / "ansible-playbook"), str(path), "-i", str(gate.inventory)]
    return subprocess.Popen(
        command, env=gate.environment(ANSIBLE_CALLBACKS_ENABLED="mend_journal"), stdout=subprocess.DEVNULL
    )


def processes(word: str) -> list[int]:
    return [pid for pid, line in command_lines() if word.encode() in line and pid != os.getpid()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_ansible_reaches_the_module_and_the_end_is_journalled(gate, number):
    ansible = start(gate, trial("act", gate.of(), count=200, pause=0.2))
    until(lambda: len(gate.files()) >= 2)
    ansible.send_signal(number)
    assert ansible.wait(60) != 0
    until(lambda: [event for event in gate.seen(0, "").events("end")])
    (end,) = gate.seen(0, "").events("end")
    assert (end["state"], end["reason"]) == ("partial", "partial")
    assert end["msg"].endswith(f"cancelled by {signal.Signals(number).name}")
    assert [entry["object"] for entry in end["done"]] == gate.files()
    assert not (gate.of() / ".lock").exists()
    until(lambda: not processes(str(gate.folder)))


def test_after_kill_9_of_ansible_the_change_goes_on_to_its_end_in_the_journal(gate):
    ansible = start(gate, trial("act", gate.of(), count=8, pause=0.2))
    until(lambda: len(gate.files()) >= 2)
    ansible.kill()
    ansible.wait(60)
    until(lambda: gate.seen(0, "").events("end"))
    (end,) = gate.seen(0, "").events("end")
    assert (end["state"], len(end["done"])) == ("done", 8)
    until(lambda: not processes(str(gate.folder)))


def test_after_kill_9_of_everything_the_journal_says_what_has_no_end(gate):
    ansible = start(gate, trial("act", gate.of(), count=200, pause=0.2))
    until(lambda: len(gate.files()) >= 2)
    # ansible first, or it would report its worker's death; the module goes last, having no command line of its own
    workers = [pid for pid in processes(str(gate.folder)) if pid != ansible.pid]
    ansible.kill()
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(os.getpgid(pid), signal.SIGKILL)
    ansible.wait(60)
    seen = gate.seen(0, "")
    assert [event["event"] for event in seen.journal] == ["run_begin", "begin"]
    again = gate.play([trial("act", gate.of(), names=["x"])])
    assert again.results["act"]["state"] == "done", "the next run has a journal of its own"
    assert again.journals == 2


def on_a_small_disk(gate: Gate, size: str) -> list[str]:
    """The beginning of a command that runs the rest with a state folder on a tmpfs of this size."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode:
        missing("this machine gives no mount namespace, so no small disk can be made")
    gate.state.mkdir()
    # what is on it is copied out before it goes with the namespace
    script = 'mount -t tmpfs -o size=$1 tmpfs "$0"; out=$2; shift 2; "$@"; rc=$?; cp -r "$0" "$out"; exit $rc'
    return [*unshare, "sh", "-c", script, str(gate.state), size, str(gate.folder / "out")]


def test_on_a_full_disk_nothing_is_begun(gate):
    seen = gate.play([trial("act", gate.of())], prefix=on_a_small_disk(gate, "64k"))
    assert seen.rc == 2 and gate.files() == [], seen.output
    assert seen.results["act"]["mend"]["rule"] == "journal"
    assert "No space left on device" in seen.results["act"]["msg"]


def test_a_disk_that_fills_up_while_acting_still_takes_the_end(gate):
    filler = str(gate.state / "filler")
    seen = gate.play([trial("act", gate.of(), fill=filler)], prefix=on_a_small_disk(gate, "256k"))
    assert seen.rc == 0 and seen.results["act"]["state"] == "done", seen.output
    (path,) = (gate.folder / "out" / "journal").glob("*.jsonl")
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()][:3] == ["run_begin", "begin", "end"]
