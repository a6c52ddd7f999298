# SPDX-License-Identifier: MIT
"""Variables on their way to a run: known, of the right type, with absolute paths, never templates, never secrets."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mendbook.content import Option, Procedure, did_you_mean
from mendbook.errors import InvalidVariable

# Accepted beside what the roles declare: mendbook's own policy, and how a host is reached.
POLICY = frozenset({"mend_hosts", "mend_hold", "mend_via", "mend_s3_via"})
REFERENCE = re.compile(r"env\??:|file:")
_SECRET_NAME = re.compile(r"(password|passphrase|secret|secret_key|token|customer_key)$")
_SECRET_URI = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@\s]*:[^/@\s]+@", re.IGNORECASE)
_WORDS = {**dict.fromkeys(("true", "yes", "on", "1"), True), **dict.fromkeys(("false", "no", "off", "0"), False)}


class Vault(str):
    """Text of a ``!vault`` value: ansible decrypts it, we pass it on."""


def from_words(words: Iterable[str], procedure: Procedure) -> dict[str, Any]:
    """Variables of ``k=v`` and ``@file`` words as typed after -e; later words win.

    A secret in plain text is refused: every user of this machine reads command lines.
    """
    values: dict[str, Any] = {}
    for word in words:
        if word.startswith("@"):
            values.update(_from_file(Path(word[1:]).expanduser()))
            continue
        name, equals, text = word.partition("=")
        if not equals or not name.strip():
            raise InvalidVariable(f"-e takes name=value or @file, not {_shorten(word)!r}")
        name = name.strip()
        option = procedure.options.get(name)
        if is_secret(name, text, option):
            raise InvalidVariable(
                f"{name} is a secret and would stand in the process list; give {name}=env:NAME or {name}=file:/path"
            )
        values[name] = text if option is None else _from_text(option, text)
    return values


def check(values: Mapping[str, Any], procedure: Procedure) -> dict[str, Any]:
    """The same variables, known to the procedure, with absolute paths and allowed choices, or InvalidVariable."""
    checked: dict[str, Any] = {}
    for name, value in values.items():
        option = procedure.options.get(name)
        if option is None:
            _refuse_unknown(name, procedure)
            checked[name] = _absolute({}, value)
            continue
        _refuse_choice(option, value)
        checked[name] = _absolute(option.spec, value)
    return checked


def is_secret(name: str, value: Any, option: Option | None) -> bool:
    """Whether this value gives something away: by its role's word, by its name, or as a URI with a password."""
    if not isinstance(value, str) or isinstance(value, Vault) or not value or REFERENCE.match(value):
        return False
    declared = option.spec.get("no_log") if option is not None else None
    by_name = declared is None and bool(_SECRET_NAME.search(name))
    return bool(declared) or by_name or bool(_SECRET_URI.match(value))


def withdraw_secrets(values: dict[str, Any], procedure: Procedure) -> dict[str, str]:
    """Replace plain secrets by ``env:`` references, in place; the names and values for the secret server come back.

    So a program or a variables file may hold a secret without it being written anywhere by us.
    """
    secrets: dict[str, str] = {}
    for name, value in values.items():
        if is_secret(name, value, procedure.options.get(name)):
            reference = f"MENDBOOK_VALUE_OF_{name.upper()}"
            secrets[reference] = value
            values[name] = f"env:{reference}"
    return secrets


def write(values: Mapping[str, Any], path: Path) -> None:
    """Write a new 0600 JSON file for ``-e @file``: strings are marked unsafe, so ansible never renders them."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({name: _inert(value) for name, value in values.items()}, file)


def _inert(value: Any) -> Any:
    """A dict from outside must not smuggle in the markers that ansible's JSON loader understands."""
    if isinstance(value, Vault):
        return {"__ansible_vault": str(value)}
    if isinstance(value, str):
        return {"__ansible_unsafe": str(value)}
    if isinstance(value, os.PathLike):
        return {"__ansible_unsafe": os.fspath(value)}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key.startswith("__ansible"):
                raise InvalidVariable(f"{key!r} cannot be a key inside a variable")
        return {key: _inert(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_inert(each) for each in value]
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise InvalidVariable(f"a {type(value).__name__} cannot be passed to ansible; use text, numbers, lists and dicts")


def _refuse_unknown(name: str, procedure: Procedure) -> None:
    if name in POLICY or name.startswith("ansible_") or name in procedure.borrowed:
        return
    known = [*procedure.options, *procedure.borrowed, *sorted(POLICY)]
    raise InvalidVariable(
        f"{procedure.name} has no variable {name!r}" + did_you_mean(name, known, f"see: mendbook show {procedure.name}")
    )


def _refuse_choice(option: Option, value: Any) -> None:
    choices = option.spec.get("choices")
    if not choices or isinstance(value, Vault):
        return
    for each in value if isinstance(value, list) else [value]:
        if each not in choices:
            allowed = ", ".join(str(choice) for choice in choices)
            raise InvalidVariable(f"{option.name} must be one of {allowed}, not {_shorten(str(each))!r}")


def _absolute(spec: Mapping[str, Any], value: Any) -> Any:
    """Paths relative to here, made absolute: ansible and the modules run in another folder."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and not isinstance(value, Vault) and value:
        if value.startswith("file:"):
            return "file:" + _absolute_path(value.removeprefix("file:"))
        return _absolute_path(value) if spec.get("type") == "path" and not REFERENCE.match(value) else value
    if isinstance(value, (list, tuple)):
        element = {"type": spec.get("elements", "raw"), "options": spec.get("options")}
        return [_absolute(element, each) for each in value]
    if isinstance(value, Mapping):
        inner = spec.get("options") or {}
        return {key: _absolute(inner.get(key) or {}, each) for key, each in value.items()}
    return value


def _absolute_path(text: str) -> str:
    return str(Path(text).expanduser().absolute())


def _from_text(option: Option, text: str) -> Any:
    """The value that ``text`` means for this option."""
    if REFERENCE.match(text):
        return text
    try:
        return _convert(option.type, text, option.spec)
    except ValueError as error:
        raise InvalidVariable(
            f"{option.name} takes {_NAMES.get(option.type, option.type)}, not {_shorten(text)!r}"
        ) from error


def _convert(kind: str, text: str, spec: Mapping[str, Any]) -> Any:
    converter = _CONVERTERS.get(kind)
    if converter is not None:
        return converter(text)
    if kind == "list":
        items = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [item.strip() for item in text.split(",") if item.strip()]
        )
        element = spec.get("elements", "str")
        return [_convert(element, item, {}) if isinstance(item, str) else item for item in items]
    if kind == "dict":
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        return value
    return text


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _bool(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise ValueError("not a boolean")
    return _WORDS[text.lower()]


def _int(text: str) -> int:
    # int() also takes 1_000 and foreign digits
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError("not a whole number")
    return int(text)


_CONVERTERS: dict[str, Callable[[str], Any]] = {"int": _int, "float": _float, "bool": _bool}
_NAMES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list: a,b,c or JSON",
    "dict": "a JSON object",
}


def _from_file(path: Path) -> dict[str, Any]:
    """Variables of a YAML or JSON file; ``!vault`` values are passed on, anything else with a tag is refused."""
    import yaml

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = type("VariablesLoader", (base,), {})
    loader.add_constructor("!vault", lambda _, node: Vault(node.value))  # type: ignore[attr-defined]
    # a moment stays the text that was written: options take ISO 8601, and JSON has no dates
    loader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: str(node.value))  # type: ignore[attr-defined]
    loader.add_constructor("!unsafe", lambda _, node: str(node.value))  # type: ignore[attr-defined]
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidVariable(f"the variables file {path} cannot be read: {error}") from error
    if text.startswith("$ANSIBLE_VAULT"):
        raise InvalidVariable(
            f"{path} is encrypted as a whole; encrypt the values in it (ansible-vault encrypt_string)"
        )
    try:
        values = yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        # the parser's message quotes the line, which may hold a secret
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InvalidVariable(f"{path}{where}: not YAML: {getattr(error, 'problem', 'cannot be parsed')}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InvalidVariable(f"{path} must hold names and values")
    return values


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
