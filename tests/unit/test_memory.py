# SPDX-License-Identifier: MIT
"""What is asked of glibc, where the C library is that."""

from __future__ import annotations

import ctypes

import pytest
from ansible.module_utils.mendbook import memory


class Library:
    def __init__(self):
        self.calls = []

    def mallopt(self, *arguments):
        self.calls.append(arguments)


def test_glibc_is_asked_for_one_arena_and_for_large_blocks_back(monkeypatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    memory.share_one_heap()
    memory.return_large_blocks(4096)
    assert library.calls == [(-8, 1), (-3, 4096)]


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_another_c_library_is_left_alone(monkeypatch, error):
    def load(_name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", load)
    memory.share_one_heap()
    memory.return_large_blocks()
