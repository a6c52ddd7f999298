# SPDX-License-Identifier: MIT
"""Every host at once, each with a deadline of its own: one that hangs holds nobody."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, Queue

from mendbook.preflight import drivers, endpoint, judge_host, judge_reach, session, ssh_route
from mendbook.preflight.facts import Facts
from mendbook.preflight.finding import LEVELS, Finding
from mendbook.preflight.inventory import AnsibleSide
from mendbook.preflight.judge_host import Limits
from mendbook.preflight.reach import Deadline, Stopped, tcp
from mendbook.preflight.ssh import Connections
from mendbook.preflight.target import Target
from mendbook.results import plain

WORKERS = 64
# For what is told after a deadline has passed and for threads that wait for the processor.
_GRACE_SECONDS = 5


@dataclass
class Seen:
    """One host, what it said (None: nothing), what is wrong with it, and how long that took."""

    target: Target
    findings: list[Finding] = field(default_factory=list)
    facts: Facts | None = None
    seconds: float = 0.0


def look(side: AnsibleSide, targets: Sequence[Target], seconds: float, limits: Limits) -> list[Seen]:
    """Look at every host, in the order of ``targets``; each has ``seconds``."""
    waiting: Queue[int] = Queue()
    for number in range(len(targets)):
        waiting.put(number)
    done: Queue[tuple[int, Seen]] = Queue()
    with Connections(seconds) as connections:
        looker = _Looker(side, connections, seconds, limits)

        def work() -> None:
            try:
                while True:
                    number = waiting.get_nowait()
                    done.put((number, looker.look(targets[number])))
            except Empty:
                return

        # not a pool: it would wait for a thread that hangs (in a look-up of a name) even at the end of the program
        for _ in range(min(WORKERS, len(targets))):
            threading.Thread(target=work, daemon=True).start()
        return _collect(done, targets, seconds)


def _collect(done: Queue[tuple[int, Seen]], targets: Sequence[Target], seconds: float) -> list[Seen]:
    found: dict[int, Seen] = {}
    turns = -(-len(targets) // WORKERS)
    end = Deadline.after((seconds + _GRACE_SECONDS) * turns)
    while len(found) < len(targets):
        try:
            number, seen = done.get(timeout=end.left())
        except Empty:
            break
        found[number] = seen
    late = Finding("unreachable", "answer", f"nothing came of it within {seconds:g} s", "is a name server slow?")
    return [found.get(number) or Seen(target, [late], None, seconds) for number, target in enumerate(targets)]


class _Looker:
    def __init__(self, side: AnsibleSide, connections: Connections, seconds: float, limits: Limits) -> None:
        self._side, self._connections, self._seconds, self._limits = side, connections, seconds, limits
        self._lock = threading.Lock()
        self._of_here: dict[object, Facts] = {}

    def look(self, target: Target) -> Seen:
        began = time.monotonic()
        seen = Seen(target)
        deadline = Deadline.after(self._seconds)
        if target.error:
            text = f"Ansible cannot say how to reach it: {target.error}"
            if "connection plugin" in target.error:
                seen.findings.append(judge_reach.judge_plugin(target.error))
            else:
                seen.findings.append(Finding("problem", "settings", text, "correct the variables of this host"))
        else:
            with _noted(seen):
                self._way(target)(seen, deadline)
            if seen.facts is not None:
                seen.findings += judge_host.judge(target, seen.facts, self._limits)
            for via, endpoints in endpoint.ways(target.endpoints, target.via, target.s3_via):
                with _noted(seen):
                    self._endpoints(seen, via, endpoints, deadline)
        seen.findings = sorted(map(_clean, seen.findings), key=lambda finding: LEVELS.index(finding.level))
        seen.seconds = time.monotonic() - began
        return seen

    def _way(self, target: Target) -> Callable[[Seen, Deadline], None]:
        if target.connection in ("ssh", "paramiko"):
            return self._by_ssh
        return self._here if target.connection == "local" else self._by_plugin

    def _by_ssh(self, seen: Seen, deadline: Deadline) -> None:
        target = seen.target
        hops = ssh_route.route(target.ssh, target.address, deadline)
        for hop in hops:
            seen.findings += [Finding("not checked", "settings", f"{hop.where}: {text}") for text in hop.unchecked]
        client = self._connections.open(hops, target.password, deadline)
        try:
            seen.facts = session.over_ssh(client, target, _libraries(target), deadline)
        finally:
            client.close()

    def _here(self, seen: Seen, deadline: Deadline) -> None:
        target = seen.target
        key = (target.interpreter, target.become, target.engines, target.remote_tmp)
        with self._lock:
            # many endpoints are looked after from this one machine
            if key not in self._of_here:
                self._of_here[key] = session.here(target, _libraries(target), deadline)
        seen.facts = self._of_here[key]

    def _by_plugin(self, seen: Seen, deadline: Deadline) -> None:
        def ask(command: str, stdin: str) -> tuple[str, float, float]:
            answer = self._side.ask(seen.target.host, command, stdin, deadline)
            if "error" in answer:
                raise _PluginError(answer["error"])
            if "@@begin" not in answer["out"]:
                raise _PluginError(answer["err"] or answer["out"] or f"exit code {answer['code']}")
            return answer["out"], answer["began"], answer["ended"]

        try:
            seen.facts = session.behind_plugin(ask, seen.target, _libraries(seen.target))
        except _PluginError as error:
            seen.findings.append(judge_reach.judge_plugin(str(error)))
        except TimeoutError:
            seen.findings.append(Finding("unreachable", "connection", f"no answer within {self._seconds:g} s"))

    def _endpoints(self, seen: Seen, via: str, endpoints: Mapping[str, str], deadline: Deadline) -> None:
        unchecked = "" if seen.target.connection == "local" else "they are reached from the host itself"
        if via.startswith("docker://"):
            unchecked = "mend_via leads to them by docker"
        if unchecked:
            text = f"the addresses in {', '.join(endpoints)} are not tried: {unchecked}"
            seen.findings.append(Finding("not checked", "endpoint", text))
            return
        connect = self._through(ssh_route.bastion(via, deadline)) if via else _directly
        answers = endpoint.look(endpoints, connect, deadline)
        seen.findings += [found for answer in answers if (found := judge_reach.judge_endpoint(answer, via))]

    def _through(self, hops: tuple[ssh_route.Hop, ...]) -> endpoint.Connect:
        # not of the time that the addresses share
        self._connections.enter(hops)
        return lambda host, port, deadline: self._connections.channel(hops, host, port, deadline).close()


@contextlib.contextmanager
def _noted(seen: Seen) -> Iterator[None]:
    """What stops one host, or what it makes of us, is a finding and must not hide the others."""
    try:
        yield
    except Stopped as stopped:
        seen.findings.append(judge_reach.judge(stopped))
    except Exception as error:  # noqa: BLE001 - whatever it is
        text = f"it was not looked at, which is a mistake in mendbook: {type(error).__name__}: {error}"
        seen.findings.append(Finding("problem", "mendbook", text, "report it, with these words"))


class _PluginError(Exception):
    """The words of a connection plugin."""


def _directly(host: str, port: int, deadline: Deadline) -> None:
    tcp(host, port, deadline).close()


def _libraries(target: Target) -> list[str]:
    return [need.library for need in drivers.needs(target.engines)]


def _clean(finding: Finding) -> Finding:
    texts = [" ".join(plain(text).split()) for text in (finding.text, finding.advice)]
    return Finding(finding.level, finding.check, *texts)
