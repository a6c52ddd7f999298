"""Work in a process of its own, forked from this one, that may change itself, become somebody else or be killed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any


def forked(work: Callable[[], Any]) -> Any:
    """What `work` returns in a forked process, as JSON has it; None when it was killed or failed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as output:
        text = output.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else None


def signal_at(step: str, steps: Iterable[str], number: int, calls: Iterable[tuple[object, str]]) -> None:
    """Let this process get a signal at ``step``; the calls of each (owner, name) are ``steps`` in their order."""
    passed = iter(steps)

    def watched(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def stepped(*args: Any, **kwargs: Any) -> Any:
            if next(passed, None) == step:
                os.kill(os.getpid(), number)
            return original(*args, **kwargs)

        setattr(owner, name, stepped)

    for owner, name in calls:
        watched(owner, name)
