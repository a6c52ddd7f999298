# SPDX-License-Identifier: MIT
"""One small tree of exceptions; each class carries the exit code that the command line ends with.

MendError 2
├── UsageError 64
│   ├── UnknownProcedure
│   ├── InvalidVariable
│   └── InvalidInventory
├── NothingMatched 7
├── Failed 2
├── Partial 3
├── Unreachable 4
├── VerifyFailed 5
├── Refused 6
├── Locked 75
├── StateUnknown 70
├── TimedOut 124
└── Cancelled 130
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mendbook.outcome import Outcome


class MendError(Exception):
    """What went wrong and what to do next, in words; ``outcome`` holds what the targets said before, if anything."""

    exit_code: int = 2

    def __init__(self, msg: str, *, outcome: Outcome | None = None) -> None:
        super().__init__(msg)
        self.msg = msg
        self.outcome = outcome


class UsageError(MendError):
    """The request itself cannot be run; nothing was started."""

    exit_code = 64


class UnknownProcedure(UsageError):
    """No playbook of that name."""


class InvalidVariable(UsageError):
    """A variable that no role of the procedure declares, or a value that is not of its type."""


class InvalidInventory(UsageError):
    """The inventory is missing or cannot be read."""


class NothingMatched(MendError):
    """No host, or nothing of what was named, exists: an empty selection is never a success."""

    exit_code = 7


class Failed(MendError):
    """A target failed, or ansible itself did."""


class Partial(MendError):
    """Some objects were changed and some were not."""

    exit_code = 3


class Unreachable(MendError):
    """A target did not answer."""

    exit_code = 4


class VerifyFailed(MendError):
    """What was read back is not what was promised."""

    exit_code = 5


class Refused(MendError):
    """A guard said no; nothing was changed."""

    exit_code = 6


class Locked(MendError):
    """Another run holds the target."""

    exit_code = 75


class StateUnknown(MendError):
    """The outcome could not be read, or a process of the run is still alive: look before anything is run again."""

    exit_code = 70


class TimedOut(MendError):
    """The time was over; no process of the run is left."""

    exit_code = 124


class Cancelled(MendError):
    """Stopped on request; no process of the run is left."""

    exit_code = 130
