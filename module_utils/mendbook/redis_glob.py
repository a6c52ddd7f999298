# SPDX-License-Identifier: MIT
"""Glob patterns as Redis means them, matched here: what SCAN's MATCH would say of a key. Pure."""

from __future__ import annotations

import re


def takes_all(pattern):
    """Whether a pattern holds nothing but wildcards, so that it means every key."""
    return "*" in pattern and not pattern.strip("*?")


def matcher(patterns):
    """Return a function that tells whether a key (bytes) matches one of the patterns (str); ``None`` for no pattern."""
    if not patterns:
        return None
    return re.compile(
        b"|".join(b"(?:%s)" % _regex(as_bytes(p), n) for n, p in enumerate(patterns)), re.DOTALL
    ).fullmatch


def as_bytes(pattern):
    """A pattern or a key's shown name as the bytes that the server knows."""
    return pattern.encode("utf-8", "surrogateescape")


def _regex(pattern, number):
    """The pattern as a regular expression that never goes back to a star that it has left.

    Going back would take minutes for ``*a*a*a*b`` and a long key; Redis does not, either. A lookahead with a group
    that is then repeated is what Python before 3.11 has in place of an atomic group.
    """
    pieces = _pieces(pattern)
    first, *rest = pieces
    if not rest:
        return first
    *middle, last = rest
    atomic = b"".join(
        b"(?=(?P<g%d_%d>.*?%s))(?P=g%d_%d)" % (number, n, piece, number, n) for n, piece in enumerate(middle) if piece
    )
    return first + atomic + b".*" + last


def _pieces(pattern):
    """The regular expressions between the stars of a pattern, with every turn of Redis' own stringmatchlen()."""
    pieces, at = [b""], 0
    while at < len(pattern):
        char = pattern[at : at + 1]
        at += 1
        if char == b"*":
            pieces.append(b"")
            continue
        if char == b"?":
            piece = b"."
        elif char == b"[":
            piece, at = _class(pattern, at)
        else:
            if char == b"\\" and at < len(pattern):
                char = pattern[at : at + 1]
                at += 1
            piece = re.escape(char)
        pieces[-1] += piece
    return pieces


def _class(pattern, at):
    """One ``[...]`` that begins at ``at``: its regular expression, and where the pattern goes on."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    taken = set()
    while at < len(pattern) and pattern[at] != 0x5D:  # ]
        if pattern[at] == 0x5C and at + 1 < len(pattern):  # a backslash
            at += 1
            taken.add(pattern[at])
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            # a char is signed where Redis compares, and a range may stand the wrong way round
            start, end = sorted((_signed(pattern[at]), _signed(pattern[at + 2])))
            taken.update(byte % 256 for byte in range(start, end + 1))
            at += 2
        else:
            taken.add(pattern[at])
        at += 1
    allowed = sorted(set(range(256)) - taken if negated else taken)
    # a class of nothing matches nothing; a missing bracket at the end is forgiven
    return (b"[%s]" % b"".join(b"\\x%02x" % byte for byte in allowed) if allowed else b"(?!)"), at + 1


def _signed(byte):
    return byte - 256 if byte > 127 else byte
