# SPDX-License-Identifier: MIT
"""Production runbooks as Ansible content: ``mendbook.run("verify_mongo", inventory="inventory/prod")``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mendbook.content import content_root as content_root
    from mendbook.errors import Cancelled as Cancelled
    from mendbook.errors import Failed as Failed
    from mendbook.errors import InvalidInventory as InvalidInventory
    from mendbook.errors import InvalidVariable as InvalidVariable
    from mendbook.errors import Locked as Locked
    from mendbook.errors import MendError as MendError
    from mendbook.errors import NothingMatched as NothingMatched
    from mendbook.errors import Partial as Partial
    from mendbook.errors import Refused as Refused
    from mendbook.errors import StateUnknown as StateUnknown
    from mendbook.errors import TimedOut as TimedOut
    from mendbook.errors import UnknownProcedure as UnknownProcedure
    from mendbook.errors import Unreachable as Unreachable
    from mendbook.errors import UsageError as UsageError
    from mendbook.errors import VerifyFailed as VerifyFailed
    from mendbook.outcome import HostResult as HostResult
    from mendbook.outcome import Outcome as Outcome
    from mendbook.runs import run as run

# Where each public name lives. They are imported on first use: `mendbook list` must not pay for ansible-runner.
_HOME = {
    "run": "runs",  # not run.py: importing that module would hide the function
    "Outcome": "outcome",
    "HostResult": "outcome",
    "content_root": "content",
    **dict.fromkeys(
        [
            "Cancelled",
            "Failed",
            "InvalidInventory",
            "InvalidVariable",
            "Locked",
            "MendError",
            "NothingMatched",
            "Partial",
            "Refused",
            "StateUnknown",
            "TimedOut",
            "UnknownProcedure",
            "Unreachable",
            "UsageError",
            "VerifyFailed",
        ],
        "errors",
    ),
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name on first use; ``__version__`` is read from the installed package."""
    if name == "__version__":
        from importlib.metadata import version

        return version("mendbook")
    if name not in _HOME:
        raise AttributeError(f"module 'mendbook' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"mendbook.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
