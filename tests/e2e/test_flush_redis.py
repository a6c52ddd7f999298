"""flush_redis on real servers: what goes from every master and what stays, as redis-cli and raw clients see it."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from ansible.module_utils.mendbook import redis_flush_sample
from ansible.module_utils.mendbook.redis_glob import matcher

from local_inventory import local_inventory
from redis_cli import BUILDS, build, cli
from waiting import until

pytestmark = pytest.mark.e2e
pytest_plugins = ["redis_lab", "redis_flush_lab"]


@pytest.fixture
def inventory(tmp_path) -> Path:
    """One host in the group redis, in the place of those with MongoDB and S3."""
    return local_inventory(tmp_path / "inventory.yml", "cache", "redis", redis_uri="env:SANDBOX_REDIS_URI")


@pytest.fixture
def sandbox_secrets(redis_cluster) -> dict[str, str]:
    return {"SANDBOX_REDIS_URI": redis_cluster.uri}


@pytest.fixture(params=["single", "replicated", "cluster"])
def lab(request):
    return request.getfixturevalue(request.param)


def counted(service):
    """DBSIZE of each server, as redis-cli tells it."""
    return [int(cli(service, "dbsize", port=port)) for port in service.ports]


def test_the_playbook_clears_a_cluster_by_pattern_and_whole(cluster, playbook):
    cluster.fill("sess:1", "other", "cache:home", cache=300)
    before = counted(cluster.service)[:3]
    assert all(before) and sum(before) == 303

    def play(*arguments, **variables):
        given = {f"redis_flush_{name}": value for name, value in variables.items()}
        played = playbook("flush_redis", *arguments, variables={"redis_flush_max_share": 1.0, **given})
        return played, played.of("mend_redis_flush")[0]

    patterns = {"patterns": ["cache:*"], "keep": ["cache:home"]}
    played, result = play("--check", "--diff", **patterns)
    assert played.rc == 0 and result["changed"] and result["plan"]["totals"]["count"] == 300
    assert len(result["plan"]["changes"]) == 3 and counted(cluster.service)[:3] == before
    assert not [line for line in played.journal() if line["event"] == "begin"]

    played, result = play(**patterns)
    assert played.rc == 0 and result["state"] == "done" and cluster.removed(result) == 300
    assert cluster.keys() == {b"sess:1", b"other", b"cache:home"}
    assert result["read_back"]["kept"] == 1 and result["read_back"]["written_since"] == 0
    (end,) = [line for line in played.journal() if line["event"] == "end"]
    assert end["state"] == "done" and len(end["done"]) == 3 and end["target"]["id"].startswith("redis-cluster@")

    played, result = play(**patterns)
    assert played.rc == 0 and (result["changed"], result["state"]) == (False, "nothing to do")

    played, result = play(patterns=["[^x]*", "x*"], keep=["sess:*"])
    assert played.rc != 0 and len(cluster.keys()) == 3 and result["mend"]["rule"] == "confirm"
    target = result["plan"]["target"]["id"]
    assert result["plan"]["risk"] == "destroys" and f"redis_flush_confirm={target}" in result["msg"]
    assert any("[^x]*, x*: may mean nearly every key" in note for note in result["plan"]["notes"])
    played, result = play(patterns=["[^x]*"], keep=["sess:*", "other"], confirm=target)
    assert played.rc == 0 and result["state"] == "done" and cluster.keys() == {b"sess:1", b"other"}

    whole = {"whole_database": True}
    played, result = play(**whole)
    assert played.rc != 0 and len(cluster.keys()) == 2
    assert [entry["rule"] for entry in result["mend"]["details"]["refusals"]] == ["kind sessions", "confirm"]
    assert f"redis_flush_confirm={target}" in result["msg"]

    played, result = play(**whole, include_kinds=["sessions"], confirm=target)
    assert played.rc == 0 and result["state"] == "done"
    # its own patience with replicas ends after two seconds
    until(lambda: counted(cluster.service) == [0] * 6)


def test_what_matches_goes_from_every_master_and_nothing_else(lab):
    lab.fill("Cache:1", "xcache:1", "cache", "café", cache=500, other=50)
    others = lab.keys() - lab.keys("cache:*")
    result = lab.flush("cache:*")
    assert result["state"] == "done" and lab.removed(result) == 500 and lab.keys() == others
    assert sum(entry["keys"] for entry in result["read_back"]["masters"]) == 54
    assert result["read_back"]["replicas_behind"] == []
    # the replicas have heard of it
    assert sum(counted(lab.service)) == 54 * len(lab.service.ports) / len(lab.masters())
    again = lab.flush("cache:*")
    assert (again["state"], again["changed"]) == ("nothing to do", False)


def test_check_mode_changes_nothing(lab):
    lab.fill(cache=100)
    before = lab.keys()
    planned = lab.plan("cache:*")
    assert planned["changed"] and planned["state"] == "planned" and planned["plan"]["totals"]["count"] == 100
    whole = lab.plan(whole_database=True)
    assert whole["plan"]["risk"] == "destroys" and whole["plan"]["totals"]["count"] == 100
    assert lab.keys() == before
    assert not any("mendbook-" in client["name"] for master in lab.masters() for client in master.client_list())


def test_without_a_receipt_nothing_goes(single):
    single.fill(cache=3)
    result = single.plan("cache:*", check=False)
    assert (result["rc"], result["mend"]["rule"]) == (1, "receipt") and len(single.keys()) == 3


def test_what_is_kept_stays_and_is_counted(lab):
    lab.fill(cache=200, **{"cache:home": 50})
    result = lab.flush("cache:*", keep=["cache:home:*", "*:7"])
    assert lab.keys() == {f"cache:home:{n}".encode() for n in range(50)} | {b"cache:7"}
    assert lab.removed(result) == 199
    assert (result["read_back"]["kept"], result["read_back"]["kept_gone"]) == (51, 0)


def test_a_whole_database_of_which_some_is_kept_goes_key_by_key(lab):
    lab.fill("sess:1", "sess:2", cache=100)
    planned = lab.plan(whole_database=True, keep=["sess:*"])
    assert planned["plan"]["risk"] == "destroys" and planned["plan"]["refusals"] == []
    result = lab.act(planned, whole_database=True, keep=["sess:*"])
    assert result["state"] == "done" and lab.keys() == {b"sess:1", b"sess:2"}


def test_a_whole_database_goes_and_the_others_stay(single):
    single.fill(cache=20)
    witness = single.witness(single.service.ports[0])
    for database in (1, 5):
        witness.execute_command("SELECT", database)
        witness.mset({f"db{database}:{n}": "x" for n in range(10)})
    witness.execute_command("SELECT", 0)
    result = single.flush(whole_database=True, database=1)
    assert result["state"] == "done" and result["plan"]["target"]["id"].endswith("/1")
    assert [len(single.keys(database=number)) for number in (0, 1, 5)] == [20, 0, 10]
    result = single.flush("db5:[0-4]", database=5)
    assert single.removed(result) == 5 and len(single.keys(database=5)) == 5
    result = single.flush(whole_database=True, all_databases=True)
    assert result["plan"]["target"]["id"].endswith("/*") and "ALL DATABASES" in " ".join(result["plan"]["notes"])
    assert {entry["object"].rpartition("/")[2] for entry in result["done"]} == {"0", "5"}
    assert [len(single.keys(database=number)) for number in (0, 1, 5)] == [0, 0, 0]
    assert single.flush(whole_database=True, all_databases=True)["state"] == "nothing to do"


def test_a_replica_that_is_named_leads_to_its_master(replicated):
    replicated.fill(cache=10)
    service = replicated.service
    result = replicated.flush("cache:*", uri=service.uris[1])
    assert result["state"] == "done" and counted(service) == [0, 0, 0]
    assert result["plan"]["target"]["id"] == f"redis@127.0.0.1:{service.ports[0]}/0"
    assert result["done"][0]["object"] == f"127.0.0.1:{service.ports[0]}/0"


def test_a_replica_of_a_replica_leads_to_the_master_of_both(own_redis):
    lab = own_redis(replicas=2)
    top, middle, last = lab.service.ports
    lab.fill(cache=10)
    lab.witness(last).execute_command("REPLICAOF", "127.0.0.1", str(middle))
    until(lambda: counted(lab.service) == [10] * 3 and lab.witness(last).info()["master_link_status"] == "up")
    result = lab.flush("cache:*", uri=lab.service.uris[2])
    assert result["state"] == "done" and result["done"][0]["object"] == f"127.0.0.1:{top}/0", result
    until(lambda: counted(lab.service) == [0] * 3)


def test_a_replica_whose_master_is_gone_names_it_and_loses_nothing(own_redis):
    lab = own_redis(replicas=1)
    lab.fill(cache=3)
    until(lambda: lab.witness(lab.service.ports[1]).dbsize() == 3)
    lab.service.processes[0].kill()
    result = lab.plan("cache:*", uri=lab.service.uris[1])
    assert (result["rc"], result["mend"]["rule"]) == (1, "redis_master_lost")
    assert "1 of 1 masters do not answer" in result["msg"] and f":{lab.service.ports[0]}" in result["msg"]
    assert result["mend"]["details"] == {"masters": [f"127.0.0.1:{lab.service.ports[0]}"]}
    assert lab.witness(lab.service.ports[1]).dbsize() == 3


def test_servers_that_are_replicas_of_each_other_have_no_master(own_redis):
    lab = own_redis(replicas=1)
    one, other = lab.service.ports
    lab.witness(one).execute_command("REPLICAOF", "127.0.0.1", str(other))
    result = lab.plan("cache:*")
    assert (result["rc"], result["mend"]["rule"]) == (1, "redis_master_lost")
    assert "look at their REPLICAOF" in result["msg"]


def test_any_node_of_a_cluster_leads_to_all_of_it(cluster):
    for uri in cluster.service.uris[2], cluster.service.uris[5]:
        cluster.fill(cache=60)
        assert cluster.removed(cluster.flush("cache:*", uri=uri)) == 60 and cluster.keys() == set()


def test_a_large_database_is_estimated_and_then_emptied_exactly(single, monkeypatch):
    monkeypatch.setattr(redis_flush_sample, "SAMPLE_KEYS", 1000)
    single.fill("needle:1", cache=6000, other=6000)
    planned = single.plan("cache:*")["plan"]
    assert planned["changes"][0]["before"]["estimated"] and 4500 < planned["totals"]["count"] < 7500
    assert any("estimated from a sample of 1," in note for note in planned["notes"])
    assert planned["totals"]["bytes"] > 6000 * 40
    # what is rare is counted and not guessed
    rare = single.plan("needle:*")["plan"]
    assert rare["totals"]["count"] == 1 and not rare["changes"][0]["before"]["estimated"]
    assert single.removed(single.flush("cache:*")) == 6000
    assert len(single.keys()) == 6001


def test_one_session_among_many_keys_is_seen_before_all_of_them_go_at_once(single, monkeypatch):
    monkeypatch.setattr(redis_flush_sample, "SAMPLE_KEYS", 300)
    single.fill("sess:1", page=6000)
    refusals = single.plan(whole_database=True)["plan"]["refusals"]
    assert [(entry["rule"], entry["value"]) for entry in refusals] == [("kind sessions", 1)]
    assert single.flush(whole_database=True)["rc"] == 1 and len(single.keys()) == 6001


def test_large_values_do_not_hold_the_server_up(single):
    witness = single.witness(single.service.ports[0])
    with witness.pipeline(transaction=False) as pipe:
        for n in range(5):
            pipe.hset(f"cache:big:{n}", mapping={f"field{m}": "x" for m in range(5000)})
        pipe.execute()
    witness.config_resetstat()
    planned = single.plan("cache:big:*")
    assert planned["plan"]["totals"]["bytes"] > 5 * 5000 * 8
    assert single.removed(single.act(planned, "cache:big:*")) == 5 and single.keys() == set()
    # DEL would have freed them while everybody waits
    assert "cmdstat_del" not in witness.info("commandstats")


@pytest.mark.parametrize(
    ("name", "options"), [("debian", {}), ("valkey", {"cluster": True})], ids=["Redis 7", "a cluster of Valkey 9"]
)
def test_other_builds_are_cleared_too(own_redis, name, options):
    lab = own_redis(binary=build(name), **options)
    lab.fill("sess:1", cache=2000, **{"cache:home": 20})
    result = lab.flush("cache:*", keep=["cache:home:*"])
    assert result["state"] == "done" and lab.removed(result) == 2000 and len(lab.keys()) == 21
    # this user may ask the server what it may
    assert lab.flush(whole_database=True, include_kinds=["sessions"])["state"] == "done" and lab.keys() == set()


def test_a_server_that_takes_tls_only(redis_tls, lab_of):
    with contextlib.closing(lab_of(redis_tls)) as lab:
        lab.fill("other", cache=100)
        options = {"tls_ca_file": redis_tls.certificate.authority, "uri": redis_tls.uri.partition("?")[0]}
        assert lab.removed(lab.flush("cache:*", **options)) == 100 and lab.keys() == {b"other"}
        assert lab.plan("cache:*", uri=options["uri"])["mend"]["rule"].startswith("redis_tls")
        lab.empty()


@pytest.mark.parametrize("name", BUILDS)
def test_patterns_mean_what_each_server_means_by_them(own_redis, name):
    """What is kept is decided here, and what goes by the server: both must mean the same."""
    lab = own_redis(binary=build(name))
    client = lab.witness(lab.service.ports[0])
    chance = random.Random(7)
    keys = [bytes(chance.choices(b"ab-]^[\\*?\xff\x80\n", k=chance.randint(1, 5))) for _ in range(300)]
    client.mset(dict.fromkeys(keys, "x"))
    for _ in range(400):
        pattern = "".join(chance.choices("ab-]^[\\*?", k=chance.randint(1, 6)))
        ours = {key for key in set(keys) if matcher([pattern])(key)}
        assert ours == set(client.keys(pattern)), pattern
