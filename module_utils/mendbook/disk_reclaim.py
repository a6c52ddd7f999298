# SPDX-License-Identifier: MIT
"""Removing old files as one change: chosen by rules, looked at again, removed through held folders, and read back."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager

from . import host
from .disk_in_use import InUse
from .disk_reclaim_act import Act
from .disk_reclaim_choice import choose, goal, has_target
from .disk_reclaim_plan import Observed, reclaim_plan, shown
from .disk_reclaim_walk import Budget, walk
from .disk_root import Root, require_answers
from .disk_rules import rules_in
from .errors import MendError, Partial, VerifyFailed
from .held_signals import held_signals
from .host_lock import HostLock, holder
from .progress import Progress

LOCK = "disk"


class Reclaim:
    """The procedure of mend_disk_reclaim (change.py says what each method promises). The client is the open roots."""

    def __init__(self, params):
        self.params = params
        self.figures = {}
        self._locked = False
        self._seen = None
        self._objects = {}
        self._in_use = None
        self._act = None
        self._now = 0.0

    @contextmanager
    def open(self, params):
        by_path = {}
        for rule in rules_in(params):
            by_path.setdefault(rule.root, []).append(rule)
        require_answers(by_path)
        with ExitStack() as stack:
            yield [stack.enter_context(Root(path, rules)) for path, rules in by_path.items()]

    @contextmanager
    def lock(self, roots, run):
        with HostLock(LOCK, run):
            self._locked = True
            yield

    def observe(self, roots):
        self._now = time.time()
        budget = Budget(self.params["max_entries"], self.params["max_seconds"])
        paths = {root.path for root in roots}
        batches = []
        for root in roots:
            batches += walk(root, paths - {root.path}, self._now, self.params["truncate_bytes"], budget)
        self._in_use = InUse({batch.device for batch in batches})
        self._in_use.look()
        spaces = {root.device: root.space() for root in roots}
        self._seen = Observed(
            target=host.target(),
            machine=host.identity(),
            roots=roots,
            choice=choose(batches, self._in_use.files, spaces, self.params),
            spaces=spaces,
            who=self._in_use.who,
            unseen=self._in_use.unseen if os.geteuid() else 0,
            holder=None if self._locked else holder(LOCK),
        )
        return self._seen

    def plan(self, observed, params):
        plan, self._objects = reclaim_plan(observed, params)
        return plan

    def act(self, roots, plan, receipt):
        began = time.monotonic()
        act = self._act = Act(self._seen.choice, self._objects, self._in_use, self._now)
        # what was done is told at the end only, so a signal waits until then: for one portion
        with Progress(receipt) as progress, held_signals() as came:
            try:
                for _ in act.steps():
                    progress.update("remove", act.files, plan["totals"]["objects"], "files")
                    if came:
                        break
            finally:
                self.figures.update(seconds=round(time.monotonic() - began, 3), files=act.files)
                yield from act.items()
        if act.blocked and not act.files:
            raise MendError(f"nothing could be removed: {_reasons(act)}", rule="blocked", details=act.blocked)

    def read_back(self, roots, plan):
        left = self._act.left()
        if left:
            names = ", ".join(map(shown, left[:5]))
            raise VerifyFailed(
                f"{len(left)} files were removed or emptied and are still there: {names}",
                rule="read_back",
                details={"left": len(left)},
            )
        read = {"gone": self._act.files, "file_systems": [self._space_now(device) for device in self._seen.spaces]}
        if self._act.blocked:
            raise Partial(
                f"removed {self._act.files} files, and the rest could not be: {_reasons(self._act)}",
                rule="blocked",
                details={"blocked": self._act.blocked, "read_back": read},
            )
        return read

    def _space_now(self, device):
        """How much is free on a file system, before and after."""
        here = [root for root in self._seen.roots if root.device == device]
        before, now = self._seen.spaces[device], here[0].space()
        read = {
            "roots": ", ".join(shown(root.path) for root in here),
            "free_before_bytes": before.free_bytes,
            "free_bytes": now.free_bytes,
            "free_before_inodes": before.free_inodes,
            "free_inodes": now.free_inodes,
        }
        if has_target(self.params):
            wanted_bytes, wanted_inodes = goal(now, self.params)
            read["reached"] = now.free_bytes >= wanted_bytes and now.free_inodes >= wanted_inodes
        return read


def _reasons(act):
    return ", ".join(f"{count} because {reason[:1].lower()}{reason[1:]}" for reason, count in act.blocked.items())
