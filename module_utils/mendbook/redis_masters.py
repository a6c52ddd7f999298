# SPDX-License-Identifier: MIT
"""The masters that hold a Redis' keys now: found again after a failover, and with the slots that are on their way."""

from __future__ import annotations

import time

import redis

from .errors import MendError, Refused
from .redis_nodes import topology

_AGAIN_SECONDS = 0.5


class Masters:
    """``nodes``: every server that holds keys of its own, each reached; ``state``: what changes when a key may move.

    ``moving`` tells whether slots of a cluster are on their way from one to another.
    """

    def __init__(self, found, nodes):
        self.topology = found
        self.nodes = nodes
        open_slots = _open_slots(nodes) if found.kind == "cluster" else ()
        self.moving = bool(open_slots)
        self.state = (tuple(sorted((node.id, tuple(node.slots)) for node in nodes)), open_slots)

    @property
    def cluster(self):
        return self.topology.kind == "cluster"


def masters_now(access):
    """Return the `Masters` around the server that ``access`` has entered; raises MendError when one does not answer."""
    found = topology(access)
    if found.kind == "cluster" and not found.whole:
        raise Refused(f"refused: {'; '.join(found.notes)}; keys of those would stay", rule="redis_nodes")
    # of a cluster: one that has no slots and does not answer was replaced; a new one gets keys before its first slot
    nodes = [node for node in found.masters if found.kind != "cluster" or node.slots or node.error is None]
    lost = [node for node in nodes if node.error or (node.slots and "fail" in node.flags)]
    if not nodes:
        raise MendError(
            f"none of the servers that {access.address} knows is a master: look at their REPLICAOF",
            rule="redis_master_lost",
            details={"masters": []},
        )
    if lost:
        said = "; ".join(node.error.msg if node.error else f"{node.address} has failed" for node in lost)
        raise MendError(
            f"{len(lost)} of {len(nodes)} masters do not answer, and their keys would stay: {said}; wait until they "
            "are back or a replica has taken over",
            rule="redis_master_lost",
            details={"masters": [node.address for node in lost]},
        )
    try:
        return Masters(found, nodes)
    except redis.RedisError as error:
        raise access.error(error, access.host, access.port, "looking for slots that move") from None


def masters_again(access, before, patience_seconds):
    """Return the `Masters` as they are now, those that took over included; waits for them so long.

    Where the server by which we came in is gone, each of the servers ``before`` (a `Masters`) is asked for the way.
    Clients of before must no longer be in use: their connections are closed. Raises the last MendError when the
    patience is over.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            return _look(access, before.topology.nodes)
        except MendError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_AGAIN_SECONDS)


def _look(access, known):
    failed = None
    for enter in [access.enter, *(_entering(access, node) for node in known)]:
        # a wait may take hundreds of looks, and each opens connections to every server
        access.close()
        try:
            enter()
            return masters_now(access)
        except redis.RedisError as error:
            failed = failed or access.error(error, access.host, access.port)
        except MendError as error:
            failed = failed or error
    raise failed


def _entering(access, node):
    def enter():
        access.client, access.host, access.port = access.open(node.host, node.port), node.host, node.port

    return enter


def _open_slots(nodes):
    """What each master says of slots that it gives away or gets; it says so of its own only."""
    found = set()
    for node in nodes:
        for line in node.client.execute_command("CLUSTER", "NODES").decode().splitlines():
            fields = line.split()
            if len(fields) > 8 and "myself" in fields[2]:
                found.update((node.id, part) for part in fields[8:] if part.startswith("["))
    return tuple(sorted(found))
