"""What others may import from mendbook; a change here is a change for them, and wants a line in CHANGELOG.md."""

from __future__ import annotations

import subprocess
import sys

import mendbook

PUBLIC = """
    Cancelled Failed HostResult InvalidInventory InvalidVariable Locked MendError NothingMatched Outcome Partial Refused
    StateUnknown TimedOut UnknownProcedure Unreachable UsageError VerifyFailed content_root run
""".split()


def test_the_public_names_are_these():
    assert sorted(mendbook.__all__) == sorted(PUBLIC)


def test_every_public_name_can_be_imported():
    assert [name for name in PUBLIC if getattr(mendbook, name, None) is None] == []


def test_every_public_name_says_what_it_is():
    assert [name for name in PUBLIC if not getattr(mendbook, name).__doc__] == []


def test_importing_mendbook_imports_no_engine():
    code = (
        "import mendbook, sys; print([n for n in ('ansible', 'ansible_runner', 'click', 'rich') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=280)
    assert done.stdout.strip() == "[]"
