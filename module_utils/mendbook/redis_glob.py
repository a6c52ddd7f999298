# SPDX-License-Identifier: MIT
"""Glob patterns as Redis means them, matched here: what SCAN's MATCH would say of a key. Pure."""

from __future__ import annotations

import re

_BYTES = range(256)
# a [...] of so few is still a text that somebody meant, such as [Cc]ache
_FEW = 3
_OWN_TEXT = 2


def takes_all(pattern):
    """Whether a pattern holds nothing but wildcards, so that it means every key, or every one of some length."""
    turns = list(_turns(as_bytes(pattern)))
    return None in turns and all(len(turn) == len(_BYTES) for turn in turns if turn is not None)


def names_keys(pattern):
    """Whether a pattern says by a text of its own which keys it means: two characters of it, one beside the other.

    What does not may take nearly every key: ``*``, ``[^x]*``, ``[a-z0-9]*``, ``*:*``, and ``a*`` with its 35 sisters.
    A pattern without any wildcard is the name of one key, however short.
    """
    run = longest = 0
    named = True
    for turn in _turns(as_bytes(pattern)):
        fixed = turn is not None and len(turn) <= _FEW
        run = run + 1 if fixed else 0
        longest = max(longest, run)
        named = named and fixed
    return named or longest >= _OWN_TEXT


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
    """The regular expressions between the stars of a pattern."""
    pieces = [b""]
    for turn in _turns(pattern):
        if turn is None:
            pieces.append(b"")
        else:
            pieces[-1] += _one_of(turn)
    return pieces


def _one_of(allowed):
    """The regular expression for one byte of these; of nothing, for what matches nothing."""
    if len(allowed) == len(_BYTES):
        return b"."
    return b"[%s]" % b"".join(b"\\x%02x" % byte for byte in allowed) if allowed else b"(?!)"


def _turns(pattern):
    """The bytes that a pattern allows at each place, None for a star: every turn of Redis' own stringmatchlen()."""
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == 0x2A:  # *
            yield None
        elif char == 0x3F:  # ?
            yield _BYTES
        elif char == 0x5B:  # [
            allowed, at = _class(pattern, at)
            yield allowed
        else:
            if char == 0x5C and at < len(pattern):  # a backslash
                char = pattern[at]
                at += 1
            yield [char]


def _class(pattern, at):
    """One ``[...]`` that begins at ``at``: the bytes that it allows, and where the pattern goes on."""
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
    # a missing bracket at the end is forgiven
    return sorted(set(_BYTES) - taken if negated else taken), at + 1


def _signed(byte):
    return byte - 256 if byte > 127 else byte
