"""Tests wait for what they want to see, and never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], what: str = "", *, seconds: float = 120) -> Any:
    """Wait until the condition gives something, and return it; an AssertionError that says ``what`` never came."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s{what and ': '}{what}"
        time.sleep(0.02)
    return found


def quickest(answer: Callable[[], Any], promised: float = 2) -> tuple[Any, float]:
    """What it answers, and the least seconds of up to five tries: a machine stands still once, not each time."""
    seconds = float("inf")
    for _ in range(5):
        began = time.monotonic()
        answered = answer()
        seconds = min(seconds, time.monotonic() - began)
        if seconds < promised:
            break
    return answered, seconds
