# SPDX-License-Identifier: MIT
"""The templates of unit files and of the cron file."""

from __future__ import annotations

from importlib.resources import files
from typing import Any


def render(name: str, **values: Any) -> str:
    """The template ``name`` with these values, ended by one newline; a missing value is an error."""
    import jinja2

    # units and crontabs are no HTML: every value is quoted by the rules of its own format before it comes here
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    source = files("mendbook.schedule").joinpath("templates", name).read_text(encoding="utf-8")
    return environment.from_string(source).render(values).rstrip("\n") + "\n"
