# SPDX-License-Identifier: MIT
"""From ansible's events to what each host ended with. Pure: events go in, an Outcome's parts come out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from mendbook.outcome import CODE_OF_REASON, WORD_OF_CODE, HostResult, worst
from mendbook.records import Failure, Plan

_ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)")
_ENDS = {"runner_on_ok": "ok", "runner_on_failed": "failed", "runner_on_unreachable": "unreachable"}
_RESULT_KEYS = frozenset(
    "changed plan done skipped_objects run read_back figures state msg mend diff warnings deprecations invocation "
    "failed exception unreachable ansible_facts results stdout stdout_lines stderr stderr_lines".split()
)


@dataclass
class Step:
    """The end of one task on one host; loops have one for each item."""

    host: str
    task: str
    module: str
    end: str
    ignored: bool
    result: Mapping[str, Any]

    @property
    def mends(self) -> bool:
        return is_mend(self.module)


@dataclass
class Story:
    """All that ansible said: steps in order, the final stats (None: it never got there), and its messages."""

    steps: list[Step] = field(default_factory=list)
    stats: Mapping[str, Mapping[str, int]] | None = None
    messages: list[str] = field(default_factory=list)
    running: dict[str, tuple[str, str]] = field(default_factory=dict)
    began: set[str] = field(default_factory=set)
    main_pid: int | None = None

    def take(self, event: Mapping[str, Any]) -> list[Step]:
        """Take in one event of ansible-runner; the steps that it ended come back."""
        kind, data = event.get("event"), event.get("event_data") or {}
        if kind == "playbook_on_start":
            self.main_pid = event.get("pid")
        elif kind == "playbook_on_stats":
            self.stats = {name: value for name, value in data.items() if isinstance(value, dict)}
        elif kind == "runner_on_start":
            self.began.add(str(data.get("host")))
            self.running[str(data.get("host"))] = (str(data.get("task")), str(data.get("task_action")))
        elif kind in ("verbose", "error", "warning", "deprecated", "system_warning", "debug"):
            if text := plain(str(event.get("stdout", ""))).strip():
                self.messages.append(text)
        elif kind in _ENDS or kind == "runner_on_skipped":
            self.running.pop(str(data.get("host")), None)
            if kind in _ENDS:
                ended = _steps(_ENDS[kind], data)
                self.steps += ended
                return ended
        return []

    def hosts(self, check: bool) -> dict[str, HostResult]:
        """What each host that took part ended with, in the order of names."""
        stats = self.stats or {}
        names = set(stats.get("processed") or {}) | {step.host for step in self.steps}
        return {name: self._host(name, stats, check) for name in sorted(names)}

    def said(self, limit: int = 20) -> str:
        """The last lines that ansible printed outside of tasks, to explain an end without results."""
        return "\n".join("\n".join(self.messages).splitlines()[-limit:])

    def _host(self, name: str, stats: Mapping[str, Mapping[str, int]], check: bool) -> HostResult:
        steps = [step for step in self.steps if step.host == name]
        if name in (stats.get("failures") or {}):
            failed = [step for step in steps if step.end == "failed" and not step.ignored]
            if failed:
                # the items of a loop come as several steps of one task: the worst of them speaks
                last = [step for step in failed if step.task == failed[-1].task and step.module == failed[-1].module]
                results = [host_result(step, check) for step in last]
                code = worst([result.exit_code for result in results])
                return next(result for result in reversed(results) if result.exit_code == code)
            return HostResult(host=name, word="failed", exit_code=2, msg=self.said() or None)
        if name in (stats.get("dark") or {}):
            lost = [step for step in steps if step.end == "unreachable"]
            return host_result(lost[-1], check) if lost else HostResult(name, "unreachable", 4)
        good = [step for step in steps if step.end == "ok"]
        mended = [step for step in good if step.mends]
        planned = [step for step in mended if step.result.get("plan")]
        if not good:
            return HostResult(host=name, word="nothing to do")
        result = host_result((planned or mended or good)[-1], check)
        summaries = [step.result.get("summary") for step in mended]
        sentences = [text for each in summaries if isinstance(each, list) for text in each]
        if sentences and not planned:
            # several modules that read have one summary
            result = replace(result, facts={**result.facts, "summary": sentences})
        measured = [step for step in mended if step.result.get("objectives")]
        if planned and measured:
            # a change that is measured, as in a drill: what came of it is as much its result as what it did
            result = replace(result, facts={**result.facts, **host_result(measured[-1], check).facts})
        if not result.changed and any(step.result.get("changed") for step in good):
            result = replace(result, changed=True, word="planned" if check else "done")
        return result


def host_result(step: Step, check: bool) -> HostResult:
    """One step as the result of its host."""
    said = step.result
    failure = _converted(said.get("mend") or {}, Failure) or Failure()
    code = 0
    if step.end == "unreachable":
        code = 4
    elif step.end == "failed":
        code = CODE_OF_REASON.get(failure.reason, 2)
    plan = _converted(said["plan"], Plan) if said.get("plan") else None
    warnings = [plain(str(text)) for text in _list(said.get("warnings"))]
    if said.get("plan") and plan is None:
        warnings.append(f"{step.module} returned a plan that is not of schema 1")
    return HostResult(
        host=step.host,
        word=_word(step, code, check),
        exit_code=code,
        changed=bool(said.get("changed")),
        module=step.module,
        plan=plan,
        done=tuple(_list(said.get("done"))),
        skipped=tuple(_list(said.get("skipped_objects"))),
        read_back=_dict(said.get("read_back")),
        figures=_dict(said.get("figures")),
        facts={key: value for key, value in said.items() if key not in _RESULT_KEYS and not key.startswith("_")}
        if step.mends
        else {},
        msg=plain(str(said["msg"])) if code and said.get("msg") else None,
        reason=failure.reason,
        rule=failure.rule,
        details=failure.details,
        diff=tuple(each for each in _list(said.get("diff")) if isinstance(each, dict)),
        warnings=tuple(warnings),
    )


def is_mend(module: str) -> bool:
    """Whether the gate stands before this module."""
    return module.rpartition(".")[2].startswith("mend_")


def plain(text: str) -> str:
    """Text of a target for a person's terminal: without escape sequences and control characters."""
    text = _ANSI.sub("", text)
    return "".join(character for character in text if character in "\n\t" or (character.isprintable()))


def _steps(end: str, data: Mapping[str, Any]) -> list[Step]:
    result = data.get("res")
    result = result if isinstance(result, dict) else {}
    whole = Step(
        host=str(data.get("host")),
        task=str(data.get("task")),
        module=str(data.get("task_action")),
        end=end,
        ignored=bool(data.get("ignore_errors")),
        result=result,
    )
    items = [item for item in _list(result.get("results")) if isinstance(item, dict)]
    if not items or "plan" in result:
        return [whole]
    if end == "unreachable":
        # of the whole loop ansible only says that all items are completed
        return [replace(whole, result=next((item for item in items if item.get("unreachable")), result))]
    steps = [replace(whole, end="failed" if _is_failed(item) else "ok", result=item) for item in items]
    # never let a failure disappear because none of the items admits it
    lost = end == "failed" and not any(step.end == "failed" for step in steps)
    return [*steps, whole] if lost else steps


def _is_failed(item: Mapping[str, Any]) -> bool:
    """ansible-core 2.21 leaves ``failed`` out of the items of a loop; only a failure has ``mend`` or an exception."""
    return bool(item.get("failed") or item.get("mend") or item.get("exception"))


def _word(step: Step, code: int, check: bool) -> str:
    state = step.result.get("state")
    if code == 7:
        return WORD_OF_CODE[7]
    if code:
        # the module knows better than its reason: "failed (nothing changed)"
        return state if isinstance(state, str) and step.mends and code in (2, 3, 5, 70) else WORD_OF_CODE[code]
    if check and step.result.get("changed"):
        return "planned"
    if isinstance(state, str) and step.mends and step.result.get("plan"):
        return state
    reads_only = step.mends and not step.result.get("plan")
    return "done" if step.result.get("changed") or reads_only else "nothing to do"


def _converted(value: Any, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def _list(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    return [] if value is None else [value]


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
