"""Work of root's tests that is done as somebody who may do little."""

from __future__ import annotations

import codecs
import importlib
import json
import os
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils._internal._json import _profiles

NOBODY = 65534


def become(user_id: int) -> None:
    """Go on as this user, who may not read a Python in root's home; so what modules load late is loaded before."""
    for found in pkgutil.iter_modules(_profiles.__path__):
        importlib.import_module(f"{_profiles.__name__}.{found.name}")
    codecs.lookup("ascii")
    os.setgroups([])
    os.setgid(user_id)
    os.setuid(user_id)


def as_nobody(work: Callable[[], Any]) -> Any:
    """What `work` returns, as JSON has it, in a process of an ordinary user."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            become(NOBODY)
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    os.waitpid(pid, 0)
    assert text, "the work ended without a result"
    return json.loads(text)
