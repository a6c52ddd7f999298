"""The report that a person reads at 3 a.m."""

from pathlib import Path

import pytest

from mendbook.outcome import HostResult, Outcome
from mendbook.records import Cap, Change, Plan, Refusal, Target, Undo
from mendbook.report import duration, size, summary


def make_plan(**changed):
    facts = {
        "schema": 1,
        "module": "mend_x",
        "target": Target("replica_set", "rs0@db1:27017/shop"),
        "risk": "destroys",
        "changes": [Change("orders", "~", before=10, after=12, count=12, bytes=2048)],
        "fingerprint": "f",
        "totals": {"objects": 1, "count": 12, "bytes": 2048},
        "source": {"key": "daily/shop.gz", "size_bytes": 7_600_000, "age_seconds": 7300},
        "undo": Undo("undo_restore_mongo", {"mongo_undo_token": "t 1"}, "2026-03-02T00:00:00Z"),
        "notes": ["views are created last"],
    }
    return Plan(**(facts | changed))


def report(host, check=False, diff=False, **outcome):
    facts = {
        "word": host.word,
        "exit_code": host.exit_code,
        "seconds": 12.3,
        "journal": Path("/state/journal/r1.jsonl"),
    }
    whole = Outcome("restore_mongo", "r1", check, hosts={host.host: host}, **(facts | outcome))
    return summary(whole, ["inventory/prod"], diff)


DONE = HostResult(
    "db1",
    "done",
    changed=True,
    plan=make_plan(),
    done=({"op": "~", "object": "orders", "count": 12},),
    skipped=({"object": "carts", "reason": "not in the backup"},),
    read_back={"documents": 12},
    figures={"load_seconds": 61.5, "read_bytes": 7_600_000},
)


@pytest.mark.parametrize(
    "said",
    [
        "restore_mongo: done in 12 s, run r1",
        "target     rs0@db1:27017/shop (replica_set)",
        "source     key: daily/shop.gz",
        "size_bytes: 7.6 MB",
        "age_seconds: 2 h 1 min",
        "plan       1 object, 12 entries, 2.05 kB (destroys)",
        "~ orders  12, 2.05 kB",
        "note       views are created last",
        "done       ~ orders  count 12",
        "skipped    carts: not in the backup",
        "read back  documents: 12",
        "figures    load_seconds: 1 min 2 s",
        "undo       mendbook run undo_restore_mongo -i inventory/prod --limit db1 -e 'mongo_undo_token=t 1'",
        "(until 2026-03-02T00:00:00Z)",
        "journal    /state/journal/r1.jsonl",
    ],
)
def test_a_done_run_says_all_that_one_needs_to_know(said):
    assert said in report(DONE)


def test_a_refusal_says_why_and_the_lawful_way_and_offers_no_undo():
    refused = HostResult(
        "db1",
        "refused",
        6,
        plan=make_plan(refusals=[Refusal("age", "the backup is old", override="-e mongo_restore_max_age_seconds=1")]),
        msg="refused: the backup is old",
        rule="age",
        details={"refusals": ["the same again"], "holder": "cron"},
    )
    text = report(refused)
    assert "because    the backup is old" in text and "rule       age" in text and "holder: cron" in text
    assert "refuses    age: the backup is old; -e mongo_restore_max_age_seconds=1" in text
    assert "undo" not in text and "the same again" not in text


@pytest.mark.parametrize(
    ("word", "exit_code", "changed", "offers"),
    [
        ("done", 0, True, True),
        ("nothing to do", 0, False, True),
        ("partial", 3, True, True),
        ("failed", 5, True, True),
        ("UNKNOWN", 70, False, True),
        ("failed (nothing changed)", 2, False, False),
        ("failed (nothing changed)", 130, False, False),
        ("failed (nothing changed)", 124, False, False),
        ("failed (undone)", 5, False, False),
        ("refused", 6, False, False),
        ("refused", 75, False, False),
    ],
)
def test_undo_is_offered_only_where_something_may_have_been_changed(word, exit_code, changed, offers):
    # after a run that has changed nothing, the same command would take back the good one before it
    host = HostResult("db1", word, exit_code, changed=changed, plan=make_plan(), msg="boom")
    assert ("undo_restore_mongo" in report(host)) is offers


def test_a_check_says_that_nothing_was_changed_and_names_no_journal():
    text = report(HostResult("db1", "planned", changed=True, plan=make_plan()), check=True)
    assert "(check: nothing was changed)" in text and "journal" not in text and "afterwards" in text


def test_diff_shows_every_change_with_before_and_after():
    changes = [Change(f"c{i}", "+", after=i) for i in range(30)]
    host = HostResult("db1", "planned", plan=make_plan(changes=changes))
    assert "+ c29: nothing -> 29" in report(host, diff=True)
    short = report(host)
    assert "c29" not in short and "... and 20 more (--diff shows them)" in short


def test_a_change_without_a_way_back_says_so():
    text = report(HostResult("db1", "done", plan=make_plan(undo=Undo(none="the files are gone"))))
    assert "undo       none: the files are gone" in text


def test_a_cap_shows_what_is_used():
    assert "cap        collections: 3 of 10" in report(
        HostResult("db1", "done", plan=make_plan(caps=[Cap("collections", 10, 3)]))
    )


def test_what_is_new_is_not_said_to_be_empty():
    text = report(
        HostResult("db1", "planned", plan=make_plan(changes=[Change("a", "+", count=0), Change("b", "~", count=0)]))
    )
    assert "+ a\n" in text and "~ b  0\n" in text


def test_a_plan_without_changes_takes_no_time():
    assert "takes" not in report(HostResult("db1", "nothing to do", plan=make_plan(changes=[], expected_seconds=0.0)))
    assert "takes      about 2 min 0 s" in report(HostResult("db1", "done", plan=make_plan(expected_seconds=120.0)))


def test_lists_and_tables_of_the_source_are_left_out():
    backup = {"name": "s3://b/k", "version": None, "sums": {"orders": [1, "ab12"]}, "items": [["shop", "orders"]]}
    text = report(HostResult("db1", "done", plan=make_plan(source={"token": "t1", "objects": ["a"], "backup": backup})))
    assert "source     token: t1\n             backup: name s3://b/k\n" in text and "ab12" not in text


def test_a_table_of_failed_checks_has_a_line_for_each():
    checks = [{"name": "count", "object": f"c{i}", "found": None} for i in range(12)]
    text = report(HostResult("db1", "verify failed", 5, msg="differs", details={"checks": checks}))
    assert "             checks: name count, object c0, found unknown\n" in text
    assert "c9" in text and "c10" not in text and "... and 2 more" in text


def test_long_lists_are_cut():
    done = tuple({"op": "-", "object": f"f{i}"} for i in range(25))
    text = report(HostResult("db1", "done", plan=make_plan(), done=done))
    assert "... and 15 more" in text and "f24" not in text


def test_what_a_target_says_cannot_steer_the_terminal_or_forge_lines():
    text = report(HostResult("db\x1b[2J1", "failed", 2, msg="boom\n  undo       rm -rf /\x1b[31m"))
    assert "\x1b" not in text
    assert "\n               undo       rm -rf /" in text


def test_facts_of_a_reading_procedure_are_shown():
    text = report(HostResult("db1", "done", facts={"collections": {"orders": 2}, "ok": True, "newest": None}))
    assert "says       collections: orders 2" in text and "ok: yes" in text and "newest: unknown" in text


def test_a_summary_of_sentences_is_all_that_a_person_is_told():
    text = report(HostResult("db1", "done", facts={"summary": ["full", "who \x1b[31mis it"], "nodes": [{"id": 1}]}))
    assert "  says       full\n             who is it" in text and "nodes" not in text


def test_sentences_about_what_was_measured_stand_beside_a_change():
    text = report(HostResult("db1", "done", plan=make_plan(), facts={"summary": ["RTO 3 s: met"], "rto_seconds": 3}))
    assert "  says       RTO 3 s: met\n" in text and "rto_seconds" not in text and "target     rs0@" in text


VERDICT = {"name": "age", "series": "daily/shop-*", "status": "ok", "value": 39605, "limit": 97200, "words": "11 h old"}


@pytest.mark.parametrize("end", [{"word": "done"}, {"word": "verify failed", "exit_code": 5}])
def test_verdicts_have_a_line_each_with_the_status_first_and_none_is_left_out(end):
    checks = [VERDICT, {**VERDICT, "series": None, "status": "failed", "value": None}]
    checks += [{**VERDICT, "name": f"check{number}"} for number in range(20)]
    place = "details" if "exit_code" in end else "facts"
    lines = report(HostResult("db1", **end, **{place: {"checks": checks}})).splitlines()
    assert any(
        line.endswith("checks: ok age: 11 h old (series daily/shop-*, value 39,605, limit 97,200)") for line in lines
    )
    assert any(line.endswith("checks: failed age: 11 h old (limit 97,200)") for line in lines)
    assert sum("checks: " in line for line in lines) == 22


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (90000, "1 d 1 h")],
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (7_600_000, "7.6 MB"), (2e15, "2e+03 TB")]
)
def test_sizes_have_three_digits(count, said):
    assert size(count) == said
