# SPDX-License-Identifier: MIT
"""Which libraries the modules of an engine import where they run, and in which packages they come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

# The first is needed by every module of the engine, the others by some (backups and restores).
OF_ENGINE = {
    "mongo": ("pymongo", "boto3", "isal", "fastcrc", "xxhash"),
    "postgres": ("psycopg",),
    "redis": ("redis",),
    "s3": ("boto3",),
}
# (Debian, RHEL with EPEL); what is not here comes from pip only
PACKAGES = {
    "boto3": ("python3-boto3", "python3-boto3"),
    "isal": ("python3-isal", None),
    "psycopg": ("python3-psycopg", "python3-psycopg3"),
    "pymongo": ("python3-pymongo", "python3-pymongo"),
    "redis": ("python3-redis", "python3-redis"),
    "xxhash": ("python3-xxhash", "python3-xxhash"),
}
_RHEL = {"rhel", "fedora", "centos", "rocky", "almalinux", "ol", "amzn"}
_DEBIAN = {"debian", "ubuntu"}


@dataclass(frozen=True)
class Need:
    """One library; ``always``: no module of the engine does without it."""

    library: str
    engine: str
    always: bool


def needs(engines: Iterable[str]) -> list[Need]:
    """The libraries that modules of these engines import, each once, those of every module first."""
    found: dict[str, Need] = {}
    for engine in engines:
        for number, library in enumerate(OF_ENGINE[engine]):
            need = Need(library, engine, number == 0)
            if library not in found or need.always:
                found[library] = need
    return sorted(found.values(), key=lambda need: not need.always)


def too_old(library: str, version: str) -> str | None:
    """What mendbook's own requirements say (``>=4.20,<4.21``) when this version is not what they ask for."""
    from packaging.version import InvalidVersion, Version

    specifier = _requirements().get(library)
    try:
        fits = specifier is None or specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return None
    return None if fits else str(specifier)


def how_to_install(library: str, os: Iterable[str], python: str) -> str:
    """One line for the family of this system (ID and ID_LIKE of os-release)."""
    debian, rhel = PACKAGES.get(library, (None, None))
    family = set(os)
    package = debian if family & _DEBIAN else rhel if family & _RHEL else None
    if package and python.startswith(("/usr/bin/", "/usr/libexec/")):
        return f"apt-get install {package}" if family & _DEBIAN else f"dnf install {package} (EPEL)"
    return with_pip(library, python)


def with_pip(library: str, python: str) -> str:
    """The version that mendbook asks for, for an interpreter that is not the system's."""
    specifier = _requirements().get(library)
    return f"in a virtual environment that ansible_python_interpreter names: pip install '{library}{specifier or ''}'"


@cache
def _requirements() -> dict[str, SpecifierSet]:
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    parsed = [Requirement(text) for text in requires("mendbook") or ()]
    return {each.name: each.specifier for each in parsed}
