# SPDX-License-Identifier: MIT
"""The answers that are not success: each says what happened and what to do next."""

from __future__ import annotations


class MendError(Exception):
    """A failure in words for the operator.

    ``reason`` is the machine-readable class of the answer (``None``: plain failure) and decides the wrapper's exit
    code; ``rule`` names the guard that spoke; ``details`` holds JSON-able facts such as the holder of a lock.
    """

    reason: str | None = None

    def __init__(self, msg, rule=None, details=None):
        super().__init__(msg)
        self.msg = msg
        self.rule = rule
        self.details = details or {}


class Refused(MendError):
    """A guard said no; nothing was changed."""

    reason = "refused"


class Drift(MendError):
    """The target is no longer what the plan was computed from; nothing was changed."""

    reason = "drift"


class Nothing(MendError):
    """The selector is empty: no host, no pattern, no such namespace in the backup."""

    reason = "nothing"


class Locked(MendError):
    """Another run holds the target; ``details`` names holder, host and start."""

    reason = "locked"


class VerifyFailed(MendError):
    """What was read back is not what was promised."""

    reason = "verify"


class Partial(MendError):
    """Some objects were changed and some were not."""

    reason = "partial"


class Unknown(MendError):
    """The outcome could not be read from the target; look before anything is run again."""

    reason = "unknown"


class Undone(MendError):
    """What was begun has been taken back; the target is as it was before."""


class Cancelled(MendError):
    """A signal has stopped the module."""
