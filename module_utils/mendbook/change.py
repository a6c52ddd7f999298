# SPDX-License-Identifier: MIT
"""The one shape of a change: the only place that knows check mode, receipts, drift, locks, partial results and exits.

A changing module is ``run_change(module, procedure)``, one that only reads is ``run_read(module, procedure)``.
A procedure is any object with

``open(params)``                 context manager that gives the client
``lock(client, run)``            context manager that keeps other runs away from the target; may raise Locked
``observe(client)``              what is there, for ``plan``; for ``run_read`` the facts that are the result, a dict
``plan(observed, params)``       the plan (plan.py), computed from nothing but its arguments
``act(client, plan, receipt)``   generator of ``done(...)`` and ``skipped(...)``; up to its first ``done`` the target
                                 is as it was, or it raises Unknown
``read_back(client, plan)``      dict, what the target says afterwards; raises VerifyFailed when that is not the plan

and, where it wants them: ``secrets(params)`` (texts that must never be printed), ``figures`` (dict with units in its
names) and ``warnings`` (list of texts). The object of every ``done`` is the object of one of the plan's changes.
"""

from __future__ import annotations

import signal
import traceback
from contextlib import closing, contextmanager

from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.mendbook import plan as plans
from ansible.module_utils.mendbook.errors import Cancelled, Drift, MendError, Partial, Refused, Undone, Unknown
from ansible.module_utils.mendbook.plan_text import diff_of
from ansible.module_utils.mendbook.progress import Progress

CHANGE_SPEC = {"receipt": {"type": "dict"}}
CONFIRM_SPEC = dict(CHANGE_SPEC, confirm={"type": "str"})
# by the names that every engine's options share
_DEADLINES = ("connect_timeout_seconds", "operation_timeout_seconds", "timeout_seconds")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def done(op, object, **facts):
    """An object that has been changed: ``op`` is + ~ or -, ``facts`` are count, bytes, group and what else is known."""
    return dict(facts, op=op, object=object)


def skipped(object, reason, **facts):
    """An object of the plan that was left as it is, and why."""
    return dict(facts, object=object, reason=reason)


def run_change(module, procedure):
    """Plan, or with the gate's receipt act on the plan, and end the module with one result."""
    attempt = _Attempt()
    with _cancellation() as cancellation:
        try:
            _hide_secrets(module, procedure)
            _check_deadlines(module.params)
            with procedure.open(module.params) as client:
                if module.check_mode or module.params.get("receipt") is None:
                    attempt.plan = procedure.plan(procedure.observe(client), module.params)
                    _refuse_to_act_without_receipt(module, attempt.plan)
                else:
                    _act(module, procedure, client, attempt)
        except Exception as error:
            attempt.error = _cancelled_under(error) or error
        cancellation.over()
        _end(module, procedure, attempt)


def run_read(module, procedure):
    """Observe and end the module with what was found."""
    with _cancellation() as cancellation:
        facts, error = {}, None
        try:
            _hide_secrets(module, procedure)
            _check_deadlines(module.params)
            with procedure.open(module.params) as client:
                facts = procedure.observe(client)
        except Exception as raised:
            error = _cancelled_under(raised) or raised
        cancellation.over()
        _warn(module, *(getattr(procedure, "warnings", None) or ()))
        if error is None:
            module.exit_json(changed=False, **facts)
        module.fail_json(changed=False, **_words(error))


class _Attempt:
    """How far one run of a module has come; it becomes the result."""

    def __init__(self):
        self.plan = None
        self.done = []
        self.skipped = []
        self.read_back = None
        self.acting = False
        self.acted = False
        self.finished = False
        self.error = None


def _act(module, procedure, client, attempt):
    receipt = _checked_receipt(module.params["receipt"])
    with Progress(receipt) as progress:
        progress.start()
    with procedure.lock(client, receipt["run"]):
        plan = attempt.plan = procedure.plan(procedure.observe(client), module.params)
        drift = plans.drift(receipt["plan"], plan)
        if drift:
            raise Drift(f"nothing was changed: since the plan was made {drift}; plan again", rule="drift")
        if not plan["changes"]:
            return
        _refuse(plans.refusals_in(plan))
        attempt.acting = True
        planned = {change["object"] for change in plan["changes"]}
        with closing(procedure.act(client, plan, receipt)) as items:
            for item in items:
                if "op" not in item:
                    attempt.skipped.append(item)
                    continue
                attempt.done.append(item)
                if item["object"] not in planned:
                    raise Partial("stopped: {} was changed and is not in the plan".format(item["object"]), rule="plan")
        attempt.acted = True
        attempt.read_back = procedure.read_back(client, plan)
        attempt.finished = True


def _refuse(refusals):
    if refusals:
        raise Refused(
            "refused: " + plans.refusal_text(refusals), rule=refusals[0]["rule"], details={"refusals": refusals}
        )


def _refuse_to_act_without_receipt(module, plan):
    if module.check_mode or not plan["changes"]:
        return
    raise Refused(
        "refused: this module was not started by mendbook's gate (plugins/action/mend.py), so nothing was journalled "
        "or guarded; set ANSIBLE_CONFIG to mendbook's ansible.cfg (mendbook path prints its folder)",
        rule="receipt",
    )


def _checked_receipt(receipt):
    plan = receipt.get("plan")
    whole = isinstance(plan, dict) and {"target", "fingerprint", "totals", "tolerance"} <= set(plan)
    if not whole or not all(receipt.get(name) for name in ("run", "plan_sha256", "journal")):
        raise Refused("refused: the receipt is not one that mendbook's gate has made", rule="receipt")
    return receipt


def _hide_secrets(module, procedure):
    secrets = getattr(procedure, "secrets", None)
    if secrets:
        module.no_log_values.update(secret for secret in secrets(module.params) if secret)


def _check_deadlines(params):
    for name in _DEADLINES:
        if params.get(name) is not None and params[name] <= 0:
            raise Refused(
                f"{name} is {params[name]:g}, and must be more than 0: no call is without a deadline", rule="options"
            )


def _end(module, procedure, attempt):
    plan, error = attempt.plan, attempt.error
    if error is not None and attempt.finished:
        # everything was done and read back; only giving the lock or the connection back has failed
        _warn(module, f"done and read back, but then: {_sentence(error)}")
        error = None
    error = _in_its_place(error, attempt)
    result = {
        "changed": bool(attempt.done) and not isinstance(error, Undone),
        "plan": plan and plans.trimmed(plan),
        "state": _state(error, attempt, module.check_mode),
        "figures": dict(getattr(procedure, "figures", None) or {}),
    }
    if attempt.acting or error is not None:
        # a key named skipped would tell ansible that the whole task was
        result.update(skipped_objects=plans.trim(attempt.skipped), read_back=attempt.read_back)
        result["done"] = plans.trim(attempt.done)
    if plan and module._diff:
        result["diff"] = diff_of(result["plan"])
    _warn(module, *(getattr(procedure, "warnings", None) or ()))
    if error is not None:
        module.fail_json(**dict(result, **_words(error)))
    if plan["changes"] and not attempt.acting:
        result["changed"] = module.check_mode
    module.exit_json(**result)


def _in_its_place(error, attempt):
    """An error says what it means for the target by when it happened, unless it says so itself."""
    if error is None or getattr(error, "reason", None) or isinstance(error, Undone):
        return error
    if attempt.acted:
        # only what was read back is done
        words, kind = "changed, but it could not be read back: ", Unknown
    elif attempt.done:
        words, kind = f"stopped after {_count(attempt.done)} of {_count(attempt.plan['changes'])}: ", Partial
    else:
        return error
    placed = kind(words + _sentence(error), getattr(error, "rule", None), getattr(error, "details", None))
    placed.__cause__ = error
    return placed


def _count(entries):
    """How many objects these entries stand for; one of a group stands for ``objects``."""
    return sum(entry.get("objects", 1) for entry in entries)


def _state(error, attempt, check_mode):
    if error is None:
        if not attempt.plan["changes"] or (attempt.acting and not attempt.done):
            return "nothing to do"
        return "planned" if check_mode else "done"
    reason = getattr(error, "reason", None)
    if reason == "unknown":
        return "UNKNOWN"
    if isinstance(error, Undone):
        return "failed (undone)"
    if attempt.done or reason == "partial":
        return "partial"
    return "refused" if reason in ("refused", "drift", "nothing", "locked") else "failed (nothing changed)"


def _words(error):
    words = {"msg": _sentence(error), "mend": {"reason": getattr(error, "reason", None)}}
    words["mend"]["rule"] = getattr(error, "rule", None)
    words["mend"]["details"] = getattr(error, "details", None) or {}
    cause = error if not isinstance(error, MendError) else error.__cause__
    if cause is not None and not isinstance(cause, MendError):
        words["exception"] = "".join(traceback.format_exception(type(cause), cause, cause.__traceback__))
    return words


def _sentence(error):
    if isinstance(error, MendError):
        return error.msg
    return f"{type(error).__name__}: {error}"


def _warn(module, *warnings):
    for warning in warnings:
        # ansible masks secrets in results, and not in warnings
        module.warn(remove_values(warning, module.no_log_values))


class _Cancellation:
    def __init__(self):
        self._listening = True

    def over(self):
        """From now on a signal is too late: the result is being written."""
        self._listening = False

    def receive(self, number, frame):
        # one is enough: a second one must not interrupt the cleaning up after the first
        if self._listening:
            self._listening = False
            raise Cancelled(f"cancelled by {signal.Signals(number).name}")


def _cancelled_under(error):
    """The Cancelled that an unforeseen error hides.

    A signal may come inside a library whose own cleaning up then fails: threading.Thread.start ends with a KeyError.
    """
    while error is not None and not isinstance(error, MendError):
        error = error.__context__
    return error if isinstance(error, Cancelled) else None


@contextmanager
def _cancellation():
    """Turn TERM, INT and HUP into a Cancelled in the main thread, so that every ``with`` block cleans up."""
    cancellation = _Cancellation()
    before = {number: signal.signal(number, cancellation.receive) for number in SIGNALS}
    try:
        yield cancellation
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
