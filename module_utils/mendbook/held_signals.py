# SPDX-License-Identifier: MIT
"""Let a step that cannot be told half-done be told whole: a signal waits until it is."""

from __future__ import annotations

import signal
from contextlib import contextmanager

from .change import SIGNALS


@contextmanager
def held_signals():
    """Hold signals back for the moment in which it is open what was done; the first one counts when that is told.

    A step that fails has more to say than a signal, which is dropped then. Gives the list of those that came, for a
    moment that can be ended early, or whose failure is tried again.

    By handlers and not by a mask, which holds for one thread only: Python runs a handler whichever thread got the
    signal.
    """
    came = []
    before = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in SIGNALS}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])
