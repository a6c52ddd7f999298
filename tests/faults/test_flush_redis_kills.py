"""flush_redis stopped at each of its steps: nothing else is gone, its lock is free, and the next run goes on."""

from __future__ import annotations

import signal

import pytest
from ansible.module_utils.mendbook import redis_flush, redis_flush_round, redis_lock, redis_scan, redis_sweep

from forked import forked, signal_at

pytestmark = pytest.mark.faults
pytest_plugins = ["redis_lab", "redis_flush_lab"]
CACHED = 600
# a step: what is called, and at which of its calls the signal comes
STEPS = {
    "lock": (redis_lock.Presence, "hold", 1),
    "look": (redis_flush, "sample", 1),
    "first portion": (redis_sweep.Sweep, "_remove", 1),
    "between portions": (redis_sweep.Sweep, "_remove", 3),
    "late portion": (redis_sweep.Sweep, "_remove", 5),
    "between rounds": (redis_flush_round.Rounds, "look_again", 1),
    "second sweep": (redis_sweep.Sweep, "run", 2),
    "read back": (redis_flush.Flush, "read_back", 1),
}


def act_and_stop(lab, planned, step, number):
    """Act in a forked process that gets a signal at one of its steps; its result, None when it was killed."""

    def work():
        owner, name, call = STEPS[step]
        redis_scan.scan.__defaults__ = (None, 50)
        signal_at("now", [*[""] * (call - 1), "now"], number, [(owner, name)])
        return lab.act(planned, "cache:*", keep=["cache:home:*"])

    return forked(work)


@pytest.mark.parametrize(("where", "number"), [("single", signal.SIGTERM), ("cluster", signal.SIGKILL)])
def test_a_signal_at_any_step_leaves_what_is_kept_and_no_lock(request, fault_rounds, record_fault, where, number):
    lab, rounds, left_over = request.getfixturevalue(where), fault_rounds(1, 20), []
    others = {b"other:1", b"sess:1"} | {f"cache:home:{n}".encode() for n in range(30)}
    for _ in range(rounds):
        for step in STEPS:
            lab.fill("other:1", "sess:1", **{"cache": CACHED, "cache:home": 30})
            options = {"keep": ["cache:home:*"]}
            result = act_and_stop(lab, lab.plan("cache:*", **options), step, number)
            there = lab.keys()
            left = len(there - others)
            assert others <= there
            if number == signal.SIGTERM:
                assert result is not None and lab.removed(result) == CACHED - left, result
                assert result["state"] in ("partial", "failed (nothing changed)", "done", "UNKNOWN"), result
            else:
                assert result is None, step
            if step in ("lock", "look"):
                assert left == CACHED
            left_over.append(left)
            again = lab.flush("cache:*", **options)
            assert again["state"] == ("done" if left else "nothing to do"), again
            assert lab.keys() == others and lab.removed({"done": again.get("done", [])}) == left
            assert lab.flush("cache:*", **options)["state"] == "nothing to do"
    record_fault(
        f"{number.name} at each step of a flush ({where})",
        rounds=rounds * len(STEPS),
        held=f"{left_over.count(CACHED)} times nothing was gone, {left_over.count(0)} times all, else a part that the "
        "next run finished; 0 kept keys lost, every lock free",
    )
