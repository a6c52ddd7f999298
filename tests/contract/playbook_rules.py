"""What is true of every playbook: a header, safety settings, a list of roles, a page and a test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

RISKS = ("reads", "changes", "destroys")
SETTINGS = {
    "name",
    "hosts",
    "gather_facts",
    "vars",
    "serial",
    "any_errors_fatal",
    "max_fail_percentage",
    "order",
    "become",
    "roles",
}
CANARY = [1, "25%", "100%"]
INDEPENDENT = {"hosts", "docker"}
HOSTS = re.compile(r"\{\{ mend_hosts \| default\('[a-z][a-z0-9_]*'\) \}\}")
# each entry: the headings of which a page has at least one
SECTIONS = [("## When to use it",), ("## What it does", "## What it touches"), ("## Variables",)]
UNDO = ("## How to undo it",)


def play_violations(plays: Any, roles: list[str]) -> list[str]:
    """A list of plays that hold settings and roles, and no logic."""
    if not isinstance(plays, list) or not plays:
        return ["not a list of plays"]
    found = header_violations(plays[0])
    risk = ((plays[0].get("vars") or {}).get("mend_procedure") or {}).get("risk")
    for play in plays:
        found += [f"{key}: a playbook holds only settings and a list of roles" for key in sorted(set(play) - SETTINGS)]
        if not play.get("name") or str(play.get("name")).endswith("."):
            found.append("a play needs a name without a full stop")
        if not HOSTS.fullmatch(str(play.get("hosts"))):
            found.append(f"hosts: {play.get('hosts')!r}, not \"{{{{ mend_hosts | default('group') }}}}\"")
        if play.get("gather_facts") is not False:
            found.append("gather_facts is not false")
        if risk != "reads":
            found += [f"{key} is not set: a mistake must stop at the first target" for key in missing_brakes(play)]
            found += canary_violations(play)
        listed = [
            role.get("role", role.get("name")) if isinstance(role, dict) else role for role in play.get("roles") or []
        ]
        found += [] if listed else ["a play without roles"]
        found += [f"role {role}: there is none" for role in listed if role not in roles]
        extra = {key for role in play.get("roles") or [] if isinstance(role, dict) for key in role} - {
            "role",
            "name",
            "vars",
        }
        found += [f"{key}: not on a role in a playbook" for key in sorted(extra)]
    return found


def missing_brakes(play: dict[str, Any]) -> list[str]:
    return [key for key in ("serial", "any_errors_fatal") if not play.get(key)]


def canary_violations(play: dict[str, Any]) -> list[str]:
    """One target first: then, where targets are independent, a quarter of them and the rest."""
    serial = play.get("serial")
    if serial not in (None, 1, CANARY):
        return [f"serial: {serial!r}, neither 1 nor {CANARY!r}"]
    group = str(play.get("hosts")).split("'")[1:2]
    if serial == CANARY and not set(group) <= INDEPENDENT:
        words = f"is for independent hosts; what is in the group {group[0]} may be replicas of one thing: 1"
        return [f"serial: {serial!r} {words}"]
    return []


def header_violations(play: dict[str, Any]) -> list[str]:
    """``vars.mend_procedure``, which list, docs and tests read."""
    header = (play.get("vars") or {}).get("mend_procedure")
    if not isinstance(header, dict):
        return ["no vars.mend_procedure"]
    known = {"risk", "summary", "runbooks", "repeats", "on_calendar", "unconfirmed"}
    found = [f"mend_procedure.{key}: unknown" for key in sorted(set(header) - known)]
    if header.get("risk") not in RISKS:
        found.append(f"mend_procedure.risk: {header.get('risk')!r}, not one of {', '.join(RISKS)}")
    summary = header.get("summary")
    if not isinstance(summary, str) or not summary or summary.endswith(".") or "\n" in summary.strip():
        found.append("mend_procedure.summary: not one line without a full stop")
    runbooks = header.get("runbooks")
    numbers = isinstance(runbooks, list) and all(
        re.fullmatch(r"\d{3}", str(entry)) and isinstance(entry, str) for entry in runbooks
    )
    if not runbooks or not numbers:
        found.append('mend_procedure.runbooks: not a list like ["000", "004"]')
    if not isinstance(header.get("repeats", False), bool):
        found.append("mend_procedure.repeats: not a boolean")
    return found


def file_violations(path: Path) -> list[str]:
    """The file itself: readable as plain YAML, named verb_noun."""
    text = path.read_text(encoding="utf-8")
    found = [f"{tag}: the header must be readable as plain YAML" for tag in ("!unsafe", "!vault") if tag in text]
    if not re.fullmatch(r"[a-z]+(_[a-z0-9]+)+\.yml", path.name):
        found.append("not named verb_noun.yml")
    if f"ansible-playbook playbooks/{path.name}" not in text:
        found.append("no comment that shows the command to type")
    return found


def companion_violations(name: str, root: Path, risk: str) -> list[str]:
    """The page that explains the procedure, and the test that runs it against real servers."""
    page, found = root / "docs" / f"{name}.md", []
    if not page.exists():
        found.append(f"no docs/{name}.md")
    else:
        text = page.read_text(encoding="utf-8")
        sections = SECTIONS if risk == "reads" else [*SECTIONS, UNDO]
        missing = [headings for headings in sections if not any(f"\n{heading}\n" in text for heading in headings)]
        found += [f"docs/{name}.md has no section {' or '.join(headings)!r}" for headings in missing]
    if not (root / "tests" / "e2e" / f"test_{name}.py").exists():
        found.append(f"no tests/e2e/test_{name}.py")
    return found
