# SPDX-License-Identifier: MIT
"""The result of a check as node_exporter's textfile collector reads it (pure)."""

from __future__ import annotations

from ansible.module_utils.mendbook.s3_check_rules import STATUSES

_METRICS = {
    "mendbook_backup_last_finished_timestamp_seconds": "When the last complete backup was finished.",
    "mendbook_backup_age_seconds": "Age of the last complete backup when this was checked.",
    "mendbook_backup_size_bytes": "Size of the last complete backup.",
    "mendbook_backup_median_size_bytes": "Median size of the earlier complete backups.",
    "mendbook_backup_complete": "Number of complete backups.",
    "mendbook_backup_unfinished": "Number of backups that are not complete.",
    "mendbook_backup_missed_runs": "Number of runs that are missing.",
    "mendbook_backup_last_verified_drill_timestamp_seconds": "When the last drill ended that proved a backup.",
    "mendbook_backup_check_status": "What the check found: 0 ok, 1 warning, 2 failed.",
    "mendbook_backup_check_timestamp_seconds": "When this was checked, by the clock of the store.",
}


def exposition(facts):
    """Return the text for the facts of a check; a value that is not known has no line."""
    where = {"bucket": facts["bucket"], "prefix": facts["prefix"]}
    lines = []
    for metric, help_text in _METRICS.items():
        samples = list(_samples(metric, facts))
        if samples:
            lines += [f"# HELP {metric} {help_text}", f"# TYPE {metric} gauge"]
            lines += [f"{metric}{{{_labels({**where, **labels})}}} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _samples(metric, facts):
    name = metric[len("mendbook_backup_") :].replace("_timestamp_seconds", "_timestamp")
    if name == "check_timestamp":
        yield {}, facts["checked_timestamp"]
    elif name == "check_status":
        for entry in facts["checks"]:
            yield {"series": entry["series"] or "", "check": entry["name"]}, STATUSES.index(entry["status"])
    else:
        for row in facts["series"]:
            if row[name] is not None:
                yield {"series": row["name"]}, row[name]


def _labels(labels):
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value):
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
