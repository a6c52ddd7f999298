# SPDX-License-Identifier: MIT
"""Every server that belongs to a Redis: a single one, a master with its replicas, or a cluster's nodes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import redis

from .errors import MendError
from .redis_options import address_text

SLOTS = 16384
_AT_ONCE = 16


class Node:
    """One server.

    ``id`` is a cluster node's own, else the run id of its process (its address when it was not reached); ``role`` is
    master or replica; ``master`` the id of a replica's master, None where that is not known; ``slots`` the (first,
    last) ranges of a cluster's master; ``flags`` what its cluster says of it (``fail``, ``fail?``, ``noaddr``).

    ``client`` is open, and ``info`` what INFO said, when it was reached; otherwise ``error`` is the MendError.
    """

    def __init__(self, host, port, role, *, id=None, master=None, slots=(), flags=()):
        self.host = host
        self.port = port
        self.role = role
        self.id = id or self.address
        self.master = master
        self.slots = list(slots)
        self.flags = set(flags)
        self.client = None
        self.info = {}
        self.error = None

    @property
    def address(self):
        return address_text(self.host, self.port)

    def reach(self, client, info):
        """Note that this server has answered; what it says of itself now counts."""
        self.client, self.info = client, info
        self.role = _role(info)


class Topology:
    """What belongs together: ``kind`` is single, replicated or cluster, ``nodes`` its servers, masters first.

    ``target`` is the plan's; ``whole`` is False when the list of nodes may lack some, and ``notes`` say why, and
    which nodes could not be reached.
    """

    def __init__(self, kind, nodes, target, notes=()):
        self.kind = kind
        self.nodes = sorted(nodes, key=lambda node: (node.role != "master", node.slots, node.address))
        self.target = target
        self.notes = list(notes)
        self.whole = not self.notes
        lost = [node for node in self.nodes if node.error]
        if lost:
            self.notes.append(
                f"{len(lost)} of {len(self.nodes)} servers cannot be reached from here: "
                + "; ".join(node.error.msg for node in lost)
            )

    @property
    def masters(self):
        return [node for node in self.nodes if node.role == "master"]

    @property
    def replicas(self):
        return [node for node in self.nodes if node.role == "replica"]

    @property
    def reached(self):
        return [node for node in self.nodes if node.error is None]


def topology(access):
    """Return the `Topology` around the server that ``access`` has entered, each node opened if it can be reached.

    Raises MendError when the entry itself does not tell what it is.
    """
    info = access.client.info()
    mode = info.get("redis_mode") or info.get("server_mode")
    if mode == "sentinel":
        raise MendError(
            f"Redis at {access.address}: this is a Sentinel and holds no data; name the master that it watches",
            rule="redis_sentinel",
        )
    if info.get("cluster_enabled"):
        return _cluster(access, info)
    return _replicated(access, info)


def covered(nodes):
    """Return how many of a cluster's slots have a master that its cluster does not call failed."""
    ranges = [part for node in nodes if node.role == "master" and "fail" not in node.flags for part in node.slots]
    return sum(last - first + 1 for first, last in ranges)


def cluster_nodes(text, host):
    """Return the nodes that CLUSTER NODES lists; ``host`` is how the server that said so was reached.

    A node that does not know its own address says none, and one whose name is announced is called by it.
    """
    nodes = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 8 or "handshake" in fields[2]:
            continue
        flags = set(fields[2].split(","))
        place, _, names = fields[1].partition(",")
        address, _, port = place.partition("@")[0].rpartition(":")
        name = names.partition(",")[0]
        slots = [_range(part) for part in fields[8:] if not part.startswith("[")]
        role = "master" if "master" in flags else "replica"
        master = fields[3] if fields[3] != "-" else None
        where = name or address or host
        nodes.append(Node(where, int(port or 0), role, id=fields[0], master=master, slots=slots, flags=flags))
    return nodes


def version(info):
    """Return what a server is, from its INFO: ``Redis 7.0.15``, ``Valkey 9.1.2``."""
    if info.get("valkey_version"):
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info.get('redis_version', 'of unknown version')}"


def _cluster(access, info):
    # asked in two words, the driver leaves the answer as it is
    try:
        nodes = cluster_nodes(access.client.execute_command("CLUSTER", "NODES").decode(), access.host)
    except redis.ResponseError as error:
        refused = access.error(error, access.host, access.port)
        node = Node(access.host, access.port, _role(info))
        node.reach(access.client, info)
        notes = [f"the other nodes of the cluster are not known: {refused.msg}"]
        return Topology("cluster", [node], _target("redis-cluster", access.address, [node]), notes)
    announced = min(node.address for node in nodes)
    for node in nodes:
        if "myself" in node.flags:
            # how it was reached is known to work, what it announces may not
            node.host, node.port = access.host, access.port
            node.reach(access.client, info)
    _open(access, [node for node in nodes if node.client is None], _is_node)
    return Topology("cluster", nodes, _target("redis-cluster", announced, nodes))


def _replicated(access, info):
    entry = Node(access.host, access.port, _role(info), id=info.get("run_id"))
    entry.reach(access.client, info)
    top, nodes = entry, [entry]
    # replicas may have replicas of their own
    while top.role == "replica" and top.error is None:
        above = Node(top.info["master_host"], int(top.info["master_port"]), "master")
        _open(access, [above], _same_data_as(top))
        if above.id in {node.id for node in nodes}:
            break
        nodes.append(above)
        top = above
    asked = list(nodes)
    while asked:
        known = {node.id for node in nodes}
        found = [Node(host, port, "replica", master=node.id) for node in asked for host, port in _replicas_of(node)]
        _open(access, found, _same_data_as(top))
        asked = [node for node in found if node.error is None and node.id not in known]
        nodes += asked + [node for node in found if node.error is not None]
        for node in nodes:
            # the one by which we came in is one of the replicas, too
            same = next((other for other in found if other.id == node.id), None)
            node.master = node.master or (same.master if same else None)
    notes = ["only the master knows its other replicas, if there are any"] if top.error else []
    return Topology("replicated" if len(nodes) > 1 else "single", nodes, _target("redis", top.address, nodes), notes)


def _open(access, nodes, belongs):
    """Reach these nodes side by side; ``belongs(node, client, info)`` tells whether the right one has answered."""

    def reach(node):
        try:
            client = access.open(node.host, node.port)
            try:
                info = client.info()
                if not belongs(node, client, info):
                    raise MendError(f"another Redis answers at {node.address}", rule="redis_other")
            except redis.RedisError as error:
                raise access.error(error, node.host, node.port) from None
            node.reach(client, info)
        except MendError as error:
            node.error = error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(reach, nodes))


def _is_node(node, client, info):
    return client.execute_command("CLUSTER", "MYID").decode() == node.id


def _same_data_as(other):
    """A replica has the replication id of its master; where one of both was not reached there is nothing to compare."""

    def belongs(node, client, info):
        node.id = info.get("run_id") or node.id
        theirs, ours = (facts.get("master_replid") for facts in (info, other.info))
        return ours is None or theirs == ours or info.get("master_link_status") == "down"

    return belongs


def _replicas_of(node):
    """The addresses of the replicas that a server has; INFO lists them as slave0, slave1 ..."""
    listed = [value for name, value in node.info.items() if name.startswith("slave") and isinstance(value, dict)]
    return [(value["ip"], int(value["port"])) for value in listed if "ip" in value]


def _role(info):
    return "master" if info.get("role") == "master" else "replica"


def _range(text):
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def _target(kind, address, nodes):
    versions = {version(node.info) for node in nodes if node.info}
    return {
        "kind": kind,
        "id": f"{kind}@{address}",
        "address": address,
        "facts": {
            "version": ", ".join(sorted(versions)),
            "masters": sorted(node.id for node in nodes if node.role == "master"),
            "replicas": sorted(node.id for node in nodes if node.role == "replica"),
        },
    }
