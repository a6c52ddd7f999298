# SPDX-License-Identifier: MIT
"""Prove that a database holds what its backup's manifest says and what the operator states about it; it only reads."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager

from . import manifest as manifests
from .errors import Nothing, VerifyFailed
from .lock import holder
from .mongo import connect
from .mongo_catalog import catalog
from .mongo_compare import Check, compare_count, compare_shape, compare_sum, parked_ttls
from .mongo_content import CLOCK_SKEW, Reader, data_place, date_fields, has_sum, iso, newest, now, shapes, time_field
from .mongo_expect import nearest, parse_expectations, parse_time_fields, quoted
from .mongo_marker import markers
from .mongo_options import secrets_in
from .mongo_verify_manifest import read_manifest, select_entries
from .mongo_verify_privileges import Reading
from .progress import Progress

MOST_CHECKS = 1000
MOST_WORDS = 5


class Verify:
    """The procedure of mend_mongo_verify for `run_read`: ``open`` and ``observe``.

    ``observe`` returns the result's facts, or raises VerifyFailed with the same facts as its details.
    """

    def __init__(self, params):
        self.params = params
        self.warnings = []
        self._progress = None
        self._manifest = None
        self._sample = None
        self._content = params.get("content", "full")
        self._source_database = params.get("source_database") or params["database"]

    def secrets(self, params):
        """Texts that no output may show beside the options that ansible hides by itself."""
        return secrets_in(params)

    @contextmanager
    def open(self, params):
        """Refuse what cannot be meant, read the manifest, then connect to the deployment."""
        self._expected = parse_expectations(params)
        self._time_fields = parse_time_fields(params.get("time_fields"))
        self._entries = {}
        if params.get("bucket") or params.get("manifest_file"):
            self._manifest = read_manifest(params)
            self._entries = select_entries(self._manifest, self._source_database, params.get("collections"))
        elif params.get("collections"):
            raise Nothing(
                "collections chooses from a manifest: name one by bucket and key, or manifest_file", "selector"
            )
        if not self._entries and not self._expected:
            raise Nothing(
                "verify what? Name a manifest (bucket and key, or manifest_file), or state something to expect "
                "(critical, min_counts, newest, indexes)",
                rule="selector",
            )
        with ExitStack() as stack:
            self._progress = stack.enter_context(Progress(params))
            self._progress.start()
            deployment = stack.enter_context(connect(params))
            if self._content == "sample" and self._manifest:
                # who compares everything needs no library that reads dumps
                from .mongo_verify_sample import open_sample

                self._sample = stack.enter_context(open_sample(params, self._source_database))
            yield deployment

    def observe(self, deployment):
        """Compare; returns the facts of a database that is right."""
        started = time.monotonic()
        database = deployment.client[self.params["database"]]
        reading = Reading(deployment, database.name)
        reading.require_catalogue()
        with deployment.deadline():
            seen = catalog(database)
            checks = interrupted_restore(database, seen)
        live = seen.live()
        wanted = {name for name in live if not self.params.get("collections") or name in self._entries}
        wanted |= {name for name in self._expected.names() if name in live}
        contents = set(self._entries) if self._content != "none" else ()
        reading.require({name: {"type": live[name].type} for name in sorted(wanted)}, contents)
        found = shapes(database, sorted(wanted), seen, deployment.deadline)
        known = list(live)
        if not live:
            checks += self._no_database(deployment)
            return self._verdict(deployment, database, checks, [], {}, Reader(), time.monotonic() - started)
        for name, entry in self._entries.items():
            checks += _exists(name, found, known) or compare_shape(name, entry, found[name])
        for name, entry in found.items():
            checks += parked_ttls(name, entry, self._entries.get(name))
        reader = Reader(self.params.get("max_bytes_per_second") or 0, self._on_progress())
        counted = self._read(deployment, database, seen, found, reader, checks)
        for name in self._expected.names():
            missing = name not in self._entries and _exists(name, found, known)
            if missing:
                checks += missing
            elif name in found:
                checks += self._stated(deployment, database, name, found[name], counted)
        extra = sorted(set(live) - set(self._entries)) if self._manifest and not self.params.get("collections") else []
        if self.params.get("extra") == "fail":
            checks += [Check("extra", name, None, "present", False, "is not in the manifest") for name in extra]
        return self._verdict(deployment, database, checks, extra, counted, reader, time.monotonic() - started)

    def _on_progress(self):
        if self._sample:
            return None  # it tells how much of the backup is read
        summed = [entry for entry in self._entries.values() if _summed(entry)]
        total = sum(entry.get("buckets") or entry.get("count") or 0 for entry in summed)
        return lambda documents: self._progress.update("read", documents, total, "documents")

    def _no_database(self, deployment):
        name = self.params["database"]
        with deployment.deadline():
            names = [one for one in deployment.client.list_database_names() if one not in ("admin", "config", "local")]
        words = "has no collections" if name in names else f"is not on this server{nearest(name, names)}"
        return [Check("database", name, "collections", "none", False, words)]

    def _read(self, deployment, database, seen, found, reader, checks):
        """Add the checks of count, content and newest record against the manifest; returns the counts by name."""
        compared = {
            name: entry
            for name, entry in self._entries.items()
            if name in found and found[name]["type"] == entry["type"] != "view"
        }
        summed = [name for name, entry in compared.items() if self._content == "full" and _summed(entry)]
        sums = reader.fold_all(database, {name: data_place(seen, name) for name in summed})
        if self._sample:
            self._sample.read([name for name, entry in compared.items() if has_sum(entry)], self._progress)
        counted = {}
        for name, entry in compared.items():
            total = sums.get(name)
            if total is None or entry["type"] == "timeseries":
                with deployment.deadline():
                    counted[name] = database[name].count_documents({})
            else:
                counted[name] = total.count
            agree = entry.get("count") is None or counted[name] == entry["count"]
            if entry.get("count") is not None:
                unit = "measurements" if entry["type"] == "timeseries" else "documents"
                checks.append(compare_count(name, entry["count"], counted[name], unit=unit))
            if total is not None:
                checks.append(compare_sum(name, entry["sum"], total.hex(), counts_agree=agree))
            elif self._sample and has_sum(entry):
                checks += self._sample.compare(name, entry, database[data_place(seen, name)[0]])
                reader.account(self._sample.size(name), 0)
            elif has_sum(entry) and self._content == "full":
                self.warnings.append(f"the manifest has no sum of {quoted(name)}: compared by its count alone")
            if total is None or not checks[-1].ok:
                checks += self._newest_of_manifest(deployment, database, name, entry)
        return counted

    def _newest_of_manifest(self, deployment, database, name, entry):
        """The record that was the newest when the backup was made must be there; newer ones do not hide its loss."""
        if entry.get("newest") in (None, "unknown"):
            return []
        expected = manifests.moment(entry["newest"])
        field = entry.get("newest_field") or time_field(entry, name, self._time_fields)
        with deployment.deadline():
            found = newest(database[name], field, before=expected)
        words = f"the newest record is of {iso(found) if found else 'no known time'}, expected {entry['newest']}"
        return [Check("newest", name, entry["newest"], found and iso(found), found == expected, words)]

    def _stated(self, deployment, database, name, entry, counted):
        """The checks of what the operator stated about one collection that exists."""
        checks = []
        least = self._expected.min_counts.get(name)
        with deployment.deadline():
            if name in self._expected.critical:
                some = counted.get(name) or database[name].count_documents({}, limit=1)
                words = "is empty, and it is critical"
                checks.append(Check("critical", name, "not empty", "not empty" if some else "empty", bool(some), words))
            if least is not None:
                # enough is enough: a collection of a billion records is not counted to its end
                count = counted[name] if name in counted else database[name].count_documents({}, limit=max(least, 1))
                words = f"has {count} documents, expected at least {least}"
                checks.append(Check("min_count", name, least, count, count >= least, words))
            if name in self._expected.newest:
                checks.append(self._newest_stated(database[name], name, entry, self._expected.newest[name]))
        names = [spec["name"] for spec in entry["indexes"]]
        for index in self._expected.indexes.get(name, ()):
            ok = index in names and index not in entry["building"]
            state = "is still being built" if index in names else f"is missing{nearest(index, names)}"
            checks.append(
                Check(
                    f"index {index}", name, "present", "present" if ok else state, ok, f"index {quoted(index)} {state}"
                )
            )
        return checks

    def _newest_stated(self, collection, name, entry, stated):
        field = stated.field or time_field(entry, name, self._time_fields)
        moment = now()
        found = newest(collection, field, before=moment + CLOCK_SKEW)
        where = quoted(field) if field else '"_id"'
        if found is None:
            offered = ", ".join(quoted(one) for one in date_fields(collection))
            words = f"no record has a time in {where}" + (f" (dates are in {offered})" if offered else "")
            return Check("newest", name, {"max_age_seconds": stated.max_age_seconds}, None, False, words)
        age = max(0, int((moment - found).total_seconds()))
        words = (
            f"the newest record is {age} seconds old ({where} {iso(found)}), at most {stated.max_age_seconds} expected"
        )
        return Check(
            "newest",
            name,
            {"max_age_seconds": stated.max_age_seconds},
            {"newest": iso(found), "age_seconds": age},
            age <= stated.max_age_seconds,
            words,
        )

    def _verdict(self, deployment, database, checks, extra, counted, reader, seconds):
        failed = [check for check in checks if not check.ok]
        facts = {
            "verified": not failed,
            "target": deployment.target_id(database.name),
            # of a failure only what failed: what passed would bury it on the screen
            "checks": [check.facts() for check in (failed or checks)[:MOST_CHECKS]],
            "summary": {
                "checks": len(checks),
                "failed": len(failed),
                "collections": len(set(self._entries) | set(self._expected.names())),
                "documents": sum(counted.values()),
                "extra": len(extra),
            },
            "extra": extra[:MOST_CHECKS],
            "figures": {
                "documents_read": reader.documents,
                "bytes_read": reader.bytes,
                "seconds": round(seconds, 3),
            },
        }
        if self._manifest:
            facts["manifest"] = {"source": self._manifest["source_of"], "finished": self._manifest["finished"]}
            facts["summary"]["content"] = self._content
        if failed:
            raise VerifyFailed(verdict_words(facts["target"], failed, len(checks)), rule=failed[0].name, details=facts)
        return facts


def _summed(entry):
    return has_sum(entry) and entry.get("sum")


def verdict_words(target, failed, total):
    """What is wrong in one line: the first differences, and how many more there are."""
    shown = [f"{quoted(check.object)} {check.words}" for check in failed[:MOST_WORDS]]
    more = f"; and {len(failed) - MOST_WORDS} more in mend.details.checks" if len(failed) > MOST_WORDS else ""
    return f"{target} is not what it should be, {len(failed)} of {total} checks failed: {'; '.join(shown)}{more}"


def interrupted_restore(database, seen):
    """A failed check when a restore or an undo of this database was started and not ended, else nothing."""
    marker = next((one for one in reversed(markers(database, seen)) if one.interrupted), None)
    if marker is None:
        return []
    at_work = holder(database)
    if at_work:
        words = (
            f"run {quoted(at_work['run'])} is restoring it now, on {quoted(at_work['host'])} (pid {at_work['pid']}): "
            "verify again when it has ended"
        )
    else:
        words = (
            f"a restore (run {quoted(marker.entry['run'])}) stopped in phase {marker.phase}: finish it with "
            "ansible-playbook playbooks/undo_restore_mongo.yml -e mongo_undo_action=finish, or take it back with "
            "-e mongo_undo_action=undo"
        )
    return [Check("restore", database.name, "finished", marker.phase, False, words)]


def _exists(name, found, known):
    if name in found:
        return []
    return [Check("exists", name, "present", "missing", False, f"is missing{nearest(name, known)}")]
