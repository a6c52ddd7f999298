# SPDX-License-Identifier: MIT
"""What was measured against its threshold, in the one shape that every diagnosis gives. Pure.

A verdict is ``{check, verdict, value, limit, says, culprit}`` and what else the engine says about it (``node``,
``mount``). ``check`` is the option with the threshold: one that begins with ``min_`` is a floor, any other a ceiling.
What is unknown because nobody answered, and not because this user may not see it, has ``no_answer`` True.
"""

from __future__ import annotations

from .errors import VerifyFailed
from .plan_text import bytes_text


def verdict(check, value, limit, says, culprit=None, **facts):
    """Return the verdict on ``value``: ok, exceeded, or unknown when it is None.

    ``says`` is what was measured, in words; ``culprit`` (dict) is whose fault it is, and stays only when exceeded.
    """
    if value is None:
        word = "unknown"
    else:
        word = "exceeded" if (value < limit if check.startswith("min_") else value > limit) else "ok"
        value = round(value, 3)
    culprit = (culprit or {}) if word == "exceeded" else {}
    return {"check": check, "verdict": word, "value": value, "limit": limit, "says": says, "culprit": culprit, **facts}


def culprit(found):
    """Return the culprit of the first verdict that is exceeded and has one, else nothing ({})."""
    return next((one["culprit"] for one in found if one["culprit"]), {})


def overall(found):
    """Return ok, exceeded or unknown for all of them together."""
    said = {one["verdict"] for one in found}
    return next((word for word in ("exceeded", "unknown") if word in said), "ok")


def line(one, blamed=None):
    """Return a verdict as a sentence for a person; ``blamed`` is the culprit in a word or two."""
    limit = bytes_text(one["limit"]) if one["check"].endswith("_bytes") else format(one["limit"], "g")
    text = f"{one['verdict']}: {one['check']}: {one['says']} (limit {limit})"
    return f"{text}; culprit: {blamed}" if blamed else text


def require(found, details):
    """Raise VerifyFailed (rule ``thresholds``) with ``details`` when one of them is exceeded or got no answer."""
    silent = [one for one in found if one.get("no_answer")]
    bad = [one for one in found if one["verdict"] == "exceeded" or one in silent]
    if bad:
        raise VerifyFailed(
            f"{len(bad)} of {len(found)} thresholds are exceeded{' or got no answer' if silent else ''}: "
            + "; ".join(f"{one['check']}: {one['says']}" for one in bad),
            rule="thresholds",
            details=details,
        )
