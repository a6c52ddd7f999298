# SPDX-License-Identifier: MIT
"""How long a recovery took and how much it lost (RTO and RPO), measured at the restored data; it only reads."""

from __future__ import annotations

import datetime
import math
import re
from contextlib import contextmanager

from . import manifest as manifests
from .errors import Refused, VerifyFailed
from .mongo import connect
from .mongo_catalog import catalog
from .mongo_content import CLOCK_SKEW, date_fields, iso, newest, now, time_field
from .mongo_expect import nearest, parse_time_fields, quoted
from .mongo_options import secrets_in

_RUN = re.compile(r"([0-9]{8}T[0-9]{6})Z-[0-9a-f]{6}")
_NEWEST = {
    "data": "the newest record",
    "manifest": "the newest record in the manifest",
    "finished": "the end of the backup",
}


class Recovery:
    """The procedure of mend_mongo_recovery_info for `run_read`: ``open`` and ``observe``.

    The clock is stopped when ``open`` is entered: what is asked afterwards is no part of the recovery.
    """

    def __init__(self, params):
        self.params = params
        self._stopped = now()

    def secrets(self, params):
        """Texts that no output may show beside the options that ansible hides by itself."""
        return secrets_in(params)

    @contextmanager
    def open(self, params):
        """Read the moments, fields and objectives strictly, then connect."""
        self._began = moment_in("began", params["began"])
        self._last_write = moment_in("last_write", params["last_write"])
        self._fields = parse_time_fields(params["time_fields"])
        self._objectives = {name: params[name] for name in ("rto_seconds", "rpo_seconds")}
        _check_objectives(self._objectives)
        with connect(params) as deployment:
            yield deployment

    def observe(self, deployment):
        """Return the facts of a recovery inside its objectives; VerifyFailed (rule objectives) with them otherwise."""
        found, notes = self._newest_record(deployment)
        facts = judge(
            began=self._began,
            stopped=self._stopped,
            last_write=self._last_write or self._began or self._stopped,
            found=found or newest_in(self.params["backup"] or {}),
            objectives=self._objectives,
            restored=self.params["restored"],
        )
        facts["notes"] = notes
        if facts["missed"]:
            raise VerifyFailed(words(facts), rule="objectives", details=facts)
        facts["summary"] = sentences(facts)
        return facts

    def _newest_record(self, deployment):
        """(moment, where it is from, the record) of the newest record, None when none has a time, and what to note."""
        database = deployment.client[self.params["database"]]
        with deployment.deadline():
            live = {name: entry for name, entry in catalog(database).live().items() if entry.type != "view"}
        best = None
        notes = [
            f"time_fields names {quoted(name)}, which is not there{nearest(name, live)}"
            for name in self._fields
            if name not in live
        ]
        for name, entry in live.items():
            field = time_field({"options": entry.options}, name, self._fields)
            with deployment.deadline():
                found = newest(database[name], field)
                if found is None and name in self._fields:
                    offered = ", ".join(quoted(one) for one in date_fields(database[name]))
                    hint = f" (dates are in {offered})" if offered else ""
                    notes.append(f"no record of {quoted(name)} has a time in its field {quoted(field)}{hint}")
            if found and (best is None or found > best[0]):
                best = found, "data", {"collection": name, "field": field or "_id", "at": iso(found)}
        return best, notes


def newest_in(backup):
    """The same of a backup as mend_s3_backup_info describes it: its newest record, else when it was finished."""
    times = {
        name: manifests.moment(entry["newest"])
        for name, entry in (backup.get("collections") or {}).items()
        if entry.get("newest") not in (None, "unknown")
    }
    if times:
        name = max(times, key=lambda one: times[one])
        return times[name], "manifest", {"collection": name.partition(".")[2], "field": None, "at": iso(times[name])}
    if backup.get("finished"):
        return manifests.moment(backup["finished"]), "finished", None
    return None


def judge(*, began, stopped, last_write, found, objectives, restored=True):
    """The facts: both figures (None: ``unknown`` says why), where the second is from, and which are ``missed``.

    ``began`` (or None), ``stopped`` and ``last_write`` are moments, ``found`` is what `newest_in` gives.
    """
    rto = rpo = None
    unknown = {}
    if not restored:
        unknown["rto_seconds"] = "the scratch server held this backup already; drop the database there, and drill again"
    elif began is None:
        unknown["rto_seconds"] = "nobody said when it began"
    elif began - stopped > CLOCK_SKEW:
        ahead = shown((began - stopped).total_seconds())
        unknown["rto_seconds"] = (
            f"began is {ahead} later than the end of the recovery: it is wrong, or two clocks differ"
        )
    else:
        rto = _seconds(stopped - began)
    if found is None:
        unknown["rpo_seconds"] = "no record and no backup has a time"
    elif found[0] - last_write > CLOCK_SKEW:
        unknown["rpo_seconds"] = (
            f"{_NEWEST[found[1]]} is {shown((found[0] - last_write).total_seconds())} later than the last write that "
            f"should be there, {iso(last_write)}: last_write or began is wrong, or two clocks differ"
        )
    else:
        rpo = _seconds(last_write - found[0])
    figures = {"rto_seconds": rto, "rpo_seconds": rpo}
    return {
        **figures,
        "rpo_from": found and found[1],
        "newest": found and found[2],
        "last_write": iso(last_write),
        "objectives": dict(objectives),
        "unknown": unknown,
        # what is not known is not met
        "missed": [name for name, value in figures.items() if value is None or value > objectives[name]],
    }


def words(facts):
    """What was missed, in one sentence."""
    said = []
    for name, took, question in (
        ("rto_seconds", "recovery took", "how long a recovery takes"),
        ("rpo_seconds", "data lost is that of", "how much would be lost"),
    ):
        allowed, short = shown(facts["objectives"][name]), name[:3].upper()
        if name in facts["unknown"]:
            said.append(f"{question} is not known ({short} {allowed}): {facts['unknown'][name]}")
        elif name in facts["missed"]:
            said.append(f"{took} {shown(facts[name])}, and the {short} is {allowed}")
    return "objectives missed: " + "; ".join(said)


def sentences(facts):
    """What was measured and is met, and what is to be noted beside it, for a person."""
    newest = facts["newest"]
    where = f" ({newest['collection']}.{newest['field']})" if newest and newest["field"] else ""
    said = []
    for name, by in (("rto_seconds", ""), ("rpo_seconds", f" by {_NEWEST[facts['rpo_from']]}{where}")):
        said.append(
            f"{name[:3].upper()} {shown(facts[name])}{by}: met, the objective is {shown(facts['objectives'][name])}"
        )
    return said + facts["notes"]


def _check_objectives(objectives):
    """Refused (rule options) for an objective that nothing or everything would meet."""
    for name, value in objectives.items():
        if not (value > 0 and math.isfinite(value)):
            raise Refused(f"{name} is {value:g}, and an objective must be a number above 0", rule="options")


def moment_in(option, text):
    """The moment in an option, ISO 8601 with its zone or the name of a run; None when it is empty."""
    if not text:
        return None
    named = _RUN.fullmatch(text)
    if named:
        return datetime.datetime.strptime(named[1], "%Y%m%dT%H%M%S").replace(tzinfo=datetime.timezone.utc)
    try:
        return manifests.moment(text)
    except ValueError as error:
        raise Refused(f"{option} is {error}", rule="options") from None


def shown(seconds):
    """Seconds in the largest unit that leaves a number above 1: 4 h, 1.5 d, 12.3 s."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _seconds(span):
    """Never below zero: clocks differ by as much as `judge` lets pass."""
    return max(0.0, round(span.total_seconds(), 3))
