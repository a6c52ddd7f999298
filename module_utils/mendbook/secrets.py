# SPDX-License-Identifier: MIT
"""Secrets that are named instead of given: ``env:NAME``, ``env?:NAME`` and ``file:/absolute/path``.

The gate resolves them on the control node, in options that a module's ARGUMENT_SPEC marks ``no_log``. With the wrapper
the environment of ansible holds no secrets; its variables are asked for over the UNIX socket ``$MENDBOOK_SECRETS``,
one connection for each: ``{"name": "X"}`` is answered by ``{"value": "..."}`` or ``{"missing": true}``, a line each.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
from urllib.parse import unquote

from ansible.module_utils.mendbook.errors import MendError, Refused

SOCKET_VARIABLE = "MENDBOOK_SECRETS"
SOCKET_SECONDS = 10
MAX_BYTES = 1 << 20
HIDDEN = "********"
# a shorter text is in every other word; hiding it would tell what it is
MIN_HIDDEN = 4
# ansible hides a number in which a secret stands, and a count is no number then
MIN_DIGITS = 6
RULE = "secrets"
# What the gate, ansible and the wrapper read in a result. A secret is hidden wherever it stands, by ansible in values,
# here in keys, too; one that stands in these would make a success of a failure, or a change of what destroys.
VALUES = (
    "reads", "changes", "destroys", "planned", "done", "nothing to do", "refused", "failed (nothing changed)",
    "failed (undone)", "partial", "UNKNOWN", "drift", "nothing", "locked", "verify", "unknown",
)  # fmt: skip
KEYS = (
    "changed", "failed", "msg", "plan", "state", "mend", "reason", "rule", "details", "done", "skipped_objects",
    "read_back", "figures", "schema", "module", "target", "kind", "address", "facts", "risk", "changes", "totals",
    "remains", "caps", "fingerprint", "tolerance", "expected_seconds", "undo", "source", "notes", "refusals", "sha256",
    "object", "before", "after", "count", "bytes", "group", "name", "limit", "used", "override", "value", "verdict",
)  # fmt: skip

_NAMED = re.compile(r"(env\?|env|file):(.*)", re.DOTALL)
_PASSWORD_IN_URI = re.compile(r"\A[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#@]*?:([^/?#]*)@")


def resolve(text, ask=None):
    """Return the secret that ``text`` names, or ``text`` itself when it names none; None means: leave the option out.

    ``ask(name)`` looks up an environment variable and returns None for one that is not set.
    """
    named = _NAMED.fullmatch(text)
    if not named:
        return text
    kind, name = named.groups()
    if kind == "file":
        return _read(name)
    value = (ask or ask_environment)(name)
    if value:
        return value
    if kind == "env?":
        return None
    what = "is empty" if value == "" else "is not set"
    raise MendError(f"env:{name}: the variable {name} {what} on the control node", rule=RULE)


def resolve_options(options, spec, ask=None):
    """Return (options with secrets in place, all secret texts in them) for a module's ``spec``; changes neither.

    Only options that are marked no_log are looked at, also in nested options; an ``env?:`` without a value is dropped.
    """
    entries = dict(spec)
    for entry in spec.values():
        entries.update({alias: entry for alias in entry.get("aliases", ())})
    resolved, secrets = {}, []
    for name, value in options.items():
        entry = entries.get(name, {})
        if entry.get("no_log"):
            value = _resolve_value(value, ask)
            if value is None:
                continue
            secrets += _texts(value)
            _require_hidable(name, _texts(value))
        elif entry.get("options"):
            value, found = _resolve_nested(value, entry["options"], ask)
            secrets += found
        resolved[name] = value
    return resolved, secrets


def _resolve_value(value, ask):
    if isinstance(value, str):
        return resolve(value, ask)
    if isinstance(value, (list, tuple)):
        return [part for part in (_resolve_value(part, ask) for part in value) if part is not None]
    return value


def _resolve_nested(value, spec, ask):
    if isinstance(value, dict):
        return resolve_options(value, spec, ask)
    if isinstance(value, (list, tuple)):
        pairs = [_resolve_nested(part, spec, ask) for part in value]
        return [part for part, _ in pairs], [secret for _, secrets in pairs for secret in secrets]
    return value, []


def _texts(value):
    if isinstance(value, str):
        password = _PASSWORD_IN_URI.match(value)
        parts = [password.group(1), unquote(password.group(1))] if password else []
        return [value, *parts]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for part in value for text in _texts(part)] if isinstance(value, (list, tuple)) else []


def _require_hidable(option, texts):
    """Refuse a secret whose hiding would change what a result says."""
    for text in filter(None, texts):
        words = VALUES + (KEYS if len(text) >= MIN_HIDDEN else ())
        if any(text in word for word in words) or (text.isdigit() and len(text) < MIN_DIGITS):
            raise Refused(
                f"refused: the secret in {option} is part of a word or a number that every answer is made of, so it "
                "cannot be hidden in one; choose a longer password",
                rule=RULE,
            )


def redact(value, secrets):
    """Return the value with every secret text hidden, wherever it stands; the other parts are the same objects."""
    hidden = sorted({secret for secret in secrets if len(secret) >= MIN_HIDDEN}, key=len, reverse=True)
    return _redact(value, hidden) if hidden else value


def _redact(value, hidden):
    if isinstance(value, str):
        for secret in hidden:
            if secret in value:
                value = value.replace(secret, HIDDEN)
        return value
    if isinstance(value, dict):
        return {_redact(key, hidden): _redact(part, hidden) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redact(part, hidden) for part in value]
    return value


def ask_environment(name):
    """Return the variable from the wrapper when it answers for this run, else from this process; None: not set."""
    path = os.environ.get(SOCKET_VARIABLE)
    return os.environ.get(name) if not path else _ask_wrapper(path, name)


def _ask_wrapper(path, name):
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(SOCKET_SECONDS)
            connection.connect(path)
            connection.sendall(json.dumps({"name": name}).encode("ascii") + b"\n")
            answer = _read_line(connection)
        answer = json.loads(answer)
        return None if answer.get("missing") else answer["value"]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        # the answer may hold the secret: its words stay out
        raise MendError(
            f"env:{name}: mendbook did not answer on ${SOCKET_VARIABLE} ({type(error).__name__})", rule=RULE
        ) from None


def _read_line(connection):
    received = b""
    while not received.endswith(b"\n"):
        part = connection.recv(65536)
        if not part or len(received) > MAX_BYTES:
            raise ValueError("no whole line")
        received += part
    return received


def _read(path):
    if not os.path.isabs(path):
        raise MendError(f"file:{path}: the path must be absolute", rule=RULE)
    try:
        # a pipe would make the open wait for ever
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise MendError(f"file:{path}: not a regular file", rule=RULE)
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MendError(f"file:{path}: {error.strerror} (read on the control node)", rule=RULE) from None
    if len(content) > MAX_BYTES:
        raise MendError(f"file:{path}: longer than {MAX_BYTES} bytes, which is no secret", rule=RULE)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise MendError(f"file:{path}: not UTF-8 text", rule=RULE) from None
    text = text[:-1] if text.endswith("\n") else text
    text = text[:-1] if text.endswith("\r") else text
    if not text:
        raise MendError(f"file:{path}: the file is empty", rule=RULE)
    return text
