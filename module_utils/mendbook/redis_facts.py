# SPDX-License-Identifier: MIT
"""What a look at a Redis gives as data: of each server, of all of them together, and of who is connected. Pure."""

from __future__ import annotations

from collections import Counter

from . import redis_sample, redis_slow
from .plan_text import clean
from .redis_figures import added, hit_rate, keyspace, memory, persistence, rates, replication
from .redis_nodes import covered, version

# our own connections are no news, and those of replicas are not a client's
_REPLICATION = {"S", "M"}


def facts_of(topology, everything, own_name, params):
    """Return the facts of a topology; ``everything`` is a redis_look.Seen for each server that was reached.

    ``own_name`` is what our connections are called; ``params`` has ``limit``, the longest list, and
    ``slow_window_seconds``, within which a slow command is a server's.
    """
    limit = params["limit"]
    slow = {seen.node: _slow_of_others(seen, own_name) for seen in everything}
    by_node = {seen.node: seen for seen in everything}
    nodes = [_node(node, by_node.get(node), topology, slow.get(node), params) for node in topology.nodes]
    samples = [sample for seen in everything for sample in seen.samples]
    keys = added(keyspace(seen.later or seen.info) for seen in everything if seen.node.role == "master")
    # who is at several nodes of a cluster is counted at each
    clients = [client for seen in everything for client in seen.clients or ()]
    facts = {
        "kind": topology.kind,
        "whole": topology.whole,
        "notes": topology.notes,
        "target": topology.target,
        "nodes": nodes,
        "keyspace": keys,
        "totals": _totals(nodes, keys),
        "prefixes": redis_sample.merged(samples, limit),
        "sampled": redis_sample.coverage(samples),
        "clients": clients_of([client for client in clients if client.get("name") != own_name], limit),
        "slow": redis_slow.grouped([one for entries in slow.values() for one in entries or ()], limit),
        "missing": [{**one, "node": seen.node.address} for seen in everything for one in seen.missing],
    }
    if topology.kind == "cluster":
        facts["cluster"] = _cluster(topology, everything)
    return facts


def clients_of(clients, limit):
    """Return who is connected, from CLIENT LIST's dicts: numbers by name, user and address, the longest idle.

    An address is without its port, and unnamed connections are only among the addresses.
    """
    ordinary = [client for client in clients if not _REPLICATION & set(client.get("flags", ""))]
    return {
        "connected": len(ordinary),
        "blocked": sum("b" in client.get("flags", "") for client in ordinary),
        "by_name": _counted((client["name"] for client in ordinary if client.get("name")), limit),
        "by_user": _counted((client["user"] for client in ordinary if client.get("user")), limit),
        "by_address": _counted((_address(client) for client in ordinary), limit),
        "idle": [_client(client) for client in sorted(ordinary, key=lambda one: -_number(one, "idle"))[:limit]],
        "largest": [_client(client) for client in sorted(ordinary, key=lambda one: -_number(one, "tot-mem"))[:limit]],
    }


def _slow_of_others(seen, own_name):
    """The slow commands of a server that are not our own, None where they are not known."""
    ours = redis_slow.client_of(b"", own_name.encode())
    others = [{**one, "node": seen.node.address} for one in seen.slow or () if one["client"] != ours]
    return None if seen.slow is None else others


def _node(node, seen, topology, slow, params):
    found = {
        "id": node.id,
        "address": clean(node.address),
        "role": node.role,
        "master": node.master,
        "slots": [list(part) for part in node.slots],
        "flags": sorted(node.flags - {"master", "slave", "myself"}),
        "error": node.error.msg if node.error else None,
    }
    if seen is None:
        return found
    info = seen.later or seen.info
    master = next((other for other in topology.nodes if other.id == node.master), None)
    limit_of_clients = info.get("maxclients")
    recent = [one for one in slow or () if one["age_seconds"] <= params["slow_window_seconds"]]
    found.update(
        version=version(info),
        uptime_seconds=info.get("uptime_in_seconds"),
        memory=memory(info),
        rates=rates(seen.info, seen.later, seen.seconds),
        persistence=persistence(info),
        keyspace=keyspace(info),
        clients={
            "connected": info.get("connected_clients"),
            "blocked": info.get("blocked_clients"),
            "max": limit_of_clients,
            "share": round(info["connected_clients"] / limit_of_clients, 4) if limit_of_clients else None,
        },
        ping=seen.pings and {"median_seconds": seen.pings[len(seen.pings) // 2], "max_seconds": seen.pings[-1]},
        latency=_events(seen.events, params["limit"]),
        slow=None if slow is None else redis_slow.grouped(recent, params["limit"]),
        cluster_state=(seen.cluster or {}).get("cluster_state"),
    )
    if node.role == "replica":
        # the first looks at both were at the same moment
        found["replication"] = replication(node.info, master.info if master else {})
    return found


def _events(raw, limit):
    """LATENCY LATEST's [event, unix time, latest ms, highest ms], None when it may not be asked."""
    if raw is None:
        return None
    return [
        {
            "event": clean(event.decode("utf-8", "backslashreplace")),
            "latest_seconds": latest / 1e3,
            "max_seconds": most / 1e3,
        }
        for event, _, latest, most, *_ in raw[:limit]
    ]


def _totals(nodes, keys):
    reached = [node for node in nodes if not node["error"]]
    masters = [node for node in reached if node["role"] == "master"]
    hits, misses = (_sum(node["rates"][f"{what}_total"] for node in reached) for what in ("hits", "misses"))
    return {
        "keys": sum(one["keys"] for one in keys),
        "expires": sum(one["expires"] for one in keys),
        "used_bytes": _sum(node["memory"]["used_bytes"] for node in masters) or 0,
        "connected": _sum(node["clients"]["connected"] for node in reached) or 0,
        "commands_per_second": _sum(node["rates"]["commands_per_second"] for node in reached),
        "evicted_per_second": _sum(node["rates"]["evicted_per_second"] for node in masters),
        "expired_per_second": _sum(node["rates"]["expired_per_second"] for node in masters),
        "hit_rate": None if misses is None else hit_rate(hits, misses),
    }


def _cluster(topology, everything):
    states = {seen.cluster["cluster_state"] for seen in everything if seen.cluster}
    if not topology.whole:
        return {"state": ", ".join(sorted(states)), "covered_slots": None, "masters_without_replica": None}
    working = {node.master for node in topology.replicas if node.error is None and "fail" not in node.flags}
    return {
        # nodes may not agree
        "state": ", ".join(sorted(states)),
        "covered_slots": covered(topology.nodes),
        "masters_without_replica": [node.address for node in topology.masters if node.slots and node.id not in working],
    }


def _counted(names, limit):
    return {clean(name, 80): number for name, number in Counter(names).most_common(limit)}


def _address(client):
    return client.get("addr", "").rpartition(":")[0] or "(unknown)"


def _client(client):
    return {
        "name": clean(client.get("name", ""), 80),
        "user": clean(client.get("user", ""), 80),
        "address": clean(client.get("addr", "")),
        "command": clean(client.get("cmd", ""), 40),
        "idle_seconds": _number(client, "idle"),
        "age_seconds": _number(client, "age"),
        "memory_bytes": _number(client, "tot-mem"),
    }


def _number(client, name):
    return int(client.get(name) or 0)


def _sum(values):
    """The sum, None when one of them is not known."""
    values = list(values)
    return None if None in values else sum(values)
