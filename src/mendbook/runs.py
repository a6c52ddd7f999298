# SPDX-License-Identifier: MIT
"""``run``: one procedure on one inventory, from the request to what the targets said."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mendbook import content, environment
from mendbook import variables as declared
from mendbook.ending import Request, conclude
from mendbook.engine import Order, play, private_folder
from mendbook.errors import InvalidInventory, UsageError
from mendbook.events import Event, Started, Stopping, TaskEnded, TaskStarted
from mendbook.outcome import Outcome
from mendbook.results import Story, host_result
from mendbook.secret_server import SecretServer
from mendbook.stop import Stop
from mendbook.watch import Watch

Inventory = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def run(
    procedure: str,
    *,
    inventory: Inventory,
    check: bool = False,
    diff: bool = False,
    limit: str | None = None,
    variables: Mapping[str, Any] | None = None,
    confirm: str | None = None,
    timeout_seconds: float | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Outcome:
    """Run one procedure and return what every target ended with, also when one refused or failed.

    ``inventory`` is a path, several, or a host list with a comma. ``variables`` are the roles' own; secrets are given
    as ``env:NAME`` or ``file:/path``. ``confirm`` is the target's identity as its plan prints it. ``on_event`` is
    called in this thread. Raises UsageError before anything is started, NothingMatched when no host took part, Failed
    when ansible itself failed, TimedOut and Cancelled when no process of the run is left, StateUnknown when one may be.
    """
    root = content.content_root()
    chosen = content.procedure(procedure, root)
    values = declared.check({**(variables or {}), **confirmation(chosen, confirm)}, chosen)
    request = Request(
        chosen, inventory_sources(inventory), checked_limit(limit), check, new_run_id(), environment.state_folder()
    )
    withdrawn = declared.withdraw_secrets(values, chosen)
    return _Run(request, root, diff, values, withdrawn, timeout_seconds, on_event or (lambda event: None)).go()


def new_run_id() -> str:
    """A name for a run that sorts by time: ``YYYYmmddTHHMMSSZ-`` and six hexadecimal digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


@dataclass
class _Run:
    request: Request
    root: Path
    diff: bool
    values: dict[str, Any]
    withdrawn: dict[str, str]
    timeout_seconds: float | None
    tell: Callable[[Event], None]
    story: Story = field(default_factory=Story)

    def go(self) -> Outcome:
        request, began = self.request, time.monotonic()
        self.tell(Started(request.run, request.procedure.name, request.check, datetime.now(UTC).isoformat()))
        stop = Stop(request.run, self.timeout_seconds, lambda why, grace: self.tell(Stopping(why, grace)))
        with stop.listening(), private_folder() as folder:
            variables_file, progress, socket = folder / "variables.json", folder / "progress", folder / "secrets"
            progress.mkdir(mode=0o700)
            declared.write(self.values, variables_file)
            with SecretServer(socket, {**os.environ, **self.withdrawn}) as server:
                watch = Watch(progress, request.journal, lambda event: self.tell(event))

                def should_stop() -> bool:
                    server.serve()
                    watch.look()
                    return stop.step(watch.modules, self.story.main_pid)

                order = Order(
                    content=self.root,
                    playbook=request.procedure.playbook,
                    inventory=request.inventory,
                    variables=variables_file,
                    check=request.check,
                    diff=self.diff,
                    limit=request.limit,
                )
                own = {
                    "MENDBOOK_RUN": request.run,
                    "MENDBOOK_STATE": str(request.state),
                    "MENDBOOK_PROGRESS": str(progress),
                    "MENDBOOK_SECRETS": str(socket),
                }
                code = play(order, folder, own, lambda event: self._take(server.hide_in(event), watch), should_stop)
                watch.look()
                return conclude(request, self.story, code, stop, watch, began)

    def _take(self, event: dict[str, Any], watch: Watch) -> None:
        data = event.get("event_data") or {}
        if event.get("event") == "runner_on_start":
            self.tell(TaskStarted(str(data.get("host")), str(data.get("task")), str(data.get("task_action"))))
        for step in self.story.take(event):
            if step.mends:
                # how far it came is told before its end
                watch.look()
            self.tell(TaskEnded(step.host, step.task, host_result(step, self.request.check)))


def confirmation(procedure: content.Procedure, confirm: str | None) -> dict[str, str]:
    """The variables that confirm the target; UsageError where the procedure asks for no confirmation."""
    if confirm is None:
        return {}
    names = [name for role, _ in procedure.roles if (name := f"{role}_confirm") in procedure.options]
    if not names:
        raise UsageError(f"{procedure.name} asks for no confirmation: its risk is {procedure.risk!r}")
    return dict.fromkeys(names, confirm)


def inventory_sources(given: Inventory) -> tuple[str, ...]:
    """Sources as ansible takes them, with absolute paths: it runs in another folder."""
    sources = [given] if isinstance(given, (str, os.PathLike)) else list(given)
    if not sources:
        raise InvalidInventory("no inventory is given")
    return tuple(_source(os.fspath(source)) for source in sources)


def _source(text: str) -> str:
    if "," in text:
        return text
    path = Path(text).expanduser().absolute()
    if not text or not path.exists():
        raise InvalidInventory(
            f"the inventory {text or '(empty)'} does not exist; a list of hosts needs a comma: host1,"
        )
    return str(path)


def checked_limit(text: str | None) -> str | None:
    """The limit as ansible takes it, with an absolute path, or UsageError."""
    if text is None:
        return None
    if not text.strip():
        # ansible takes an empty limit for none, and would go to all hosts
        raise UsageError("the limit is empty; leave it out to mean every host")
    if text.startswith("@"):
        path = Path(text[1:]).expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"the file of the limit {text} does not exist")
        return f"@{path}"
    return text
