# SPDX-License-Identifier: MIT
"""Follows the files that a run writes while it goes on: progress of long steps and the journal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from mendbook import processes
from mendbook.events import Planned, Progressed
from mendbook.records import Plan


class _Tail:
    """Complete lines that were appended to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def lines(self) -> list[dict[str, Any]]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                text = file.read()
        except OSError:
            return []
        # the last line may still be on its way
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                found.append(entry)
        return found


class Watch:
    """Turns new lines into events, and remembers what an early end of the run must know.

    ``modules`` are the processes that wrote progress, as they were at that moment; ``last`` is how far each host was;
    ``acts`` is for each host what the journal says of its latest change, the begin line or its end line, and ``plans``
    is the plan of it. ``matched`` are the hosts of the run's plays, whether it came to them or not.
    """

    def __init__(self, progress: Path, journal: Path, tell: Callable[[Progressed | Planned], None]) -> None:
        self._progress = progress
        self._tell = tell
        self._journal = _Tail(journal)
        self._matched = _Tail(progress / "matched")
        self._tails: dict[Path, _Tail] = {}
        self.modules: set[processes.Process] = set()
        self.last: dict[str, Progressed] = {}
        self.acts: dict[str, dict[str, Any]] = {}
        self.plans: dict[str, Any] = {}
        self.matched: set[str] = set()

    def look(self) -> None:
        """Read what is new. Cheap enough for ten times a second."""
        # read before the journal and told after it: a change is planned first
        steps = []
        for path in sorted(self._progress.glob("*.jsonl")):
            tail = self._tails.setdefault(path, _Tail(path))
            steps += [(path.stem.rpartition("-")[0], entry) for entry in tail.lines()]
        for entry in self._journal.lines():
            if entry.get("event") in ("begin", "end"):
                self.acts[str(entry.get("host"))] = entry
            if entry.get("event") == "begin":
                self._planned(entry)
        for entry in self._matched.lines():
            self.matched.update(map(str, entry.get("hosts") or ()))
        for host, entry in steps:
            self._progressed(host, entry)

    def _planned(self, entry: dict[str, Any]) -> None:
        self.plans[str(entry.get("host"))] = entry.get("plan")
        try:
            plan = msgspec.convert(entry.get("plan"), Plan)
        except msgspec.ValidationError:
            return
        self._tell(Planned(host=str(entry.get("host")), plan=plan))

    def _progressed(self, host: str, entry: dict[str, Any]) -> None:
        if isinstance(pid := entry.get("pid"), int):
            # read now: later the number may belong to somebody else
            if (process := processes.read(pid)) is not None:
                self.modules.add(process)
            return
        try:
            facts = {"total": None, **entry, "unit": entry.get("unit") or "", "host": host, "event": "progress"}
            step = msgspec.convert(facts, Progressed)
        except msgspec.ValidationError:
            return
        self.last[host] = step
        self._tell(step)
