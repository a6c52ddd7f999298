# SPDX-License-Identifier: MIT
"""How long a recovery took and how much it lost (RTO and RPO), measured at the restored data; it only reads."""

from __future__ import annotations

import datetime
import re
from contextlib import contextmanager

from . import manifest as manifests
from .errors import Refused, VerifyFailed
from .mongo import connect
from .mongo_catalog import catalog
from .mongo_content import iso, newest, now, time_field
from .mongo_expect import parse_time_fields
from .mongo_options import secrets_in

_RUN = re.compile(r"([0-9]{8}T[0-9]{6})Z-[0-9a-f]{6}")


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
        """Read the moments and fields strictly, then connect."""
        self._began = moment_in("began", params["began"])
        self._last_write = moment_in("last_write", params["last_write"])
        self._fields = parse_time_fields(params["time_fields"])
        with connect(params) as deployment:
            yield deployment

    def observe(self, deployment):
        """Return the facts of a recovery inside its objectives; VerifyFailed (rule objectives) with them otherwise."""
        facts = judge(
            began=self._began if self.params["restored"] else None,
            stopped=self._stopped,
            last_write=self._last_write or self._began or self._stopped,
            found=self._newest_record(deployment) or newest_in(self.params["backup"] or {}),
            objectives={name: self.params[name] for name in ("rto_seconds", "rpo_seconds")},
        )
        if facts["missed"]:
            raise VerifyFailed(words(facts), rule="objectives", details=facts)
        return facts

    def _newest_record(self, deployment):
        """(moment, where it is from, the record) of the newest record of the database, or None when none has a time."""
        database = deployment.client[self.params["database"]]
        with deployment.deadline():
            live = catalog(database).live()
        best = None
        for name, entry in live.items():
            if entry.type == "view":
                continue
            field = time_field({"options": entry.options}, name, self._fields)
            with deployment.deadline():
                found = newest(database[name], field)
            if found and (best is None or found > best[0]):
                best = found, "data", {"collection": name, "field": field or "_id", "at": iso(found)}
        return best


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


def judge(*, began, stopped, last_write, found, objectives):
    """The facts: both figures (None: unknown), where the second is from, and which objectives are ``missed``.

    ``began`` (or None), ``stopped`` and ``last_write`` are moments, ``found`` is what `newest_in` gives.
    """
    figures = {
        "rto_seconds": None if began is None else _seconds(stopped - began),
        "rpo_seconds": None if found is None else _seconds(last_write - found[0]),
    }
    return {
        **figures,
        "rpo_from": found and found[1],
        "newest": found and found[2],
        "last_write": iso(last_write),
        "objectives": dict(objectives),
        # what is not known is not met
        "missed": [name for name, value in figures.items() if value is None or value > objectives[name]],
    }


def words(facts):
    """What was missed, in one sentence."""
    said = []
    for name, meaning in (("rto_seconds", "recovery took"), ("rpo_seconds", "data lost is that of")):
        allowed = shown(facts["objectives"][name])
        short = name[:3].upper()
        if name not in facts["missed"]:
            continue
        if facts[name] is not None:
            said.append(f"{meaning} {shown(facts[name])}, and the {short} is {allowed}")
        elif name == "rto_seconds":
            said.append(
                f"how long a recovery takes is not known (RTO {allowed}): the scratch server held this backup "
                "already; drop the database there, and drill again"
            )
        else:
            said.append(f"how much would be lost is not known (RPO {allowed}): no record and no backup has a time")
    return "objectives missed: " + "; ".join(said)


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
    """Never below zero: clocks differ, and a record of the future loses nothing."""
    return max(0.0, round(span.total_seconds(), 3))
