# SPDX-License-Identifier: MIT
"""A plan in words for a person. Names that come from outside are data: no control character reaches the terminal."""

from __future__ import annotations

import unicodedata

from ansible.module_utils.mendbook.plan import refusal_text

MAX_DIFF_LINES = 200
MAX_LINE = 200
SHOWN_CHANGES = 10


def clean(value, limit=MAX_LINE):
    """Return the value as one printable line of at most ``limit`` characters; what cannot be printed is escaped.

    Control characters, line and paragraph separators, surrogates and the marks that turn the direction of writing
    become ``\\x1b`` or ``\\u202e`` in letters.
    """
    text = value if isinstance(value, str) else str(value)
    shown = "".join(_escaped(char) for char in text[: limit + 1])
    return shown if len(text) <= limit and len(shown) <= limit else shown[: limit - 1] + "…"


def _escaped(char):
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return char.encode("unicode_escape").decode("ascii")
    return char


def bytes_text(number):
    """Return a size with the unit that a person would choose: 512 B, 12.3 MB."""
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def seconds_text(number):
    """Return a time as people say it, when it is too long to be read in seconds: 90, 2 h 1 min, 3 d 4 h."""
    minutes = round(number / 60)
    if number < 120:
        return f"{number:g}"
    if minutes < 60:
        return f"{minutes} min"
    return (
        f"{minutes // 60} h {minutes % 60} min" if minutes < 2880 else f"{minutes // 1440} d {minutes % 1440 // 60} h"
    )


def age_text(number):
    """Return a time as people say it, with its unit: 90 s, 2 h 1 min."""
    text = seconds_text(round(number))
    return text if " " in text else f"{text} s"


def amount_text(totals):
    """Return counts and bytes of a change or of totals as words, an empty text when there are none."""
    words = []
    if totals.get("count") is not None:
        words.append("{:,} items".format(totals["count"]))
    if totals.get("bytes") is not None:
        words.append(bytes_text(totals["bytes"]))
    if isinstance(totals.get("share"), (int, float)):
        words.append("{:.0%} of the whole".format(totals["share"]))
    return ", ".join(words)


def change_line(change):
    """Return one change as one line: its op, its object, from what to what, and how much."""
    line = "{} {}".format(change.get("op", " "), clean(change["object"]))
    if change.get("before") is not None or change.get("after") is not None:
        line += ": {} -> {}".format(_side(change.get("before")), _side(change.get("after")))
    # what is new replaces nothing: "0 items" would be read as the size of what comes
    amount = (
        "" if change.get("op") == "+" and not change.get("count") and not change.get("bytes") else amount_text(change)
    )
    return line + (f"  ({amount})" if amount else "")


def _side(value):
    if value is None:
        return "nothing"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else clean(_pairs(value))


def _pairs(value):
    if isinstance(value, dict):
        return ", ".join(f"{key} {_quantity(key, part)}" for key, part in value.items() if part is not None)
    if isinstance(value, (list, tuple)):
        return ", ".join(_pairs(part) for part in value)
    return str(value)


def _quantity(name, value):
    """A value under a name that ends with its unit, as a person would say it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if str(name).endswith("_bytes"):
            return bytes_text(value)
        if str(name).endswith("_seconds"):
            return seconds_text(value)
        return f"{value:,}" if isinstance(value, int) else str(value)
    return _pairs(value)


def _outlined(source):
    """The source without the lists and tables inside it: they are in the plan, and hide what a person looks for."""
    nested = (dict, list, tuple)
    outline = {}
    for name, value in source.items():
        if isinstance(value, dict):
            value = {key: part for key, part in value.items() if not isinstance(part, nested)}
        if not isinstance(value, (list, tuple)) and value != {}:
            outline[name] = value
    return outline


def diff_of(plan):
    """Return what ansible prints with --diff: every listed change on a line."""
    lines = [change_line(change) for change in plan["changes"][:MAX_DIFF_LINES]]
    if len(plan["changes"]) > MAX_DIFF_LINES:
        lines.append("  and {} more lines in the result's plan".format(len(plan["changes"]) - MAX_DIFF_LINES))
    header = "{}: {}".format(plan["module"], clean(plan["target"]["id"]))
    return {"prepared": "\n".join([header, *lines, ""])}


def plan_lines(plan, host, with_changes=True):
    """Return the plan as lines for a terminal: target, changes, the way back, and what speaks against it."""
    target = plan["target"]
    rows = [("target", clean(target["id"]) + (f"  at {clean(target['address'])}" if target.get("address") else ""))]
    if plan.get("source"):
        rows.append(("source", clean(_pairs(_outlined(plan["source"])), 400)))
    if not plan["changes"]:
        rows += [("changes", "nothing to do"), *(("note", clean(note, 400)) for note in plan["notes"])]
        return _block(f"PLAN {plan['module']} on {clean(host)}", rows)
    rows.append(("changes", _totals_text(plan)))
    if with_changes:
        rows += [("", change_line(change)) for change in plan["changes"][:SHOWN_CHANGES]]
        if len(plan["changes"]) > SHOWN_CHANGES:
            rows.append(("", f"and {_count(plan['changes'][SHOWN_CHANGES:]):,} more (--diff shows them)"))
    if plan.get("remains"):
        rows.append(("remains", clean(_pairs(plan["remains"]))))
    rows += [("cap", f"{clean(cap['name'])}: {cap['used']} of {cap['limit']}") for cap in plan["caps"]]
    if plan.get("expected_seconds") is not None:
        takes = plan["expected_seconds"]
        rows.append(("takes", f"about {takes:.0f} s" if takes < 120 else f"about {seconds_text(takes)}"))
    rows.append(("undo", _undo_text(plan["undo"])))
    rows += [("note", clean(note, 400)) for note in plan["notes"]]
    rows += [("refused", clean(refusal_text([entry]), 600)) for entry in plan["refusals"]]
    return _block(f"PLAN {plan['module']} on {clean(host)}", rows)


def result_lines(result, host):
    """Return how acting on a plan has ended, as lines for a terminal."""
    done, skipped = result.get("done") or [], result.get("skipped_objects") or []
    planned = result["plan"]["totals"]["objects"]
    rows = [("done", f"{_count(done):,} of {planned:,}")]
    rows += [("", f"{clean(entry['object'])}: {clean(entry['reason'])}") for entry in skipped[:SHOWN_CHANGES]]
    if len(skipped) > SHOWN_CHANGES:
        rows.append(("", f"and {_count(skipped[SHOWN_CHANGES:]):,} more that were skipped"))
    if result.get("read_back"):
        rows.append(("read", clean(_pairs(result["read_back"]), 400)))
    if result.get("figures"):
        rows.append(("figures", clean(_pairs(result["figures"]), 400)))
    if result.get("msg"):
        rows.append(("because", clean(result["msg"], 600)))
    return _block(f"{clean(result['state']).upper()} {result['plan']['module']} on {clean(host)}", rows)


def _block(head, rows):
    return [head, *(f"  {name:<8} {text}" for name, text in rows)]


def _count(entries):
    """How many objects these entries stand for."""
    return sum(entry.get("objects", 1) for entry in entries)


def _totals_text(plan):
    totals = plan["totals"]
    risk = {"destroys": ", destroys data", "changes": "", "reads": ""}[plan["risk"]]
    amount = amount_text(totals)
    noun = "object" if totals["objects"] == 1 else "objects"
    return f"{totals['objects']:,} {noun}" + (f", {amount}" if amount else "") + risk


def _undo_text(undo):
    if "none" in undo:
        return f"none: {clean(undo['none'])}"
    variables = "".join(f" -e {name}={value}" for name, value in (undo.get("variables") or {}).items())
    until = f", until {clean(undo['until'])}" if undo.get("until") else ""
    return clean(f"playbook {undo['procedure']}{variables}", 400) + until
