"""What CLUSTER NODES and INFO say of the servers that belong together; topologies out of scripted answers."""

from types import SimpleNamespace

import pytest
import redis
from ansible.module_utils.mendbook.errors import MendError
from ansible.module_utils.mendbook.redis_errors import translate
from ansible.module_utils.mendbook.redis_nodes import cluster_nodes, covered, topology, version

A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)
LISTED = f"""{A} 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-5460 [5461->-{B}]
{B} 10.0.0.2:6379@16379,cache2.example.com master - 0 1 2 connected 5461-10922 16000
{C} ::1:7000@17000 master,fail - 1 1 3 disconnected 10923-15999 16001-16383
{D} :0@0 slave,noaddr {A} 0 0 1 disconnected
{"e" * 40} 10.0.0.9:6379@16379 handshake - 0 0 0 disconnected
"""


def test_a_cluster_s_list_is_read_line_by_line():
    one, two, three, four = cluster_nodes(LISTED, "entry")
    assert (one.id, one.address, one.role, one.slots) == (A, "10.0.0.1:6379", "master", [(0, 5460)])
    assert (two.address, two.slots) == ("cache2.example.com:6379", [(5461, 10922), (16000, 16000)])
    assert (three.address, "fail" in three.flags) == ("[::1]:7000", True)
    assert (four.role, four.master, four.host, four.slots) == ("replica", A, "entry", [])


@pytest.mark.parametrize(("text", "count"), [("", 0), (LISTED, 5461 + 5462 + 1)])
def test_slots_of_a_failed_master_are_not_covered(text, count):
    assert covered(cluster_nodes(text, "entry")) == count


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"redis_version": "7.0.15"}, "Redis 7.0.15"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "Valkey 9.1.2"),
        ({}, "Redis of unknown version"),
    ],
)
def test_a_server_is_called_by_its_own_name(info, words):
    assert version(info) == words


class Servers:
    """What redis_client.Access is, over servers that are {(host, port): INFO}; an INFO that is an error is raised."""

    params = {"uri": "redis://entry"}

    def __init__(self, servers, host="m", port=1, nodes=None):
        self.servers, self.host, self.port, self.nodes = servers, host, port, nodes
        self.client = self.open(host, port)
        self.address = f"{host}:{port}"

    def open(self, host, port):
        if (host, port) not in self.servers:
            raise MendError(f"nothing at {host}:{port}", rule="redis_refused", details={"address": f"{host}:{port}"})

        def execute_command(*words):
            if words == ("CLUSTER", "MYID"):
                return self.servers[host, port]["me"].encode()
            if isinstance(self.nodes, Exception):
                raise self.nodes
            return self.nodes.encode()

        return SimpleNamespace(info=lambda: self.servers[host, port], execute_command=execute_command)

    def error(self, error, host, port, doing=""):
        return translate(error, self.params, doing, f"{host}:{port}")


def master(run, *replicas):
    listed = {f"slave{n}": {"ip": host, "port": port} for n, (host, port) in enumerate(replicas)}
    return {"role": "master", "run_id": run, "master_replid": "x", **listed}


def replica(run, host="m", port=1, replid="x", **more):
    facts = {"role": "slave", "run_id": run, "master_host": host, "master_port": port, "master_replid": replid}
    return {**facts, "master_link_status": "up", **more}


def shape(found):
    return [(node.role, node.address, node.id, node.master) for node in found.nodes]


def test_a_master_leads_to_its_replicas_and_theirs():
    servers = {("m", 1): master("M", ("r", 1)), ("r", 1): {**replica("R"), "slave0": {"ip": "s", "port": 1}}}
    servers["s", 1] = replica("S", "r")
    found = topology(Servers(servers))
    assert shape(found) == [("master", "m:1", "M", None), ("replica", "r:1", "R", "M"), ("replica", "s:1", "S", "R")]
    assert (found.kind, found.target["id"], found.whole, found.notes) == ("replicated", "redis@m:1", True, [])


@pytest.mark.parametrize("announced", ["r", "10.9.9.9"])
def test_a_replica_leads_to_its_master_and_is_counted_once(announced):
    servers = {("m", 1): master("M", (announced, 1), ("r2", 1)), ("r", 1): replica("R"), ("r2", 1): replica("R2")}
    found = topology(Servers(servers, "r"))
    assert found.target["id"] == "redis@m:1" and [node.id for node in found.masters] == ["M"]
    reached = [node.id for node in found.reached]
    assert sorted(reached) == ["M", "R", "R2"]
    # under an address that means nothing here it may be the entry, and may be another
    assert len(found.nodes) == (3 if announced == "r" else 4) and bool(found.notes) is (announced != "r")


def test_without_its_master_nobody_knows_the_other_replicas():
    found = topology(Servers({("r", 1): replica("R", master_link_status="down")}, "r"))
    assert [(node.role, bool(node.error)) for node in found.nodes] == [("master", True), ("replica", False)]
    assert found.whole is False and "only the master knows" in found.notes[0] and "nothing at m:1" in found.notes[1]


def test_a_stranger_at_an_announced_address_is_not_taken_for_the_replica():
    found = topology(Servers({("m", 1): master("M", ("r", 1)), ("r", 1): replica("R", replid="y")}))
    (lost,) = [node for node in found.nodes if node.error]
    assert lost.address == "r:1" and lost.error.rule == "redis_other"


def test_a_cluster_s_nodes_must_be_who_they_are_said_to_be():
    text = f"{A} 10.0.0.1:1@2 myself,master - 0 0 1 connected 0-9\n{B} b:1@2 master - 0 0 1 connected 10-16383\n"
    text += f"{C} c:1@2 slave {A} 0 0 1 connected\n"
    servers = {
        ("m", 1): {"role": "master", "cluster_enabled": 1},
        ("b", 1): {"role": "master", "cluster_enabled": 1, "me": B},
        ("c", 1): {"role": "master", "cluster_enabled": 1, "me": D},
    }
    found = topology(Servers(servers, nodes=text))
    # how it was reached is known to work; what it announces stays its name
    assert [node.address for node in found.nodes] == ["m:1", "b:1", "c:1"]
    assert found.target["id"] == "redis-cluster@10.0.0.1:1" and found.kind == "cluster" and found.whole
    assert [node.error and node.error.rule for node in found.nodes] == [None, None, "redis_other"]


def test_a_cluster_that_may_not_be_asked_is_told_as_one_of_several():
    denied = redis.exceptions.NoPermissionError("User app has no permissions to run the 'cluster|nodes' command")
    found = topology(Servers({("m", 1): {"role": "master", "cluster_enabled": 1}}, nodes=denied))
    assert (found.kind, len(found.nodes), found.whole) == ("cluster", 1, False)
    assert "CLUSTER NODES" in found.notes[0]


def test_a_sentinel_is_no_redis_to_look_at():
    with pytest.raises(MendError) as raised:
        topology(Servers({("m", 1): {"redis_mode": "sentinel"}}))
    assert raised.value.rule == "redis_sentinel"
