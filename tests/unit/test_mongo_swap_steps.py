"""One step of a swap and a signal: it counts when the server has told what became of the step."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.mendbook.errors import Cancelled
from ansible.module_utils.mendbook.mongo_swap_steps import Steps
from pymongo.errors import AutoReconnect


@pytest.mark.parametrize("error", [None, AutoReconnect("cut")])
def test_a_signal_waits_for_the_step_and_is_not_lost_when_that_fails(error):
    told = []

    def command(*_args: Any, **_more: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        told.append("done")
        if error:
            raise error

    def cancel(_number: int, _frame: Any) -> None:
        raise Cancelled("cancelled")

    before = signal.signal(signal.SIGTERM, cancel)
    try:
        lease = SimpleNamespace(confirm=lambda: None)
        with pytest.raises(Cancelled):
            Steps(SimpleNamespace(name="shop", command=command), "cafe", lease).command({"drop": "x"}, "drop x")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == ["done"]
