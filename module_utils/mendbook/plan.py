# SPDX-License-Identifier: MIT
"""A plan: what a procedure would do to a target, as data, and the state that it was computed from (schema 1).

A plan is a plain dict, so that it goes through ansible, the journal and reports as it is:

``changes``   [{op "+"|"~"|"-", object, before, after, count, bytes, group}]; all of them for ``act``, at most 1,000
              in results and in the journal, see ``trimmed``
``totals``    {objects, count, bytes, ...} of the whole list
``caps``      [{name, limit, used, override}]; used over limit refuses
``refusals``  [{rule, msg, value, limit, override}], what the guard says now; override is the lawful way in words
``tolerance`` {total: fraction}; a total may differ by this share of what was approved, None is not compared
"""

from __future__ import annotations

import hashlib
import json

SCHEMA = 1
RISKS = ("reads", "changes", "destroys")
OPS = ("+", "~", "-")
# 100,000 entries through ansible cost 34 s and 530 MB
MAX_ENTRIES = 1000
MAX_GROUPS = 100


def make_plan(
    *,
    module,
    target,
    risk,
    changes,
    totals=None,
    remains=None,
    caps=(),
    identity,
    tolerance=None,
    expected_seconds=None,
    undo,
    source=None,
    notes=(),
    refusals=(),
):
    """Return the plan as a dict; a ValueError says what a procedure's author got wrong.

    ``target`` is {kind, id, address, facts}, ``identity`` any JSON value that must still be the same when the plan is
    carried out (UUIDs, versions, parameters; never counts that live traffic moves), ``totals`` overrides or adds to
    what is summed from ``changes``, ``source`` names what the change reads, such as the backup, and ``undo`` is
    {procedure, variables, until} or {none: reason}.
    """
    changes = [_checked(change) for change in changes]
    if risk not in RISKS:
        raise ValueError(f"risk is {risk!r}, not one of {', '.join(RISKS)}")
    if not target.get("kind") or not target.get("id"):
        raise ValueError("target needs kind and id")
    if ("procedure" in undo) == ("none" in undo):
        raise ValueError("undo names a procedure, or says in none why there is no way back")
    plan = {
        "schema": SCHEMA,
        "module": module,
        "target": dict(target),
        "risk": risk,
        "changes": changes,
        "totals": {"objects": len(changes), **_sums(changes), **(totals or {})},
        "remains": remains,
        "caps": [dict(cap) for cap in caps],
        "fingerprint": _sha256([module, target["id"], identity]),
        "tolerance": dict(tolerance or {}),
        "expected_seconds": expected_seconds,
        "undo": dict(undo),
        "source": source,
        "notes": list(notes),
        "refusals": [dict(refusal) for refusal in refusals],
    }
    plan["sha256"] = _sha256(plan)
    return plan


def cap(name, limit, used, override=None):
    """The most that may be touched, and how much of it this plan uses."""
    return {"name": name, "limit": limit, "used": used, "override": override}


def refusal(rule, msg, value=None, limit=None, override=None):
    """What a guard says against the plan; ``override`` tells in words how one lawfully goes on."""
    return {"rule": rule, "msg": msg, "value": value, "limit": limit, "override": override}


def plan_sha256(plan):
    """Return the SHA-256 (hex) of the whole plan, of a trimmed one with the changes that it no longer lists."""
    return plan["sha256"]


def trimmed(plan):
    """Return the plan as it leaves the module, with a list of changes that ansible and people can cope with."""
    return dict(plan, changes=trim(plan["changes"]))


def refusals_in(plan):
    """Return everything that speaks against the plan: its own refusals and every cap that is exceeded."""
    over = [entry for entry in plan["caps"] if entry["limit"] is not None and entry["used"] > entry["limit"]]
    return list(plan["refusals"]) + [
        refusal(
            "cap {}".format(entry["name"]),
            "{} is {}, over the cap of {}".format(entry["name"], entry["used"], entry["limit"]),
            entry["used"],
            entry["limit"],
            entry.get("override"),
        )
        for entry in over
    ]


def refusal_text(entries):
    """Return one sentence for each refusal, with the lawful way to go on where there is one."""
    return "; ".join(
        "{} ({})".format(entry["msg"], entry["override"]) if entry.get("override") else entry["msg"]
        for entry in entries
    )


def drift(approved, fresh):
    """Return in words how the fresh plan has left what was approved, or None; ``approved`` may lack its changes."""
    # the fingerprint covers the target's id, which may be masked where a secret is part of it
    if approved["fingerprint"] != fresh["fingerprint"]:
        return "{} is no longer what was planned for, or the parameters are others".format(approved["target"]["id"])
    if not fresh["changes"]:
        return None
    for name in sorted(set(approved["totals"]) | set(fresh["totals"])):
        share = approved["tolerance"].get(name, 0)
        before, after = approved["totals"].get(name), fresh["totals"].get(name)
        if share is None or before == after:
            continue
        if before is None or after is None or abs(after - before) > share * abs(before):
            return f"{name} was {before} and is now {after}"
    return None


def trim(entries, limit=MAX_ENTRIES):
    """Return at most ``limit`` entries: the largest first, then what is left as one entry for each op and group.

    Such a sum has ``objects``, how many entries it stands for. A list that is short enough stays as it is.
    """
    entries = list(entries)
    if len(entries) <= limit:
        return entries
    ranked = sorted(entries, key=lambda entry: (-(entry.get("bytes") or 0), -(entry.get("count") or 0)))
    groups = {_group(entry) for entry in ranked}
    room = min(len(groups), MAX_GROUPS, limit)
    kept = ranked[: limit - room]
    sums = {}
    for entry in ranked[limit - room :]:
        key = _group(entry)
        # the last place is for whatever has no place of its own
        if key not in sums and len(sums) >= room - 1 and len(groups) > room:
            key = (None, None, "of several kinds")
        sums.setdefault(key, []).append(entry)
    return kept + [_sum_entry(key, members) for key, members in sums.items()]


def _checked(change):
    if change.get("op") not in OPS or not isinstance(change.get("object"), str):
        raise ValueError(f"a change needs an op (+, ~ or -) and the name of an object: {change!r}")
    return dict(change)


def _sums(entries):
    counted = [entry["count"] for entry in entries if entry.get("count") is not None]
    weighed = [entry["bytes"] for entry in entries if entry.get("bytes") is not None]
    sums = {"count": sum(counted)} if counted else {}
    return dict(sums, bytes=sum(weighed)) if weighed else sums


def _group(entry):
    return (entry.get("op"), entry.get("group"), entry.get("reason"))


def _sum_entry(key, members):
    op, group, reason = key
    where = f" in {group}" if group is not None else ""
    entry = {"object": f"{len(members)} more{where}", "objects": len(members), **_sums(members)}
    facts = {"op": op, "group": group, "reason": reason}
    return dict(entry, **{name: value for name, value in facts.items() if value is not None})


def _sha256(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
