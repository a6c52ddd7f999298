"""What Prometheus is told, read back by the parser of its own client."""

from __future__ import annotations

import pytest
from ansible.module_utils.mendbook.s3_check_text import exposition
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

ROW = {
    "name": "daily/estore-*.archive.gz",
    "last_finished_timestamp": 1_790_000_000,
    "age_seconds": 60,
    "size_bytes": 1 << 40,
    "median_size_bytes": 1000.5,
    "complete": 3,
    "unfinished": 0,
    "missed_runs": 2,
    "last_verified_drill_timestamp": None,
}


def facts(**changed):
    checks = [
        {"name": "age", "series": ROW["name"], "status": "warning"},
        {"name": "clock", "series": None, "status": "ok"},
    ]
    given = {"bucket": "b", "prefix": "daily/", "series": [ROW], "checks": checks, "checked_timestamp": 7}
    return {**given, **changed}


def samples(text):
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    return {
        (
            sample.name,
            tuple(sample.labels.get(label) for label in ("bucket", "prefix", "series", "check")),
        ): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_value_has_its_line_and_what_is_not_known_has_none():
    found = samples(exposition(facts()))
    row = ("b", "daily/", ROW["name"], None)
    assert found == {
        ("mendbook_backup_last_finished_timestamp_seconds", row): 1_790_000_000,
        ("mendbook_backup_age_seconds", row): 60,
        ("mendbook_backup_size_bytes", row): 1 << 40,
        ("mendbook_backup_median_size_bytes", row): 1000.5,
        ("mendbook_backup_complete", row): 3,
        ("mendbook_backup_unfinished", row): 0,
        ("mendbook_backup_missed_runs", row): 2,
        ("mendbook_backup_check_status", (*row[:3], "age")): 1,
        ("mendbook_backup_check_status", ("b", "daily/", "", "clock")): 0,
        ("mendbook_backup_check_timestamp_seconds", ("b", "daily/", None, None)): 7,
    }


def test_a_bucket_without_backups_still_says_that_it_was_looked_at():
    text = exposition(facts(series=[], checks=[{"name": "age", "series": None, "status": "failed"}]))
    assert samples(text) == {
        ("mendbook_backup_check_status", ("b", "daily/", "", "age")): 2,
        ("mendbook_backup_check_timestamp_seconds", ("b", "daily/", None, None)): 7,
    }


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "\\n", 'a"} 1\nmendbook_backup_complete{x="', "é\u2028{}", ""])
def test_no_name_leaves_its_label(name):
    text = exposition(facts(prefix=name, series=[{**ROW, "name": name}]))
    assert samples(text)["mendbook_backup_complete", ("b", name, name, None)] == 3


# the collector reads lines that end with a line feed; the parser of the test splits at every kind of line break
@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")))
def test_any_name_is_read_back_as_it_is(name):
    found = samples(exposition(facts(series=[{**ROW, "name": name}])))
    assert found["mendbook_backup_complete", ("b", "daily/", name, None)] == 3
    assert len(found) == 10


def test_the_text_ends_with_a_line_feed_and_help_and_type_stand_before_their_metric():
    lines = exposition(facts()).split("\n")
    assert lines[-1] == "" and lines[0].startswith("# HELP mendbook_backup_last_finished_timestamp_seconds ")
    for number, line in enumerate(lines):
        if line.startswith("# HELP"):
            name = line.split()[2]
            assert lines[number + 1] == f"# TYPE {name} gauge" and lines[number + 2].startswith(f"{name}{{")
