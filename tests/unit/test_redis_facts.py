"""Servers, clients and clusters as data, from what they said themselves."""

from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.redis_facts import clients_of, facts_of
from ansible.module_utils.mendbook.redis_look import Seen
from ansible.module_utils.mendbook.redis_nodes import Node, Topology

PARAMS = {"limit": 3, "slow_window_seconds": 60}
TARGET = {"kind": "redis", "id": "redis@m:1", "address": "m:1", "facts": {"version": "Redis 7.0.15"}}
INFO = {"role": "master", "run_id": "M", "connected_clients": 50, "maxclients": 100, "keyspace_hits": 0}


def client(name="", address="10.0.0.7:5000", **more):
    return {"name": name, "addr": address, "user": "ops", "flags": "N", "idle": "0", "age": "9", "cmd": "get", **more}


def slow(seconds, age, client="api", command="GET a:*"):
    return {"command": command, "seconds": seconds, "age_seconds": age, "client": client}


def seen(node, **said):
    node.reach(object(), node.info or INFO)
    made = Seen(node)
    for name, value in said.items():
        setattr(made, name, value)
    return made


def test_clients_are_counted_by_name_user_and_address():
    listed = [client("shop"), client("shop", "10.0.0.8:1"), client(address="[::1]:7"), client(address="/run/r.sock:0")]
    listed += [client("replica", flags="S"), client("waits", flags="b", idle="500")]
    found = clients_of(listed, 20)
    assert (found["connected"], found["blocked"]) == (5, 1)
    assert found["by_name"] == {"shop": 2, "waits": 1} and found["by_user"] == {"ops": 5}
    assert found["by_address"] == {"10.0.0.7": 2, "10.0.0.8": 1, "[::1]": 1, "/run/r.sock": 1}
    assert found["idle"][0]["name"] == "waits" and found["idle"][0]["idle_seconds"] == 500


def test_a_crowd_of_clients_is_a_short_list():
    found = clients_of([client(f"c{n}", f"10.0.0.{n}:1") for n in range(50)], 3)
    assert found["connected"] == 50
    assert {len(found[part]) for part in ("by_name", "by_address", "idle", "largest")} == {3}


def test_a_client_s_name_is_data():
    (name,) = clients_of([client("a\x1b[31m")], 3)["by_name"]
    assert "\x1b" not in name


def test_our_own_connections_and_commands_are_no_news():
    node = Node("m", 1, "master")
    one = seen(node, clients=[client("mendbook:r:u@h:1"), client("shop")], slow=[slow(9, 1, "mendbook:r:u@h:1")])
    facts = facts_of(Topology("single", [node], TARGET), [one], "mendbook:r:u@h:1", PARAMS)
    assert facts["clients"]["by_name"] == {"shop": 1}
    assert facts["slow"] == [] and facts["nodes"][0]["slow"] == []


def test_only_slow_commands_of_late_are_a_server_s_and_all_are_listed():
    node = Node("m", 1, "master")
    one = seen(node, slow=[slow(1, 61, command="KEYS *"), slow(0.5, 60)])
    facts = facts_of(Topology("single", [node], TARGET), [one], "me", PARAMS)
    assert [entry["command"] for entry in facts["nodes"][0]["slow"]] == ["GET a:*"]
    assert [entry["command"] for entry in facts["slow"]] == ["KEYS *", "GET a:*"]


def test_what_could_not_be_asked_is_none_and_said():
    node = Node("m", 1, "master")
    one = seen(node)
    one.missing.append({"fact": "slow commands", "command": "SLOWLOG", "rule": "redis_permission", "reason": "no"})
    facts = facts_of(Topology("single", [node], TARGET), [one], "me", PARAMS)
    told = facts["nodes"][0]
    assert (told["slow"], told["ping"], told["latency"], told["cluster_state"]) == (None, None, None, None)
    assert facts["missing"] == [{**one.missing[0], "node": "m:1"}]


def test_a_server_that_was_not_reached_has_its_error_and_no_more():
    node, lost = Node("m", 1, "master"), Node("r", 1, "replica", master="M")
    lost.error = MendError("nothing at r:1")
    facts = facts_of(Topology("replicated", [node, lost], TARGET), [seen(node)], "me", PARAMS)
    assert facts["nodes"][1]["error"] == "nothing at r:1" and "memory" not in facts["nodes"][1]
    assert facts["totals"]["connected"] == 50 and "nothing at r:1" in facts["notes"][0]


def test_a_master_counts_as_alone_when_its_replica_is_lost():
    one = Node("a", 1, "master", id="A", slots=[(0, 8191)])
    two = Node("b", 1, "master", id="B", slots=[(8192, 16383)])
    spare = Node("c", 1, "master", id="C")
    follower, lost = Node("d", 1, "replica", id="D", master="A"), Node("e", 1, "replica", id="E", master="B")
    lost.error = MendError("gone")
    seens = [seen(node, cluster={"cluster_state": "ok"}) for node in (one, two, spare)]
    # reached as a replica, it says so itself
    follower.info = {**INFO, "role": "slave", "master_link_status": "up"}
    seens.append(seen(follower, cluster={"cluster_state": "fail"}))
    facts = facts_of(Topology("cluster", [one, two, spare, follower, lost], TARGET), seens, "me", PARAMS)
    assert facts["cluster"] == {"state": "fail, ok", "covered_slots": 16384, "masters_without_replica": ["b:1"]}


def test_a_cluster_of_which_only_one_node_is_known_is_not_judged():
    node = Node("a", 1, "master", id="A")
    whole = Topology("cluster", [node], TARGET, ["the other nodes of the cluster are not known"])
    facts = facts_of(whole, [seen(node)], "me", PARAMS)
    assert facts["cluster"] == {"state": "", "covered_slots": None, "masters_without_replica": None}
    assert facts["whole"] is False
