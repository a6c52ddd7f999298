# SPDX-License-Identifier: MIT
"""What a host has said of itself, as findings: pure, facts in and findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mendbook.preflight import drivers
from mendbook.preflight.facts import Clock, Facts, Space
from mendbook.preflight.finding import Finding
from mendbook.preflight.target import Become, Target

OLDEST = (3, 9)
# A module of ansible and its parameters are under this size; less is a full disk.
FULL_BYTES, FULL_INODES = 1 << 20, 16
# what is left when discovery finds nothing; anything else it found by looking, such as a version manager's shim
_LAST_RESORT = "/usr/bin/python3"
_PATHS = ("/", "/tmp", "/var")  # noqa: S108 - only named


@dataclass(frozen=True)
class Limits:
    """``free_share`` of bytes and of inodes; ``clock_seconds`` from the clock here."""

    free_share: float = 0.1
    clock_seconds: float = 2.0


def judge(target: Target, facts: Facts, limits: Limits) -> list[Finding]:
    """Every finding of one host that was logged in to."""
    if not facts.began:
        said = f": {facts.noise}" if facts.noise else ""
        return [
            Finding("problem", "shell", f"the login runs no command{said}", "give the user a shell: chsh -s /bin/sh")
        ]
    found = [*_become(target.become, facts), *_python(target, facts), *_drivers(target, facts)]
    found += [*_clock(facts.clock, limits), *_disk(facts, limits)]
    if not facts.complete:
        advice = "is a network file system gone, or the host overloaded? --timeout gives it longer"
        found.append(Finding("problem", "answer", f"it stopped answering after {_last(facts)}", advice))
    return found


def _last(facts: Facts) -> str:
    if facts.space:
        return f"the free space of {list(facts.space)[-1]}"
    return f"looking at {facts.python_path}" if facts.python_path else "the login"


def _become(become: Become | None, facts: Facts) -> Iterator[Finding]:
    if become is None or facts.become_exit is None or facts.become_exit == 0:
        return
    way, said = f"{become.method} to {become.user}", facts.become_said
    words, told = said.lower(), f" ({said})" if said else ""
    if become.needs_terminal and facts.uid != 0:
        yield Finding("not checked", "become", f"{way} wants a terminal", "ansible -b -m ping HOST tries it")
    elif facts.become_exit == 127 or "not found" in words:
        yield Finding(
            "problem",
            "become",
            f"{become.method} is not installed",
            f"install it, or set another ansible_become_method{told}",
        )
    elif any(sign in words for sign in ("not in the sudoers", "not allowed", "may not run")):
        yield Finding("problem", "become", f"{facts.user} is not allowed {way}{told}", "allow it: visudo")
    elif "unknown user" in words or "does not exist" in words:
        yield Finding("problem", "become", f"there is no user {become.user}{told}", "correct ansible_become_user")
    elif any(sign in words for sign in ("incorrect password", "sorry, try again", "authentication failure")):
        yield Finding("problem", "become", f"{way}: the password is wrong", "correct ansible_become_password")
    elif "password is required" in words:
        # sudo -n says the same to those who may not at all: it tells them after the password
        sure = {"sudo", "wheel", "admin"} & set(facts.groups)
        doubt = "" if sure else ", or is not allowed at all: sudo tells which only after the password"
        advice = "set ansible_become_password (vault), or NOPASSWD for this user in sudoers"
        yield Finding("problem", "become", f"{way} needs a password{doubt}", advice)
    elif "must have a tty" in words or "terminal" in words:
        yield Finding("problem", "become", f"{way} wants a terminal{told}", "take requiretty out of sudoers")
    else:
        yield Finding("problem", "become", f"{way} failed with {facts.become_exit}{told}", "try it by hand")


def _python(target: Target, facts: Facts) -> Iterator[Finding]:
    if facts.python_exit < 0:
        return
    path, said = facts.python_path, f" ({facts.python_said})" if facts.python_said else ""
    given = target.interpreter is not None
    if not facts.python and facts.python_exit in (126, 127) and (given or path == _LAST_RESORT):
        what = f"is not there or cannot be run{said}" if given else "is not there, nor any other that Ansible looks for"
        yield Finding("problem", "python", f"no Python: {path} {what}", _install_python(facts, given))
    elif not facts.python:
        advice = "set ansible_python_interpreter to a real one, such as /usr/bin/python3"
        yield Finding("problem", "python", f"{path} does not run{said}", advice)
    elif facts.python < OLDEST:
        version = ".".join(map(str, facts.python))
        text = f"{path} is Python {version}, too old: 3.9 is the oldest"
        yield Finding("problem", "python", text, "install a newer one beside it, and set ansible_python_interpreter")
    elif facts.no_standard:
        text = f"{path} lacks parts of the standard library: {', '.join(facts.no_standard)}"
        yield Finding("problem", "python", text, "python3-minimal is not enough: apt-get install python3")


def _install_python(facts: Facts, given: bool) -> str:
    if given:
        return "correct ansible_python_interpreter; a container without Python is worked on from its host"
    command = "apt-get install python3" if {"debian", "ubuntu"} & set(facts.os) else "dnf install python3"
    return f"{command}; without one only raw works"


def _drivers(target: Target, facts: Facts) -> Iterator[Finding]:
    if not facts.python or facts.python < OLDEST:
        return
    here = target.connection == "local"
    for need in drivers.needs(target.engines):
        state, text = facts.drivers.get(need.library, ("", ""))
        level = "problem" if need.always else "warning"
        what = f"modules for {need.engine}" if need.always else f"backups and restores of {need.engine}"
        install = drivers.how_to_install(need.library, facts.os, facts.python_path)
        if here:
            install = 'ansible_python_interpreter: "{{ ansible_playbook_python }}" is the one with mendbook\'s drivers'
        if state == "missing":
            yield Finding(level, "driver", f"{facts.python_path} has no {need.library}, which {what} need", install)
        elif state == "broken":
            yield Finding(level, "driver", f"{need.library} cannot be imported: {text}", install)
        elif state == "found" and (wanted := drivers.too_old(need.library, text)):
            told = f"{need.library} {text} is not {wanted}, which {what} are tested with"
            yield Finding("warning", "driver", told, drivers.with_pip(need.library, facts.python_path))


def _clock(clock: Clock | None, limits: Limits) -> Iterator[Finding]:
    if clock is None:
        return
    # only what is beyond doubt
    if abs(clock.offset_seconds) - clock.uncertainty_seconds > limits.clock_seconds:
        ahead = "ahead of" if clock.offset_seconds > 0 else "behind"
        text = f"the clock is {span(abs(clock.offset_seconds))} {ahead} this machine's"
        sure = f" (give or take {span(clock.uncertainty_seconds)})"
        yield Finding("warning", "clock", text + sure, "is chrony or timesyncd running, on the host and here?")


def _disk(facts: Facts, limits: Limits) -> Iterator[Finding]:
    if facts.root_read_only:
        yield _read_only(facts)
    needed = {*_PATHS, facts.remote_tmp}
    for kind, unit, full, spaces in (
        ("space", "bytes", FULL_BYTES, facts.space),
        ("inodes", "inodes", FULL_INODES, facts.inodes),
    ):
        for space in spaces.values():
            yield from _free(kind, unit, full, space, limits)
    if not facts.root_read_only:
        for folder in facts.not_writable:
            if folder not in ("/", "/var") and (folder in needed or facts.remote_tmp.startswith(folder)):
                yield Finding("warning", "writable", *_not_writable(folder, facts))


def _read_only(facts: Facts) -> Finding:
    """The words for what shows otherwise as UNREACHABLE, as a 404, or as "No start of json char found"."""
    nowhere = [folder for folder in facts.not_writable if folder not in ("/", "/var")]
    if not nowhere:
        text = "the root file system is read-only; temporary files have a place of their own"
        return Finding("warning", "read_only", text, "is that meant? If not: dmesg, then mount -o remount,rw /")
    text = f"the root file system is read-only, and uid {facts.inside_uid} cannot write {', '.join(nowhere)}"
    advice = "mount a tmpfs on /tmp, set ansible_remote_tmp: /tmp/.ansible and HOME there; a host: dmesg, then fsck"
    return Finding("problem", "read_only", text, advice)


def _not_writable(folder: str, facts: Facts) -> tuple[str, str]:
    advice = "harmless while pipelining is on; otherwise set ansible_remote_tmp to a folder of this user"
    return f"uid {facts.inside_uid} cannot write {folder}, where Ansible puts its temporary files", advice


def _free(kind: str, unit: str, full: int, space: Space, limits: Limits) -> Iterator[Finding]:
    share = space.available / space.total
    amount = f"{share:.0%} of {_amount(space.total, unit)} free on {space.mount}"
    advice = (
        f"look: mendbook run diagnose_disk -i INVENTORY; room: clean_disk (df -{'ih'[unit == 'bytes']} {space.mount})"
    )
    if space.available < min(full, space.total):
        yield Finding("problem", kind, f"{space.mount} is full: {_amount(space.available, unit)} left", advice)
    elif share < limits.free_share:
        yield Finding("warning", kind, amount, advice)


def spread(clocks: Mapping[str, Clock]) -> tuple[float, float] | None:
    """Between the earliest and the latest clock, and the uncertainty of that; None below two clocks."""
    if len(clocks) < 2:
        return None
    first = min(clocks.values(), key=lambda clock: clock.offset_seconds)
    last = max(clocks.values(), key=lambda clock: clock.offset_seconds)
    return last.offset_seconds - first.offset_seconds, last.uncertainty_seconds + first.uncertainty_seconds


def span(seconds: float) -> str:
    """``3 ms``, ``2.5 s``, ``4 min``, ``5 h``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _amount(number: int, unit: str) -> str:
    if unit == "inodes":
        return f"{number:,} inodes"
    for name in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {name}"
        number //= 1024
    return f"{number:,} TiB"
