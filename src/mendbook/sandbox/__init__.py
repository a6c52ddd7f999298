# SPDX-License-Identifier: MIT
"""Real servers on loopback for tests and drills: `with mendbook.sandbox.start(("mongo", "s3")) as sandbox: ...`."""

from mendbook.sandbox.box import Sandbox, attached, start, status_in, stop_in
from mendbook.sandbox.errors import BinaryMissing, FolderRefused, SandboxError, ServerDied
from mendbook.sandbox.folder import named_folder
from mendbook.sandbox.keeper import is_running
from mendbook.sandbox.service import BaseService, kinds

__all__ = [
    "BaseService",
    "BinaryMissing",
    "FolderRefused",
    "Sandbox",
    "SandboxError",
    "ServerDied",
    "attached",
    "is_running",
    "kinds",
    "named_folder",
    "start",
    "status_in",
    "stop_in",
]
