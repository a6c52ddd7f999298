"""clean_disk killed or cancelled at each of its steps, and several at once: what is told is true, the rest goes."""

from __future__ import annotations

import signal
from collections import Counter
from multiprocessing import get_context

import pytest
from ansible.module_utils.mendbook import disk_reclaim, disk_reclaim_act, disk_reclaim_plan

from forked import forked, signal_at

pytestmark = pytest.mark.faults
pytest_plugins = ["disk_lab"]
FILES = 6
STEPS = ("observe", "open", "1", "2", "3", "4", "5", "6", "read back")


def act_and_die(disk, planned, step, number):
    """Act in a forked process that gets a signal at one of its steps; its result, None when it was killed."""

    def work():
        disk_reclaim_act._PORTION = 1
        reclaim, act = disk_reclaim.Reclaim, disk_reclaim_act.Act
        calls = [(reclaim, "observe"), (act, "_open"), (act, "_remove"), (reclaim, "read_back")]
        signal_at(step, STEPS, number, calls)
        return disk.act(planned)

    return forked(work)


@pytest.fixture
def many(disk):
    """Old files in one folder, of which a plan lists only some one by one; and one that must stay."""

    def fill():
        for number in range(FILES):
            disk.file(f"f{number}.log", size=5000 * (number % 2 + 1))
        disk.file("stays.log", days=1)

    return fill


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("listed", [disk_reclaim_plan.MAX_ENTRIES, 4], ids=["each by itself", "most as one sum"])
def test_a_signal_at_any_step_is_told_right_and_the_next_run_does_the_rest(
    disk, many, number, listed, monkeypatch, fault_rounds, record_fault
):
    monkeypatch.setattr(disk_reclaim_plan, "MAX_ENTRIES", listed)
    rounds, ended = fault_rounds(1, 20), Counter()
    for _ in range(rounds):
        for step in STEPS:
            many()
            result = act_and_die(disk, disk.plan(), step, number)
            left = len(disk.names()) - 1
            assert "stays.log" in disk.names()
            if number == signal.SIGTERM:
                assert disk.gone(result) == FILES - left if left < FILES else not result.get("done"), result
                wanted = "failed (nothing changed)" if left == FILES else "partial"
                # nobody has looked whether they are gone
                assert result["state"] == ("UNKNOWN" if step == "read back" else wanted), result
            else:
                assert result is None
            ended[left] += 1
            # no lock is left, and the same command again ends it
            again = disk.reclaim()
            assert again["state"] in ("done", "nothing to do") and disk.names() == ["stays.log"]
            assert disk.reclaim()["state"] == "nothing to do"
    record_fault(
        f"{number.name} at each step of removing {FILES} files, {listed} entries in a plan",
        rounds=rounds * len(STEPS),
        held=f"0 to {FILES} gone ({len(ended)} cases), as it was told, and the next run did the rest",
    )


def test_an_error_in_the_middle_tells_what_was_done(disk, many, monkeypatch):
    many()
    monkeypatch.setattr(disk_reclaim_act, "_PORTION", 2)
    real, calls = disk_reclaim_act.Act._remove, []

    def breaks(self, *args):
        calls.append(args)
        if len(calls) == 2:
            raise MemoryError("no room")
        return real(self, *args)

    monkeypatch.setattr(disk_reclaim_act.Act, "_remove", breaks)
    result = disk.reclaim()
    assert (result["state"], disk.gone(result), len(disk.names())) == ("partial", 2, FILES - 2 + 1)
    assert result["msg"].startswith(f"stopped after 2 of {FILES}:")


def test_of_ten_operators_at_once_one_acts_and_the_others_are_told(disk, many, fault_rounds, record_fault):
    rounds, operators = fault_rounds(2, 20), 10
    context = get_context("fork")
    for _ in range(rounds):
        many()
        planned = disk.plan()
        start, answered, answers = context.Barrier(operators), context.Semaphore(0), context.Queue()
        everybody = [
            context.Process(target=_operate, args=(disk, planned, start, answered, operators, answers), daemon=True)
            for _ in range(operators)
        ]
        for one in everybody:
            one.start()
        states = Counter(answers.get(timeout=120) for _ in everybody)
        for one in everybody:
            one.join()
        assert states == {"done": 1, "locked": operators - 1} and disk.names() == ["stays.log"]
    record_fault(f"{operators} operators clean one disk at once", rounds=rounds, held="one acted, the others exit 75")


def _operate(disk, planned, start, answered, operators, answers):
    real = disk_reclaim.Reclaim.read_back

    def slowly(self, roots, plan):
        # the winner keeps its lock until everybody else has been answered
        for _ in range(operators - 1):
            assert answered.acquire(timeout=60)
        return real(self, roots, plan)

    disk_reclaim.Reclaim.read_back = slowly
    start.wait(60)
    result = disk.act(planned)
    answered.release()
    answers.put((result.get("mend") or {}).get("reason") or result["state"])
