# SPDX-License-Identifier: MIT
"""How a run ended: an Outcome when the targets answered, the right error when they did not."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from mendbook import environment, processes
from mendbook.content import Procedure
from mendbook.errors import Cancelled, Failed, InvalidInventory, NothingMatched, StateUnknown, TimedOut
from mendbook.outcome import WORD_OF_CODE, HostResult, Outcome, worst
from mendbook.results import Story, is_mend
from mendbook.stop import Stop
from mendbook.watch import Watch

_NO_HOSTS = re.compile(r"leaves us with no hosts to target|Could not match supplied host pattern")
_BAD_INVENTORY = re.compile(
    r"(Completely failed|Failed|Unable) to parse .{0,400}? as an inventory source|No inventory was parsed"
    r"|failed to parse inventory|Invalid inventory|Inventory .{0,200}? (failed|could not)"
)


@dataclass(frozen=True)
class Request:
    """What was asked for, as far as its ending speaks of it."""

    procedure: Procedure
    inventory: Sequence[str]
    limit: str | None
    check: bool
    run: str
    state: Path

    @property
    def journal(self) -> Path:
        return self.state / "journal" / f"{self.run}.jsonl"

    @property
    def look_again(self) -> str:
        """The command that reads the targets and changes nothing."""
        sources = [word for source in self.inventory for word in ("-i", source)]
        limit = ["--limit", self.limit] if self.limit else []
        return shlex.join(["mendbook", "run", self.procedure.name, *sources, *limit, "--check"])


def conclude(request: Request, story: Story, code: int, stop: Stop, watch: Watch, seconds: float) -> Outcome:
    """The Outcome, or a raised NothingMatched, InvalidInventory, Failed, Cancelled, TimedOut or StateUnknown."""
    if story.stats is None:
        _ended_early(request, story, stop, watch, seconds)
    if not story.stats.get("processed"):
        raise NothingMatched(
            f"no host of the inventory is one for {request.procedure.name}: see its hosts line, and -e mend_hosts=GROUP"
        )
    hosts = story.hosts(request.check)
    if code == 0:
        word = _common_word(hosts, request.check)
        return _outcome(request, hosts, word, 0, seconds)
    decisive = worst([host.exit_code for host in hosts.values()])
    if not decisive:
        # every host is well and yet ansible failed: an error between the plays
        return _outcome(request, hosts, "failed", 2, seconds, story.said() or f"ansible-playbook ended with {code}")
    word = next(host.word for host in hosts.values() if host.exit_code == decisive)
    return _outcome(request, hosts, word, decisive, seconds)


def _ended_early(request: Request, story: Story, stop: Stop, watch: Watch, seconds: float) -> NoReturn:
    """Ansible ended without its final statistics: it was stopped, it was killed, or it refused its input."""
    underway = {host: task for host, (task, module) in story.running.items() if is_mend(module)}
    wanted = stop.why is not None
    left = stop.survivors(watch.modules) if wanted or underway else []
    unseen = [] if left else _unseen(request, underway)
    if left or unseen or (underway and not wanted):
        why = _why_unknown(left, unseen, story)
        outcome = _partial_story(request, story, "UNKNOWN", 70, seconds, underway)
        raise StateUnknown(
            f"{why}. Nothing was stopped by force. Find out with: {_commands(request, left)}", outcome=outcome
        )
    if wanted:
        kind, word = (TimedOut, "timeout") if stop.why == "timeout" else (Cancelled, "cancelled")
        outcome = _partial_story(request, story, word, kind.exit_code, seconds, underway)
        raise kind(_stopped(request, word, underway, watch), outcome=outcome)
    said = " ".join(story.said().split())
    if _NO_HOSTS.search(said):
        limit = f"the limit {request.limit!r} matches no host of the inventory" if request.limit else "no host matches"
        raise NothingMatched(limit)
    if _BAD_INVENTORY.search(said):
        raise InvalidInventory(f"the inventory cannot be read:\n{story.said()}")
    raise Failed(f"ansible-playbook ended before any result:\n{story.said() or '(it said nothing)'}")


def _why_unknown(left: list[processes.Process], unseen: list[str], story: Story) -> str:
    if left:
        named = ", ".join(f"{process.name} (pid {process.pid})" for process in left)
        return f"UNKNOWN: still running after the time to end was over: {named}"
    if unseen:
        return f"UNKNOWN: a module was at work on {', '.join(unseen)}, where its process cannot be seen from here"
    return "UNKNOWN: ansible-playbook was killed while a module was at work, and its result is lost"


def _commands(request: Request, left: list[processes.Process]) -> str:
    look = f"ps -fp {','.join(str(process.pid) for process in left)}; " if left else ""
    return look + request.look_again


def _stopped(request: Request, word: str, underway: dict[str, str], watch: Watch) -> str:
    if not underway:
        return f"{word}: no process of this run is left, and no change was under way"
    last = [
        f"{step.phase} {step.done:g}{'' if step.total is None else f' of {step.total:g}'} {step.unit}".strip()
        for step in watch.last.values()
    ]
    seen = f" (last seen: {'; '.join(last)})" if last else ""
    return (
        f"{word}: no process of this run is left; {', '.join(sorted(underway))} was under way{seen} "
        f"and was not read back. Read it with: {request.look_again}"
    )


def _unseen(request: Request, underway: dict[str, str]) -> list[str]:
    """Hosts with a module at work whose process this machine would not show: remote ones, or all without /proc."""
    if not underway:
        return []
    if not processes.can_look():
        return sorted(underway)
    return sorted(host for host in underway if not _is_local(request, host))


def _is_local(request: Request, host: str) -> bool:
    """Whether modules for this host run on this machine; in doubt no. Asks ansible, and only after a stop."""
    import json

    sources = [word for source in request.inventory for word in ("-i", source)]
    root = request.procedure.playbook.parent.parent
    command = [sys.executable, "-m", "ansible", "inventory", *sources, "--host", host]
    try:
        answer = subprocess.run(  # noqa: S603 - our own interpreter and the inventory of the run
            command, env=environment.for_run({}, root, {}), cwd=root, capture_output=True, timeout=30, check=True
        )
        return json.loads(answer.stdout).get("ansible_connection") in ("local", "ansible.builtin.local")
    except (OSError, ValueError, AttributeError, subprocess.SubprocessError):
        return False


def _partial_story(
    request: Request, story: Story, word: str, code: int, seconds: float, underway: dict[str, str]
) -> Outcome:
    """What is known of a run that was cut off: finished hosts as they ended, those under way with the run's word."""
    hosts = story.hosts(request.check)
    for host in underway:
        known = hosts.get(host, HostResult(host, word))
        hosts[host] = replace(known, word=word, exit_code=code)
    return _outcome(request, hosts, word, code, seconds)


def _common_word(hosts: dict[str, HostResult], check: bool) -> str:
    words = {host.word for host in hosts.values()}
    if len(words) == 1:
        return words.pop()
    return "planned" if check and "planned" in words else "done"


def _outcome(
    request: Request, hosts: dict[str, HostResult], word: str, code: int, seconds: float, msg: str | None = None
) -> Outcome:
    return Outcome(
        procedure=request.procedure.name,
        run=request.run,
        check=request.check,
        word=word or WORD_OF_CODE[code],
        exit_code=code,
        hosts=hosts,
        seconds=round(seconds, 3),
        journal=request.journal,
        msg=msg,
    )
