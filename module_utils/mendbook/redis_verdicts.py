# SPDX-License-Identifier: MIT
"""What a look at a Redis means: a verdict for each threshold, the worst server named, and who is to blame. Pure.

Everything here reads the facts of redis_facts.py.
"""

from __future__ import annotations

from .plan_text import age_text, bytes_text, clean
from .redis_figures import hit_rate
from .redis_nodes import SLOTS
from .verdicts import line, verdict

# a ratio says nothing where little memory is used
_FRAGMENTATION_BYTES = 64 * 1024 * 1024
# with fewer reads the interval's hit rate is chance, and that since the start counts
_ENOUGH_READS = 100


def verdicts(facts, params):
    """Return the verdicts (verdicts.py), the gravest matter first; ``node`` is the worst server's address.

    ``params`` has the thresholds of redis_options.LIMITS. A culprit is {prefix, share,
    bytes}, {command, client, node}, {client, connections} or {node}.
    """
    nodes = [node for node in facts["nodes"] if not node["error"]]
    masters = [node for node in nodes if node["role"] == "master"]
    replicas = [node for node in nodes if node["role"] == "replica"]
    found = [_lost(facts, params)]
    if facts["kind"] == "cluster":
        found += [_uncovered(facts, params), _without_replica(facts, params)]
    found += [_persistence(nodes, params)]
    if replicas:
        found += [_link(replicas, params), _lag(replicas, params)]
    biggest = next(iter(facts["prefixes"]), None)
    found += [
        _memory(nodes, biggest, params),
        _evictions(masters, biggest, params),
        _clients(nodes, facts["clients"], params),
        _slow(nodes, params),
        _ping(nodes, params),
        _hits(nodes, params),
        _fragmentation(nodes, params),
    ]
    return found


def blamed(culprit):
    """Return a culprit in a word or two, None without one."""
    if culprit.get("prefix"):
        return f"{culprit['prefix']} ({culprit['share']:.0%} of the bytes)"
    if culprit.get("command"):
        return f"{culprit['command']} from {culprit['client']}"
    return culprit.get("client") or culprit.get("node")


def headline(facts, found):
    """Return the one sentence that matters: the gravest verdict that is exceeded, and its culprit."""
    name = facts["target"]["id"]
    worst = [one for one in found if one["verdict"] == "exceeded"]
    if worst:
        culprit = blamed(worst[0]["culprit"])
        more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
        return clean(f"{name}: {worst[0]['says']}{more}" + (f"; culprit: {culprit}" if culprit else ""), 400)
    unknown = [one["check"] for one in found if one["verdict"] == "unknown"]
    if unknown:
        return clean(f"{name}: nothing is exceeded, but not known: {', '.join(unknown)}", 400)
    return clean(f"{name}: no threshold is exceeded", 400)


def summary(facts, found):
    """Return the whole in a few sentences for a person, each a printable line."""
    target, totals = facts["target"], facts["totals"]
    lines = [headline(facts, found)]
    servers = f"{len(facts['nodes'])} servers" if len(facts["nodes"]) > 1 else "one server"
    lines.append(
        f"{facts['kind']}, {servers}, {target['facts']['version']}: {totals['keys']:,} keys, "
        f"{bytes_text(totals['used_bytes'])} used, {totals['commands_per_second'] or 0:g} commands/s, "
        f"{totals['connected']:,} clients"
    )
    if facts["prefixes"]:
        largest = ", ".join(
            f"{one['prefix']} {bytes_text(one['bytes'])} ({one['share']:.0%})" for one in facts["prefixes"][:5]
        )
        lines.append(f"biggest prefixes: {largest}{_sampled(facts['sampled'])}")
    if facts["lock"]:
        by = facts["lock"]
        lines.append(f"run {by['run']} of {by['holder']} on {by['host']} removes keys right now, since {by['since']}")
    lines += [line(one, blamed(one["culprit"])) for one in found]
    lines += [f"not known at {one['node']}: {one['fact']}: {one['reason']}" for one in facts["missing"]]
    lines += facts["notes"]
    return [clean(text, 400) for text in lines]


def _sampled(sampled):
    return "" if sampled["whole"] else f", estimated from {sampled['seen']:,} of {sampled['keys']:,} keys"


def _lost(facts, params):
    lost = [node for node in facts["nodes"] if node["error"] or "fail" in node["flags"]]
    says = f"{len(lost)} of {len(facts['nodes'])} servers have failed or cannot be reached from here"
    if not lost:
        says = "every server that is known of answers"
    elif len(lost) == 1:
        says += f": {lost[0]['address']}"
    # the list of servers may lack some
    value = len(lost) if lost or facts["whole"] else None
    return _about("max_lost_nodes", value, params, says, lost[0] if lost else None)


def _uncovered(facts, params):
    missing = None if facts["cluster"]["covered_slots"] is None else SLOTS - facts["cluster"]["covered_slots"]
    says = "it is not known which slots have a master" if missing is None else f"{missing} slots have no master"
    if facts["cluster"]["state"]:
        says += f"; the cluster's state is {facts['cluster']['state']}"
    return verdict("max_uncovered_slots", missing, params["max_uncovered_slots"], says)


def _without_replica(facts, params):
    alone = facts["cluster"]["masters_without_replica"]
    if alone is None:
        return verdict("max_masters_without_replica", None, params["max_masters_without_replica"], "not known")
    says = f"{len(alone)} masters have no replica that works"
    culprit = {"node": alone[0]} if alone else None
    return verdict("max_masters_without_replica", len(alone), params["max_masters_without_replica"], says, culprit)


def _persistence(nodes, params):
    failed = [node for node in nodes if node["persistence"]["failed"]]
    says = "no save to disk has failed"
    if failed:
        says = f"saving to disk fails at {failed[0]['address']}: {', '.join(failed[0]['persistence']['failed'])}"
    return _about("max_persistence_failures", len(failed), params, says, failed[0] if failed else None)


def _link(replicas, params):
    worst = max(replicas, key=lambda node: node["replication"]["down_seconds"])
    down = [node for node in replicas if node["replication"]["link"] != "up"]
    says = f"{len(down)} of {len(replicas)} replicas have lost their master"
    if down:
        says += f", {worst['address']} for {age_text(worst['replication']['down_seconds'])}"
    return _about("max_link_down_seconds", worst["replication"]["down_seconds"], params, says, worst if down else None)


def _lag(replicas, params):
    linked = [node for node in replicas if node["replication"]["link"] == "up"]
    worst = _worst(linked, lambda node: node["replication"]["lag_bytes"])
    if worst is None:
        return verdict("max_lag_bytes", None, params["max_lag_bytes"], "it is not known how far replicas are behind")
    value = worst["replication"]["lag_bytes"]
    return _about("max_lag_bytes", value, params, f"replicas are up to {bytes_text(value)} behind", worst)


def _memory(nodes, biggest, params):
    worst = _worst(nodes, lambda node: node["memory"]["share"])
    if worst is None:
        return verdict("max_memory_share", None, params["max_memory_share"], "the server tells no memory")
    memory = worst["memory"]
    of = (
        f"maxmemory {bytes_text(memory['max_bytes'])}"
        if memory["limited"]
        else f"the machine's {bytes_text(memory['system_bytes'])} (maxmemory is not set)"
    )
    says = f"{memory['share']:.0%} of {of} is used at {worst['address']}, policy {memory['policy']}"
    return _about("max_memory_share", memory["share"], params, says, worst, _prefix(biggest))


def _evictions(masters, biggest, params):
    known = [node["rates"]["evicted_per_second"] for node in masters]
    worst = _worst(masters, lambda node: node["rates"]["evicted_per_second"])
    if worst is None or None in known:
        return verdict("max_evictions_per_second", None, params["max_evictions_per_second"], "evictions are not known")
    total = sum(node["rates"]["evicted_total"] or 0 for node in masters)
    says = f"{sum(known):g} keys a second are evicted before their time ({total:,} since the start)"
    return _about("max_evictions_per_second", sum(known), params, says, worst, _prefix(biggest))


def _clients(nodes, clients, params):
    worst = _worst(nodes, lambda node: node["clients"]["share"])
    if worst is None:
        return verdict("max_clients_share", None, params["max_clients_share"], "maxclients is not known")
    facts = worst["clients"]
    says = f"{facts['connected']} of {facts['max']} connections are taken at {worst['address']}"
    top = next(iter((clients["by_name"] or clients["by_address"]).items()), None)
    culprit = {"client": top[0], "connections": top[1]} if top else {"node": worst["address"]}
    return _about("max_clients_share", facts["share"], params, says, worst, culprit)


def _slow(nodes, params):
    recent = [one for node in nodes for one in node["slow"] or ()]
    if not recent:
        unknown = any(node["slow"] is None for node in nodes)
        says = "slow commands are not known" if unknown else "the slow log holds nothing of late"
        return verdict("max_slow_seconds", None if unknown else 0, params["max_slow_seconds"], says)
    worst = max(recent, key=lambda one: one["slowest_seconds"])
    slowest, node = worst["slowest_seconds"], worst["nodes"][0]
    says = f"{worst['command']} took {_time(slowest)}, last seen {age_text(worst['age_seconds'])} ago"
    culprit = {"command": worst["command"], "client": worst["clients"][0], "node": node}
    return verdict("max_slow_seconds", slowest, params["max_slow_seconds"], says, culprit, node=node)


def _ping(nodes, params):
    worst = _worst(nodes, lambda node: node["ping"] and node["ping"]["median_seconds"])
    if worst is None:
        return verdict("max_ping_seconds", None, params["max_ping_seconds"], "no server answers PING")
    says = f"a round trip from here takes {_time(worst['ping']['median_seconds'])} at {worst['address']}"
    return _about("max_ping_seconds", worst["ping"]["median_seconds"], params, says, worst)


def _hits(nodes, params):
    known = [node["rates"] for node in nodes]
    hits, misses = (_sum(rates[f"interval_{what}"] for rates in known) for what in ("hits", "misses"))
    of = "in the interval"
    if hits is None or hits + misses < _ENOUGH_READS:
        hits, misses = (_sum(rates[f"{what}_total"] for rates in known) for what in ("hits", "misses"))
        of = "since the start"
    if hits is None:
        return verdict("min_hit_rate", None, params["min_hit_rate"], "the hit rate is not known")
    rate = hit_rate(hits, misses)
    says = f"{misses:,} of {hits + misses:,} reads {of} found no key" if hits + misses else "nobody has read a key"
    return verdict("min_hit_rate", 1.0 if rate is None else rate, params["min_hit_rate"], says)


def _fragmentation(nodes, params):
    weighty = [node for node in nodes if (node["memory"]["fragmentation_bytes"] or 0) >= _FRAGMENTATION_BYTES]
    worst = _worst(weighty, lambda node: node["memory"]["fragmentation_ratio"])
    if worst is None:
        says = f"less than {bytes_text(_FRAGMENTATION_BYTES)} are lost to fragmentation"
        unknown = any(node["memory"]["fragmentation_bytes"] is None for node in nodes)
        return verdict("max_fragmentation_ratio", None if unknown else 0, params["max_fragmentation_ratio"], says)
    memory = worst["memory"]
    says = (
        f"{bytes_text(memory['fragmentation_bytes'])} are lost to fragmentation at {worst['address']} "
        f"({memory['fragmentation_ratio']:g} times what is used)"
    )
    return _about("max_fragmentation_ratio", memory["fragmentation_ratio"], params, says, worst)


def _about(check, value, params, says, node, culprit=None):
    """A verdict on a server, which is the culprit itself where nobody else is."""
    facts = {"node": node["address"]} if node else {}
    return verdict(check, value, params[check], says, culprit or facts, **facts)


def _prefix(biggest):
    return biggest and {name: biggest[name] for name in ("prefix", "share", "bytes")}


def _worst(nodes, value):
    """The server with the highest value; None when none has one."""
    known = [node for node in nodes if value(node) is not None]
    return max(known, key=value, default=None)


def _sum(values):
    """The sum, None when one of them is not known."""
    values = list(values)
    return None if None in values else sum(values)


def _time(seconds):
    return f"{seconds:.2g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
