"""Who is ended and who is spared, as a table; and what the plan says of it."""

import pytest
from ansible.module_utils.mendbook.errors import MendError, Nothing, Refused
from ansible.module_utils.mendbook.plan import drift, refusals_in
from ansible.module_utils.mendbook.postgres_terminate_plan import check_options, select, terminate_plan
from postgres_sessions_lab import activity, options, session


def plan_of(seen, locked_by=None, **changed):
    given = options(**changed)
    return terminate_plan(seen, select(seen, given), locked_by, given)


@pytest.mark.parametrize(
    ("facts", "changed", "chosen"),
    [
        ({}, {}, True),
        ({"state_seconds": 299.9}, {}, False),
        ({"state_seconds": 300.0}, {}, True),
        ({"state_seconds": None}, {}, False),
        # the query began long ago, and its client has had the answer for a moment
        ({"state_seconds": 1.0, "query_seconds": 9999.0}, {}, False),
        ({"state": "active"}, {}, False),
        ({"state": "active", "state_seconds": 99999.0}, {"in_transaction_seconds": 5}, False),
        ({"state": "idle in transaction"}, {}, False),
        ({"state": "idle in transaction"}, {"in_transaction_seconds": 600}, True),
        ({"state": "idle in transaction"}, {"in_transaction_seconds": 601}, False),
        ({"state": "idle in transaction (aborted)"}, {"in_transaction_seconds": 600}, True),
        ({"state": "fastpath function call"}, {"in_transaction_seconds": 5}, False),
        ({"state": "disabled"}, {"in_transaction_seconds": 5}, False),
        ({"state": None}, {"in_transaction_seconds": 5}, False),
        ({"kind": "walsender"}, {"spare": []}, False),
        ({"mendbook": True}, {"spare": []}, False),
        ({"own": True, "mendbook": True}, {"spare": []}, False),
        ({"database": "other"}, {}, False),
        ({"database": "other"}, {"database": "*"}, True),
        ({"application": None}, {}, True),
        ({"application": ""}, {"applications": ["?*"]}, False),
        ({"superuser": True}, {}, False),
        ({"superuser": True}, {"spare": ["poolers"]}, True),
        ({"monitors": True}, {}, False),
        ({"holds_lock": True}, {}, False),
        ({"listens": True}, {}, False),
        ({"application": "PgBouncer"}, {}, False),
        ({"user": "pgbouncer"}, {}, False),
        ({"application": "my-pgbouncer-client"}, {}, True),
        ({"application": "Datadog Agent"}, {}, False),
        ({"application": "postgres_exporter"}, {"spare": ["monitoring"]}, False),
        ({"application": "invoice-exporter"}, {}, True),
        ({"client": "10.0.0.5"}, {"exclude_clients": ["10.0.0.0/24"]}, False),
        ({"client": "socket"}, {"exclude_clients": ["10.0.0.0/24", "socket"]}, False),
        ({"client": None}, {"clients": ["10.0.0.0/24"]}, False),
        ({"client": "2001:db8::1"}, {"clients": ["2001:db8::/32"]}, True),
        ({"application": "a[b]*"}, {"applications": ["a[b]*"]}, True),
        ({"user": "Shop"}, {"users": ["shop"]}, False),
    ],
)
def test_who_is_ended(facts, changed, chosen):
    found = select(activity(session(**facts)), options(**changed)).chosen
    assert len(found) == chosen


def test_the_longest_idle_come_first_and_the_spared_are_counted_by_reason():
    seen = activity(
        session(state_seconds=400.0), session(state_seconds=900.0), session(listens=True), session(superuser=True)
    )
    selection = select(seen, options())
    assert [one["pid"] for one in selection.chosen] == [2, 1]
    assert {reason: len(found) for reason, found in selection.spared.items()} == {"listeners": 1, "superusers": 1}
    notes = " ".join(plan_of(seen)["notes"])
    assert "spared (listeners): 1 idle sessions of shop-api" in notes


@pytest.mark.parametrize(
    ("changed", "kind", "rule"),
    [
        ({"idle_seconds": 4}, Refused, "idle_seconds"),
        ({"idle_seconds": 0}, Refused, "idle_seconds"),
        ({"in_transaction_seconds": 0}, Refused, "in_transaction_seconds"),
        ({"database": "  "}, Nothing, "database"),
        ({"max_share": 0}, MendError, "max_share"),
        ({"clients": ["*"]}, MendError, "clients"),
    ],
)
def test_options_that_cannot_be_meant(changed, kind, rule):
    with pytest.raises(kind) as caught:
        check_options(options(**changed))
    assert caught.value.rule == rule


def test_the_least_that_is_allowed_is_allowed():
    check_options(options(idle_seconds=5, in_transaction_seconds=5, clients=["10.0.0.0/8", "::1", "socket"]))


def test_no_such_database_is_nothing_and_a_near_one_is_named():
    with pytest.raises(Nothing, match="did you mean shop?"):
        select(activity(), options(database="shopp"))


def test_only_a_transaction_makes_it_destroy():
    assert plan_of(activity(session()))["risk"] == "changes"
    both = activity(session(), session(state="idle in transaction", transaction_seconds=7200.0))
    plan = plan_of(both, in_transaction_seconds=300)
    assert plan["risk"] == "destroys"
    assert "1 open transactions are rolled back, the oldest of 2 h 0 min: their work is lost" in plan["notes"]


@pytest.mark.parametrize(
    ("idle", "active", "changed", "exceeded"),
    [
        (3, 0, {"max_sessions": 2}, ["cap sessions"]),
        (3, 0, {"max_sessions": 3}, []),
        # with few sessions a share says nothing
        (10, 0, {}, []),
        (11, 0, {}, ["cap share of the sessions"]),
        (11, 0, {"max_share": 1.0}, []),
        (18, 2, {}, []),
        (19, 2, {}, ["cap share of the sessions"]),
        (201, 100, {}, ["cap sessions"]),
    ],
)
def test_caps(idle, active, changed, exceeded):
    seen = activity(*[session() for _ in range(idle)], *[session(state="active") for _ in range(active)])
    assert [entry["rule"] for entry in refusals_in(plan_of(seen, **changed))] == exceeded


@pytest.mark.parametrize(
    ("server", "facts", "missing"),
    [
        ({}, {}, []),
        ({"superuser": False}, {}, []),
        ({"superuser": False, "signals": False}, {}, ["pg_signal_backend"]),
        ({"superuser": False, "signals": False}, {"mine": True}, []),
        ({"superuser": False}, {"superuser": True}, ["SUPERUSER"]),
        ({"superuser": False, "signals": False}, {"superuser": True}, ["SUPERUSER"]),
        ({"pooled": True}, {}, ["db1:5432"]),
    ],
)
def test_what_the_user_lacks_is_named_before_anybody_is_ended(server, facts, missing):
    plan = plan_of(activity(session(**facts), **server), spare=[])
    assert [entry["value"] for entry in plan["refusals"]] == missing
    assert plan_of(activity(session(state="active", **facts), **server), spare=[])["refusals"] == []


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [(1, 6, False), (1, 7, True), (4, 9, False), (40, 60, False), (40, 61, True), (40, 19, True), (3, 0, False)],
)
def test_sessions_come_and_go_within_reason(before, after, differs):
    approved, fresh = (plan_of(activity(*[session() for _ in range(count)])) for count in (before, after))
    assert bool(drift(approved, fresh)) is differs


@pytest.mark.parametrize("changed", [{"idle_seconds": 60}, {"spare": []}, {"max_sessions": 500}, {"users": ["shop"]}])
def test_another_selection_is_another_plan(changed):
    assert drift(plan_of(activity(session())), plan_of(activity(session()), **changed))


def test_a_failover_is_another_plan():
    assert drift(plan_of(activity(session())), plan_of(activity(session(), standby=True)))


def test_who_holds_the_lock_is_said():
    holder = {"run": "r1", "holder": "anna", "host": "ops1", "since": "2026-11-21T09:30:00Z"}
    notes = plan_of(activity(session()), holder)["notes"]
    assert "locked now by run r1 of anna on ops1 since 2026-11-21T09:30:00Z" in notes


def test_nothing_to_end_says_what_was_looked_for():
    plan = plan_of(activity(session(state="active")))
    assert plan["changes"] == [] and plan["notes"][0].startswith("nothing to end: of 1 sessions none is idle for 5 min")
