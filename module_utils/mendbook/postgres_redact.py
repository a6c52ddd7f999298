# SPDX-License-Identifier: MIT
"""A statement without what it carries: literals and comments hold people's data, and a report is read by many."""

from __future__ import annotations

import re

from .plan_text import clean

MAX_SHOWN = 300
# One alternative for each kind of token that can hide a quote; the rest goes through a character at a time. A token
# that does not end was cut off by the server (track_activity_query_size): all that follows is part of it.
_TOKENS = re.compile(
    r"""
      (?P<comment>--[^\n]*)
    | (?P<block>/\*)
    | (?P<tagged>\$(?P<tag>(?:[^\W\d]\w*)?)\$ (?: .*? \$(?P=tag)\$ | .* ))
    | (?P<escaped>\b[eE]'(?:[^'\\]|''|\\.)*(?:'|\\?\Z))
    | (?P<text>(?:\b[uU]&|\b[bBxXnN])?'(?:[^']|'')*(?:'|\Z))
    | (?P<name>"(?:[^"]|"")*(?:"|\Z))
    | (?P<parameter>\$\d+)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<number>(?:\d|\.\d)(?:[eE][+-]\d|[\w.])*)
    """,
    re.VERBOSE | re.DOTALL,
)


def redacted(statement, limit=MAX_SHOWN):
    """Return the statement as one printable line with ``?`` for every literal and nothing for comments."""
    shown, position = [], 0
    while position < len(statement):
        token = _TOKENS.match(statement, position)
        if token is None:
            shown.append(statement[position])
            position += 1
            continue
        position = token.end()
        kind = token.lastgroup
        if kind == "block":
            position = _end_of_block(statement, position)
            shown.append(" ")
        elif kind == "comment":
            shown.append(" ")
        elif kind == "text" and "\\'" in token.group():
            # whether a backslash hides the quote is a setting of the session: then nothing behind it is certain
            return _line([*shown, "? ..."], limit)
        elif kind in ("tagged", "escaped", "text", "number"):
            shown.append("?")
        else:
            shown.append(token.group())
    return _line(shown, limit)


def _end_of_block(statement, position):
    """Return where a comment ends that began before ``position``; comments nest."""
    depth = 1
    for mark in re.compile(r"/\*|\*/").finditer(statement, position):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(statement)


def _line(parts, limit):
    return clean(" ".join("".join(parts).split()), limit)
