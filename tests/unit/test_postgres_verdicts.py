"""Verdicts and culprits as a table, and the tree of who waits for whom."""

import pytest
from ansible.module_utils.mendbook.postgres_sessions import blocking_tree, facts_of
from ansible.module_utils.mendbook.postgres_verdicts import summary, verdicts
from ansible.module_utils.mendbook.verdicts import culprit, overall
from postgres_sessions_lab import activity, options, session

ACTIVE = {"state": "active", "query_seconds": 120.0, "transaction_seconds": 120.0}
RESTING = {"state": "idle in transaction", "state_seconds": 400.0, "transaction_seconds": 2000.0}


def verdict_of(check, *sessions, server=None, **changed):
    found = verdicts(activity(*sessions, **(server or {})), options(**changed))
    return next(one for one in found if one["check"] == check)


@pytest.mark.parametrize(
    ("check", "facts", "changed", "verdict"),
    [
        ("max_in_transaction_seconds", RESTING, {}, "exceeded"),
        ("max_in_transaction_seconds", RESTING, {"max_in_transaction_seconds": 400}, "ok"),
        ("max_in_transaction_seconds", {**RESTING, "own": True}, {}, "ok"),
        ("max_transaction_seconds", RESTING, {}, "exceeded"),
        ("max_transaction_seconds", ACTIVE, {}, "ok"),
        ("max_query_seconds", ACTIVE, {}, "exceeded"),
        ("max_query_seconds", {"query_seconds": 9999.0}, {}, "ok"),
        ("max_blocked_seconds", {**ACTIVE, "blocked_by": [9], "blocked_seconds": 11.0}, {}, "exceeded"),
        ("max_blocked_seconds", {**ACTIVE, "blocked_by": [9], "blocked_seconds": 9.0}, {}, "ok"),
        ("max_blocked_seconds", ACTIVE, {}, "ok"),
    ],
)
def test_a_session_over_its_threshold(check, facts, changed, verdict):
    one = verdict_of(check, session(**facts), **changed)
    assert one["verdict"] == verdict and bool(one["culprit"]) is (verdict == "exceeded")


@pytest.mark.parametrize(("count", "verdict"), [(77, "ok"), (78, "exceeded"), (97, "exceeded")])
def test_used_connections_count_against_those_for_anybody(count, verdict):
    one = verdict_of("max_used_share", *[session(state="active") for _ in range(count)])
    assert one["verdict"] == verdict


def test_the_application_with_most_is_to_blame_for_full_and_idle_connections():
    crowd = [session(application="checkout") for _ in range(60)] + [session(state="active") for _ in range(30)]
    found = verdicts(activity(*crowd), options())
    assert culprit(found) == {"application": "checkout", "sessions": 60, "share": 0.667}
    idle = next(one for one in found if one["check"] == "max_idle_share")
    assert idle["culprit"] == {"application": "checkout", "sessions": 60, "share": 1.0}


@pytest.mark.parametrize(("lag", "verdict"), [(0.0, "ok"), (60.0, "ok"), (60.1, "exceeded"), (None, "unknown")])
def test_a_standby_may_be_behind_so_far(lag, verdict):
    assert verdict_of("max_lag_seconds", server={"standby": True, "lag_seconds": lag})["verdict"] == verdict


def test_a_primary_has_no_lag():
    assert "max_lag_seconds" not in {one["check"] for one in verdicts(activity(), options())}


@pytest.mark.parametrize("server", [{"superuser": False, "reads_all": False}, {"track_activities": False}])
def test_what_is_not_seen_is_not_called_good(server):
    hidden = session(state=None, state_seconds=None, transaction_seconds=None, query_seconds=None)
    found = {one["check"]: one["verdict"] for one in verdicts(activity(hidden, **server), options())}
    assert found.pop("max_used_share") == "ok" and set(found.values()) == {"unknown"}
    seen = activity(hidden, session(**RESTING), **server)
    assert overall(verdicts(seen, options())) == "exceeded"


def test_the_culprit_of_a_chain_is_at_its_end():
    chain = [
        session(1, application="migration", state="idle in transaction"),
        session(2, application="report", **ACTIVE, blocked_by=[1], blocked_seconds=30.0),
        session(3, application="shop", **ACTIVE, blocked_by=[2], blocked_seconds=40.0),
    ]
    one = verdict_of("max_blocked_seconds", *chain)
    assert one["culprit"]["application"] == "migration" and one["culprit"]["pid"] == 1
    assert "pid 1 holds" in one["says"]


def test_a_circle_of_waiting_has_an_end():
    circle = [
        session(1, **ACTIVE, blocked_by=[2], blocked_seconds=30.0),
        session(2, **ACTIVE, blocked_by=[1], blocked_seconds=20.0),
    ]
    assert verdict_of("max_blocked_seconds", *circle)["verdict"] == "exceeded"
    (root,) = blocking_tree(circle, 20)
    assert [root["pid"], root["blocks"][0]["pid"], root["blocks"][0]["blocks"]] == [1, 2, []]


def test_the_tree_shows_everybody_who_waits_and_the_largest_first():
    sessions = [
        session(1), session(2, blocked_by=[1]), session(3, blocked_by=[2]), session(4, blocked_by=[2, 9]),
        session(5), session(6, blocked_by=[5]), session(7), session(8, blocked_by=[0]),
    ]  # fmt: skip
    tree = blocking_tree(sessions, 20)
    assert [root["pid"] for root in tree][0] == 1
    assert {root["pid"] for root in tree} == {0, 1, 5, 9}
    (second,) = tree[0]["blocks"]
    assert second["pid"] == 2 and {one["pid"] for one in second["blocks"]} == {3, 4}
    assert len(blocking_tree(sessions, 1)) == 1


def test_a_summary_is_lines_that_can_be_printed():
    evil = session(application="a\x1b[31m\nb", **ACTIVE)
    seen = activity(evil, superuser=False, reads_all=False, pooled=True, track_activities=False)
    lines = summary(seen, verdicts(seen, options()))
    assert not any("\x1b" in line or "\n" in line for line in lines)
    assert any("lacks pg_read_all_stats" in line for line in lines) and any("pooler" in line for line in lines)


def test_lists_are_as_long_as_they_may_be_with_the_oldest_first():
    crowd = [session(state_seconds=float(300 + number)) for number in range(30)]
    seen = activity(*crowd)
    facts = facts_of(seen, verdicts(seen, options()), options(limit=3))
    assert [one["state_seconds"] for one in facts["idle"]] == [329.0, 328.0, 327.0]
    assert facts["by_state"] == {"idle": 30} and facts["connections"]["free"] == 67
