# SPDX-License-Identifier: MIT
"""Results as a JUnit file, which every CI system shows: one suite, a case for each phase or target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from mendbook.errors import MendError
from mendbook.outcome import NOT_BEGUN, HostResult, Outcome
from mendbook.report import duration
from mendbook.results import plain

# What was looked at and is not right; all else that is no success is an error.
_FAILURES = (5, 6)


@dataclass(frozen=True)
class Case:
    """One line of the report; ``end`` is None when it went well, ``words`` say why not, ``output`` what was found."""

    name: str
    seconds: float = 0.0
    end: Literal["failure", "error", "skipped"] | None = None
    words: str = ""
    output: str = ""


def write(path: Path, suite: str, cases: Sequence[Case], seconds: float | None = None) -> None:
    """Write a new file; ``seconds``: what the whole took, else the longest case. OSError when it cannot be written."""
    took = max((case.seconds for case in cases), default=0.0) if seconds is None else seconds
    counts = {f"{end}s": str(sum(case.end == end for case in cases)) for end in ("failure", "error")}
    counts["skipped"] = str(sum(case.end == "skipped" for case in cases))
    facts = {"name": suite, "tests": str(len(cases)), **counts, "time": f"{took:.3f}"}
    root = ElementTree.Element("testsuites", facts)
    element = ElementTree.SubElement(root, "testsuite", facts)
    for case in cases:
        named = {"classname": suite, "name": plain(case.name), "time": f"{case.seconds:.3f}"}
        one = ElementTree.SubElement(element, "testcase", named)
        if case.end:
            said = plain(case.words)
            ElementTree.SubElement(one, case.end, {"message": said}).text = said
        if case.output:
            # XML has no control characters at all, not even escaped
            ElementTree.SubElement(one, "system-out").text = plain(case.output)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def of_run(outcome: Outcome | None, error: MendError | None) -> list[Case]:
    """A case for each target of a run, and one for an error that was before or beside them."""
    cases = []
    for host in outcome.hosts.values() if outcome else ():
        said = "".join(f"\n{name} {value}" for name, value in {**host.read_back, **host.figures}.items())
        words = f"{host.word}: {host.msg}" if host.msg else host.word
        end = "skipped" if host.word == NOT_BEGUN else end_of(host.exit_code)
        cases.append(Case(host.host, outcome.seconds if outcome else 0.0, end, words, host.word + said))
        cases += _objectives(host)
    if error is not None and all(case.end in (None, "skipped") for case in cases):
        cases.append(Case("run", end=end_of(error.exit_code), words=error.msg))
    return cases


def _objectives(host: HostResult) -> Iterator[Case]:
    """A case for each figure that was measured against an objective, whether the target ended well or not."""
    facts = host.details if host.exit_code else host.facts
    for name, objective in facts.get("objectives", {}).items():
        measured = "unknown" if facts[name] is None else duration(facts[name])
        words = f"{measured}, the objective is {duration(objective)}"
        case = f"{host.host}: {name.removesuffix('_seconds').upper()}"
        if name in facts["missed"]:
            yield Case(case, end="failure", words=words)
        else:
            yield Case(case, output=words)


def end_of(exit_code: int) -> Literal["failure", "error"] | None:
    """How a case with this exit code has ended."""
    if exit_code == 0:
        return None
    return "failure" if exit_code in _FAILURES else "error"
