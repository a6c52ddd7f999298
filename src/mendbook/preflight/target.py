# SPDX-License-Identifier: MIT
"""Who is looked at, and how Ansible would reach it: what ``ansible_side`` tells of each host."""

from __future__ import annotations

from typing import Any

import msgspec


class Become(msgspec.Struct, frozen=True):
    """How modules become another user; ``command`` is a shell's line that leads to a shell of that user."""

    method: str
    user: str
    command: str
    password: str | None = None
    needs_terminal: bool = False


class Target(msgspec.Struct, frozen=True):
    """One host of the inventory.

    ``connection`` is ssh, paramiko, local, or the full name of a plugin; ``ssh`` are the words of ssh's command line
    before the address. ``interpreter`` is None when it is discovered among ``candidates``. ``endpoints`` are the
    variables that hold an address (``mongo_uri``), ``via`` is the way to them, ``s3_via`` that to the store beside a
    database. ``error`` says why Ansible could not tell the rest.

    When the tasks of a playbook were asked for there is instead: ``references`` to secrets (``env:NAME``,
    ``file:/path``), ``writes``, the files that land on this machine, what is ``wrong`` with the variables, and the
    ``values`` of those that were asked for.
    """

    host: str
    groups: tuple[str, ...]
    connection: str = ""
    address: str = ""
    ssh: tuple[str, ...] = ()
    password: str | None = None
    become: Become | None = None
    interpreter: str | None = None
    candidates: tuple[str, ...] = ()
    remote_tmp: str = ""
    endpoints: dict[str, str] = {}
    via: str = ""
    s3_via: str = ""
    error: str | None = None
    engines: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    values: dict[str, Any] = {}
