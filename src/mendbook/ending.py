# SPDX-License-Identifier: MIT
"""How a run ended: an Outcome when the targets answered, the right error when they did not."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from mendbook import environment, processes
from mendbook.content import Procedure
from mendbook.errors import Cancelled, Failed, InvalidInventory, NothingMatched, StateUnknown, TimedOut
from mendbook.inventory_words import unreadable
from mendbook.outcome import NOT_BEGUN, WORD_OF_CODE, HostResult, Outcome, worst
from mendbook.results import Step, Story, host_result, is_mend
from mendbook.stop import Stop
from mendbook.watch import Watch

# so long ansible may take to say of a host how it is reached
_ANSWER_SECONDS = 60
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


def conclude(request: Request, story: Story, code: int, stop: Stop, watch: Watch, began: float) -> Outcome:
    """The Outcome, or a raised NothingMatched, InvalidInventory, Failed, Cancelled, TimedOut or StateUnknown.

    ``code`` is that of ansible-playbook, ``began`` the monotonic time of the start.
    """
    if story.stats is None:
        _ended_early(request, story, stop, watch, began)
    if not story.stats.get("processed"):
        raise NothingMatched(
            f"no host of the inventory is one for {request.procedure.name}: see its hosts line, and -e mend_hosts=GROUP"
        )
    hosts = story.hosts(request.check)
    decisive = worst([host.exit_code for host in hosts.values()])
    # a stop that came when all was done and counted came too late
    if code == 0 or (stop.why is not None and not decisive):
        word = _common_word(hosts, request.check)
        return _outcome(request, hosts, word, 0, began)
    hosts |= _not_begun(hosts, story, watch)
    if not decisive:
        # every host is well and yet ansible failed: an error between the plays
        return _outcome(request, hosts, "failed", 2, began, story.said() or f"ansible-playbook ended with {code}")
    word = next(host.word for host in hosts.values() if host.exit_code == decisive)
    if not request.check and any(host.changed for host in hosts.values()):
        # true of that host, and not of the run
        word = word.removesuffix(" (nothing changed)")
    return _outcome(request, hosts, word, decisive, began)


def _ended_early(request: Request, story: Story, stop: Stop, watch: Watch, began: float) -> NoReturn:
    """Ansible ended without its final statistics: it was stopped, it was killed, or it refused its input."""
    underway = {host: task for host, (task, module) in story.running.items() if is_mend(module)}
    wanted = stop.why is not None
    left = stop.survivors(watch.modules) if wanted or underway else []
    # the gate writes how a change ended even when ansible-playbook is gone already
    watch.look()
    cut_off = {host: _cut_off(host, watch) for host in underway}
    unseen = [] if left else _unseen(request, [host for host in underway if cut_off[host] is None])
    lost = [host for host, result in cut_off.items() if result is None and not wanted]
    in_words = ", ".join(f"{task!r} on {host}" for host, task in underway.items()) or "a task"
    why = ""
    if left:
        named = ", ".join(f"{process.name} (pid {process.pid})" for process in left)
        told = "was told to end and " if wanted else ""
        why = f"{in_words} {told}is still at work: {named}"
    elif unseen:
        why = f"{in_words} was under way, and from here its process cannot be seen on {', '.join(unseen)}"
    elif lost:
        why = f"ansible-playbook was killed while {in_words} was under way, and the result is lost"
    elif any(result and result.exit_code == StateUnknown.exit_code for result in cut_off.values()):
        why = f"{in_words} was told to end and could not say what it leaves behind"
    if why:
        outcome = _story_so_far(request, story, watch, "UNKNOWN", StateUnknown.exit_code, began, cut_off)
        words = f"UNKNOWN: {why}. Nothing was stopped by force. Find out with: {_commands(request, left)}"
        raise StateUnknown(words, outcome=outcome)
    if wanted:
        kind, word = (TimedOut, "timeout") if stop.why == "timeout" else (Cancelled, "cancelled")
        outcome = _story_so_far(request, story, watch, word, kind.exit_code, began, cut_off)
        raise kind(f"{word}: no process of this run is left; {_what_was_cut(request, cut_off, watch)}", outcome=outcome)
    said = " ".join(story.said().split())
    if _NO_HOSTS.search(said):
        limit = f"the limit {request.limit!r} matches no host of the inventory" if request.limit else "no host matches"
        raise NothingMatched(limit)
    if _BAD_INVENTORY.search(said):
        raise InvalidInventory(unreadable(story.said()))
    known = _story_so_far(request, story, watch, "failed", Failed.exit_code, began, cut_off) if story.steps else None
    raise Failed(f"ansible-playbook ended early:\n{story.said() or '(it said nothing)'}", outcome=known)


def _cut_off(host: str, watch: Watch) -> HostResult | None:
    """A change that ansible did not report, by the journal; None when it began and has no end there."""
    act = watch.acts.get(host)
    if act is None:
        # it was still planning: the gate journals before anything is changed
        return HostResult(host, "failed (nothing changed)")
    if act["event"] != "end":
        return None
    step = Step(host, "", str(act.get("module")), "failed" if act.get("reason") or act.get("msg") else "ok", False, {})
    failed = {"reason": act.get("reason"), "rule": act.get("rule")}
    return host_result(replace(step, result={**act, "plan": watch.plans.get(host), "mend": failed}), check=False)


def _what_was_cut(request: Request, cut_off: dict[str, HostResult | None], watch: Watch) -> str:
    if not cut_off:
        return "no change was under way"
    parts = []
    for host, result in sorted(cut_off.items()):
        if result is not None:
            parts.append(f"{host}: {result.word}")
            continue
        step = watch.last.get(host)
        total = "" if step is None or step.total is None else f" of {step.total:g}"
        seen = f", last seen: {step.phase} {step.done:g}{total} {step.unit}".rstrip() if step else ""
        parts.append(f"{host} was not read back{seen}; read it with: {request.look_again}")
    return "; ".join(parts)


def _commands(request: Request, left: list[processes.Process]) -> str:
    look = f"ps -fp {','.join(str(process.pid) for process in left)}; " if left else ""
    return look + request.look_again


def _unseen(request: Request, hosts: list[str]) -> list[str]:
    """Those whose modules this machine would not show: hosts elsewhere, or all of them without /proc."""
    if hosts and not processes.can_look():
        return sorted(hosts)
    return sorted(host for host in hosts if not _is_local(request, host))


def _is_local(request: Request, host: str) -> bool:
    """Whether modules for this host run on this machine; in doubt no. Asks ansible, and only after a stop."""
    import json

    sources = [word for source in request.inventory for word in ("-i", source)]
    root = Path(request.procedure.root)
    command = [sys.executable, "-m", "ansible", "inventory", *sources, "--host", host]
    try:
        answer = subprocess.run(  # noqa: S603 - our own interpreter and the inventory of the run
            command,
            env=environment.for_run({}, root, {}),
            cwd=root,
            capture_output=True,
            timeout=_ANSWER_SECONDS,
            check=True,
        )
        return json.loads(answer.stdout).get("ansible_connection") in ("local", "ansible.builtin.local")
    except (OSError, ValueError, AttributeError, subprocess.SubprocessError):
        return False


def _story_so_far(
    request: Request,
    story: Story,
    watch: Watch,
    word: str,
    code: int,
    began: float,
    cut_off: dict[str, HostResult | None],
) -> Outcome:
    """What is known of a run that was cut off: finished hosts as they ended, the others as the journal says."""
    hosts = story.hosts(request.check)
    for host, result in cut_off.items():
        hosts[host] = result or replace(hosts.get(host, HostResult(host, word)), word=word, exit_code=code)
    return _outcome(request, hosts | _not_begun(hosts, story, watch), word, code, began)


def _not_begun(hosts: dict[str, HostResult], story: Story, watch: Watch) -> dict[str, HostResult]:
    """Hosts that the run ended before; none of them decides how it ended."""
    names = watch.matched - story.began - hosts.keys()
    return {name: HostResult(name, NOT_BEGUN, Failed.exit_code) for name in sorted(names)}


def _common_word(hosts: dict[str, HostResult], check: bool) -> str:
    words = {host.word for host in hosts.values()}
    if len(words) == 1:
        return words.pop()
    return "planned" if check and "planned" in words else "done"


def _outcome(
    request: Request, hosts: dict[str, HostResult], word: str, code: int, began: float, msg: str | None = None
) -> Outcome:
    return Outcome(
        procedure=request.procedure.name,
        run=request.run,
        check=request.check,
        word=word or WORD_OF_CODE[code],
        exit_code=code,
        hosts=hosts,
        seconds=round(time.monotonic() - began, 3),
        journal=request.journal,
        msg=msg,
    )
