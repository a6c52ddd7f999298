"""What flush_redis refuses and what goes wrong with it: the right words, and no key gone that should stay."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from ansible.module_utils.mendbook import redis_lock, redis_sweep
from ansible.module_utils.mendbook.redis_client import connect
from ansible.module_utils.mendbook.redis_lock import Presence
from ansible.module_utils.mendbook.redis_masters import masters_now

from redis_cli import build, cli
from waiting import quickest

pytestmark = pytest.mark.e2e
pytest_plugins = ["redis_lab", "redis_flush_lab"]
READS = "+info +scan +dbsize +select +client +type +pttl +memory|usage"


def refused(result):
    """Why a plan or a run ended; nothing may have been removed."""
    assert result["rc"] == 1 and not result.get("done"), result
    return result["mend"]["reason"], result["mend"]["rule"]


def rules(planned):
    return [entry["rule"] for entry in planned["plan"]["refusals"]]


@pytest.fixture
def user(single):
    """Make a user with these rights: user("+scan", keys="~cache:*") -> the options to log in with."""

    def make(*rights, keys="~*"):
        cli(single.service, "acl", "setuser", "ops", "reset", "on", ">secret", keys, *READS.split(), *rights)
        assert "ops" in cli(single.service, "acl", "users")
        return {"username": "ops", "password": "secret"}

    yield make
    cli(single.service, "acl", "deluser", "ops")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"patterns": []}, ("nothing", "patterns")),
        ({"patterns": [""]}, ("nothing", "patterns")),
        ({"patterns": ["*"]}, ("refused", "patterns")),
        ({"patterns": ["?*"]}, ("refused", "patterns")),
        ({"whole_database": True}, ("refused", "whole_database")),
        ({"all_databases": True}, ("refused", "all_databases")),
        ({"keep": ["*"]}, ("nothing", "keep")),
        ({"database": 99}, (None, "redis_database")),
        ({"uri": "http://cache1"}, (None, "redis_uri")),
    ],
)
def test_options_that_cannot_be_meant(single, options, expected):
    single.fill(cache=3)
    assert refused(single.plan(**{"patterns": ["cache:*"], **options})) == expected
    assert len(single.keys()) == 3


def test_a_cluster_has_one_database_only(cluster):
    cluster.fill(cache=3)
    assert refused(cluster.plan("cache:*", database=1)) == (None, "redis_database")


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("sessions", "app:sess:1"),
        ("queues", "bull:mail:wait"),
        ("locks", "app:order:1:lock"),
        ("rate_limits", "app:ratelimit:10.0.0.1"),
        ("carts", "app:cart:7"),
    ],
)
def test_what_looks_like_no_cache_is_refused_until_it_is_named_or_kept(single, kind, key):
    single.fill(key, cache=10)
    options = {"patterns": [key.partition(":")[0] + ":*", "cache:*"]}
    planned = single.plan(**options)
    assert rules(planned) == [f"kind {kind}"] and key in planned["plan"]["refusals"][0]["msg"]
    assert refused(single.act(planned, **options)) == ("refused", f"kind {kind}") and len(single.keys()) == 11
    kept = single.flush(**options, keep=[key])
    assert kept["state"] == "done" and single.keys() == {key.encode()}
    assert single.flush(**options, include_kinds=[kind])["state"] == "done" and single.keys() == set()


def test_queues_are_known_by_what_they_are(single):
    witness = single.witness(single.service.ports[0])
    witness.rpush("app:todo", "a")
    witness.xadd("app:events", {"a": 1})
    witness.xgroup_create("app:events", "readers")
    witness.rpush("app:latest", "a")
    witness.expire("app:latest", 3600)
    witness.xadd("app:log", {"a": 1})
    (entry,) = single.plan("app:*")["plan"]["refusals"]
    assert entry["rule"] == "kind queues" and entry["value"] == 2
    assert "app:todo" in entry["msg"] and "app:events" in entry["msg"]
    assert rules(single.plan("app:*", keep=["app:todo", "app:ev*"])) == []


def test_what_the_plan_did_not_see_is_spared_by_its_name(single):
    single.fill(cache=20)
    planned = single.plan("cache:*")
    single.fill("cache:sess:1", "cache:cart:1", "cache:cart:2")
    real, calls = redis_sweep.Sweep.run, []
    assert planned["plan"]["refusals"] == []
    # as if the sample under the lock had missed them, too
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("ansible.module_utils.mendbook.redis_flush_sample._name_kinds", lambda *_args: None)
        patched.setattr(redis_sweep.Sweep, "run", lambda self: (calls.append(1), real(self))[1])
        result = single.act(planned, "cache:*")
    assert calls and result["state"] == "done" and single.removed(result) == 20
    assert single.keys() == {b"cache:sess:1", b"cache:cart:1", b"cache:cart:2"}
    spared = {entry["reason"]: entry["count"] for entry in result["skipped_objects"]}
    assert spared == {"sessions by their names, spared": 1, "carts by their names, spared": 2}


def test_more_keys_than_the_cap_are_refused_and_a_wrong_estimate_stops_at_it(single, monkeypatch):
    single.fill(cache=30, other=10)
    planned = single.plan("cache:*", max_keys=29)
    assert refused(single.act(planned, "cache:*", max_keys=29)) == ("refused", "cap keys") and len(single.keys()) == 40
    planned = single.plan("cache:*", max_keys=35)
    single.fill(late=0, **{"cache:x": 10})
    monkeypatch.setattr("ansible.module_utils.mendbook.plan.refusals_in", lambda _plan: [])
    monkeypatch.setattr(redis_sweep, "UNLINK_KEYS", 5)
    monkeypatch.setattr("ansible.module_utils.mendbook.redis_scan.scan.__defaults__", (None, 5))
    result = single.act(planned, "cache:*", max_keys=35)
    assert result["state"] == "partial" and (result["mend"]["reason"], result["mend"]["rule"]) == (
        "partial",
        "cap keys",
    )
    assert 0 < single.removed(result) <= 35 and len(single.keys("cache:*")) == 40 - single.removed(result)


def test_nearly_everything_is_refused(single):
    single.fill(cache=200, other=10)
    planned = single.plan("cache:*", max_share=0.9)
    assert refused(single.act(planned, "cache:*", max_share=0.9)) == ("refused", "cap share of the keys")


def test_a_plan_for_other_keys_or_another_selection_is_no_permission(single):
    single.fill(cache=200)
    planned = single.plan("cache:*")
    assert refused(single.act(planned, "cache:1*")) == ("drift", "drift")
    single.fill(**{"cache:more": 200})
    assert refused(single.act(planned, "cache:*")) == ("drift", "drift") and len(single.keys()) == 400


def test_a_user_without_unlink_is_told_so_before_anything_is_done(single, user):
    single.fill(cache=3, other=3)
    login = user()
    planned = single.plan("cache:*", **login)
    assert rules(planned) == ["redis_permission"] and planned["plan"]["refusals"][0]["value"] == "UNLINK"
    assert refused(single.act(planned, "cache:*", **login)) == ("refused", "redis_permission")
    login = user("+unlink", keys="~other:*")
    planned = single.plan("cache:*", **login)
    assert rules(planned) == ["redis_permission"] and "keys" in planned["plan"]["refusals"][0]["msg"]
    assert len(single.keys()) == 6
    login = user("+unlink", keys="~cache:*")
    assert single.removed(single.flush("cache:*", **login)) == 3 and len(single.keys()) == 3


@pytest.mark.parametrize(
    ("where", "more", "options"),
    [
        ("single", [], {}),
        ("cluster", ["+flushdb", "+cluster|nodes", "+cluster|myid", "+asking"], {"whole_database": True}),
    ],
)
def test_the_rights_that_the_page_names_are_enough(request, monkeypatch, where, more, options):
    # what is asked once a second is asked all the time
    monkeypatch.setattr(redis_lock, "_BEAT_SECONDS", 0)
    lab = request.getfixturevalue(where)
    page = (Path(__file__).parents[2] / "docs" / "flush_redis.md").read_text()
    (rules,) = [line.partition(" on >... ")[2] for line in page.splitlines() if "ACL SETUSER ops on" in line]
    assert set(more) <= set(page.replace("`", " ").split())
    lab.fill(cache=500, other=100)
    user = "ops", "reset", "on", ">secret", *rules.split(), *more
    for port in lab.service.ports:
        lab.witness(port).execute_command("ACL", "SETUSER", *user)
    try:
        patterns = [] if options else ["cache:*"]
        result = lab.flush(*patterns, username="ops", password="secret", **options)  # noqa: S106
    finally:
        for port in lab.service.ports:
            lab.witness(port).execute_command("ACL", "DELUSER", "ops")
    assert result["state"] == "done" and len(lab.keys()) == (0 if options else 100)
    assert result["figures"]["rounds"] == (1 if options else 2)


def test_a_user_who_may_not_look_is_told_so(single, user):
    single.fill(cache=3)
    user("+unlink", "-scan")
    assert refused(single.plan("cache:*", username="ops", password="secret")) == (None, "redis_permission")  # noqa: S106
    login = user("+unlink", "-type", "-pttl", "-memory")
    planned = single.plan("cache:*", **login)
    assert rules(planned) == [] and planned["plan"]["totals"]["bytes"] is None
    assert single.removed(single.act(planned, "cache:*", **login)) == 3


def test_a_user_who_may_not_see_other_runs_is_refused(single, user):
    single.fill(cache=3)
    login = user("+unlink", "-client")
    planned = single.plan("cache:*", **login)
    assert rules(planned) == ["lock_permission"]
    assert (
        refused(single.act(planned, "cache:*", **login)) == ("refused", "lock_permission") and len(single.keys()) == 3
    )


@pytest.mark.parametrize("server", ["debian", "package"])
def test_a_whole_database_without_the_right_to_flush_it(own_redis, server):
    """Redis 7 tells it beforehand to whom may ask; elsewhere the first master does, and nothing is gone."""
    lab = own_redis(binary=build(server), users={"ops": f">secret ~* {READS} +acl"})
    lab.fill(cache=3)
    login = {"username": "ops", "password": "secret", "whole_database": True}
    planned = lab.plan(**login)
    assert rules(planned) == (["redis_permission"] if server == "debian" else [])
    assert refused(lab.act(planned, **login))[1] == "redis_permission" and len(lab.keys()) == 3


def test_a_full_server_is_cleared(own_redis):
    lab = own_redis(settings={"maxmemory-policy": "noeviction"})
    lab.fill(cache=2000, other=3)
    witness = lab.witness(lab.service.ports[0])
    # less than a server takes that is empty: about as much as there is would be enough once it has returned some
    witness.config_set("maxmemory", "100kb")
    assert "OOM" in cli(lab.service, "set", "one", "more", check=False)
    assert lab.flush("cache:*")["state"] == "done" and lab.keys() == {b"other:0", b"other:1", b"other:2"}
    lab.service.restart()
    assert lab.flush(whole_database=True)["state"] == "done" and lab.keys() == set()


def test_a_server_that_takes_no_writes_is_told_before(single):
    single.fill(cache=3)
    witness = single.witness(single.service.ports[0])
    witness.config_set("min-replicas-to-write", 1)
    try:
        planned = single.plan("cache:*")
        assert rules(planned) == ["redis_writes_stopped"]
        assert refused(single.act(planned, "cache:*")) == ("refused", "redis_writes_stopped")
    finally:
        witness.config_set("min-replicas-to-write", 0)
    assert single.removed(single.flush("cache:*")) == 3


@pytest.mark.parametrize("where", ["single", "cluster"])
def test_the_second_operator_is_told_who_the_first_is(request, where):
    lab = request.getfixturevalue(where)
    lab.fill(cache=30)
    planned = lab.plan("cache:*")
    options = {"uri": lab.service.uri, "connect_timeout_seconds": 10, "operation_timeout_seconds": 30}
    with connect(options, run="20261121T093000Z-5f3a9c") as access, Presence(access, "20261121T093000Z-5f3a9c") as held:
        held.hold(masters_now(access).nodes)
        result, seconds = quickest(lambda: lab.act(planned, "cache:*"))
        assert refused(result) == ("locked", "lock") and seconds < 2
        assert result["mend"]["details"]["run"] == "20261121T093000Z-5f3a9c"
        assert any("locked now by run 20261121T093000Z-5f3a9c" in note for note in lab.plan("cache:*")["plan"]["notes"])
    assert len(lab.keys()) == 30
    assert lab.removed(lab.act(planned, "cache:*")) == 30


def test_a_signal_in_the_middle_leaves_a_count_of_what_was_done(single, monkeypatch):
    single.fill(cache=500)
    real, calls = redis_sweep.Sweep._remove, []
    monkeypatch.setattr("ansible.module_utils.mendbook.redis_scan.scan.__defaults__", (None, 20))

    def remove(self, connection, keys):
        real(self, connection, keys)
        calls.append(len(keys))
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            # it is the main thread that hears of it
            self._stop.wait(60)

    monkeypatch.setattr(redis_sweep.Sweep, "_remove", remove)
    result = single.flush("cache:*")
    assert result["rc"] == 1 and result["state"] == "partial" and "SIGTERM" in result["msg"]
    assert single.removed(result) == sum(calls) == 500 - len(single.keys()) and len(single.keys()) > 0
    assert single.flush("cache:*")["state"] == "done" and single.keys() == set()
