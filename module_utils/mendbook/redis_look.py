# SPDX-License-Identifier: MIT
"""One look at every server of a Redis, all at the same time; nothing is changed, and nothing holds a server up."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from .errors import MendError
from .redis_errors import translated
from .redis_figures import keyspace
from .redis_sample import take
from .redis_scan import connected
from .redis_slow import entries

_PINGS = 21
# SLOWLOG keeps 128 entries unless it is told otherwise
_SLOW_ENTRIES = 128


class Seen:
    """What one server said, beside the INFO by which it was found.

    ``pings`` are round trips in seconds, sorted; ``slow`` what redis_slow.entries gives; ``events`` are LATENCY's,
    ``clients`` CLIENT LIST's dicts, ``samples`` of its keys (a master's only), ``cluster`` what CLUSTER INFO says.
    ``info`` and ``later`` are two more INFOs, ``seconds`` apart. What could not be asked is None, and ``missing`` says
    why: [{fact, command, rule, reason}].
    """

    def __init__(self, node):
        self.node = node
        self.pings = self.slow = self.events = self.clients = self.cluster = self.later = None
        self.info = node.info
        self.seconds = 0.0
        self.samples = []
        self.missing = []


def look(access, topology, params):
    """Return a `Seen` for each server that was reached, in the topology's order."""
    everything = [Seen(node) for node in topology.reached]
    with ThreadPoolExecutor(max(1, len(everything))) as pool:
        # round trips first: what this process is busy with would be counted to them
        list(pool.map(lambda seen: _asked(access, seen, "ping", _ping), everything))
        list(pool.map(lambda seen: _look_at(access, seen, topology.kind == "cluster", params), everything))
    return everything


def _look_at(access, seen, in_cluster, params):
    _asked(access, seen, "slow commands", _slow)
    _asked(access, seen, "latency events", _events)
    _asked(access, seen, "clients", _clients)
    if in_cluster:
        _asked(access, seen, "cluster state", _cluster)
    if seen.node.role == "master":
        _asked(access, seen, "biggest prefixes", lambda seen: _sample(seen, access.db, params))
    # only now, when all that is ours is done: a full server evicts keys for the sake of our answers
    _asked(access, seen, "rates", lambda seen: _twice(seen, params["interval_seconds"]))


def _asked(access, seen, fact, ask):
    """Let ``ask(seen)`` note what it finds, or note why that is not known."""
    try:
        with translated(access.params, address=seen.node.address):
            ask(seen)
    except MendError as error:
        command = error.details.get("command")
        seen.missing.append({"fact": fact, "command": command, "rule": error.rule, "reason": error.msg})


def _ping(seen):
    taken = []
    for _ in range(_PINGS):
        began = time.perf_counter()
        seen.node.client.ping()
        taken.append(time.perf_counter() - began)
    seen.pings = sorted(taken)


def _slow(seen):
    now = seen.node.info.get("server_time_usec", time.time() * 1e6) / 1e6
    # in several words the driver leaves an answer as it is, and the command's words apart
    seen.slow = entries(seen.node.client.execute_command("SLOWLOG", "GET", _SLOW_ENTRIES), now)


def _events(seen):
    seen.events = seen.node.client.execute_command("LATENCY", "LATEST")


def _clients(seen):
    seen.clients = seen.node.client.client_list()


def _cluster(seen):
    seen.cluster = seen.node.client.cluster("INFO")


def _twice(seen, interval):
    seen.info, began = seen.node.client.info(), time.monotonic()
    time.sleep(interval)
    seen.later, seen.seconds = seen.node.client.info(), time.monotonic() - began


def _sample(seen, default, params):
    """Sample each database of a master, in proportion to its keys."""
    held = {db: facts["keys"] for db, facts in keyspace(seen.node.info).items()}
    whole = sum(held.values())
    for db, keys in held.items():
        most, seconds = (params[name] * keys / whole for name in ("sample_keys", "sample_seconds"))
        with connected(seen.node, db, default) as connection:
            seen.samples.append(take(connection, db, keys, most, seconds))
