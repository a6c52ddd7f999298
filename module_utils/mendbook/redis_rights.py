# SPDX-License-Identifier: MIT
"""What a user of a Redis may not do, and the ACL SETUSER that allows it, ready to be copied into redis-cli. Pure."""

from __future__ import annotations

import re

from .redis_options import secrets_in, user_in

_COMMAND = re.compile(r"permissions? to run the '([^']+)' command( or its subcommand)?")
_KEY = re.compile(r"permissions? to access the '(.+)' key")
# Redis 6.2 does not tell which subcommand it refused; these are the ones that mendbook uses
_SUBCOMMANDS = {
    "client": ("client|setname", "client|list"),
    "cluster": ("cluster|nodes", "cluster|info", "cluster|myid"),
    "latency": ("latency|latest",),
    "memory": ("memory|usage",),
    "slowlog": ("slowlog|get",),
    "xinfo": ("xinfo|groups",),
}


def denied(said, keys=()):
    """Return what NOPERM refuses, and the rights that allow it: ``("MEMORY USAGE", ["+memory|usage"])``.

    ``keys`` are the patterns (bytes) of the keys that the command was for: where Redis refuses keys it names none.
    The first is None where it is no command, the second empty where nobody knows.
    """
    command, key = _COMMAND.search(said), _KEY.search(said)
    if command:
        name, any_part = command.groups()
        name = name.lower()
        rights = _SUBCOMMANDS.get(name, (name,)) if any_part else (name,)
        return name.replace("|", " ").upper(), [f"+{right}" for right in rights]
    if key:
        keys = [re.sub(r"([*?\[\\])", r"\\\1", key.group(1)).encode("utf-8", "surrogateescape")]
    return None, [_of_keys(pattern) for pattern in keys] if "key" in said else []


def who(params):
    """Return the user as whom we log in, in words that are no secret."""
    user = user_in(params) or "default"
    return "USER" if user in secrets_in(params) else user


def allowing(params, rights):
    """Return in words who gives these rights (``+unlink``, ``~cache:*``) to our user, and by which command."""
    command = " ".join(["ACL SETUSER", *(quoted(word) for word in (who(params), *rights))])
    return f"an administrator can allow it: {command}"


def quoted(word):
    """A word as redis-cli reads it: in quotes where a blank or a quote would end it, or something cannot be printed."""
    if word.isprintable() and re.fullmatch(r"[^\s\"']+", word):
        return word
    return '"' + "".join(map(_escaped, word)) + '"'


def _escaped(char):
    if char in '\\"':
        return "\\" + char
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def _of_keys(pattern):
    """The right to keys of this pattern. An ACL takes no blank, and ``?`` is any byte."""
    return "~" + re.sub(rb"[\s\x00]", b"?", pattern).decode("utf-8", "surrogateescape")
