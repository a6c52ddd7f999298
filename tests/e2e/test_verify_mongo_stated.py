"""verify_mongo holds a database to what the operator states about it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

pytestmark = pytest.mark.e2e
pytest_plugins = ["seeded_shop"]


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"critical": ["Users"]}, '"Users" is missing; did you mean "users"?'),
        ({"critical": ["empty"]}, '"empty" is empty, and it is critical'),
        ({"min_counts": {"users": 121}}, '"users" has 120 documents, expected at least 121'),
        ({"min_counts": {"active": 61}}, '"active" has 60 documents, expected at least 61'),
        ({"min_counts": {"payments": 0}}, '"payments" is missing'),
        ({"newest": {"users": {"field": "createdAt", "max_age_seconds": 60}}}, "seconds old"),
        ({"newest": {"users": {"field": "created", "max_age_seconds": 60}}}, '(dates are in "createdAt")'),
        ({"newest": {"metrics": {"max_age_seconds": 60}}}, '("t" 2026-01-01T03:19:00Z), at most 60 expected'),
        ({"newest": {"notes": {"max_age_seconds": 60}}}, '"notes" no record has a time in "_id"'),
        ({"newest": {"empty": {"max_age_seconds": 60}}}, '"empty" no record has a time in "_id"'),
        ({"indexes": {"users": ["emial_1"]}}, 'index "emial_1" is missing; did you mean "email_1"?'),
        ({"indexes": {"active": ["email_1"]}}, 'index "email_1" is missing'),
    ],
)
def test_a_stated_expectation_that_does_not_hold_is_named(standing_shop, run_verify, stated, words):
    result = run_verify(database=standing_shop.name, **stated)
    assert (result["rc"], result["mend"]["reason"]) == (1, "verify")
    assert words in result["msg"]


def test_stated_expectations_that_hold_pass_without_reading_contents(shop, run_verify):
    shop.users.insert_one({"email": "new@example.com", "createdAt": datetime.now(UTC)})
    result = run_verify(
        database=shop.name,
        critical=["users", "active", "metrics"],
        min_counts={"users": 121, "active": 60, "metrics": "200", "empty": 0},
        newest={"users": {"field": "createdAt", "max_age_seconds": 600}, "audit": {"max_age_seconds": 600}},
        indexes={"users": ["email_1", "words"]},
    )
    assert result["rc"] == 0, result["msg"]
    assert result["figures"]["documents_read"] == 0


def test_a_record_of_the_future_does_not_make_a_dead_feed_look_alive(shop, run_verify):
    shop.users.insert_one({"email": "f@example.com", "createdAt": datetime(2999, 1, 1)})
    result = run_verify(database=shop.name, newest={"users": {"field": "createdAt", "max_age_seconds": 600}})
    assert "2026-01-05T23:00:00Z" in result["msg"]


def test_a_parked_ttl_is_found_without_a_manifest_and_in_any_collection(shop, run_verify):
    shop.command("collMod", "users", index={"name": "seen_1", "expireAfterSeconds": 2147483647})
    assert "restore not finished" in run_verify(database=shop.name, critical=["notes"])["msg"]


def test_many_differences_do_not_flood_the_result(standing_shop, run_verify):
    result = run_verify(database=standing_shop.name, critical=[f"c{n}" for n in range(3000)])
    assert result["mend"]["details"]["summary"]["failed"] == 3000
    assert len(result["mend"]["details"]["checks"]) == 1000
    assert len(result["msg"]) < 2000
