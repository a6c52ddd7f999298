"""What the plan of a flush says: numbers, kinds, caps, who notices, and what counts as drift."""

from collections import Counter

import pytest
from ansible.module_utils.mendbook.guard import guard
from ansible.module_utils.mendbook.plan import drift, refusals_in
from ansible.module_utils.mendbook.redis_flush_plan import Seen, flush_plan
from ansible.module_utils.mendbook.redis_flush_sample import Sample
from ansible.module_utils.mendbook.redis_nodes import Node, Topology

OPTIONS = {
    "patterns": ["cache:*"], "whole_database": False, "database": None, "all_databases": False, "keep": [],
    "include_kinds": [], "max_keys": 1000, "max_share": 0.9,
}  # fmt: skip
WHOLE = {"patterns": [], "whole_database": True}


def sample(address="10.0.0.1:7000", database=0, keys=100, count=10, **facts):
    one = Sample(address, database, keys)
    one.count, one.examined, one.bytes, one.forever = count, keys, count * 100, 0.0
    one.prefixes = Counter({"cache:": count})
    for name, value in facts.items():
        setattr(one, name, value)
    return one


def topology(masters=("a",), replicas=(), notes=()):
    facts = {"version": "Redis 7.0.15", "masters": list(masters), "replicas": list(replicas)}
    target = {"kind": "redis", "id": "redis@10.0.0.1:7000", "address": "10.0.0.1:7000", "facts": facts}
    return Topology("single", [Node("10.0.0.1", 7000, "master")], target, notes)


def plan_of(*samples, seen=None, locked_by=None, refusals=(), **changed):
    return flush_plan(Seen(seen or topology(), list(samples), locked_by, refusals), {**OPTIONS, **changed})


def rules(plan):
    return [entry["rule"] for entry in refusals_in(plan)]


def notes(plan):
    return " / ".join(plan["notes"])


def test_each_database_of_each_master_is_a_change_with_keys_and_bytes():
    plan = plan_of(sample(), sample("10.0.0.2:7000", count=5, exact=False, examined=20))
    assert [(one["object"], one["count"], one["bytes"]) for one in plan["changes"]] == [
        ("10.0.0.1:7000/0", 10, 1000),
        ("10.0.0.2:7000/0", 5, 500),
    ]
    assert plan["totals"] == {"objects": 2, "count": 15, "bytes": 1500, "share": 0.075}
    assert plan["remains"]["keys"] == 185 and plan["risk"] == "changes"
    assert plan["changes"][1]["before"]["estimated"] and "a sample of 20 of 100 keys" in notes(plan)
    assert "stampede" in notes(plan) and "not atomic" in notes(plan) and "none" in plan["undo"]


def test_no_key_to_remove_is_no_change_and_no_refusal():
    plan = plan_of(sample(count=0), refusals=[{"rule": "redis_permission", "msg": "no"}])
    assert plan["changes"] == [] and rules(plan) == [] and "nothing to remove" in notes(plan)


def test_a_count_that_was_cut_short_is_no_proof_of_nothing():
    plan = plan_of(sample(count=0, exact=False, cut_short=True))
    assert [change["count"] for change in plan["changes"]] == [0]


@pytest.mark.parametrize("kind", ["sessions", "queues", "locks", "rate_limits", "carts"])
def test_what_is_no_cache_is_refused_until_it_is_named(kind):
    found = {kind: {"count": 3.4, "examples": ["x:1", "x:2"]}}
    plan = plan_of(sample(kinds=found), sample("10.0.0.2:7000", kinds=found))
    assert rules(plan) == [f"kind {kind}"]
    (entry,) = plan["refusals"]
    assert entry["value"] == 7 and "x:1, x:2" in entry["msg"] and f"include_kinds: [{kind}]" in entry["override"]
    named = plan_of(sample(kinds=found), include_kinds=[kind])
    assert rules(named) == [] and "named, so these go, too" in notes(named)


@pytest.mark.parametrize(
    ("facts", "changed", "expected"),
    [
        ({"keys": 2000, "count": 1000}, {}, []),
        ({"keys": 2000, "count": 1001}, {}, ["cap keys"]),
        ({"keys": 200, "count": 181}, {}, ["cap share of the keys"]),
        ({"keys": 200, "count": 180}, {}, []),
        # three of three say nothing
        ({"keys": 100, "count": 100}, {}, []),
        # a whole database is confirmed by its name
        ({"keys": 200, "count": 200}, WHOLE, []),
        ({"keys": 1001, "count": 1001}, WHOLE, ["cap keys"]),
    ],
)
def test_caps(facts, changed, expected):
    assert rules(plan_of(sample(**facts), **changed)) == expected


def test_a_whole_database_is_confirmed_by_the_target_and_its_number():
    plan = plan_of(sample(database=2), **WHOLE)
    assert plan["risk"] == "destroys" and plan["target"]["id"] == "redis@10.0.0.1:7000/2"
    everything = plan_of(sample(database=0), sample(database=3), **WHOLE, all_databases=True)
    assert everything["target"]["id"] == "redis@10.0.0.1:7000/*"
    assert "ALL DATABASES of this server are emptied: 0, 3" in notes(everything)
    assert plan["fingerprint"] != everything["fingerprint"]


@pytest.mark.parametrize("patterns", [["[^x]*"], ["[^x]*", "x*"], ["[a-z0-9]*"], ["cache:*", "*:*"], ["a*", "b*"]])
def test_every_key_in_other_words_is_confirmed_like_a_whole_database(patterns):
    plan = plan_of(sample(), patterns=patterns)
    target = plan["target"]["id"]
    assert plan["risk"] == "destroys" and f"{patterns[-1]}: may mean nearly every key" in notes(plan)
    (refused,) = guard(plan, confirm=None, variable="redis_flush_confirm")
    assert (refused["rule"], refused["limit"]) == ("confirm", target)
    assert refused["override"] == f"add -e redis_flush_confirm={target}"
    assert guard(plan, confirm=target, variable="redis_flush_confirm") == []
    # what is kept does not make it narrow, and the cap of the share counts all the same
    assert plan_of(sample(), patterns=patterns, keep=["sess:*"])["risk"] == "destroys"
    assert rules(plan_of(sample(keys=200, count=181), patterns=patterns)) == ["cap share of the keys"]


@pytest.mark.parametrize("patterns", [["cache:*"], ["*:tmp", "user:[0-9]*:cart"], ["a", "b"]])
def test_patterns_with_a_text_of_their_own_need_no_confirmation(patterns):
    plan = plan_of(sample(keys=100, count=100), patterns=patterns)
    assert plan["risk"] == "changes" and "every key" not in notes(plan)
    assert guard(plan, confirm=None, variable="redis_flush_confirm") == []


def test_keys_that_come_and_go_are_no_drift_and_many_more_are():
    planned = plan_of(sample(keys=1000, count=500))
    assert drift(planned, plan_of(sample(keys=1000, count=740))) is None
    assert drift(planned, plan_of(sample(keys=2000, count=760))) == "count was 500 and is now 760"
    few = plan_of(sample(count=3))
    assert drift(few, plan_of(sample(count=100))) is None and drift(few, plan_of(sample(count=104)))
    assert drift(planned, plan_of(sample(count=0))) is None


@pytest.mark.parametrize(
    "changed", [{"patterns": ["c*"]}, {"keep": ["cache:a"]}, {"include_kinds": ["locks"]}, {"max_keys": 9}]
)
def test_another_selection_is_drift(changed):
    assert drift(plan_of(sample()), plan_of(sample(), **changed))


def test_a_failover_is_no_other_target_and_another_server_is():
    before = plan_of(sample(), seen=topology(["a", "b"], ["c", "d"]))
    assert drift(before, plan_of(sample(), seen=topology(["b", "c"], ["d", "a"]))) is None
    assert drift(before, plan_of(sample(), seen=topology(["x", "b"], ["c", "d"])))


def test_what_speaks_against_it_and_who_holds_the_lock_is_said():
    refused = {"rule": "redis_permission", "msg": "no UNLINK", "value": "UNLINK", "limit": None, "override": None}
    holder = {"run": "r1", "holder": "ann", "host": "ops1", "since": "2026-11-21T10:00:00Z"}
    plan = plan_of(sample(forever=0.5, kept=4), refusals=[refused], locked_by=holder, seen=topology(notes=["look"]))
    assert rules(plan) == ["redis_permission"]
    for words in (
        "locked now by run r1 of ann on ops1",
        "50% of what would go never expires",
        "4 keys match and stay",
        "look",
    ):
        assert words in notes(plan)


def test_bytes_that_nobody_tells_are_unknown_and_not_zero():
    plan = plan_of(sample(bytes=None))
    assert plan["totals"]["bytes"] is None and plan["changes"][0]["bytes"] is None
    assert plan_of(sample(bytes=None), sample("10.0.0.2:7000"))["totals"]["bytes"] == 1000


def test_long_lists_of_prefixes_are_cut():
    many = Counter({f"p{n}:": 100 - n for n in range(50)})
    (line,) = [note for note in plan_of(sample(prefixes=many))["notes"] if note.startswith("by the beginning")]
    assert line.startswith("by the beginning of the name: p0: 100, p1: 99") and line.endswith("and 42 more")
