# SPDX-License-Identifier: MIT
"""Real servers on loopback for tests and drills: `with mendbook.sandbox.start(("mongo", "s3")) as sandbox: ...`."""

from mendbook.sandbox.box import Sandbox, start, status_in, stop_in
from mendbook.sandbox.errors import BinaryMissing, FolderRefused, SandboxError, ServerDied
from mendbook.sandbox.folder import named_folder
from mendbook.sandbox.service import BaseService, kinds

__all__ = [
    "BaseService",
    "BinaryMissing",
    "FolderRefused",
    "Sandbox",
    "SandboxError",
    "ServerDied",
    "kinds",
    "named_folder",
    "start",
    "status_in",
    "stop_in",
]
