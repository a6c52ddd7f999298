# SPDX-License-Identifier: MIT
"""Keeps the memory of a process with many threads together."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8


def share_one_heap():
    """Let all threads that start from now on take memory from one heap.

    glibc gives each thread a heap of its own, and what one thread allocates and another one frees stays in it: of the
    batches that a restore hands from thread to thread that was 45 MB. Python's own lock makes several heaps useless.
    Where the C library is not glibc nothing happens.
    """
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (AttributeError, OSError, TypeError):
        pass
