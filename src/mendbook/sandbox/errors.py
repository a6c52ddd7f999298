# SPDX-License-Identifier: MIT
"""What can go wrong with a sandbox, in words for the person who asked for it."""

from __future__ import annotations

from mendbook.errors import MendError


class SandboxError(MendError):
    """A sandbox could not be started, found or stopped; the message says what to do next."""


class FolderRefused(SandboxError):
    """The folder is not ours, or another sandbox is running in it."""


class BinaryMissing(SandboxError):
    """A server program, or a shared library that it needs, is not on this machine."""


class ServerDied(SandboxError):
    """A server ended before it was ready; ``log`` is the end of what it wrote."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log
