# SPDX-License-Identifier: MIT
"""Names the run and journals its begin, its end and hosts that were not reached. It never stops anything."""

from __future__ import annotations

import json
import os
from pathlib import Path

import ansible.module_utils
from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

_MODULE_UTILS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _MODULE_UTILS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_MODULE_UTILS)

from ansible.module_utils.mendbook import plan_text, run_facts  # noqa: E402
from ansible.module_utils.mendbook.errors import MendError  # noqa: E402
from ansible.module_utils.mendbook.journal import Journal, unfinished, verify_chain, why  # noqa: E402

DOCUMENTATION = r"""
name: mend_journal
type: notification
short_description: Name the run and journal its begin and end
description:
  - Gives the run its name, which the gate (the action plugin in front of the C(mend_*) modules) journals under.
  - Writes C(run_begin), C(unreachable) and C(run_end). The gate journals every change by itself, with or without this.
  - Runs that have no C(mend_*) task, and runs in check mode, leave no journal.
  - Tells C(mendbook run) which hosts the plays match; ansible itself never mentions those that it did not come to.
options: {}
"""


class CallbackModule(CallbackBase):
    """Passive: a journal that cannot be written is a warning here, and a refusal at the gate."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "mend_journal"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._journal = None
        self._failures = []
        self._plays = []
        self._matched = set()

    def v2_playbook_on_start(self, playbook):
        run_facts.name_run()
        os.environ[run_facts.PROCEDURE_VARIABLE] = Path(playbook._file_name).stem
        self._plays = playbook.get_plays()

    def v2_playbook_on_play_start(self, play):
        self._tell_matched(play)

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._begin_at(task)

    def v2_playbook_on_handler_task_start(self, task):
        self._begin_at(task)

    def v2_runner_on_unreachable(self, result):
        if self._journal:
            self._write("unreachable", host=result._host.get_name())

    def v2_playbook_on_stats(self, stats):
        if stats.failures or stats.dark:
            # the plays that this kept from starting have hosts, too
            self._tell_matched(*self._plays)
        if not self._journal:
            return
        hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        unknown = None
        try:
            self._journal.give_back()
            unknown = len(unfinished(verify_chain(self._journal.path)))
        except (OSError, MendError) as error:
            self._display.warning(f"the journal of this run cannot be trusted: {why(error)}")
        self._write("run_end", hosts=hosts, without_end=unknown)
        self._say_last()
        self._journal = None

    def v2_runner_on_failed(self, result, ignore_errors=False):
        if not ignore_errors and isinstance(result._result.get("mend"), dict):
            state, words = result._result.get("state", "failed"), result._result.get("msg", "")
            self._failures.append(f"{result._host.get_name()}: {state}: {words.removeprefix('refused: ')}")

    def _say_last(self):
        """What a person looks for, after the recap: why it failed, and where the record is."""
        lines = [plan_text.clean(line, 2000) for line in self._failures] + [f"journal {self._journal.path}"]
        # with another callback the output may be for a program
        self._display.display("\n".join(lines), stderr=constants.DEFAULT_STDOUT_CALLBACK != "default")

    def _begin_at(self, task):
        if self._journal or context.CLIARGS.get("check") or not task.action.rpartition(".")[2].startswith("mend_"):
            return
        try:
            self._journal = Journal(
                run_facts.run_id(), procedure=run_facts.procedure(context.CLIARGS), who=run_facts.who(os.getpid())
            )
        except MendError as error:
            self._display.warning(error.msg)
            return
        self._write("run_begin")

    def _tell_matched(self, *plays):
        """Once for each play, and of every batch of its ``serial``."""
        folder = os.environ.get("MENDBOOK_PROGRESS")
        for play in plays if folder else ():
            if play._uuid in self._matched:
                continue
            self._matched.add(play._uuid)
            manager = play.get_variable_manager()
            try:
                pattern = Templar(play.get_loader(), manager.get_vars(play=play)).template(play.hosts)
                hosts = [host.name for host in manager._inventory.get_hosts(pattern, ignore_restrictions=True)]
                with Path(folder, "matched").open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"hosts": hosts}) + "\n")
            except (OSError, AnsibleError) as error:
                self._display.warning(f"hosts that the run does not come to are not named: {error}")

    def _write(self, event, **facts):
        try:
            self._journal.write(event, **facts)
        except OSError as error:
            self._display.warning(f"{event} is not in the journal: {why(error)}")
