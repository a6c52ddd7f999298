# SPDX-License-Identifier: MIT
"""Whether the addresses of services answer: those that their connection strings name, without logging in.

A connection string is a secret as a whole. Only its hosts and ports are taken, and nothing else of it is ever shown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mendbook.preflight.reach import Deadline, Stopped, address

_PORTS = {"postgres": 5432, "redis": 6379, "mongo": 27017, "s3": 443}
UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Answer:
    """What one address said; ``stage`` is empty when it answers, ``unchecked`` when nobody asked, else a stage."""

    variable: str
    where: str
    stage: str
    text: str = ""


Connect = Callable[[str, int, Deadline], None]


def look(endpoints: Mapping[str, str], connect: Connect, deadline: Deadline) -> list[Answer]:
    """Try every address once; ``connect`` opens and closes one connection or raises Stopped.

    What stops us at a bastion is no answer of an address, and is raised.
    """
    answers: list[Answer] = []
    asked: dict[tuple[str, int], str] = {}
    for variable, value in endpoints.items():
        if value in ("", "None"):
            continue
        places, why = addresses(variable, value)
        if why:
            answers.append(Answer(variable, "", UNCHECKED, why))
        for place in places:
            asked.setdefault(place, variable)
    for number, ((host, port), variable) in enumerate(asked.items()):
        where = address(host, port)
        try:
            connect(host, port, deadline.share(len(asked) - number))
            answers.append(Answer(variable, where, ""))
        except Stopped as stopped:
            if stopped.at_bastion:
                raise
            answers.append(Answer(variable, where, stopped.stage, stopped.text))
    return answers


def ways(endpoints: Mapping[str, str], via: str, s3_via: str) -> list[tuple[str, dict[str, str]]]:
    """The endpoints by the way that a run takes to them: a store beside a database has its own, ``mend_s3_via``."""
    beside = {name for name in endpoints if name.endswith("_s3_endpoint_url") and not name.startswith("s3_")}
    both = [
        (way, {name: endpoints[name] for name in endpoints if (name in beside) == there})
        for way, there in ((via, False), (s3_via, True))
    ]
    return [(way, found) for way, found in both if found]


def addresses(variable: str, value: str) -> tuple[list[tuple[str, int]], str]:
    """The (host, port) of a connection string, and in words what of it is not known here."""
    text, why = _resolved(variable, value)
    if why:
        return [], why
    engine = next((name for name in _PORTS if variable.startswith(name)), "s3")
    if variable.endswith("endpoint_url"):
        engine = "s3"
    try:
        return _PARSERS[engine](text)
    except Exception:  # noqa: BLE001 - the words of a driver's error may hold the password
        return [], "the connection string cannot be read"


def _resolved(variable: str, value: str) -> tuple[str, str]:
    """The text behind env:NAME and file:/path, as a run would take it."""
    kind, _, name = value.partition(":")
    if kind in ("env", "env?"):
        if found := os.environ.get(name):
            return found, ""
        return "", f"{name} is not set here, so the address of {variable} is not known"
    if kind == "file":
        try:
            return Path(name).read_text(encoding="utf-8").strip(), ""
        except (OSError, UnicodeDecodeError):
            return "", f"{name} cannot be read here, so the address of {variable} is not known"
    return value, ""


def _mongo(text: str) -> tuple[list[tuple[str, int]], str]:
    if text.startswith("mongodb+srv://"):
        return [], "the servers of mongodb+srv:// are in DNS records that only the driver looks up"
    from pymongo.uri_parser import parse_uri

    found = parse_uri(text, validate=False, warn=False)
    return [(host, port) for host, port in found["nodelist"] if not host.startswith("/")], ""


def _postgres(text: str) -> tuple[list[tuple[str, int]], str]:
    from psycopg.conninfo import conninfo_to_dict

    found = conninfo_to_dict(text)
    hosts = str(found.get("hostaddr") or found.get("host") or "").split(",")
    ports = [int(port or _PORTS["postgres"]) for port in str(found.get("port") or "").split(",")]
    # one port for every host, or one for each
    ports = ports * len(hosts) if len(ports) == 1 else ports
    places = [(host, port) for host, port in zip(hosts, ports, strict=True) if host and not host.startswith("/")]
    return places, "" if places else "a local socket is not tried"


def _redis(text: str) -> tuple[list[tuple[str, int]], str]:
    if text.startswith("unix:"):
        return [], "a local socket is not tried"
    found = urlsplit(text)
    if "@" in found.path + found.query + found.fragment:
        raise ValueError("what stands before it is no host but a part of the password")
    places = [(host, port) for host, port in map(_host_port, found.netloc.rpartition("@")[2].split(",")) if host]
    return [(host, port or _PORTS["redis"]) for host, port in places], "" if places else "it names no host"


def _s3(text: str) -> tuple[list[tuple[str, int]], str]:
    found = urlsplit(text)
    return [(found.hostname or "", found.port or (80 if found.scheme == "http" else 443))], ""


def _host_port(text: str) -> tuple[str, int | None]:
    found = urlsplit(f"//{text}")
    return found.hostname or "", found.port


_PARSERS = {"mongo": _mongo, "postgres": _postgres, "redis": _redis, "s3": _s3}
