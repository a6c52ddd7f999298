# SPDX-License-Identifier: MIT
"""What the operator states about a database: read strictly, so that a typo never passes for a check that was made."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field

from .errors import Refused

NEWEST_FIELDS = ("field", "max_age_seconds")


@dataclass(frozen=True)
class Newest:
    """The newest record may be ``max_age_seconds`` old; its time is in ``field`` (``None``: that inside ``_id``)."""

    max_age_seconds: int
    field: str | None = None


@dataclass(frozen=True)
class Expectations:
    """Stated expectations by collection name; everything empty means that nothing was stated."""

    critical: tuple = ()
    min_counts: dict = field(default_factory=dict)
    newest: dict = field(default_factory=dict)
    indexes: dict = field(default_factory=dict)

    def __bool__(self):
        return bool(self.critical or self.min_counts or self.newest or self.indexes)

    def names(self):
        """Every collection that something is expected of, sorted."""
        return sorted({*self.critical, *self.min_counts, *self.newest, *self.indexes})


def quoted(name):
    """A name from the outside world as ASCII text in quotes: no control character of it reaches a terminal."""
    text = json.dumps(str(name))
    return text if len(text) <= 200 else text[:150] + '..."'


def nearest(name, known):
    """Words that offer the names most like ``name``, or nothing: ``'; did you mean "orders"?'``."""
    by_lower = {}
    for one in known:
        by_lower.setdefault(str(one).lower(), str(one))
    close = difflib.get_close_matches(str(name).lower(), list(by_lower), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(quoted(by_lower[one]) for one in close)}?" if close else ""


def parse_expectations(params):
    """Expectations from the module's ``critical``, ``min_counts``, ``newest`` and ``indexes``.

    Raises Refused (rule "expectations") for an unknown field, a value of the wrong kind or an empty name.
    """
    return Expectations(
        critical=tuple(_unique(_name("critical", one) for one in params.get("critical") or [])),
        min_counts={
            _name("min_counts", name): _whole(f"min_counts of {quoted(name)}", value)
            for name, value in _mapping("min_counts", params.get("min_counts")).items()
        },
        newest={
            _name("newest", name): _newest(name, value)
            for name, value in _mapping("newest", params.get("newest")).items()
        },
        indexes={
            _name("indexes", name): _index_names(name, value)
            for name, value in _mapping("indexes", params.get("indexes")).items()
        },
    )


def parse_time_fields(value):
    """``{collection: field that holds the time}``, checked like the expectations."""
    fields = _mapping("time_fields", value)
    return {_name("time_fields", name): _field_path("time_fields", name, path) for name, path in fields.items()}


def _refuse(msg):
    raise Refused(msg, rule="expectations")


def _unique(values):
    return list(dict.fromkeys(values))


def _mapping(option, value):
    if value is None:
        return {}
    if not isinstance(value, dict):
        _refuse(f"{option} must map collection names to what is expected of them, not {quoted(value)}")
    return value


def _name(option, name):
    if not isinstance(name, str) or not name:
        _refuse(f"{option} needs names of collections, not {quoted(name)}")
    return name


def _whole(what, value):
    """A whole number, 0 or more; ``-e`` and Jinja hand numbers over as text."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _refuse(f"{what} must be a whole number, 0 or more, not {quoted(value)}")
    return value


def _newest(name, value):
    if not isinstance(value, dict):
        _refuse(f"newest of {quoted(name)} must be like {{max_age_seconds: 86400}}, not {quoted(value)}")
    for one in value:
        if one not in NEWEST_FIELDS:
            _refuse(
                f"newest of {quoted(name)} has no field {quoted(one)}{nearest(one, NEWEST_FIELDS)} "
                f"(fields: {', '.join(NEWEST_FIELDS)})"
            )
    if value.get("max_age_seconds") is None:
        _refuse(f"newest of {quoted(name)} needs max_age_seconds: how old may the newest record be?")
    return Newest(
        max_age_seconds=_whole(f"newest.max_age_seconds of {quoted(name)}", value["max_age_seconds"]),
        field=None if value.get("field") is None else _field_path("newest", name, value["field"]),
    )


def _field_path(option, name, path):
    # "$" at the front would turn a field into an expression, an empty part matches nothing at all
    if not isinstance(path, str) or any(not part or part.startswith("$") for part in path.split(".")):
        _refuse(f"{option} of {quoted(name)} needs the name of a field, not {quoted(path)}")
    return None if path == "_id" else path


def _index_names(name, value):
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        _refuse(f"indexes of {quoted(name)} must be a list of index names, not {quoted(value)}")
    return tuple(_unique(value))
