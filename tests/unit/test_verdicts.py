"""Thresholds as a table: ceilings, floors, what is not known, and who is blamed."""

import pytest
from ansible.module_utils.mendbook.errors import VerifyFailed
from ansible.module_utils.mendbook.verdicts import culprit, line, overall, require, verdict

BLAMED = {"application": "checkout"}


@pytest.mark.parametrize(
    ("check", "value", "limit", "word"),
    [
        ("max_used_share", 0.8, 0.8, "ok"),
        ("max_used_share", 0.801, 0.8, "exceeded"),
        ("max_used_share", 0, 0, "ok"),
        ("min_free_bytes", 100, 100, "ok"),
        ("min_free_bytes", 99, 100, "exceeded"),
        ("min_free_bytes", 0, 0, "ok"),
        ("max_used_share", None, 0.8, "unknown"),
        ("min_free_bytes", None, 100, "unknown"),
    ],
)
def test_a_value_against_its_threshold(check, value, limit, word):
    one = verdict(check, value, limit, "so it is", BLAMED, mount="/var")
    assert (one["verdict"], one["value"], one["mount"]) == (word, value, "/var")
    # nobody is to blame for what is good or not known
    assert one["culprit"] == (BLAMED if word == "exceeded" else {})


def test_what_is_compared_is_not_what_is_rounded_for_the_report():
    assert verdict("max_used_share", 0.80004, 0.8, "")["verdict"] == "exceeded"


def test_the_worst_word_stands_for_all_and_the_first_culprit_is_named():
    good = verdict("a", 1, 2, "")
    hidden = verdict("b", None, 2, "")
    nobody = verdict("c", 3, 2, "")
    bad = verdict("d", 3, 2, "", BLAMED)
    assert [overall(found) for found in ([], [good], [good, hidden], [hidden, nobody])] == [
        "ok", "ok", "unknown", "exceeded",
    ]  # fmt: skip
    assert culprit([good, nobody, bad]) == BLAMED and culprit([good]) == {}


def test_a_line_has_the_limit_as_a_person_writes_it():
    assert line(verdict("max_used_share", 0.9, 0.8, "9 of 10 are used")) == (
        "exceeded: max_used_share: 9 of 10 are used (limit 0.8)"
    )
    full = verdict("min_free_bytes", 12, 10**9, "12 B are free", BLAMED)
    assert line(full, "checkout").endswith("12 B are free (limit 1.0 GB); culprit: checkout")


def test_a_job_that_is_to_be_noticed_fails_with_every_threshold_that_is_exceeded():
    good, hidden = verdict("a", 1, 2, "good"), verdict("b", None, 2, "hidden")
    require([good, hidden], {})
    with pytest.raises(VerifyFailed) as failed:
        require([good, verdict("c", 3, 2, "three"), verdict("d", 4, 2, "four")], {"summary": []})
    assert failed.value.msg == "2 of 3 thresholds are exceeded: c: three; d: four"
    assert (failed.value.reason, failed.value.rule, failed.value.details) == ("verify", "thresholds", {"summary": []})


def test_it_fails_for_what_got_no_answer_too_and_not_for_what_one_may_not_see():
    hidden, silent = verdict("a", None, 2, "hidden", no_answer=False), verdict("b", None, 2, "silent", no_answer=True)
    require([hidden], {})
    with pytest.raises(VerifyFailed) as failed:
        require([hidden, silent, verdict("c", 3, 2, "three")], {})
    assert failed.value.msg == "2 of 3 thresholds are exceeded or got no answer: b: silent; c: three"
