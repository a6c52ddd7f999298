# SPDX-License-Identifier: MIT
"""Spans of time as people type them, and moments as records have them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def span(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``15m``, ``2h`` or ``1d``; ValueError, in words, when it is none of these or 0."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text.strip(), re.ASCII)
    if not found or float(found[1]) == 0:
        raise ValueError(f"{text!r} is not a time: write 90, 90s, 15m, 2h or 1d")
    return float(found[1]) * _UNIT_SECONDS[found[2]]


def iso(moment: datetime) -> str:
    """``2026-03-01T00:00:00.123Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
