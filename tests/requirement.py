"""What a test needs of its machine: where that is missing a developer reads which test is left out, and CI fails."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def in_ci() -> bool:
    """Whether this is CI, where nothing may be left out."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def missing(words: str, fails: bool | None = None) -> NoReturn:
    """End the test: a skip that says why, and a failure in CI, or as ``fails`` says."""
    if in_ci() if fails is None else fails:
        pytest.fail(words)
    pytest.skip(words)
