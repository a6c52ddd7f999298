# SPDX-License-Identifier: MIT
"""The gate in front of every module named mend_*: plan, guard, journal, act, journal.

``network_group_modules = mend`` in ansible.cfg makes ansible send each of these modules through this plugin, in check
mode, ad hoc, in loops and behind delegate_to alike. The module runs twice: in check mode, which gives the plan, and,
when nothing speaks against it, with a receipt. Without a receipt a module does not act, so that a foreign ansible.cfg
is safe, too.
"""

from __future__ import annotations

import os
import re
import runpy
import signal
from contextlib import contextmanager
from pathlib import Path

import ansible.module_utils
from ansible import constants, context
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_MODULE_UTILS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _MODULE_UTILS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_MODULE_UTILS)

from ansible.module_utils.mendbook import guard, not_started, plan_text, run_facts, secrets  # noqa: E402
from ansible.module_utils.mendbook.errors import MendError, Refused, Unknown  # noqa: E402
from ansible.module_utils.mendbook.journal import Journal, why  # noqa: E402
from ansible.module_utils.mendbook.plan import plan_sha256, refusal_text, trim  # noqa: E402

display = Display()


class ActionModule(ActionBase):
    """One task for one host; each item of a loop comes here by itself."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        """Return the module's result, or why the gate said no. What comes from the module is never templated."""
        self._task_vars = task_vars or {}
        self._secrets = []
        try:
            if self._task.async_val:
                raise _refused("async", "with async nobody would journal how it ended; take async off the task")
            return {**super().run(tmp, task_vars), **self._hidden(self._gate())}
        except MendError as error:
            return self._hidden(_answer(error))

    def _gate(self):
        if "receipt" in self._task.args:
            raise _refused("receipt", "receipt is set by mendbook's gate, never by a playbook")
        self._refuse_unknown_variables()
        spec = self._argument_spec()
        args, self._secrets = secrets.resolve_options(self._task.args, spec)
        if "progress" in spec:
            # a module that only reads gets no receipt, and may take long all the same
            args["progress"] = self._progress_file()
        # from here on nothing that holds a secret is kept, shown or returned
        planned = self._hidden(self._run_module(args, check_mode=True))
        plan = planned.get("plan")
        if planned.get("failed") or not planned.get("changed"):
            if plan and not planned.get("failed"):
                self._show_plan(plan, [])
            return planned
        if not isinstance(plan, dict):
            raise _refused("plan", f"{self._task.action} would change something and has no plan")
        variable = self._confirmation_variable()
        refusals = guard.guard(
            plan,
            # masked as the plan is, where a secret is part of the target's id
            confirm=self._hidden(args.get("confirm")),
            variable=variable,
            hold=self._hold(),
            timeout=self._task.timeout,
        )
        if self._task.check_mode or context.CLIARGS.get("check"):
            # a task with check_mode: false would act here, but --check is stronger
            return {**planned, "plan": self._only_shown(plan, refusals, variable)}
        self._show_plan(plan, refusals)
        journal = Journal(run_facts.run_id(), procedure=run_facts.procedure(context.CLIARGS), who=run_facts.who())
        if refusals:
            self._journal_refusal(journal, plan, refusals)
            error = _refused(refusals[0]["rule"], refusal_text(refusals), refusals=refusals)
            return {**_answer(error), "plan": _short(plan), "run": journal.run}
        result = self._act(journal, args, plan)
        self._show(plan_text.result_lines(result, self._task_vars["inventory_hostname"]))
        if result.get("failed"):
            result["plan"] = _short(result["plan"])
        return {**result, "run": journal.run}

    def _act(self, journal, args, plan):
        try:
            begun = journal.begin(plan=plan, **self._line(plan))
        except OSError as error:
            return {**_answer(_refused("journal", f"no journal, no change: {why(error)}")), "plan": plan}
        receipt = {
            "run": journal.run,
            "plan": {name: value for name, value in plan.items() if name != "changes"},
            "plan_sha256": plan_sha256(plan),
            "journal": begun.sha256,
            "progress": self._progress_file(),
        }
        with _signals_reach_the_module_first():
            try:
                result = _believable(self._hidden(self._run_module({**args, "receipt": receipt}, check_mode=False)))
            except not_started.NotStarted as error:
                result = _answer(error)
            except Exception as error:
                result = _unknown(f"{type(error).__name__}: {error}")
            except BaseException as error:
                self._end(begun, _unknown(f"{type(error).__name__}: {error}"))
                raise
            self._end(begun, result)
        return {**result, "plan": result.get("plan") or plan}

    def _run_module(self, args, check_mode):
        before = self._task.check_mode
        self._task.check_mode = check_mode
        try:
            result = self._execute_module(module_args=dict(args), task_vars=self._task_vars)
        except AnsibleConnectionFailure as error:
            raise not_started.lost(error, acting=not check_mode) from None
        finally:
            self._task.check_mode = before
        result = not_started.explained(result)
        # the receipt is long, and the journal's business
        result.get("invocation", {}).get("module_args", {}).pop("receipt", None)
        return result

    def _hidden(self, value):
        return secrets.redact(value, self._secrets)

    def _argument_spec(self):
        """The module's own ARGUMENT_SPEC, which says which options are secrets."""
        found = self._shared_loader_obj.module_loader.find_plugin_with_context(self._task.action)
        try:
            # not run as __main__, so nothing but its definitions is executed
            return runpy.run_path(found.plugin_resolved_path)["ARGUMENT_SPEC"]
        except (Exception, SystemExit) as error:
            words = f"{self._task.action} has no ARGUMENT_SPEC that the gate can read ({type(error).__name__}: {error})"
            raise _refused("module", words) from error

    def _roles(self):
        return [role for role in [self._task._role, *(self._task.get_dep_chain() or ())] if role]

    def _refuse_unknown_variables(self):
        for role in self._roles():
            name, folder = os.path.basename(role._role_path), Path(role._role_path, "meta")
            files = [path for path in (folder / "argument_specs.yml", folder / "argument_specs.yaml") if path.exists()]
            if not files:
                continue
            entries = self._loader.load_from_file(str(files[0]))["argument_specs"]
            declared = {option for entry in entries.values() for option in entry.get("options") or {}}
            unknown = guard.unknown_variables(name, declared, self._task_vars)
            if unknown:
                raise _refused("variable", guard.unknown_variables_text(name, unknown))

    def _confirmation_variable(self):
        return f"{os.path.basename(self._task._role._role_path)}_confirm" if self._task._role else None

    def _hold(self):
        """The evidence hold of this host or of the one that the task is delegated to, templated."""
        values = [self._task_vars.get("mend_hold")]
        if self._task.delegate_to:
            delegated = self._task_vars.get("ansible_delegated_vars", {}).get(self._task.delegate_to, {})
            values.append(delegated.get("mend_hold"))
        try:
            values = [self._templar.template(value) for value in values]
        except AnsibleError as error:
            raise _refused("hold", f"mend_hold cannot be read, so it holds: {error}") from error
        return next((value for value in values if guard.is_held(value)), False)

    def _line(self, plan):
        """What every journal line about this plan says."""
        line = {"host": self._task_vars["inventory_hostname"], "delegate_to": self._task.delegate_to}
        return {**line, "module": self._task.action, "target": plan["target"], "plan_sha256": plan_sha256(plan)}

    def _journal_refusal(self, journal, plan, refusals):
        try:
            journal.write("refused", plan=plan, refusals=refusals, **self._line(plan))
        except OSError as error:
            display.warning(f"the refusal is not in the journal: {why(error)}")

    def _end(self, begun, result):
        mend = result.get("mend") or {}
        how = {
            name: result.get(name) for name in ("state", "changed", "done", "skipped_objects", "read_back", "figures")
        }
        if result.get("failed"):
            how.update(msg=result.get("msg"), reason=mend.get("reason"), rule=mend.get("rule"))
        try:
            begun.end(**how)
        except OSError as error:
            display.warning(f"the journal says that this began and not how it ended: {why(error)}")

    def _progress_file(self):
        """A new file for the module's progress, or None; elsewhere than here its path would mean nothing."""
        folder = os.environ.get("MENDBOOK_PROGRESS")
        if not folder or self._connection.transport != "local":
            return None
        host = re.sub(r"[^A-Za-z0-9._-]", "_", self._task_vars["inventory_hostname"]).lstrip(".")[:100]
        number = 1
        while True:
            path = os.path.join(folder, f"{host}-{number}.jsonl")
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                return path
            except FileExistsError:
                number += 1
            except OSError as error:
                display.warning(f"no progress is shown: {error}")
                return None

    def _only_shown(self, plan, refusals, variable):
        """The plan with what the gate adds for its reader; what is confirmed and hashed is the module's own."""
        refusals = [entry for entry in refusals if entry["rule"] != "confirm"]
        notes = list(plan["notes"])
        if guard.needs_confirmation(plan):
            notes.append(f"to act, {guard.confirmation(plan, variable)}")
        plan = {**plan, "refusals": refusals, "notes": notes}
        self._show_plan(plan, refusals)
        return plan

    def _show_plan(self, plan, refusals):
        host = self._task_vars["inventory_hostname"]
        # with --diff ansible prints the changes itself
        self._show(plan_text.plan_lines({**plan, "refusals": refusals}, host, with_changes=not self._task.diff))

    def _show(self, lines):
        if not self._task.no_log:
            # with another callback the output may be for a program
            display.display("\n".join(lines), stderr=constants.DEFAULT_STDOUT_CALLBACK != "default")


def _refused(rule, words, **details):
    return Refused(f"refused: {words}", rule=rule, details=details)


def _answer(error):
    """A result of the gate's own, in the shape of a module's."""
    state = "refused" if error.reason else "failed (nothing changed)"
    mend = {"reason": error.reason, "rule": error.rule, "details": error.details}
    return {"failed": True, "changed": False, "msg": error.msg, "state": state, "mend": mend}


def _short(plan):
    """The plan for the result of a failure, which ansible prints; the whole one is in the journal."""
    return {**plan, "changes": trim(plan["changes"], 20)}


def _believable(result):
    """The result when the module itself has said how it ended; otherwise nobody knows."""
    if result.get("state"):
        return result
    said = result.get("module_stderr") or result.get("module_stdout") or result.get("msg") or "no answer"
    return _unknown(f"{result.get('msg') or ''} (rc {result.get('rc')}): {plan_text.clean(said.strip(), 500)}")


def _unknown(what):
    error = Unknown(
        "UNKNOWN: the module began to act and did not say how it ended; look at the target before anything is run "
        f"again. {what}",
        rule="gate",
    )
    return {**_answer(error), "changed": True, "state": "UNKNOWN"}


@contextmanager
def _signals_reach_the_module_first():
    """Pass TERM and INT on to the module, and die of them only when its end has been journalled.

    Ansible's own handler kills the worker at once, while the module is still cleaning up.
    """
    before, caught = {}, []

    def pass_on(number, frame):
        caught.append(number)
        # ansible has made the worker the leader of a group of its own, and the module is in it
        if len(caught) == 1 and os.getpgrp() == os.getpid():
            signal.signal(number, signal.SIG_IGN)
            os.killpg(0, number)
            signal.signal(number, pass_on)

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, pass_on)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if caught:
            os.kill(os.getpid(), caught[0])
