# SPDX-License-Identifier: MIT
"""Keeps the memory of a process with many threads together."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


def share_one_heap():
    """Let all threads that start from now on take memory from one heap.

    glibc gives each thread a heap of its own, and what one thread allocates and another one frees stays in it: of the
    batches that a restore hands from thread to thread that was 45 MB. Python's own lock makes several heaps useless.
    Where the C library is not glibc nothing happens.
    """
    _mallopt(_M_ARENA_MAX, 1)


def return_large_blocks(from_bytes=4 << 20):
    """Let blocks of this size and more go back to the system when they are freed.

    glibc learns from the first one that is freed to keep all later ones of its size: of documents of 16 MiB that was
    65 MB. Where the C library is not glibc nothing happens.
    """
    _mallopt(_M_MMAP_THRESHOLD, from_bytes)


def _mallopt(option, value):
    try:
        ctypes.CDLL(None).mallopt(option, value)
    except (AttributeError, OSError, TypeError):
        pass
