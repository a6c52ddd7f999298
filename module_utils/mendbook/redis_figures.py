# SPDX-License-Identifier: MIT
"""What the counters of INFO mean: shares, rates between two looks, hit rates. Pure."""

from __future__ import annotations

from datetime import datetime, timezone

# what INFO counts, and what we call it
_COUNTERS = {
    "evicted": "evicted_keys",
    "expired": "expired_keys",
    "hits": "keyspace_hits",
    "misses": "keyspace_misses",
    "commands": "total_commands_processed",
    "rejected_connections": "rejected_connections",
}


def memory(info):
    """Return how much memory a server takes, in bytes; ``max_bytes`` is None where nothing limits it.

    ``share`` is of its limit, else of the memory of its machine (``limited`` tells); None where neither is known.
    """
    used, limit = info.get("used_memory"), info.get("maxmemory") or None
    whole = limit or info.get("total_system_memory")
    return {
        "used_bytes": used,
        "peak_bytes": info.get("used_memory_peak"),
        "max_bytes": limit,
        "rss_bytes": info.get("used_memory_rss"),
        "dataset_bytes": info.get("used_memory_dataset"),
        "system_bytes": info.get("total_system_memory"),
        "fragmentation_ratio": info.get("mem_fragmentation_ratio"),
        "fragmentation_bytes": info.get("mem_fragmentation_bytes"),
        "policy": info.get("maxmemory_policy"),
        "limited": limit is not None,
        "share": round(used / whole, 4) if used is not None and whole else None,
    }


def rates(info, later, seconds):
    """Return the totals since the server's start, and per second between two looks that are ``seconds`` apart.

    ``later`` is None when the second look failed; then, and when the server has started anew in between, what is of the
    interval is None. A hit rate is None while nobody has asked for a key.
    """
    newest = later or info
    known = {name: newest.get(field) for name, field in _COUNTERS.items()}
    found = {f"{name}_total": value for name, value in known.items()}
    same = later is not None and later.get("run_id") == info.get("run_id")
    moved = {
        name: value - info[_COUNTERS[name]] if same and value is not None and _COUNTERS[name] in info else None
        for name, value in known.items()
    }
    for name in ("evicted", "expired", "commands"):
        found[f"{name}_per_second"] = None if moved[name] is None else round(max(0, moved[name]) / seconds, 2)
    found["hit_rate"] = hit_rate(known["hits"], known["misses"])
    found["interval_hits"], found["interval_misses"] = moved["hits"], moved["misses"]
    found["interval_hit_rate"] = hit_rate(moved["hits"], moved["misses"])
    return found


def hit_rate(hits, misses):
    """Return the share of reads that found their key; None when there were none, or they are not known."""
    asked = (hits or 0) + (misses or 0)
    return round(hits / asked, 4) if hits is not None and asked > 0 else None


def persistence(info):
    """Return how what is in memory gets to disk: last save (ISO, UTC), changes since, and what failed (list)."""
    failed = [
        name
        for name in ("rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status")
        if info.get(name, "ok") != "ok"
    ]
    saved = info.get("rdb_last_save_time")
    return {
        "loading": bool(info.get("loading")),
        "last_save": saved and datetime.fromtimestamp(saved, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "changes_since_last_save": info.get("rdb_changes_since_last_save"),
        "append_only": bool(info.get("aof_enabled")),
        "failed": failed,
    }


def replication(info, master):
    """Return a replica's link and how far it is behind; ``master`` is its master's INFO, {} when that is not known.

    Bytes behind are None while the master, or the link, is down.
    """
    up = info.get("master_link_status") == "up"
    down = info.get("master_link_down_since_seconds", 0)
    if down < 0:
        # it was never up
        down = info.get("uptime_in_seconds", 0)
    ahead, here = master.get("master_repl_offset"), info.get("slave_repl_offset")
    return {
        "link": "up" if up else "down",
        "down_seconds": 0 if up else down,
        "syncing": bool(info.get("master_sync_in_progress")),
        "lag_bytes": max(0, ahead - here) if up and ahead is not None and here is not None else None,
    }


def keyspace(info):
    """Return ``{db: {keys, expires, avg_ttl_seconds}}`` of one server; a database without keys is not in it."""
    return {
        int(name[2:]): {
            "keys": value["keys"],
            "expires": value["expires"],
            "avg_ttl_seconds": round(value.get("avg_ttl", 0) / 1000, 1),
        }
        for name, value in info.items()
        if name.startswith("db") and name[2:].isdigit() and isinstance(value, dict)
    }


def added(keyspaces):
    """Return several servers' keyspaces as one: sums, and times to live weighted by the keys that have one."""
    whole = {}
    for one in keyspaces:
        for db, facts in one.items():
            total = whole.setdefault(db, {"keys": 0, "expires": 0, "avg_ttl_seconds": 0.0})
            expires = total["expires"] + facts["expires"]
            if expires:
                weighted = total["avg_ttl_seconds"] * total["expires"] + facts["avg_ttl_seconds"] * facts["expires"]
                total["avg_ttl_seconds"] = round(weighted / expires, 1)
            total["keys"] += facts["keys"]
            total["expires"] = expires
    return [{"db": db, **facts} for db, facts in sorted(whole.items())]
