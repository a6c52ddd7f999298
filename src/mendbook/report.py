# SPDX-License-Identifier: MIT
"""An outcome as text for a person: what was planned, done and read back, how to undo it, where the record is. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mendbook.errors import StateUnknown
from mendbook.outcome import HostResult, Outcome
from mendbook.records import Change, Plan, Undo
from mendbook.results import plain

_SHOWN = 10
# What a row has that says how one check came out; its words come first.
_VERDICT = frozenset(("status", "name", "words"))
_UNITS = ("B", "kB", "MB", "GB", "TB")


def summary(outcome: Outcome, inventory: Sequence[str], diff: bool = False) -> str:
    """The whole report; with ``diff`` every change of the plan is shown with its before and after."""
    lines = [_headline(outcome)]
    for host in outcome.hosts.values():
        lines += ["", f"{plain(host.host)}: {host.word}", *_host(outcome, host, inventory, diff)]
    if any(host.plan for host in outcome.hosts.values()) and not outcome.check:
        lines += ["", f"journal    {outcome.journal}"]
    return "\n".join(lines)


def _headline(outcome: Outcome) -> str:
    mode = " (check: nothing was changed)" if outcome.check else ""
    said = f"\n{plain(outcome.msg)}" if outcome.msg else ""
    return f"{outcome.procedure}: {outcome.word} in {duration(outcome.seconds)}, run {outcome.run}{mode}{said}"


def _host(outcome: Outcome, host: HostResult, inventory: Sequence[str], diff: bool) -> Iterator[str]:
    if host.msg:
        yield from _entry("because" if host.exit_code else "says", host.msg.removeprefix(f"{host.word}: "))
    if host.rule:
        yield from _entry("rule", host.rule)
    for name, value in host.details.items():
        if name == "refusals":
            # the message says them already
            continue
        yield from _fact("", name, value)
    if host.plan is not None:
        yield from _plan(host.plan, diff)
    for entry in host.done[:_SHOWN]:
        yield from _entry("done", _done(entry))
    if len(host.done) > _SHOWN:
        yield from _entry("", f"... and {len(host.done) - _SHOWN} more")
    for entry in host.skipped[:_SHOWN]:
        yield from _entry("skipped", f"{entry.get('object')}: {entry.get('reason')}")
    if len(host.skipped) > _SHOWN:
        yield from _entry("", f"... and {len(host.skipped) - _SHOWN} more")
    yield from _facts("read back", host.read_back)
    yield from _facts("figures", host.figures)
    if not host.exit_code:
        # where there are sentences they are for people, and --json has the rest
        sentences = host.facts.get("summary")
        if isinstance(sentences, (list, tuple)) and sentences:
            for number, sentence in enumerate(sentences):
                yield from _entry("" if number else "says", str(sentence))
        elif host.plan is None:
            yield from _facts("says", host.facts)
    for warning in host.warnings:
        yield from _entry("warning", warning)
    if host.plan is not None and host.plan.undo is not None and host.plan.changes and _may_be_changed(host):
        yield from _entry("undo", _undo(host.plan.undo, host.host, inventory, outcome.check))


def _may_be_changed(host: HostResult) -> bool:
    """Whether there is something to undo; after a run that has changed nothing it would undo the one before."""
    return not host.exit_code or host.changed or host.exit_code == StateUnknown.exit_code


def _plan(plan: Plan, diff: bool) -> Iterator[str]:
    yield from _entry("target", f"{plan.target.id} ({plan.target.kind})")
    if plan.source:
        yield from _facts("source", _outlined(plan.source))
    yield from _entry("plan", _totals(plan.totals, plan.risk) if plan.changes else "nothing to change")
    shown = plan.changes if diff else plan.changes[:_SHOWN]
    for change in shown:
        yield from _entry("", _change(change, diff))
    if len(plan.changes) > len(shown):
        yield from _entry("", f"... and {len(plan.changes) - len(shown)} more (--diff shows them)")
    for cap in plan.caps:
        yield from _entry("cap", f"{cap.name}: {_number(cap.used)} of {_number(cap.limit)}")
    if plan.expected_seconds is not None and plan.changes:
        yield from _entry("takes", f"about {duration(plan.expected_seconds)}")
    for note in plan.notes:
        yield from _entry("note", note)
    for refusal in plan.refusals:
        way = f"; {refusal.override}" if refusal.override else ""
        yield from _entry("refuses", f"{refusal.rule}: {refusal.msg}{way}")


def _outlined(source: Mapping[str, Any]) -> dict[str, Any]:
    """The source without the lists and tables inside it: they hide what a person looks for, and --json has them."""
    nested = (Mapping, list, tuple)
    outline: dict[str, Any] = {}
    for name, value in source.items():
        if isinstance(value, Mapping):
            value = {key: part for key, part in value.items() if not isinstance(part, nested) and part is not None}
        if not isinstance(value, (list, tuple)) and value != {}:
            outline[name] = value
    return outline


def _totals(totals: Mapping[str, Any], risk: str) -> str:
    said = {"objects": "{:,} object{s}", "count": "{:,} entries", "share": "{:.0%} of what is there"}
    parts = [
        words.format(totals[name], s="" if totals[name] == 1 else "s")
        for name, words in said.items()
        if totals.get(name) is not None
    ]
    parts += [
        _value(name, value) if name == "bytes" else f"{name} {_value(name, value)}"
        for name, value in totals.items()
        if name not in said and value is not None
    ]
    return f"{', '.join(parts) or 'changes'} ({risk})"


def _change(change: Change, diff: bool) -> str:
    text = f"{change.op or ' '} {change.object}"
    if diff and (change.before is not None or change.after is not None):
        before, after = ("nothing" if side is None else _value("", side) for side in (change.before, change.after))
        return f"{text}: {before} -> {after}"
    # what is new replaces nothing: a 0 would be read as the size of what comes
    counted = change.count is not None and (change.count or change.op != "+")
    facts = [f"{change.count:,}" if counted else "", size(change.bytes) if change.bytes else ""]
    said = ", ".join(fact for fact in facts if fact)
    return f"{text}  {said}" if said else text


def _done(entry: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in entry.items() if name not in ("op", "object")}
    facts = ", ".join(f"{name} {_value(name, value)}" for name, value in rest.items() if value is not None)
    return f"{entry.get('op', '')} {entry.get('object', '')}".strip() + (f"  {facts}" if facts else "")


def _undo(undo: Undo, host: str, inventory: Sequence[str], check: bool) -> str:
    if undo.procedure is None:
        return f"none: {undo.none or 'this cannot be reversed'}"
    words = ["mendbook", "run", undo.procedure, *(word for source in inventory for word in ("-i", source))]
    words += ["--limit", host]
    for name, value in undo.variables.items():
        words += ["-e", f"{name}={value}"]
    until = f" (until {undo.until})" if undo.until else ""
    return f"{shlex.join(words)}{until}{' afterwards' if check else ''}"


def _facts(label: str, facts: Mapping[str, Any]) -> Iterator[str]:
    for number, (name, value) in enumerate(facts.items()):
        yield from _fact("" if number else label, name, value)


def _fact(label: str, name: str, value: Any) -> Iterator[str]:
    """A line, of a table one for each row: a long one is cut, but never one of verdicts."""
    if not value or not isinstance(value, (list, tuple)) or not all(isinstance(each, Mapping) for each in value):
        yield from _entry(label, f"{name}: {_value(name, value)}")
        return
    most = len(value) if all(_VERDICT <= each.keys() for each in value) else _SHOWN
    for number, each in enumerate(value[:most]):
        yield from _entry("" if number else label, f"{name}: {_row(each)}")
    if len(value) > most:
        yield from _entry("", f"... and {len(value) - most} more")


def _row(row: Mapping[str, Any]) -> str:
    if not row.keys() >= _VERDICT:
        return _value("", row)
    rest = ", ".join(
        f"{name} {_value(name, row[name])}" for name in row if name not in _VERDICT and row[name] is not None
    )
    return f"{row['status']} {row['name']}: {row['words']}" + (f" ({rest})" if rest else "")


def _entry(label: str, text: str) -> Iterator[str]:
    """Lines with the label in a column of its own; what a target said never reaches the terminal raw."""
    for number, line in enumerate(plain(text).splitlines() or [""]):
        yield f"  {'' if number else label:9}  {line}"


def _value(name: str, value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "unknown"}[value]
    if isinstance(value, (int, float)):
        if name == "bytes" or name.endswith("_bytes") or name == "size":
            return size(value)
        if name == "seconds" or name.endswith("_seconds"):
            return duration(value)
        return _number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(str(key), each)}" for key, each in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(_value("", each) for each in value[:_SHOWN])
        return (shown or "none") + (f", ... {len(value) - _SHOWN} more" if len(value) > _SHOWN else "")
    return str(value)


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def size(count: float) -> str:
    """Bytes in decimal units, three digits: 7.6 MB."""
    amount = float(count)
    for unit in _UNITS[:-1]:
        if abs(amount) < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:,.3g} {_UNITS[-1]}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
