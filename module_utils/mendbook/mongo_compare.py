# SPDX-License-Identifier: MIT
"""Compare what a manifest says about a collection with what a server has; pure, everything in relaxed extended JSON.

An *entry* describes one collection: ``{type, options, indexes, count, sum, newest}`` (design of the backup manifest),
an entry found on a server may also carry ``building``: the names of indexes that are not finished.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from bson import json_util
from bson.errors import BSONError

from .mongo_expect import quoted

# Restore builds TTL indexes with this value, so that nothing expires before the data is proven and swapped in.
PARKED_TTL = 2147483647
_MEANINGLESS_IN_INDEX = ("v", "ns", "background")
_FALSE_MEANS_ABSENT = ("unique", "sparse", "hidden", "capped")
_ORDER_MEANS_NOTHING = ("collation", "weights", "timeseries", "clusteredIndex", "storageEngine")
_VALIDATOR_DEFAULTS = {"validationLevel": "strict", "validationAction": "error"}


@dataclass(frozen=True)
class Check:
    """One comparison: ``object`` is a collection, ``words`` say a difference as the operator reads it."""

    name: str
    object: str
    expected: object
    found: object
    ok: bool
    words: str = ""

    def facts(self):
        """The check as a result shows it: no value larger than a screenful."""
        return {
            "name": self.name,
            "object": self.object,
            "expected": _bounded(self.expected),
            "found": _bounded(self.found),
            "ok": self.ok,
        }


def extended(value):
    """A BSON value as relaxed extended JSON (plain dicts, lists, numbers, text), key order kept."""
    text = json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS)
    return json.loads(text)


def normal(value):
    """One spelling for the ways in which extended JSON can write the same value (canonical or relaxed, old or new)."""
    try:
        return extended(json_util.loads(json.dumps(value), json_options=json_util.RELAXED_JSON_OPTIONS))
    except (ValueError, TypeError, AttributeError, KeyError, BSONError):
        return value  # a document of the user's that only looks like extended JSON: compared as it is


def same(left, right, *, ordered=True):
    """Equal as the server sees it: 1 and 1.0 are, true and 1 are not; the order of keys counts when ``ordered``."""
    if isinstance(left, dict) and isinstance(right, dict):
        if set(left) != set(right) or (ordered and list(left) != list(right)):
            return False
        return all(same(left[key], right[key], ordered=ordered) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b, ordered=ordered) for a, b in zip(left, right))
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return left == right


def compare_shape(name, expected, found):
    """Checks of type, options and indexes of one collection; contents and counts are compared elsewhere."""
    checks = [_equal(name, "type", expected["type"], found["type"])]
    if not checks[0].ok:
        return checks  # a view and a collection have nothing else in common
    # what a manifest leaves out is unknown, not empty
    if expected.get("options") is not None:
        checks += _compare_options(name, expected["options"], found.get("options") or {})
    if expected["type"] != "view" and expected.get("indexes") is not None:
        checks += _compare_indexes(name, expected["indexes"], found.get("indexes") or [], found.get("building") or ())
    return checks


def parked_ttls(name, found, expected=None):
    """A failed check for each TTL index that restore parked and did not bring back; not where it was meant so."""
    meant = {spec.get("name"): spec.get("expireAfterSeconds") for spec in (expected or {}).get("indexes") or []}
    parked = [
        spec["name"]
        for spec in found.get("indexes") or []
        if spec.get("expireAfterSeconds") == PARKED_TTL and meant.get(spec["name"]) != PARKED_TTL
    ]
    return [
        Check(
            f"ttl {index}",
            name,
            meant.get(index),
            PARKED_TTL,
            False,
            f"TTL index {quoted(index)} is parked at {PARKED_TTL} seconds: restore not finished",
        )
        for index in parked
    ]


def compare_count(name, expected, found, *, unit="documents"):
    """The check of a number of documents, saying how many are missing or too many."""
    difference = found - expected
    words = ""
    if difference:
        how = f"{-difference} missing" if difference < 0 else f"{difference} too many"
        words = f"has {found} {unit}, expected {expected} ({how})"
    return Check("count", name, expected, found, not difference, words)


def compare_sum(name, expected, found, *, counts_agree):
    """The check of the order-free sum over every document's bytes; both as 32 hexadecimal digits."""
    words = ""
    if expected != found:
        words = "content differs from the manifest"
        if counts_agree:
            words += ", although the count is right: at least one document was changed or exchanged"
    return Check("content", name, expected, found, expected == found, words)


def _compare_options(name, expected, found):
    expected, found = _normal_options(expected), _normal_options(found)
    checks = []
    for option in [*expected, *(one for one in found if one not in expected)]:
        want, have = expected.get(option), found.get(option)
        ordered = option not in _ORDER_MEANS_NOTHING
        ok = option in expected and option in found and same(want, have, ordered=ordered)
        words = "" if ok else f"option {quoted(option)} is {_words(have)}, expected {_words(want)}"
        if option == "expireAfterSeconds" and have is None:
            words += " (restore not finished, or switched off)"  # restore sets it last of all
        checks.append(Check(f"option {option}", name, want, have, ok, words))
    return checks


def _compare_indexes(name, expected, found, building):
    expected = {spec.get("name"): _normal_index(spec) for spec in expected}
    found = {spec.get("name"): _normal_index(spec) for spec in found}
    checks = []
    for index, want in expected.items():
        have = found.get(index)
        checks.append(Check(f"index {index}", name, want, have, *_index_difference(index, want, have, found, building)))
    for index, have in found.items():
        if index not in expected:
            words = f"has an index {quoted(index)} that is not in the manifest: {_words(have)}"
            checks.append(Check(f"index {index}", name, None, have, False, words))
    return checks


def _index_difference(index, want, have, found, building):
    """(ok, words) for one index of the manifest."""
    if have is None:
        twin = next((other for other, spec in found.items() if same(spec.get("key"), want.get("key"))), None)
        also = f" (its key is indexed under the name {quoted(twin)})" if twin is not None else ""
        return False, f"index {quoted(index)} is missing{also}"
    if index in building:
        return False, f"index {quoted(index)} is still being built"
    differences = []
    for option in [*want, *(one for one in have if one not in want)]:
        if option == "expireAfterSeconds" and have.get(option) == PARKED_TTL and want.get(option) != PARKED_TTL:
            continue  # parked_ttls says it
        ordered = option not in _ORDER_MEANS_NOTHING
        if option not in want or option not in have or not same(want[option], have[option], ordered=ordered):
            differences.append(f"{option} is {_words(have.get(option))}, expected {_words(want.get(option))}")
    return not differences, f"index {quoted(index)}: {'; '.join(differences)}" if differences else ""


def _normal_index(spec):
    spec = {key: value for key, value in spec.items() if key not in _MEANINGLESS_IN_INDEX}
    return _drop_false(normal(spec))


def _normal_options(options):
    options = _drop_false(normal(dict(options)))
    # an identifier, not an option: it differs between any two collections
    options.pop("uuid", None)
    if "validator" in options:
        options = {**options, **{key: options.get(key, value) for key, value in _VALIDATOR_DEFAULTS.items()}}
    if same(options.get("changeStreamPreAndPostImages"), {"enabled": False}):
        del options["changeStreamPreAndPostImages"]
    return options


def _drop_false(spec):
    """Flags that are off are the same as flags that are absent; old servers wrote them as numbers."""
    kept = {}
    for key, value in spec.items():
        if key in _FALSE_MEANS_ABSENT:
            if value:
                kept[key] = True
        else:
            kept[key] = value
    return kept


def _equal(name, what, expected, found):
    ok = same(expected, found)
    words = "" if ok else f"{what} is {_words(found)}, expected {_words(expected)}"
    return Check(what, name, expected, found, ok, words)


def _words(value):
    if value is None:
        return "absent"
    text = json.dumps(value)
    return text if len(text) <= 160 else text[:150] + "..."


def _bounded(value):
    text = json.dumps(value)
    return value if len(text) <= 2000 else text[:1990] + "..."
