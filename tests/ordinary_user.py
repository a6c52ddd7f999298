"""Work of root's tests that is done as somebody who may do little."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

NOBODY = 65534


def as_nobody(work: Callable[[], Any]) -> Any:
    """What `work` returns, as JSON has it, in a process of an ordinary user."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    # an ordinary user may not read a Python that lies in root's home, so what starts a module is loaded by now
    with patch_module_args({}):
        pass
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    os.waitpid(pid, 0)
    assert text, "the work ended without a result"
    return json.loads(text)
