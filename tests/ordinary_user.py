"""Work of root's tests that is done as somebody who may do little."""

from __future__ import annotations

import codecs
import importlib
import os
import pkgutil
from collections.abc import Callable
from typing import Any

from ansible.module_utils._internal._json import _profiles

from forked import forked
from requirement import missing

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
        missing("only root can become somebody else")

    def as_user() -> Any:
        become(NOBODY)
        return work()

    result = forked(as_user)
    assert result is not None, "the work ended without a result"
    return result
