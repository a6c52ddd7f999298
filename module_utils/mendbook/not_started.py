# SPDX-License-Identifier: MIT
"""Why a module gave no answer: what the connection or the shell said instead, in words that name the cause."""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible.module_utils.mendbook.errors import MendError

# the connection names the container as the inventory does, the engine often by its id
_NAMED = r"(?:container \"(?P<given>[^\"]+)\".*)?"
_CONTAINER = r"[Cc]ontainer:? (?P<name>[\w.-]+)"
_NEEDED = (
    "and mendbook's modules need 3.9 or newer: name another one with ansible_python_interpreter, install python3, or "
    "take an image that has it; a container's volumes are reached from the host of its engine, too "
    "(docs/where_it_runs.md)"
)


class NotStarted(MendError):
    """The module has not run at all, so nothing was changed."""


class Cause(NamedTuple):
    """``words`` say what is wrong and what to do; ``before`` is true when the module cannot have begun."""

    words: str
    before: bool


# what was said -> (the module cannot have begun, the words); the first that fits counts
_CAUSES = [
    (
        r"The module interpreter '(?P<name>[^']+)' was not found",
        True,
        "there is no Python at {name}, " + _NEEDED,
    ),
    (
        r"No module named '(?P<name>json|zipfile)'",
        True,
        "its Python is not whole (no {name}): install Debian's python3 where python3-minimal is",
    ),
    (
        r"in _ansiballz_main.*No usable temporary directory found",
        True,
        "no folder for temporary files can be written by this user: start a read-only container with --tmpfs /tmp, or "
        "name a folder in TMPDIR, for containers with ansible_docker_extra_env",
    ),
    (
        r"Failed to create temporary directory",
        True,
        "ansible wants to put files there and can write nowhere: with mendbook's ansible.cfg (pipelining) it need not; "
        "set ANSIBLE_CONFIG to it, or name a folder with ansible_remote_tmp",
    ),
    (
        r"(?P<name>sudo|su|doas): (?:command )?not found",
        True,
        "there is no {name}: in a container set ansible_become to false, ansible_user says who works there",
    ),
    (_NAMED + _CONTAINER + " is paused", True, "container {name} is paused: docker unpause {name}"),
    (
        _NAMED + "(?:/exec: Conflict.*|daemon: )" + _CONTAINER + " is not running",
        True,
        "container {name} is stopped: docker start {name}, its last words are in docker logs",
    ),
    (
        r"No such exec instance",
        False,
        "the container was removed or replaced while the module was at work in it; what it changed outside of its "
        "volumes is gone with it",
    ),
    (
        _NAMED + "(?:/exec: Not Found.*|daemon: )No such " + _CONTAINER,
        True,
        "there is no container {name} any more: it was removed or replaced after the inventory was read; run it again",
    ),
    (
        r"Error connecting: .*PermissionError\(13|permission denied while trying to connect to the Docker",
        True,
        "this user may not talk to the Docker engine: as root, or as a member of the group that owns its socket "
        "(docker), which is as much as being root",
    ),
    (
        r"(?:Error connecting: Error while fetching server API version|Cannot connect to the Docker daemon)",
        True,
        "no Docker engine answers at the address that the inventory gives (docker_host): is it running there? "
        "systemctl status docker",
    ),
]
_KILLED = Cause(
    "the module was killed while it was at work: by hand, for want of memory, or with its container, which was stopped "
    "or removed",
    False,
)
# the shell's own exit code; a busy Docker engine may lose what the shell has said with it
_NOT_FOUND = Cause("there is no Python where ansible looks for it, " + _NEEDED, True)
_BY_CODE = {127: _NOT_FOUND, 137: _KILLED, -9: _KILLED}


def cause(said, rc=None):
    """Return the Cause behind what was said instead of a result, or None when it is none of the known ones."""
    for pattern, before, words in _CAUSES:
        found = re.search(pattern, said, re.DOTALL)
        if found:
            names = found.groupdict()
            return Cause(words.format(name=names.get("given") or names.get("name")), before)
    return _BY_CODE.get(rc)


def explained(result):
    """Return a module's result; where the module gave none, its ``msg`` names the cause.

    Raises NotStarted when the module cannot have begun.
    """
    if result.get("_ansible_parsed") is not False:
        return result
    found = cause("\n".join(str(result.get(name) or "") for name in ("msg", "module_stderr")), result.get("rc"))
    if found is None:
        return result
    # what has printed something has begun
    if found.before and not result.get("module_stdout"):
        raise _not_started(found)
    # ansible's own account of it names the missing result and not the cause
    return {**{name: value for name, value in result.items() if name != "exception"}, "msg": found.words}


def lost(error, acting):
    """Return the error to raise for a connection that failed: it stays one, unless an acting module never began."""
    found = cause(str(error))
    if found is None:
        return error
    return _not_started(found) if acting and found.before else type(error)(found.words)


def _not_started(found):
    return NotStarted(f"nothing was changed, the module could not start: {found.words}", rule="start")
